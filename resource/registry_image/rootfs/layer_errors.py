"""What goes wrong while layers are laid out: which path, what was wrong, what to do."""

from __future__ import annotations

import errno

from registry_image.errors import ExtractionError, UnsafePath, quote, storage_error

#: What helps where something is laid out; `StorageError` knows what helps anywhere.
DESTINATION_HINTS = {
    errno.EROFS: "the destination is mounted read-only: give a directory that can be written",
    errno.EPERM: "a file may be immutable (`lsattr`), or a security policy refuses",
    errno.EACCES: "give a destination that this user may write",
}


class LayerError(Exception):
    """A layer asks for what cannot be. Who knows the layer's name puts it in front and raises ``kind``."""

    def __init__(self, kind: type[ExtractionError], message: str) -> None:
        super().__init__(message)
        self.kind = kind


def extraction_error(error: OSError | LayerError, what: str, path: bytes | None = None) -> ExtractionError:
    """``error`` as the pipeline's author reads it; ``what`` was being done, ``path`` was being unpacked.

    >>> str(extraction_error(OSError(errno.ENOSPC, "No space left on device"), "layer 1", b"usr/bin/git"))
    "layer 1: unpack 'usr/bin/git': No space left on device"
    """
    if isinstance(error, LayerError):
        return error.kind(f"{what}: {error}")
    doing = what if path is None else f"{what}: unpack {quote(path)}"
    if error.errno == errno.ENAMETOOLONG:
        return UnsafePath(f"{doing}: a name longer than this filesystem allows (usually 255 bytes)")
    return storage_error(error, doing, DESTINATION_HINTS)
