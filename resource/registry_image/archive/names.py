"""Turns names and link targets of a layer into paths beneath the root (layers.md 17, 21, 25, 27)."""

from __future__ import annotations

from registry_image.archive.headers import Malformed
from registry_image.errors import quote

#: The longest path or link target, in bytes: Linux's PATH_MAX, less its closing NUL.
MAX_PATH = 4095


class Unsafe(Malformed):
    """A name that is invalid for any file beneath the root."""


def normalise(name: bytes) -> bytes:
    """``name`` relative to the root, without empty, ``.`` and ``..`` parts; b"" is the root itself.

    ``..`` is resolved lexically. Raises Unsafe for an empty name, one with a NUL in it, one that climbs above the root,
    one too long. Names come from headers, PAX records and sparse maps, and all of them come here.
    """
    if not name:
        raise Unsafe("an empty name")
    if b"\0" in name:
        raise Unsafe(f"a name with a NUL in it: {quote(name)}")
    path = name.rstrip(b"/")
    if path.startswith(b"./"):
        path = path[2:]
    if not path or path[0] in b"./" or b"//" in path or b"/." in path:
        path = _resolve(name)
    if len(path) > MAX_PATH:
        raise Unsafe(f"a path of {len(path)} bytes: more than {MAX_PATH}: {quote(path)}")
    return path


def _resolve(name: bytes) -> bytes:
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            if not parts:
                raise Unsafe(f"{quote(name)} climbs above the root")
            parts.pop()
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/".join(parts)


def check_symlink_target(target: bytes) -> None:
    """Raises Unsafe unless a symlink can have ``target``. Where it leads is not checked (layers.md 25)."""
    if not target:
        raise Unsafe("a symlink without a target")
    if b"\0" in target:
        raise Unsafe(f"a symlink target with a NUL in it: {quote(target)}")
    if len(target) > MAX_PATH:
        raise Unsafe(f"a symlink target of {len(target)} bytes: more than {MAX_PATH}: {quote(target)}")
