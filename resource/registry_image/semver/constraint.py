"""Constraints on versions, such as ``>= 1.2, < 3.0.0 || ~4.2``, as Masterminds/semver v3.5 reads them.

``||`` separates alternatives; commas or spaces separate the comparisons of one, which must all hold. If a version is
incomplete or has ``x``, ``X`` or ``*`` in it, only the numbers before that are compared.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from registry_image.errors import RequestError, quote
from registry_image.semver.version import SemVer

#: The longest constraint, in bytes, and the most alternatives in one.
MAX_CONSTRAINT_SIZE = 512
MAX_ALTERNATIVES = 32

# White space as in RE2: neither the vertical tab nor Unicode's spaces.
_SPACE = r"[\t\n\f\r ]"
_IDENTIFIERS = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_NUMBER = r"[0-9|xX*]+"
_PARTIAL = rf"v?({_NUMBER})(\.{_NUMBER})?(\.{_NUMBER})?(-{_IDENTIFIERS})?(?:\+{_IDENTIFIERS})?"
_COMPARISON = re.compile(rf"{_SPACE}*(!=|>=|=>|<=|=<|~>|[=<>~^]|){_SPACE}*({_PARTIAL})")
_SEPARATOR = re.compile(rf"{_SPACE}*,|{_SPACE}+")
_HYPHEN_RANGE = re.compile(rf"{_SPACE}*({_PARTIAL}){_SPACE}+-{_SPACE}+({_PARTIAL}){_SPACE}*")
_WILD = ("x", "X", "*")
_SYNONYMS = {"=>": ">=", "=<": "<=", "~>": "~", "": "="}

#: How many numbers a comparison's version has before it ends or has a wildcard.
_NONE, _MAJOR, _MINOR, _ALL = range(4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """``operator`` is one of = != < <= > >= ~ ^; numbers of ``version`` after the ``given`` ones are 0."""

    operator: str
    version: SemVer
    given: int

    def holds(self, version: SemVer) -> bool:
        ours, wanted = version.precedence, self.version.precedence
        match self.operator:
            case "=":
                return self._tilde(version) if self.given < _ALL else ours == wanted
            case "!=":
                return self._differs(version)
            case "<":
                return ours < wanted
            case ">=":
                return ours >= wanted
            case ">":
                # Beyond all of 1.2.x, not just beyond 1.2.0.
                numbers = self.given or _ALL
                return ours[:numbers] > wanted[:numbers] if numbers < _ALL else ours > wanted
            case "<=":
                # Up to all of 1.2.x. A lone wildcard counts as 0.0.x here.
                numbers = self.given or _MINOR
                return ours[:numbers] <= wanted[:numbers] if numbers < _ALL else ours <= wanted
            case "~":
                return self._tilde(version)
            case _:
                return self._caret(version)

    def _differs(self, version: SemVer) -> bool:
        if self.given == _MAJOR:
            return version.major != self.version.major
        if self.given == _MINOR:
            return (version.major, version.minor, version.prerelease) != (
                self.version.major,
                self.version.minor,
                self.version.prerelease,
            )
        return version.precedence != self.version.precedence

    def _tilde(self, version: SemVer) -> bool:
        """At least that version, and the same major and (if given) minor number."""
        wanted = self.version
        if version.precedence < wanted.precedence:
            return False
        if (wanted.major, wanted.minor, wanted.patch) == (0, 0, 0) and self.given in (_NONE, _ALL):
            # Masterminds reads ~0.0.0 as ~*, which admits everything.
            return True
        return version.major == wanted.major and (self.given == _MAJOR or version.minor == wanted.minor)

    def _caret(self, version: SemVer) -> bool:
        """At least that version, and the same numbers up to the first that is not 0."""
        wanted = self.version
        if version.precedence < wanted.precedence or version.major != wanted.major:
            return False
        if wanted.major > 0 or self.given == _MAJOR:
            return True
        if wanted.minor > 0 or self.given == _MINOR:
            return version.minor == wanted.minor
        # So ^* admits only 0.0.0, as in Masterminds, whose documentation says that it admits everything.
        return (version.minor, version.patch) == (wanted.minor, wanted.patch)


@dataclass(frozen=True, slots=True)
class Constraint:
    """Admits a version if all comparisons of one alternative hold."""

    alternatives: tuple[tuple[Comparison, ...], ...]

    @classmethod
    def parse(cls, text: str) -> Constraint:
        """Raises RequestError unless ``text`` is a constraint."""
        if len(text.encode("utf-8", "surrogatepass")) > MAX_CONSTRAINT_SIZE:
            raise RequestError(f"source.semver_constraint: {quote(text)}: longer than {MAX_CONSTRAINT_SIZE} bytes")
        parts = _without_hyphen_ranges(text).split("||")
        if len(parts) > MAX_ALTERNATIVES:
            raise RequestError(f"source.semver_constraint: {quote(text)}: more than {MAX_ALTERNATIVES} alternatives")
        return cls(tuple(_parse_alternative(part, text) for part in parts))

    def admits(self, version: SemVer) -> bool:
        """A pre-release is admitted only by an alternative that names one itself, as ``>= 1.2.0-0`` does."""
        return any(
            (not version.prerelease or any(comparison.version.prerelease for comparison in alternative))
            and all(comparison.holds(version) for comparison in alternative)
            for alternative in self.alternatives
        )


def _without_hyphen_ranges(text: str) -> str:
    """``1.2 - 3`` is another way to write ``>= 1.2, <= 3``."""
    rewritten = text
    for match in _HYPHEN_RANGE.finditer(text):
        # Like Masterminds, replace the first occurrence of the text, even where this match is a later one.
        rewritten = rewritten.replace(match[0], f">= {match[1]}, <= {match[6]} ", 1)
    return rewritten


def _parse_alternative(text: str, whole: str) -> tuple[Comparison, ...]:
    comparisons = []
    position = 0
    while True:
        match = _COMPARISON.match(text, position)
        if match is None:
            raise _invalid(whole, text[position:])
        comparisons.append(_parse_comparison(match, whole))
        position = match.end()
        if not text[position:].strip("\t\n\f\r "):
            return tuple(comparisons)
        separator = _SEPARATOR.match(text, position)
        if separator is None:
            raise _invalid(whole, text[position:])
        position = separator.end()


def _parse_comparison(match: re.Match[str], whole: str) -> Comparison:
    operator, written, *numbers, prerelease = match.groups(default="")
    given = 0
    while given < _ALL and numbers[given].removeprefix(".") not in ("", *_WILD):
        given += 1
    # Numbers after the first missing one are ignored, and so is build metadata after a wildcard.
    text = written if given == _ALL else "".join(numbers[:given] or ["0"]) + ".0" * (_ALL - max(given, 1)) + prerelease
    version = SemVer.parse(text)
    if version is None:
        raise _invalid(whole, written)
    return Comparison(operator=_SYNONYMS.get(operator, operator), version=version, given=given)


def _invalid(whole: str, part: str) -> RequestError:
    problem = (
        f"not understood at {quote(part.strip())}" if part.strip() else "a version is missing at its end or by `||`"
    )
    return RequestError(
        f"source.semver_constraint: {quote(whole)}: {problem}",
        hint="constraints are written like `~1.2.x`, `^1`, `>= 1.2, < 3.0.0 || >= 4.2.3` or `1.2 - 1.4`",
    )
