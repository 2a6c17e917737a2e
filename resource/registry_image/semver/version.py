"""Semantic versions in tags, read as leniently as by Masterminds/semver v3."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

#: The longest version, in characters.
MAX_VERSION_LENGTH = 256
#: The largest number of a version: 64 bits.
MAX_NUMBER = 2**64 - 1

_IDENTIFIERS = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_VERSION = re.compile(rf"v?([0-9]+)(?:\.([0-9]+))?(?:\.([0-9]+))?(?:-({_IDENTIFIERS}))?(?:\+({_IDENTIFIERS}))?")
_ZERO_LED = re.compile(r"0[0-9]+")

Precedence: TypeAlias = tuple[int, int, int, bool, tuple[tuple[int, int, str], ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SemVer:
    """``original`` is the text as read; ``str()`` is the normal form: three numbers, no ``v``."""

    major: int
    minor: int
    patch: int
    prerelease: str = ""
    metadata: str = ""
    original: str = ""

    @classmethod
    def parse(cls, text: str) -> SemVer | None:
        """None unless ``text`` is a version. Missing numbers are 0. A leading ``v`` is allowed, and so are leading
        zeros of the three numbers, but not of a numeric pre-release identifier."""
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
        """The sort key; build metadata is ignored (semver.org, 10 and 11)."""
        identifiers = tuple(map(_rank, self.prerelease.split("."))) if self.prerelease else ()
        return (self.major, self.minor, self.patch, not self.prerelease, identifiers)

    def __str__(self) -> str:
        prerelease = f"-{self.prerelease}" if self.prerelease else ""
        metadata = f"+{self.metadata}" if self.metadata else ""
        return f"{self.major}.{self.minor}.{self.patch}{prerelease}{metadata}"


def _rank(identifier: str) -> tuple[int, int, str]:
    """Numbers sort by value, before words; a number of more than 64 bits counts as a word."""
    if identifier.isdecimal() and (number := int(identifier)) <= MAX_NUMBER:
        return (0, number, "")
    return (1, 0, identifier)
