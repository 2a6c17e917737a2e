"""WWW-Authenticate: how to log in to a registry (RFC 9110, 11.6.1; RFC 6750, 3; distribution, token.md)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from registry_image.record import record

#: The most of a header line that is parsed, in characters; http.client takes 64 KiB.
MAX_CHALLENGE = 8192

_WORD = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
# Compiled when first used: some registries never challenge a check of a public image.
_PARAMETER = rf'(?as)\s*({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))'
#: With the token that some schemes have in place of parameters (RFC 9110, 11.2), which is left out.
_SCHEME = rf"(?a)\s*({_WORD})(?:\s+[A-Za-z0-9._~+/-]+=*(?=\s*(?:,|$))|\s+|(?=,)|$)"
_ESCAPE = r"(?s)\\(.)"


@record()
class Challenge:
    """``scheme`` and the names of parameters are in lower case."""

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(lines: Iterable[str]) -> tuple[Challenge, ...]:
    """All challenges of all header lines, in order. A syntax error ends its line; challenges before it count."""
    return tuple(challenge for line in lines for challenge in _parse_line(line[:MAX_CHALLENGE]))


def _parse_line(line: str) -> Iterable[Challenge]:
    parameter, word = re.compile(_PARAMETER), re.compile(_SCHEME)
    position = 0
    scheme = ""
    parameters: dict[str, str] = {}
    while position < len(line):
        if line[position] in ", \t":
            position += 1
        elif scheme and (match := parameter.match(line, position)):
            name, quoted, plain = match.groups()
            parameters.setdefault(name.lower(), re.sub(_ESCAPE, r"\1", quoted) if quoted is not None else plain)
            position = match.end()
        elif match := word.match(line, position):
            if scheme:
                yield Challenge(scheme, parameters)
            scheme, parameters = match[1].lower(), {}
            position = match.end()
        else:
            break
    if scheme:
        yield Challenge(scheme, parameters)


def choose_challenge(challenges: Iterable[Challenge]) -> Challenge | None:
    """Prefers Bearer: a registry that offers both means Basic for its token server."""
    known = {challenge.scheme: challenge for challenge in reversed(list(challenges)) if _usable(challenge)}
    return known.get("bearer") or known.get("basic")


def _usable(challenge: Challenge) -> bool:
    return challenge.scheme == "basic" or bool(challenge.parameters.get("realm"))
