"""A tree on disk as a value: everything an image says about each file, to be compared entry by entry."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One name in a tree. What does not apply to its kind is as for every other of that kind: 0, b"" or ()."""

    kind: str
    mode: int
    """Permission bits with setuid, setgid and sticky; 0 for symlinks, whose mode means nothing."""
    uid: int
    gid: int
    mtime_ns: int
    xattrs: tuple[tuple[str, bytes], ...]
    size: int = 0
    """Of regular files, in bytes."""
    content: str = ""
    """sha256 of a regular file."""
    target: bytes = b""
    """Of a symlink, verbatim."""
    device: int = 0
    names: tuple[bytes, ...] = ()
    """All names of this file within the tree, when they are several: its hard-link group."""


Tree = dict[bytes, Node]


def snapshot(top: Path | str) -> Tree:
    """Everything at and below ``top``, by path; ``top`` itself is ``b"."``. Symlinks are not followed."""
    root = os.fsencode(top)
    tree: Tree = {b".": _node(root, os.lstat(root))}
    groups: dict[tuple[int, int], list[bytes]] = {}
    pending = [root]
    while pending:
        for entry in os.scandir(pending.pop()):
            status = entry.stat(follow_symlinks=False)
            path = os.path.relpath(entry.path, root)
            tree[path] = _node(entry.path, status)
            if stat.S_ISDIR(status.st_mode):
                pending.append(entry.path)
            elif status.st_nlink > 1:
                groups.setdefault((status.st_dev, status.st_ino), []).append(path)
    for group in groups.values():
        for path in group:
            tree[path] = replace(tree[path], names=tuple(sorted(group)))
    return tree


def differences(one: Mapping[bytes, Node], other: Mapping[bytes, Node]) -> list[str]:
    """A line for each thing in which two trees differ, sorted by path; none when they are equal."""
    lines = []
    for path in sorted(one.keys() | other.keys()):
        if path not in other:
            lines.append(f"{path!r}: only in the first ({one[path].kind})")
        elif path not in one:
            lines.append(f"{path!r}: only in the second ({other[path].kind})")
        else:
            for field in fields(Node):
                first, second = getattr(one[path], field.name), getattr(other[path], field.name)
                if first != second:
                    lines.append(f"{path!r}: {field.name}: {first!r}, {second!r}")
    return lines


def _node(path: bytes, status: os.stat_result) -> Node:
    kind = stat.S_IFMT(status.st_mode)
    link, regular = kind == stat.S_IFLNK, kind == stat.S_IFREG
    return Node(
        kind=KINDS[kind],
        mode=0 if link else stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        mtime_ns=status.st_mtime_ns,
        xattrs=_xattrs(path),
        size=status.st_size if regular else 0,
        content=hashlib.sha256(Path(os.fsdecode(path)).read_bytes()).hexdigest() if regular else "",
        target=os.readlink(path) if link else b"",
        device=status.st_rdev if kind in (stat.S_IFCHR, stat.S_IFBLK) else 0,
    )


def _xattrs(path: bytes) -> tuple[tuple[str, bytes], ...]:
    try:
        names = sorted(os.listxattr(path, follow_symlinks=False))
    except OSError:  # a file system that has none
        return ()
    return tuple((name, os.getxattr(path, name, follow_symlinks=False)) for name in names)
