"""In what order the tags stand that `tag_regex` matches, as far as their names tell."""

from __future__ import annotations

from collections.abc import Sequence

from registry_image.concourse.pattern import Pattern
from registry_image.concourse.source import Sort
from registry_image.semver.version import Precedence, SemVer

#: The group of `tag_regex` that `sort: semver` reads.
VERSION_GROUP = "version"

#: Below every version: tags that an order can make nothing of come first, and are never taken for the newest.
_NO_VERSION: Precedence = (-1, 0, 0, False, ())


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
