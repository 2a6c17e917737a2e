"""gzip in blocks, each compressed apart from the others: by many processors if there are, and always to the same bytes.

One member, as pigz writes it: each block is deflated with the 32 KiB before it as its dictionary and ends on a byte
boundary (RFC 1951, 3.2.4: an empty stored block), so that they can be put one after the other.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from registry_image.oci.digest import Buffer

#: zlib's level, and the size of a block in bytes. See docs/adr/0060 before changing either: every image pushed from a
#: tarball of plain layers would get a new digest.
LEVEL = 4
BLOCK = 1024 * 1024
_WINDOW = 32 * 1024
#: No name, no time, no extra; "unknown" as the system that wrote it (RFC 1952, 2.3.1).
_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
#: An empty last block of fixed codes.
_END = b"\x03\x00"

#: A block and what came before it.
Work: TypeAlias = tuple[bytes, bytes]
#: As `map`: applies the function to each of the works and gives the results in order, however many at once.
Run: TypeAlias = Callable[[Callable[[Work], bytes], Iterable[Work]], Iterator[bytes]]


def compress(pieces: Iterable[Buffer], run: Run = map) -> Iterator[bytes]:
    """One gzip member of all ``pieces``, the same for the same bytes."""
    checksum = size = 0

    def works() -> Iterator[Work]:
        nonlocal checksum, size
        window = b""
        for block in _blocks(pieces):
            checksum = zlib.crc32(block, checksum)
            size += len(block)
            yield block, window
            window = block[-_WINDOW:]

    yield _HEADER
    yield from run(_deflate, works())
    yield _END + checksum.to_bytes(4, "little") + (size % (1 << 32)).to_bytes(4, "little")


def _deflate(work: Work) -> bytes:
    block, window = work
    if window:
        packer = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS, zdict=window)
    else:
        packer = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(block) + packer.flush(zlib.Z_SYNC_FLUSH)


def _blocks(pieces: Iterable[Buffer]) -> Iterator[bytes]:
    """The same bytes in blocks of one size, wherever the pieces end: the blocks are part of the result."""
    waiting = bytearray()
    for piece in pieces:
        waiting += piece
        while len(waiting) >= BLOCK:
            yield bytes(waiting[:BLOCK])
            del waiting[:BLOCK]
    if waiting:
        yield bytes(waiting)
