"""The slow, obvious model of an image: layers applied one by one to a dictionary of resolved paths.

It shares nothing with the code under test, and is meant to be obviously right, not quick: a tree is a dict from path to
inode, a hard link is the same inode under a second name, removing a directory removes every key below it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.support import tar
from tests.support.tree import Kind, Node, Tree, content_of

IMPLIED_MTIME_NS = 0


Path = tuple[bytes, ...]
ROOT: Path = ()


class Refused(Exception):
    """The layer must be refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One member of a layer, as a test describes it. ``target`` is a symlink's target or a hard link's source."""

    path: bytes
    kind: Kind = "file"
    hardlink: bool = False
    data: bytes = b""
    target: bytes = b""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime_ns: int = tar.MTIME * 10**9
    device: tuple[int, int] = (0, 0)
    xattrs: Mapping[str, bytes] = field(default_factory=dict)

    def encode(self) -> bytes:
        types = {
            "file": b"0",
            "symlink": b"2",
            "character": b"3",
            "block": b"4",
            "directory": b"5",
            "fifo": b"6",
        }
        return tar.member(
            self.path,
            b"1" if self.hardlink else types[self.kind],
            data=self.data,
            linkname=self.target,
            device=self.device,
            mode=self.mode,
            uid=self.uid,
            gid=self.gid,
            mtime_ns=self.mtime_ns,
            xattrs=self.xattrs,
        )


@dataclass(slots=True, eq=False)
class Inode:
    """Compared by identity, as inodes are."""

    kind: Kind
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    mtime_ns: int = IMPLIED_MTIME_NS
    data: bytes = b""
    target: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: dict[bytes, bytes] = field(default_factory=dict)


def archive(layer: Sequence[Member]) -> bytes:
    return tar.archive(*(member.encode() for member in layer))


def tree(layers: Sequence[Sequence[Member]]) -> Tree:
    """The tree of the layers, oldest first. Raises Refused."""
    image = _Image()
    for layer in layers:
        image.apply(layer)
    return image.tree()


class _Image:
    def __init__(self) -> None:
        self.nodes: dict[Path, Inode] = {ROOT: Inode("directory")}
        self.added: set[Path] = set()
        self.late: list[tuple[Path, Path]] = []

    def apply(self, layer: Sequence[Member]) -> None:
        self.added = {ROOT}
        self.late = []
        for member in layer:
            self.place(member)
        for path, source in self.late:
            if self.kind(path[:-1]) != "directory":
                continue  # a later entry of the layer removed its directory
            found = self.source(source)
            if found is None:
                raise Refused(f"no source {source}")
            if path not in self.nodes:  # else a later entry of the layer has its name
                self.link(path, found)

    def place(self, member: Member) -> None:
        path = lexical(member.path)
        if not path:
            if member.kind != "directory" or member.hardlink:
                raise Refused("the root is a directory")
            self.dress(self.nodes[ROOT], member)
            return
        *parents, name = path
        if name.startswith(b".wh."):
            self.whiteout(tuple(parents), name)
            return
        resolved = (*self.make_parents(tuple(parents)), name)
        for length in range(len(resolved) + 1):
            self.added.add(resolved[:length])
        if member.hardlink:
            self.place_link(resolved, lexical(member.target))
        elif member.kind == "directory" and self.kind(resolved) == "directory":
            self.dress(self.nodes[resolved], member)
        else:
            self.remove(resolved)
            inode = self.nodes[resolved] = Inode(member.kind)
            inode.data, inode.target, inode.device = member.data, member.target, member.device
            self.dress(inode, member)

    def dress(self, inode: Inode, member: Member) -> None:
        inode.mode = 0o777 if member.kind == "symlink" else member.mode
        inode.uid, inode.gid, inode.mtime_ns = member.uid, member.gid, member.mtime_ns
        inode.xattrs = {
            key.encode(): value
            for key, value in member.xattrs.items()
            if key != "security.selinux" and not key.startswith(("system.", "trusted."))  # no stack here has ACLs
        }

    # Hard links

    def place_link(self, path: Path, source: Path) -> None:
        found = self.source(source)
        if found is not None and found != path:
            self.remove(path)
            found = self.source(source)
        if found is None:
            self.remove(path)
            self.late = [(other, at) for other, at in self.late if other != path]
            self.late.append((path, source))
        elif found != path:
            self.link(path, found)

    def source(self, source: Path) -> Path | None:
        """The resolved ``source``, its last component not followed; None if it does not exist."""
        if not source:
            raise Refused("a hard link to a directory")
        parent = self.find(source[:-1])
        if parent is None or (*parent, source[-1]) not in self.nodes:
            return None
        return (*parent, source[-1])

    def link(self, path: Path, source: Path) -> None:
        if self.kind(source) == "directory":
            raise Refused("a hard link to a directory")
        self.nodes[path] = self.nodes[source]

    # Whiteouts

    def whiteout(self, parents: Path, name: bytes) -> None:
        parent = self.find(parents)
        if name == b".wh..wh..opq":
            if parent is not None:
                self.hide(parent, itself=False)
        elif name.startswith(b".wh..wh."):
            pass
        elif name in (b".wh.", b".wh..", b".wh..."):
            raise Refused("a whiteout of nothing")
        elif parent is not None:
            self.hide((*parent, name.removeprefix(b".wh.")), itself=True)

    def hide(self, path: Path, *, itself: bool) -> None:
        for key in list(self.nodes):
            below = key[: len(path)] == path and (itself or key != path)
            if below and key not in self.added:
                del self.nodes[key]

    # Paths

    def kind(self, path: Path) -> Kind | None:
        return self.nodes[path].kind if path in self.nodes else None

    def remove(self, path: Path) -> None:
        for key in list(self.nodes):
            if key[: len(path)] == path:
                del self.nodes[key]

    def find(self, path: Path) -> Path | None:
        try:
            resolved = self.resolve(path)
        except Refused:
            return None
        return resolved if self.kind(resolved) == "directory" else None

    def make_parents(self, path: Path) -> Path:
        resolved = self.resolve(path)
        for length in range(1, len(resolved) + 1):
            if self.kind(resolved[:length]) != "directory":
                self.remove(resolved[:length])
                self.nodes[resolved[:length]] = Inode("directory")
        return resolved

    def resolve(self, path: Path) -> Path:
        """``path`` resolved as in a chroot as far as it exists, lexically from there on."""
        done: list[bytes] = []
        todo = list(path)
        hops = 0
        while todo:
            name = todo.pop(0)
            if name == b"..":
                done = done[:-1]
            elif self.kind((*done, name)) == "symlink":
                hops += 1
                if hops > 40:
                    raise Refused("a circle of symlinks")
                target = self.nodes[(*done, name)].target
                if target.startswith(b"/"):
                    done = []
                todo = [part for part in target.split(b"/") if part not in (b"", b".")] + todo
            else:
                done.append(name)
        return tuple(done)

    def tree(self) -> Tree:
        names: dict[int, set[bytes]] = {}
        for path, inode in self.nodes.items():
            if inode.kind != "directory":
                names.setdefault(id(inode), set()).add(b"/".join(path))
        return {
            b"/".join(path): Node(
                kind=inode.kind,
                mode=inode.mode,
                uid=inode.uid,
                gid=inode.gid,
                mtime_ns=inode.mtime_ns,
                content=inode.target
                if inode.kind == "symlink"
                else content_of(inode.data)
                if inode.kind == "file"
                else b"",
                device=inode.device,
                xattrs=inode.xattrs,
                names=frozenset(names.get(id(inode), ())),
            )
            for path, inode in self.nodes.items()
        }


def lexical(path: bytes) -> Path:
    parts: list[bytes] = []
    for part in path.split(b"/"):
        if part == b"..":
            if not parts:
                raise Refused("climbs above the root")
            parts.pop()
        elif part not in (b"", b"."):
            parts.append(part)
    return tuple(parts)
