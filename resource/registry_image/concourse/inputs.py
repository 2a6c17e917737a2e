"""Finds and reads files in the artifacts of a put; refuses every path that leads out of them."""

from __future__ import annotations

import os
import posixpath
import re

from registry_image.errors import RequestError, quote
from registry_image.storage.files import Region, closing_descriptor

_META = re.compile(r"[*?\[\\]")
# Concourse gives a put the artifacts whose names begin its parameters, without a look at patterns (`inputs: detect`).
_PATH = (
    "a path begins with the name of what an earlier step got or made; a pattern there needs `inputs: all` on the put"
)
#: How many names an error lists.
_SHOWN = 5


def find_one(directory: str, pattern: str, field: str) -> str:
    """The one path below ``directory`` that ``pattern`` matches, relative to it.

    The syntax is Go's filepath.Match, as in `registry-image`: ``*`` and ``?`` match no slash but a leading dot,
    ``[^a-c]`` excludes, a backslash escapes. Raises RequestError for no match, several, or one outside ``directory``.
    """
    matches = [""]
    for part in _parts(pattern, field):
        parents = matches
        matches = [posixpath.join(head, name) for head in parents for name in _children(directory, head, part, field)]
        if not matches:
            raise RequestError(
                f"{field}: nothing matches {quote(pattern)}: {_holdings(directory, parents, field)}",
                hint=_PATH if parents == [""] else None,
            )
    if len(matches) > 1:
        raise RequestError(f"{field}: {len(matches)} files match {quote(pattern)}, expected one: {_list(matches)}")
    _within(directory, matches[0], field)
    return matches[0]


def read_artifact(directory: str, path: str, field: str, limit: int) -> bytes:
    """Reads one byte more than ``limit`` at most. Raises RequestError."""
    path = "/".join(_parts(path, field))
    real = _within(directory, path, field)
    if not os.path.lexists(real):
        artifact, head = path.partition("/")[0], posixpath.dirname(path)
        raise RequestError(
            f"{field}: there is no file {quote(path)}: {_holdings(directory, [head], field)}",
            hint=None if os.path.lexists(os.path.join(directory, artifact)) else _PATH,
        )
    label = f"{field}: {quote(path)}"
    with closing_descriptor(real, label) as descriptor:
        return b"".join(Region(descriptor, 0, min(os.fstat(descriptor).st_size, limit + 1)).pieces(label))


def _parts(path: str, field: str) -> list[str]:
    parts = [part for part in posixpath.normpath(path.lstrip("/")).split("/") if part != "."]
    if not parts or parts[0] == "..":
        raise RequestError(f"{field}: {quote(path)} is not a path inside the artifacts of the build", hint=_PATH)
    return parts


def _within(directory: str, path: str, field: str) -> str:
    """The real path. Without this check, a symbolic link could push files of this container."""
    if not _is_within(directory, path):
        raise RequestError(f"{field}: {quote(path)} is a symbolic link that leads out of the artifacts of the build")
    return os.path.realpath(os.path.join(directory, path))


def _is_within(directory: str, path: str) -> bool:
    root = os.path.realpath(directory)
    return os.path.commonpath((root, os.path.realpath(os.path.join(root, path)))) == root


def _children(directory: str, head: str, part: str, field: str) -> list[str]:
    if not _is_within(directory, head):
        return []  # errors list what matches: nothing behind a link that leads out
    here = os.path.join(directory, head)
    if not _META.search(part):
        return [part] if os.path.lexists(os.path.join(here, part)) else []
    expression = _expression(part, field)
    try:
        names = sorted(os.listdir(here))
    except OSError:
        return []  # not a directory
    return [name for name in names if expression.fullmatch(name)]


def _expression(pattern: str, field: str) -> re.Pattern[str]:
    """One path component of a glob. Raises RequestError for an unfinished class or escape."""
    # The text between two asterisks only needs its first occurrence; atomic groups stop the regex from trying the
    # others, which takes exponential time ("*a*a*a*a*b").
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
            raise RequestError(f"{field}: {quote(pattern)} is not a glob: unfinished [ or backslash")
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


def _holdings(directory: str, parents: list[str], field: str) -> str:
    """Lists the directory where nothing matched, or ``directory`` if there are several."""
    if len(parents) == 1 and parents[0]:
        real = _within(directory, parents[0], field)
        if os.path.isdir(real):
            return f"{quote(parents[0])} has {_list(sorted(os.listdir(real)))}"
    return f"the put was given {_list(sorted(os.listdir(directory)))}"


def _list(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (", ".join(quote(name) for name in names[:_SHOWN]) or "nothing") + more
