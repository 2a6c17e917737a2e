"""Errors of applying layers: the path, the cause, and what to do."""

from __future__ import annotations

import errno

from registry_image.errors import ExtractionError, UnsafePath, quote, storage_error

#: Advice by errno for the destination; `StorageError` has the general advice.
DESTINATION_HINTS = {
    errno.EROFS: "the destination is mounted read-only: give a directory that can be written",
    errno.EPERM: "a file may be immutable (`lsattr`), or a security policy refuses",
    errno.EACCES: "give a destination that this user may write",
    errno.EMLINK: "the filesystem allows no more links (ext4: 65,000 to one file): use one with more, such as XFS",
}


class LayerError(Exception):
    """A layer cannot be applied. The caller prefixes the layer's name and raises ``kind``."""

    def __init__(self, kind: type[ExtractionError], message: str) -> None:
        super().__init__(message)
        self.kind = kind


def extraction_error(error: OSError | LayerError, what: str, path: bytes | None = None) -> ExtractionError:
    """``error`` for the pipeline's author: it came while doing ``what``, and while unpacking ``path`` if given.

    >>> str(extraction_error(OSError(errno.ENOSPC, "No space left on device"), "layer 1", b"usr/bin/git"))
    "layer 1: unpack 'usr/bin/git': No space left on device"
    """
    if isinstance(error, LayerError):
        return error.kind(f"{what}: {error}")
    doing = what if path is None else f"{what}: unpack {quote(path)}"
    if error.errno == errno.ENAMETOOLONG:
        return UnsafePath(f"{doing}: a name longer than this filesystem allows (usually 255 bytes)")
    return storage_error(error, doing, DESTINATION_HINTS)
