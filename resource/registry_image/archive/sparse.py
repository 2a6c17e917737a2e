"""Maps of sparse files: old GNU, PAX 0.0, 0.1 and 1.0 (layers.md 16; GNU tar manual, "Storing Sparse Files")."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from registry_image.archive import pax
from registry_image.archive.headers import BLOCK_SIZE, Malformed, number

#: The largest map, in bytes, as in Go's archive/tar and libarchive.
MAX_MAP_SIZE = 1024 * 1024
PREFIX = b"GNU.sparse."
_NAME = PREFIX + b"name"
_BLOCKS = PREFIX + b"numblocks"
_MAJOR, _MINOR = PREFIX + b"major", PREFIX + b"minor"
_SIZES = (PREFIX + b"realsize", PREFIX + b"size")

Segments = tuple[tuple[int, int], ...]
ReadBlock = Callable[[], bytes]


def is_sparse(records: Mapping[bytes, bytes]) -> bool:
    """Whether records describe a sparse file, of a version known to us or not."""
    return any(key.startswith(PREFIX) for key in records)


def name(records: Mapping[bytes, bytes]) -> bytes:
    """The file's own name, or b"". The header's name is then a substitute for tools without sparse files."""
    return records.get(_NAME, b"")


def real_size(records: Mapping[bytes, bytes]) -> int:
    """The file's size on disk, in bytes. Raises Malformed."""
    for key in _SIZES:
        if records.get(key):
            return pax.integer(records[key])
    raise Malformed("a sparse file without its size")


def read_pax_map(records: Mapping[bytes, bytes], read_block: ReadBlock) -> list[int]:
    """Offsets and lengths in turn; in version 1.0 they precede the data. Raises Malformed for unknown versions."""
    version = (records.get(_MAJOR, b""), records.get(_MINOR, b""))
    if version == (b"1", b"0"):
        return _read_map_1_0(read_block)
    if version not in ((b"", b""), (b"0", b"0"), (b"0", b"1")):
        raise Malformed(f"sparse format {version[0]!r}.{version[1]!r} is not known")
    text = records.get(pax.SPARSE_MAP, b"")
    numbers = [pax.integer(part) for part in text.split(b",")] if text else []
    if len(numbers) != 2 * pax.integer(records.get(_BLOCKS, b"")):
        raise Malformed("a sparse map whose length is not the one that it states")
    return numbers


def _read_map_1_0(read_block: ReadBlock) -> list[int]:
    """The number of segments, then offset and length of each, a line for every number, padded to a whole block."""
    text = bytearray(read_block())
    lines = text.count(b"\n")
    wanted = 1
    while True:
        if lines >= wanted and wanted == 1:
            count = pax.integer(bytes(text[: text.index(b"\n")]))
            if count < 0:
                raise Malformed(f"a sparse map of {count} segments")
            wanted += 2 * count
        if lines >= wanted:
            break
        if len(text) >= MAX_MAP_SIZE:
            raise Malformed(f"a sparse map of more than {MAX_MAP_SIZE} bytes")
        more = read_block()
        lines += more.count(b"\n")
        text += more
    return [pax.integer(line) for line in bytes(text).split(b"\n", wanted)[1:wanted]]


def read_old_map(block: bytes, read_block: ReadBlock) -> tuple[list[int], int]:
    """Offsets and lengths in turn, and the file's size: from a header of type ``S`` and the blocks that continue it."""
    numbers = _pairs(block, 386, 4)
    size = number(block[483:495])
    extended = block[482]
    seen = 0
    while extended:
        seen += BLOCK_SIZE
        if seen > MAX_MAP_SIZE:
            raise Malformed(f"a sparse map of more than {MAX_MAP_SIZE} bytes")
        block = read_block()
        numbers += _pairs(block, 0, 21)
        extended = block[504]
    return numbers, size


def _pairs(block: bytes, start: int, count: int) -> list[int]:
    numbers = []
    for at in range(start, start + 24 * count, 24):
        if not block[at]:
            break
        numbers += [number(block[at : at + 12]), number(block[at + 12 : at + 24])]
    return numbers


def segments(numbers: Sequence[int], size: int, stored: int) -> Segments:
    """The (offset, length) of a file's data. Raises Malformed unless they ascend without overlap, end within ``size``,
    and add up to the ``stored`` bytes."""
    if size < 0:
        raise Malformed(f"a sparse file of {size} bytes")
    result = []
    position = 0
    for offset, length in zip(numbers[::2], numbers[1::2], strict=True):
        if length < 0 or offset < position or offset + length > size:
            raise Malformed(f"a sparse map with {length} bytes at {offset}: expected order, within {size} bytes")
        position = offset + length
        if length:
            result.append((offset, length))
    if sum(length for _, length in result) != stored:
        raise Malformed(f"a sparse map that does not add up to the {stored} bytes stored")
    return tuple(result)
