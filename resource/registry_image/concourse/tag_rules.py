"""Which tags to follow, and in what order: the rules of semver mode and of `sort`, without I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from registry_image.concourse.pattern import Pattern
from registry_image.concourse.request.source import Sort, Source
from registry_image.oci.digest import Digest
from registry_image.semver.constraint import Constraint
from registry_image.semver.version import Precedence, SemVer

#: What pre-releases begin with; anything else after the hyphen is another variant, as in 1.2.3-alpine.
PRE_RELEASES = ("alpha", "beta", "rc")
#: The group of `tag_regex` that `sort: semver` reads.
VERSION_GROUP = "version"

#: Below every version: tags that an order can make nothing of come first, and are never taken for the newest.
_NO_VERSION: Precedence = (-1, 0, 0, False, ())


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRule:
    """``prefixes`` are what the pipeline knows pre-releases to begin with besides PRE_RELEASES."""

    variant: str = ""
    constraint: Constraint | None = None
    pre_releases: bool = False
    prefixes: tuple[str, ...] = ()

    @classmethod
    def of(cls, source: Source) -> VersionRule:
        """Raises RequestError for a constraint that is none."""
        return cls(
            variant=source.variant,
            constraint=Constraint.parse(source.semver_constraint) if source.semver_constraint else None,
            pre_releases=source.pre_releases,
            prefixes=source.pre_release_prefixes,
        )

    @property
    def bare_tag(self) -> str:
        """The tag that names no version: whatever is newest."""
        return self.variant or "latest"

    def read(self, tag: str) -> SemVer | None:
        """The version that ``tag`` names, without the variant; None if it names none, or none to follow."""
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
            # 1.2.3-rc.1-alpine: a variant of the pre-release.
            return False
        return prerelease.startswith(PRE_RELEASES + self.prefixes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A tag that names a version, and what it points at now."""

    tag: str
    version: SemVer
    digest: Digest


def one_per_digest(found: Iterable[Found]) -> list[Found]:
    """The best tag of each image, oldest version first; of equals the first seen."""
    best: dict[Digest, Found] = {}
    for each in found:
        known = best.get(each.digest)
        if known is None or _says_more(each.version, known.version):
            best[each.digest] = each
    return sorted(best.values(), key=lambda each: each.version.precedence)


def _says_more(version: SemVer, known: SemVer) -> bool:
    """A final version than a pre-release; else the one that is spelled out further: 1.2.3 than 1.2."""
    if bool(version.prerelease) != bool(known.prerelease):
        return not version.prerelease
    return version.original.count(".") > known.original.count(".")


def in_order(tags: Sequence[str], wanted: Pattern, sort: Sort) -> list[str]:
    """``tags``, in all of which ``wanted`` is found, oldest first. Equal ones keep the registry's order."""
    if sort == "lexical":
        return sorted(tags)
    if sort == "semver":
        return sorted(tags, key=lambda tag: _version(tag, wanted))
    if sort == "numeric":
        return sorted(tags, key=lambda tag: _numbers(tag, wanted))
    return list(tags)


def _version(tag: str, wanted: Pattern) -> Precedence:
    found = wanted.search(tag)
    text = found.group(VERSION_GROUP if VERSION_GROUP in wanted.groupindex else 0) if found else None
    version = SemVer.parse(text) if text else None
    return version.precedence if version else _NO_VERSION


def _numbers(tag: str, wanted: Pattern) -> tuple[int, ...]:
    """A group that took no part, or is no number, is less than any number."""
    found = wanted.search(tag)
    texts = (found.groups() or (found.group(),)) if found else ()
    return tuple(int(text) if text and text.isascii() and text.isdecimal() else -1 for text in texts)
