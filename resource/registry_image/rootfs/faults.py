"""What goes wrong while layers are laid out, in sentences: which path, what was wrong, what to do."""

from __future__ import annotations

import errno

from registry_image.errors import ExtractionError, StorageError, UnsafePath

#: What helps where something is laid out; `StorageError` knows what helps anywhere.
_HINTS = {
    errno.EROFS: "the destination is mounted read-only: give a directory that can be written",
    errno.EPERM: "a file may be immutable (`lsattr`), or a security policy refuses",
    errno.EACCES: "give a destination that this user may write",
}


class LayerFault(Exception):
    """A layer asks for what cannot be. Who knows the layer's name puts it in front and raises ``kind``."""

    def __init__(self, kind: type[ExtractionError], message: str) -> None:
        super().__init__(message)
        self.kind = kind


def storage_fault(error: OSError, doing: str) -> ExtractionError:
    """``error`` as one of ours; ``doing`` says what, on which path. A name too long is the layer's fault.

    >>> str(storage_fault(OSError(errno.ENOSPC, "No space left on device"), "layer 1: write 'usr/bin/git'"))
    "layer 1: write 'usr/bin/git': No space left on device"
    """
    if error.errno == errno.ENAMETOOLONG:
        return UnsafePath(f"{doing}: a name longer than this filesystem allows (usually 255 bytes)")
    reason = error.strerror or str(error)
    return StorageError(f"{doing}: {reason}", errno=error.errno, hint=_HINTS.get(error.errno or 0))
