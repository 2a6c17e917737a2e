"""Times, modes and ACLs of directories that must be set last, for the whole image (layers.md 46)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from struct import Struct
from typing import NamedTuple

from registry_image.errors import CorruptLayer
from registry_image.rootfs.attributes import clamped
from registry_image.rootfs.layer_errors import LayerError

#: Bytes of the log before they are compressed.
BLOCK = 1024 * 1024
#: The most bytes of the compressed log. A directory takes about 10; one whose name is noise takes the name's length.
MAX_SIZE = 32 * 1024 * 1024

#: seconds, nanoseconds, mode, length of the path, number of ACLs
_RECORD = Struct("=qIHHB")
#: length of the name, length of the value
_ACL = Struct("=BI")
_NO_MODE = 0xFFFF


class Last(NamedTuple):
    """What is set on a directory when all is in it; ``mode`` only if it would lock us out."""

    mtime_ns: int
    mode: int | None
    acls: Mapping[bytes, bytes] = {}


class Settling:
    """A log: the last record of a path counts, and none is ever removed. A million directories take 10 MB."""

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._recent = bytearray()
        self._size = 0

    def add(self, path: bytes, mtime_ns: int, mode: int | None, acls: Mapping[bytes, bytes] | None = None) -> None:
        """Raises LayerError if there are too many."""
        seconds, rest = divmod(clamped(mtime_ns), 1_000_000_000)
        self._recent += _RECORD.pack(
            seconds, rest, _NO_MODE if mode is None else mode, len(path), len(acls) if acls else 0
        )
        self._recent += path
        if acls:
            for name, value in acls.items():
                self._recent += _ACL.pack(len(name), len(value)) + name + value
        if len(self._recent) >= BLOCK:
            block = zlib.compress(self._recent, 1)
            self._recent.clear()
            self._blocks.append(block)
            self._size += len(block)
            if self._size > MAX_SIZE:
                raise LayerError(CorruptLayer, f"directories whose names take more than {MAX_SIZE} bytes, compressed")

    def __iter__(self) -> Iterator[tuple[bytes, Last]]:
        """Paths in the order in which they were added."""
        for block in self._blocks:
            yield from _records(zlib.decompress(block))
        yield from _records(bytes(self._recent))

    def clear(self) -> None:
        self._blocks.clear()
        self._recent.clear()
        self._size = 0


def _records(block: bytes) -> Iterator[tuple[bytes, Last]]:
    position = 0
    while position < len(block):
        seconds, rest, mode, length, count = _RECORD.unpack_from(block, position)
        position += _RECORD.size
        path = block[position : position + length]
        position += length
        acls = {}
        for _ in range(count):
            name_length, value_length = _ACL.unpack_from(block, position)
            position += _ACL.size
            middle, end = position + name_length, position + name_length + value_length
            acls[block[position:middle]] = block[middle:end]
            position = end
        yield path, Last(seconds * 1_000_000_000 + rest, None if mode == _NO_MODE else mode, acls)
