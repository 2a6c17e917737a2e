"""Writes that the kernel may do in parts."""

from __future__ import annotations

import os

from registry_image.errors import storage_errors
from registry_image.oci.digest import Buffer


def write_all(descriptor: int, data: Buffer, position: int, doing: str) -> int:
    """Writes all of ``data`` at ``position``; the position after it. Raises StorageError."""
    rest = memoryview(data)
    with storage_errors(doing):
        while rest:
            written = os.pwrite(descriptor, rest, position)
            position += written
            rest = rest[written:]
    return position
