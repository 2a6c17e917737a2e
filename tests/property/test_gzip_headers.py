"""Every legal gzip header is read, and every broken one refused, as zlib does, wherever the pieces end."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from registry_image.archive.compression import decompress
from registry_image.errors import CorruptLayer
from registry_image.oci.digest import Buffer
from tests.support import tar

TEXTS = st.none() | st.binary(max_size=12).map(lambda text: text.replace(b"\0", b""))
FIELDS = st.builds(
    tar.GzipFields,
    text=st.booleans(),
    crc=st.booleans(),
    extra=st.none() | st.binary(max_size=12),
    name=TEXTS,
    comment=TEXTS,
)
#: Pieces are joined until there are 512 bytes, so only what comes after is read in pieces: the last fields of this
#: first header, and the members that follow it.
FIRST = st.builds(lambda fields, size: fields | {"extra": bytes(size)}, FIELDS, st.integers(470, 520))
JOINED = 512


def read_by_zlib(data: bytes) -> bytes | None:
    """None for data that is broken or cut short. What follows the last member is no part of it (layers.md 5)."""
    plain = b""
    while True:
        member = zlib.decompressobj(wbits=31)
        try:
            plain += member.decompress(data)
        except zlib.error:
            return None
        if not member.eof:
            return None
        data = member.unused_data.lstrip(b"\0")
        if data[:2] != b"\x1f\x8b":
            return plain


def read(pieces: Iterable[Buffer]) -> bytes | None:
    try:
        return b"".join(decompress(pieces, "layer"))
    except CorruptLayer:
        return None


@given(FIRST, st.lists(FIELDS, max_size=2))
def test_any_legal_header_of_any_member_is_read_wherever_it_is_cut(
    first: tar.GzipFields, others: list[tar.GzipFields]
) -> None:
    data = b"".join(tar.gzip_member(b"data %d" % number, **fields) for number, fields in enumerate((first, *others)))
    expected = b"".join(b"data %d" % number for number in range(1 + len(others)))
    assert read_by_zlib(data) == expected
    for cut in range(JOINED, len(data)):
        assert read((data[:cut], data[cut:])) == expected, cut
    assert read(tar.pieces(data, 1)) == expected


@given(FIRST, FIELDS, st.integers(0, 255), st.data())
def test_a_damaged_header_is_read_or_refused_as_zlib_does(
    first: tar.GzipFields, second: tar.GzipFields, value: int, draw: st.DataObject
) -> None:
    damaged = bytearray(tar.gzip_member(b"first", **first) + tar.gzip_member(b"second", **second))
    # Without the magic of the first member, it would be no gzip.
    damaged[draw.draw(st.integers(2, len(damaged) - 1))] = value
    expected = read_by_zlib(bytes(damaged))
    for size in (1, 2, 7, len(damaged)):
        assert read(tar.pieces(bytes(damaged), size)) == expected, size


@given(FIRST, FIELDS)
def test_a_member_that_ends_early_is_never_whole(first: tar.GzipFields, second: tar.GzipFields) -> None:
    before = tar.gzip_member(b"first", **first)
    data = before + tar.gzip_member(b"second", **second)
    # Two bytes are the magic of a second member; one alone is tolerated as data after the first.
    for end in (*range(2, len(before)), *range(len(before) + 2, len(data))):
        assert read([data[:end]]) is None, end
