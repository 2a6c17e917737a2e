"""Writes the data of a sparse file, and leaves its holes (layers.md 16)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from registry_image.oci.digest import Buffer


def write_sparse(fd: int, segments: Iterable[tuple[int, int]], body: Iterator[Buffer]) -> int:
    """Writes ``body`` to the (offset, length) segments of a file; the number of bytes."""
    total = 0
    data: Buffer = b""
    for start, length in segments:
        done = 0
        while done < length:
            if not data:
                data = next(body)
            written = os.pwrite(fd, data[: length - done], start + done)
            data = data[written:]
            done += written
        total += done
    return total
