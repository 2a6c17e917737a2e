"""gzip of layers: by many processors if there are, and always to the same bytes.

One member for each block of 1 MiB; members one after the other are one gzip file (RFC 1952, 2.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from registry_image.oci.digest import Buffer

#: libdeflate's level, and the size of a block in bytes. See docs/adr/0060 before changing either: every image pushed
#: from a tarball of plain layers would get a new digest.
LEVEL = 3
BLOCK = 1024 * 1024

#: As `map`: applies the function to each of the blocks and gives the results in order, however many at once.
Run: TypeAlias = Callable[[Callable[[bytes], bytes], Iterable[bytes]], Iterator[bytes]]


def compress(pieces: Iterable[Buffer], run: Run = map) -> Iterator[bytes]:
    """gzip of all ``pieces``, the same for the same bytes."""
    return run(_member, _blocks(pieces))


def _member(block: bytes) -> bytes:
    import deflate  # here, because a put of layers that come compressed never needs it

    # No name and no time in its header.
    return bytes(deflate.gzip_compress(block, LEVEL))


def _blocks(pieces: Iterable[Buffer]) -> Iterator[bytes]:
    """The same bytes in blocks of one size, wherever the pieces end: the blocks are part of the result."""
    waiting = bytearray()
    empty = True
    for piece in pieces:
        waiting += piece
        while len(waiting) >= BLOCK:
            yield bytes(waiting[:BLOCK])
            del waiting[:BLOCK]
            empty = False
    if waiting or empty:
        # A layer of no bytes is a member of no bytes: a file without any member is no gzip.
        yield bytes(waiting)
