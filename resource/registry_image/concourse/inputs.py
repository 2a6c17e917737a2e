"""Files in the artifacts of a put: the paths and globs of its params, below its directory and nowhere else."""

from __future__ import annotations

import os
import posixpath
import re

from registry_image.errors import RequestError, quote
from registry_image.storage.files import Region, closing_descriptor

_META = re.compile(r"[*?\[\\]")
#: Matches that an error lists.
_SHOWN = 5


def find_one(directory: str, pattern: str, field: str) -> str:
    """The one path below ``directory`` that ``pattern`` matches, relative to it.

    Patterns are Go's (filepath.Match), as `registry-image` takes them: ``*`` and ``?`` stop at a slash and match a
    leading dot too, ``[^a-c]`` excludes, a backslash quotes. Raises RequestError for no match, several, or one that
    lies elsewhere.
    """
    found = [""]
    for part in _parts(pattern, field):
        searched = found
        found = [posixpath.join(head, name) for head in found for name in _children(directory, head, part, field)]
        if not found:
            raise RequestError(
                f"{field}: nothing matches {quote(pattern)}: {_holdings(directory, searched, field)}",
                hint="a path begins with the name of an artifact of the build, such as `image/image.tar`",
            )
    if len(found) > 1:
        raise RequestError(f"{field}: {len(found)} files match {quote(pattern)}, expected one: {_list(found)}")
    _within(directory, found[0], field)
    return found[0]


def read_artifact(directory: str, path: str, field: str, limit: int) -> bytes:
    """The file at ``path`` below ``directory``, at most one byte more than ``limit``. Raises RequestError."""
    path = "/".join(_parts(path, field))
    real = _within(directory, path, field)
    if not os.path.lexists(real):
        raise RequestError(f"{field}: there is no file {quote(path)}")
    what = f"{field}: {quote(path)}"
    with closing_descriptor(real, what) as descriptor:
        return b"".join(Region(descriptor, 0, min(os.fstat(descriptor).st_size, limit + 1)).pieces(what))


def _parts(path: str, field: str) -> list[str]:
    parts = [part for part in posixpath.normpath(path.lstrip("/")).split("/") if part != "."]
    if not parts or parts[0] == "..":
        raise RequestError(f"{field}: {quote(path)} is no path below the artifacts of the build")
    return parts


def _within(directory: str, path: str, field: str) -> str:
    """The real path. A symbolic link must not have us push what is on the worker or in this container."""
    root = os.path.realpath(directory)
    real = os.path.realpath(os.path.join(root, path))
    if os.path.commonpath((root, real)) != root:
        raise RequestError(f"{field}: {quote(path)} is a symbolic link that leads out of the artifacts of the build")
    return real


def _children(directory: str, head: str, part: str, field: str) -> list[str]:
    here = os.path.join(directory, head)
    if not _META.search(part):
        return [part] if os.path.lexists(os.path.join(here, part)) else []
    expression = _expression(part, field)
    try:
        names = sorted(os.listdir(here))
    except OSError:
        return []  # no directory: nothing below it matches
    return [name for name in names if expression.fullmatch(name)]


def _expression(pattern: str, field: str) -> re.Pattern[str]:
    """One part of a glob. Raises RequestError for a class or an escape without an end."""
    # What stands between two asterisks is looked for once, where it comes first: a later place would serve no better,
    # and trying them all takes for ever ("*a*a*a*a*b").
    parts, position = [""], 0
    while position < len(pattern):
        char = pattern[position]
        position += 1
        if char == "*":
            parts.append("")
        elif char == "?":
            parts[-1] += "."
        elif char == "[" and (group := re.match(r"(\^?)((?:\\.|[^\\\]])+)\]", pattern[position:])):
            position += group.end()
            inside = re.sub(r"\\(.)|([\[&~|^])", lambda hit: re.escape(hit[1] or hit[2]), group[2])
            parts[-1] += f"[{group[1]}{inside}]"
        elif char == "[" or (char == "\\" and position == len(pattern)):
            raise RequestError(f"{field}: {quote(pattern)} is not a glob: a [ or a backslash has no end")
        elif char == "\\":
            parts[-1] += re.escape(pattern[position])
            position += 1
        else:
            parts[-1] += re.escape(char)
    try:
        first, *inner = parts
        last = f".*{inner.pop()}" if inner else ""
        return re.compile(first + "".join(f"(?>.*?{part})" for part in inner) + last, re.DOTALL)
    except re.error as error:
        raise RequestError(f"{field}: {quote(pattern)} is not a glob: {error}") from error


def _holdings(directory: str, searched: list[str], field: str) -> str:
    """What there is where the search ended, if that is one directory; else what there is at its begin."""
    if len(searched) == 1 and searched[0]:
        real = _within(directory, searched[0], field)
        if os.path.isdir(real):
            return f"{quote(searched[0])} has {_list(sorted(os.listdir(real)))}"
    return f"the directory has {_list(sorted(os.listdir(directory)))}"


def _list(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (", ".join(quote(name) for name in names[:_SHOWN]) or "nothing") + more
