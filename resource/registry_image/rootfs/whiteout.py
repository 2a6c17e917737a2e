"""What a name in a layer means: the only place that knows ``.wh.`` (layers.md 30, 31, 33, 37). Pure.

A layer is a set of changes; what it takes away it says with names. ``.wh.motd`` hides ``motd`` of lower layers,
``.wh..wh..opq`` everything that they have in its directory. All other names that begin with ``.wh..wh.`` are what AUFS
kept for itself, and left in the layers of its day.
"""

from __future__ import annotations

import enum

from registry_image.errors import InvalidWhiteout, quote
from registry_image.rootfs.layer_errors import LayerError

#: Where AUFS kept the inodes of hard links: entries of the same layer link to names in it.
STASH = b".wh..wh.plnk"

_PREFIX = b".wh."
_AUFS_PREFIX = b".wh..wh."
_OPAQUE = b".wh..wh..opq"


class Mark(enum.Enum):
    """What a name that holds ``.wh.`` turns out to be. The second half of `read`'s answer goes with it."""

    ENTRY = enum.auto()  #: an ordinary name, such as ``a.wh.b``; the path as it is
    WHITEOUT = enum.auto()  #: the path that is hidden
    OPAQUE = enum.auto()  #: the directory whose content is hidden
    STASHED = enum.auto()  #: a source for hard links, gone when the layer ends; the path as it is
    METADATA = enum.auto()  #: of AUFS: nothing is made; the path as it is


def may_mark(path: bytes) -> bool:
    """False for a path that is surely an ordinary name: all but a few, so this is quick."""
    return _PREFIX in path


def is_reserved(name: bytes) -> bool:
    """Whether no file of a root filesystem can have this name."""
    return name.startswith(_PREFIX)


def read(path: bytes) -> tuple[Mark, bytes]:
    """What the entry at ``path``, normalised, is, whatever its type says.

    Raises LayerError for a whiteout that hides nothing nameable, and for an entry inside one: a name that begins
    with ``.wh.`` cannot be made, so neither can what lies in it.
    """
    *parents, name = path.split(b"/")
    if path == STASH or (parents and parents[0] == STASH):
        return Mark.STASHED, path
    for parent in parents:
        if parent.startswith(_AUFS_PREFIX):
            return Mark.METADATA, path
        if parent.startswith(_PREFIX):
            raise LayerError(InvalidWhiteout, f"entry {quote(path)} lies inside a whiteout: none can be made there")
    if name == _OPAQUE:
        return Mark.OPAQUE, b"/".join(parents)
    if name.startswith(_AUFS_PREFIX):
        return Mark.METADATA, path
    if not name.startswith(_PREFIX):
        return Mark.ENTRY, path
    hidden = name.removeprefix(_PREFIX)
    if hidden in (b"", b".", b".."):
        raise LayerError(InvalidWhiteout, f"whiteout {quote(path)} hides {quote(hidden)}: expected the name of a file")
    return Mark.WHITEOUT, b"/".join((*parents, hidden))
