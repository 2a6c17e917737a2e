"""The rules of semver mode and of `sort`: which tags to follow, and in what order. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from registry_image.concourse.request.pattern import Pattern
from registry_image.concourse.request.source import Source
from registry_image.oci.digest import Digest
from registry_image.semver.constraint import Constraint
from registry_image.semver.version import Precedence, SemVer

#: Pre-releases begin with one of these; any other text after the hyphen names a variant, as in 1.2.3-alpine.
PRE_RELEASES = ("alpha", "beta", "rc")
#: The group of `tag_regex` that `sort: semver` reads.
VERSION_GROUP = "version"

#: The place of a tag in the order of `sort`. Only ranks of the same order can be compared.
Rank: TypeAlias = tuple[object, ...]

#: Below every version: a tag without a version sorts first, so it never counts as the newest.
_NO_VERSION: Precedence = (-1, 0, 0, False, ())


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRule:
    """``prefixes`` are the source's ``pre_release_prefixes``; they extend PRE_RELEASES."""

    variant: str = ""
    constraint: Constraint | None = None
    pre_releases: bool = False
    prefixes: tuple[str, ...] = ()

    @classmethod
    def of(cls, source: Source) -> VersionRule:
        """Raises RequestError for an invalid constraint."""
        return cls(
            variant=source.variant,
            constraint=Constraint.parse(source.semver_constraint) if source.semver_constraint else None,
            pre_releases=source.pre_releases,
            prefixes=source.pre_release_prefixes,
        )

    @property
    def bare_tag(self) -> str:
        """The tag without a version, by convention the newest image."""
        return self.variant or "latest"

    def read(self, tag: str) -> SemVer | None:
        """The version in ``tag``, without the variant; None if there is none or this rule excludes it."""
        text = tag
        if self.variant:
            text = tag.removesuffix(f"-{self.variant}")
            if text == tag:
                return None
        version = SemVer.parse(text)
        if version is None or (self.constraint is not None and not self.constraint.admits(version)):
            return None
        return version if not version.prerelease or self._follows(version.prerelease) else None

    def _follows(self, prerelease: str) -> bool:
        if not self.pre_releases:
            return False
        if not self.prefixes and "-" in prerelease:
            return False  # 1.2.3-rc.1-alpine is a variant
        return prerelease.startswith(PRE_RELEASES + self.prefixes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A tag that names a version, and the digest it points at now."""

    tag: str
    version: SemVer
    digest: Digest


def one_per_digest(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The best tag of each image, oldest version first; the first one wins a tie (docs/adr/0050)."""
    best: dict[Digest, Candidate] = {}
    for candidate in candidates:
        known = best.get(candidate.digest)
        if known is None or _is_better(candidate.version, known.version):
            best[candidate.digest] = candidate
    return sorted(best.values(), key=lambda candidate: candidate.version.precedence)


def _is_better(version: SemVer, known: SemVer) -> bool:
    """A final version is better than a pre-release; among equals, 1.2.3 is better than 1.2."""
    if bool(version.prerelease) != bool(known.prerelease):
        return not version.prerelease
    return version.original.count(".") > known.original.count(".")


def rank(tag: str, wanted: Pattern, sort: Literal["semver", "numeric"]) -> Rank:
    """Where ``tag``, which matches ``wanted``, comes in the order of ``sort``: a lower rank is older."""
    return _version(tag, wanted) if sort == "semver" else _numbers(tag, wanted)


def _version(tag: str, wanted: Pattern) -> Precedence:
    match = wanted.search(tag)
    text = match.group(VERSION_GROUP if VERSION_GROUP in wanted.groupindex else 0) if match else None
    version = SemVer.parse(text) if text else None
    return version.precedence if version else _NO_VERSION


def _numbers(tag: str, wanted: Pattern) -> tuple[int, ...]:
    """A group that is unmatched or not a number sorts before all numbers."""
    match = wanted.search(tag)
    texts = (match.groups() or (match.group(),)) if match else ()
    return tuple(int(text) if text and text.isascii() and text.isdecimal() else -1 for text in texts)
