"""Which tags are versions to follow, and which of them stand for an image: semver mode's rules, without I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from registry_image.concourse.source import Source
from registry_image.oci.digest import Digest
from registry_image.semver.constraint import Constraint
from registry_image.semver.version import SemVer

#: What pre-releases begin with; anything else after the hyphen is another variant, as in 1.2.3-alpine.
PRE_RELEASES = ("alpha", "beta", "rc")


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
