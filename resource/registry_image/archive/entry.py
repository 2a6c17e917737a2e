"""One member of a layer's tar, read and normalised."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

REGULAR = b"0"
HARDLINK = b"1"
SYMLINK = b"2"
CHARACTER = b"3"
BLOCK_DEVICE = b"4"
DIRECTORY = b"5"
FIFO = b"6"

NO_XATTRS: Mapping[bytes, bytes] = MappingProxyType({})


class Entry:
    """A member as described in the tar, its name normalised (layers.md 21): relative, no empty, ``.`` or ``..`` parts.

    ``path`` is b"" for the root itself. ``type`` is one of the constants above; ``size`` counts the bytes of a regular
    file as it will be on disk, holes included, and is 0 for everything else. ``linkname`` is verbatim for a symlink,
    normalised like ``path`` for a hard link. ``mode`` is the field's low 12 bits, ``mtime_ns`` nanoseconds since the
    epoch, negative allowed. ``sparse`` lists the (offset, length) of a sparse file's data, None for a plain file.

    A plain class with slots, not a dataclass: a layer has a million of these, and making one must be cheap.
    """

    __slots__ = (
        "devmajor",
        "devminor",
        "gid",
        "linkname",
        "mode",
        "mtime_ns",
        "path",
        "size",
        "sparse",
        "type",
        "uid",
        "xattrs",
    )

    path: bytes
    type: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    linkname: bytes
    devmajor: int
    devminor: int
    xattrs: Mapping[bytes, bytes]
    sparse: tuple[tuple[int, int], ...] | None

    def __repr__(self) -> str:
        return f"Entry({self.type!r} {self.path!r})"
