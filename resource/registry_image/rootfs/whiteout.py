"""The meaning of names in a layer: the only place that knows ``.wh.`` (layers.md 30, 31, 33, 37). Pure.

A layer removes things by special names: ``.wh.motd`` hides ``motd`` of lower layers, ``.wh..wh..opq`` everything that
they have in its directory. Other names that begin with ``.wh..wh.`` are AUFS's own metadata, found in old layers.
"""

from __future__ import annotations

import enum

from registry_image.errors import InvalidWhiteout, quote
from registry_image.rootfs.layer_errors import LayerError

#: Where AUFS kept the inodes of hard links: entries of the same layer link to names in it. The directory is ours: an
#: entry of this name may be a symlink or a file, and is not made.
STASH = b".wh..wh.plnk"

_PREFIX = b".wh."
_AUFS_PREFIX = b".wh..wh."
_OPAQUE = b".wh..wh..opq"


class Mark(enum.Enum):
    """The meaning of a name with ``.wh.`` in it, and the path that `read` returns with it."""

    ENTRY = enum.auto()  #: an ordinary name, such as ``a.wh.b``; the path unchanged
    WHITEOUT = enum.auto()  #: the path that is hidden
    OPAQUE = enum.auto()  #: the directory whose content is hidden
    STASHED = enum.auto()  #: a source for hard links, removed at the end of the layer; the path unchanged
    METADATA = enum.auto()  #: of AUFS: nothing is made; the path unchanged


def may_mark(path: bytes) -> bool:
    """False if ``path`` is certainly ordinary. Called for every entry, so it must be quick."""
    return _PREFIX in path


def is_reserved(name: bytes) -> bool:
    """Whether no file of a root filesystem can have this name."""
    return name.startswith(_PREFIX)


def read(path: bytes) -> tuple[Mark, bytes]:
    """The meaning of the entry at the normalised ``path``, whatever its type.

    Raises LayerError for a whiteout that hides no valid name, and for an entry inside a whiteout: no such directory can
    be made.
    """
    *parents, name = path.split(b"/")
    if parents and parents[0] == STASH:
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
