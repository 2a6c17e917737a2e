"""Semantic versions as registries' tags spell them, read as leniently as Masterminds/semver v3 reads them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

#: The longest version, in characters.
MAX_VERSION_LENGTH = 256
#: Numbers go up to the largest 64-bit one; beyond it a text is no version.
MAX_NUMBER = 2**64 - 1

_IDENTIFIERS = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_VERSION = re.compile(rf"v?([0-9]+)(?:\.([0-9]+))?(?:\.([0-9]+))?(?:-({_IDENTIFIERS}))?(?:\+({_IDENTIFIERS}))?")
_ZERO_LED = re.compile(r"0[0-9]+")

Precedence: TypeAlias = tuple[int, int, int, bool, tuple[tuple[int, int, str], ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SemVer:
    """``original`` is the text it was read from; ``str()`` is the normal form: three numbers, no ``v``."""

    major: int
    minor: int
    patch: int
    prerelease: str = ""
    metadata: str = ""
    original: str = ""

    @classmethod
    def parse(cls, text: str) -> SemVer | None:
        """None for what is no version. Missing numbers are 0, and a leading ``v`` and leading zeros of the three
        numbers are tolerated; those of a numeric pre-release identifier are not."""
        match = _VERSION.fullmatch(text) if len(text) <= MAX_VERSION_LENGTH else None
        if match is None:
            return None
        major, minor, patch = (int(number or 0) for number in match.group(1, 2, 3))
        prerelease, metadata = match[4] or "", match[5] or ""
        if max(major, minor, patch) > MAX_NUMBER or any(map(_ZERO_LED.fullmatch, prerelease.split("."))):
            return None
        return cls(major=major, minor=minor, patch=patch, prerelease=prerelease, metadata=metadata, original=text)

    @property
    def precedence(self) -> Precedence:
        """Versions compare as their precedences do; build metadata has no part in it (semver.org, 10 and 11)."""
        identifiers = tuple(map(_rank, self.prerelease.split("."))) if self.prerelease else ()
        return (self.major, self.minor, self.patch, not self.prerelease, identifiers)

    def __str__(self) -> str:
        prerelease = f"-{self.prerelease}" if self.prerelease else ""
        metadata = f"+{self.metadata}" if self.metadata else ""
        return f"{self.major}.{self.minor}.{self.patch}{prerelease}{metadata}"


def _rank(identifier: str) -> tuple[int, int, str]:
    """Numbers by value and before words; a number that 64 bits do not hold counts as a word."""
    if identifier.isdecimal() and (number := int(identifier)) <= MAX_NUMBER:
        return (0, number, "")
    return (1, 0, identifier)
