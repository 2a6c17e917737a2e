"""A tree on disk as a value: all that can differ between two root filesystems, and nothing else.

>>> snapshot("rootfs")[b"usr/bin/git"].kind
'file'
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["file", "directory", "symlink", "fifo", "character", "block", "socket"]
Tree: TypeAlias = dict[bytes, "Node"]

_KINDS: Mapping[int, Kind] = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "character",
    stat.S_IFBLK: "block",
    stat.S_IFSOCK: "socket",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One name. ``content`` is a symlink's target or the SHA-256 of a file's data; ``names`` are all names of its inode
    in the tree, itself included (a directory has one).
    """

    kind: Kind
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    content: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: Mapping[bytes, bytes] = field(default_factory=dict)
    names: frozenset[bytes] = frozenset()


def content_of(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest().encode()


def snapshot(path: str | os.PathLike[str]) -> Tree:
    """Every name beneath ``path``, relative to it, b"" for itself. Follows no symlink, and does not recurse."""
    top = os.fsencode(os.fspath(path))
    tree: Tree = {b"": _read(top)}
    inodes: dict[tuple[int, int], set[bytes]] = {}
    todo = [b""]
    while todo:
        directory = todo.pop()
        for name in os.listdir(os.path.join(top, directory)):
            relative = os.path.join(directory, name)
            node = tree[relative] = _read(os.path.join(top, relative))
            if node.kind == "directory":
                todo.append(relative)
            else:
                status = os.lstat(os.path.join(top, relative))
                inodes.setdefault((status.st_dev, status.st_ino), set()).add(relative)
    for names in inodes.values():
        for name in names:
            tree[name] = replace(tree[name], names=frozenset(names))
    return tree


def _read(path: bytes) -> Node:
    status = os.lstat(path)
    kind = _KINDS[stat.S_IFMT(status.st_mode)]
    content = b""
    if kind == "symlink":
        content = os.readlink(path)
    elif kind == "file":
        with open(path, "rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest().encode()
    names = os.listxattr(path, follow_symlinks=False)
    return Node(
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        mtime_ns=status.st_mtime_ns,
        content=content,
        device=(os.major(status.st_rdev), os.minor(status.st_rdev)),
        xattrs={os.fsencode(name): os.getxattr(path, name, follow_symlinks=False) for name in names},
    )


def differences(actual: Tree, expected: Tree) -> list[str]:
    """The differences, one line each, for the message of a failed comparison."""
    found = [f"missing: {path!r}" for path in expected.keys() - actual.keys()]
    found += [f"too much: {path!r}" for path in actual.keys() - expected.keys()]
    for path in actual.keys() & expected.keys():
        for name in Node.__slots__:
            got, wanted = getattr(actual[path], name), getattr(expected[path], name)
            if got != wanted:
                found.append(f"{path!r}: {name} is {got!r}, expected {wanted!r}")
    return sorted(found)
