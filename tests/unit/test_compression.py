"""Compression detected by the bytes, and verified to the last one (layers.md 5 to 9)."""

from __future__ import annotations

import contextlib
import gzip
import os
import random
import re
import subprocess
import time
import tracemalloc
from collections.abc import Iterator

import pytest

from registry_image.archive import compression
from registry_image.archive.compression import decompress
from registry_image.errors import CorruptLayer
from tests.support import parts, tar
from tests.support.growth import assert_linear

PLAIN = tar.archive(tar.file("data", random.Random(1).randbytes(50_000) + b"text " * 100_000), tar.file("b", b"b"))
EVERY_FIELD = tar.GzipFields(extra=b"AB\x02\x00xy", name=b"name.tar", comment=b"a comment", crc=True, text=True)
COMPRESSED = {"plain": PLAIN, "gzip": tar.gzip(PLAIN), "zstd": tar.zstd(PLAIN)}


def unpacked(data: bytes, piece: int = 64 * 1024) -> bytes:
    return b"".join(decompress(tar.pieces(data, piece), "layer 2 of 3"))


@pytest.mark.parametrize("form", COMPRESSED)
@pytest.mark.parametrize("piece", [1, 3, 1000, 1 << 20])
def test_rule_6_the_compression_is_detected_by_the_bytes_whatever_the_pieces(form: str, piece: int) -> None:
    data = (
        COMPRESSED[form] if piece > 3 else {"plain": b"x" * 600, "gzip": tar.gzip(b"x"), "zstd": tar.zstd(b"x")}[form]
    )
    expected = PLAIN if piece > 3 else {"plain": b"x" * 600, "gzip": b"x", "zstd": b"x"}[form]
    assert unpacked(data, piece) == expected


def test_rule_7_an_empty_stream_gives_an_empty_stream() -> None:
    assert unpacked(b"") == b""
    assert list(decompress([b"", b""], "layer")) in ([], [b""])
    assert unpacked(tar.gzip(b"")) == b""
    assert unpacked(tar.zstd(b"")) == b""


@pytest.mark.parametrize("level", [0, 1, 6, 9])
def test_every_level_of_gzip_is_read(level: int) -> None:
    assert unpacked(tar.gzip(PLAIN, level=level)) == PLAIN


@pytest.mark.parametrize("piece", [1, 1 << 20])
def test_rule_5_every_field_of_a_gzip_header_is_passed_over(piece: int) -> None:
    assert unpacked(tar.gzip_member(b"data" * 100, **EVERY_FIELD), piece) == b"data" * 100


@pytest.mark.parametrize(
    "fields",
    [
        tar.GzipFields(extra=b"x" * 65_535),
        tar.GzipFields(extra=b""),
        tar.GzipFields(name=b"n" * 5_000, comment=b"c" * 5_000),
        tar.GzipFields(extra=b"\0" * 4_000, name=b"", comment=b"c" * 9_000, crc=True),
    ],
    ids=["extra", "empty extra", "names", "all"],
)
@pytest.mark.parametrize("piece", [1, 509, 4096, 1 << 20])
def test_rule_5_a_gzip_header_may_be_longer_than_what_a_decoder_is_first_fed(
    fields: tar.GzipFields, piece: int
) -> None:
    members = tar.gzip_member(b"one", **fields) + tar.gzip_member(b"two", **fields)
    assert unpacked(members, piece) == b"onetwo"


@pytest.mark.parametrize("first", [b"", tar.gzip(b"first")])
@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (2, 7, "compression method 7, which is not deflate (8)"),
        (3, 0x3F, "reserved flags in a header: 0x3f"),
        (4, 0xFF, "the CRC of a header is "),
    ],
)
def test_rule_5_a_header_that_breaks_the_format_is_refused(
    first: bytes, position: int, value: int, message: str
) -> None:
    member = bytearray(tar.gzip_member(b"data", **EVERY_FIELD))
    member[position] = value
    for piece in (1, 1 << 20):
        with pytest.raises(CorruptLayer, match=f"^layer 2 of 3: corrupt gzip data: {re.escape(message)}"):
            unpacked(first + bytes(member), piece)


def test_a_name_that_never_ends_fills_no_memory() -> None:
    endless = [tar.gzip_member(b"", name=b"n")[:11], *[b"n" * (1 << 20)] * 32]
    tracemalloc.start()
    try:
        with pytest.raises(CorruptLayer, match="truncated gzip data"):
            list(decompress(endless, "layer"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * 1024 * 1024


@pytest.mark.parametrize("piece", [1, 5, 1 << 20])
def test_rule_5_gzip_is_a_sequence_of_members_some_empty(piece: int) -> None:
    members = tar.gzip(b"") + tar.gzip(b"one") + tar.gzip(b"") + tar.gzip(b"two" * 1000) + tar.gzip(b"")
    assert unpacked(members, piece) == b"one" + b"two" * 1000


@pytest.mark.parametrize("piece", [1, 5, 1 << 20])
@pytest.mark.parametrize(
    "trailer", [b"\0", bytes(10_000), b"\x1f", b"rubbish", bytes(100) + b"rubbish" * 1000, b"\0\x1f", b"\x1fx"]
)
def test_rule_5_data_after_gzip_is_tolerated_but_read(trailer: bytes, piece: int) -> None:
    data = tar.gzip(b"data") + trailer
    seen = bytearray()

    def watched() -> Iterator[memoryview]:
        for part in tar.pieces(data, piece):
            seen.extend(part)
            yield part

    assert b"".join(decompress(watched(), "layer")) == b"data"
    assert bytes(seen) == data


def test_rule_5_a_member_may_follow_padding() -> None:
    assert unpacked(tar.gzip(b"one") + bytes(700) + tar.gzip(b"two"), 64) == b"onetwo"


def test_rule_9_padding_between_many_members_takes_time_in_proportion() -> None:
    """All of them in one piece, as from a fast network."""

    def seconds(members: int) -> float:
        data = (tar.gzip(b"") + bytes(20)) * members
        begun = time.process_time()
        assert unpacked(data, len(data)) == b""
        return time.process_time() - begun

    assert_linear(seconds, 10_000)


@pytest.mark.parametrize("position", [-1, -4, -5, -8])
@pytest.mark.parametrize("follow", [b"", tar.gzip(b"more")])
def test_rule_5_crc_and_size_of_each_member_are_checked(position: int, follow: bytes) -> None:
    member = bytearray(tar.gzip(b"data" * 1000))
    member[position] ^= 0x10
    with pytest.raises(CorruptLayer, match=r"^layer 2 of 3: corrupt gzip data: "):
        unpacked(bytes(member) + follow)


def test_rule_5_the_crc_of_a_second_member_is_checked() -> None:
    second = bytearray(tar.gzip(b"data" * 1000))
    second[-5] ^= 1
    with pytest.raises(CorruptLayer):
        unpacked(tar.gzip(b"first") + bytes(second))


@pytest.mark.parametrize("piece", [1, 1 << 20])
def test_rule_5_zstd_frames_and_skippable_frames_come_in_any_order(piece: int) -> None:
    skipped = tar.zstd_skippable(b"x" * 700) + tar.zstd_skippable(b"")
    data = skipped + tar.zstd(b"one") + skipped + tar.zstd(b"") + tar.zstd(b"two" * 500) + skipped
    assert unpacked(data, piece) == b"one" + b"two" * 500
    assert unpacked(skipped, piece) == b""


@pytest.mark.parametrize("nibble", range(16))
def test_all_sixteen_magics_of_skippable_frames_are_known(nibble: int) -> None:
    skipped = bytes([0x50 + nibble]) + tar.zstd_skippable(b"abc")[1:]
    assert unpacked(skipped + tar.zstd(b"x") + skipped) == b"x"


def test_a_zstd_checksum_is_checked() -> None:
    frame = bytearray(tar.zstd(b"data" * 1000))
    frame[-1] ^= 1
    with pytest.raises(CorruptLayer, match=r"^layer 2 of 3: corrupt zstd data: "):
        unpacked(bytes(frame))


@pytest.mark.parametrize("trailer", [b"\0", b"rubbish", b"\x28\xb5", tar.gzip(b"x")])
def test_anything_but_a_frame_after_a_zstd_frame_is_an_error(trailer: bytes) -> None:
    for piece in (1, 1 << 20):
        with pytest.raises(CorruptLayer, match="zstd"):
            unpacked(tar.zstd(b"data") + trailer, piece)


def zstd_frame(descriptor: int, fields: bytes) -> bytes:
    """A frame with that header and one empty block, its last (RFC 8878, 3.1.1)."""
    return b"\x28\xb5\x2f\xfd" + bytes([descriptor]) + fields + b"\x01\x00\x00"


@pytest.mark.parametrize("piece", [1, 1 << 20])
@pytest.mark.parametrize(
    ("frame", "size"),
    [
        (zstd_frame(0x00, bytes([18 << 3])), 256),
        (zstd_frame(0x00, bytes([17 << 3 | 1])), 144),
        (zstd_frame(0x00, bytes([20 << 3])), 1024),
        # Single segments: a dictionary's number, then the content's size, in four or eight bytes.
        (zstd_frame(0xA0, (1 << 29).to_bytes(4, "little")), 512),
        (zstd_frame(0xE2, b"\0\0" + (1 << 32).to_bytes(8, "little")), 4096),
    ],
)
@pytest.mark.parametrize("before", [b"", tar.zstd(b"data") + tar.zstd_skippable()])
def test_rule_9_a_zstd_window_larger_than_the_bound_is_refused_with_its_size(
    before: bytes, frame: bytes, size: int, piece: int
) -> None:
    with pytest.raises(
        CorruptLayer, match=rf"^layer 2 of 3: zstd data with a window of {size} MiB, over our 128$"
    ) as e:
        unpacked(before + frame, piece)
    assert e.value.hint == "compress it again, with `zstd --long=27` at most"


def test_rule_9_a_zstd_window_of_just_the_bound_is_read() -> None:
    assert unpacked(zstd_frame(0x00, bytes([17 << 3]))) == b""


def test_rule_9_what_zstd_makes_of_a_long_window_is_refused_with_its_size() -> None:
    command = [parts.need("zstd"), "-1", "--long=28", "-c"]
    packed = subprocess.run(command, input=PLAIN, check=True, capture_output=True, timeout=60).stdout
    with pytest.raises(CorruptLayer, match="a window of 256 MiB, over our 128"):
        unpacked(packed)


def test_output_of_the_command_line_tools_is_read() -> None:
    for program, *options in (["zstd", "-19", "--long=27"], ["zstd", "-1", "--no-check"], ["gzip", "-1"], ["igzip"]):
        command = [parts.need(program), *options]
        packed = subprocess.run([*command, "-c"], input=PLAIN, check=True, capture_output=True, timeout=60).stdout
        assert unpacked(packed) == PLAIN


@pytest.mark.parametrize("form", ["gzip", "zstd"])
def test_rule_8_truncation_is_corruption_wherever_it_happens(form: str) -> None:
    data = COMPRESSED[form]
    for cut in (4, 5, 10, 12, 100, len(data) // 2, len(data) - 9, len(data) - 4, len(data) - 1):
        for prefix in (b"", data if cut == 100 else b""):
            with pytest.raises(CorruptLayer, match=rf"^layer 2 of 3: (truncated|corrupt) {form} data"):
                unpacked(prefix + data[:cut])


@pytest.mark.parametrize("form", ["gzip", "zstd"])
def test_rule_8_corruption_is_one_error_of_ours(form: str) -> None:
    chance = random.Random(7)
    for _ in range(200):
        data = bytearray(COMPRESSED[form])
        data[chance.randrange(4, 2000)] ^= 1 << chance.randrange(8)
        with contextlib.suppress(CorruptLayer):
            assert unpacked(bytes(data)) == PLAIN  # a bit that nobody checks, such as gzip's time


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\xfd7zXZ\0" + bytes(100), "xz"),
        (b"BZh91AY&SY" + bytes(100), "bzip2"),
        (b"LZIP\1" + bytes(100), "lzip"),
        (b"\x04\x22\x4d\x18" + bytes(100), "lz4"),
        (b"PK\x03\x04" + bytes(1000), "zip"),
        (b"<!DOCTYPE html><html>Service unavailable</html>" * 50, "HTML or XML"),
        (b'{"errors": []}', "JSON"),
    ],
)
def test_rule_6_other_formats_are_named(data: bytes, name: str) -> None:
    with pytest.raises(CorruptLayer, match=rf"^layer 2 of 3: expected gzip, zstd or tar, got {name}$") as caught:
        unpacked(data)
    assert caught.value.hint


@pytest.mark.parametrize("name", ["BZh", "<", "{", "PK\x03\x04"])
def test_rule_6_a_tar_may_begin_with_any_name(name: str) -> None:
    data = tar.archive(tar.file(name, b"data"))
    assert unpacked(data, 10) == data


@pytest.mark.parametrize("pack", [lambda data: gzip.compress(data, 9), tar.zstd])
def test_rule_9_a_bomb_comes_out_in_bounded_pieces(pack: object) -> None:
    assert callable(pack)
    bomb = bytes(pack(bytes(64 * 1024 * 1024)))
    assert len(bomb) < 100_000
    tracemalloc.start()
    try:
        total = 0
        for piece in decompress([bomb], "layer"):
            assert len(piece) <= compression.PIECE_SIZE
            total += len(piece)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert total == 64 * 1024 * 1024
    assert peak < 4 * 1024 * 1024


def test_ten_thousand_members_in_one_piece_are_read() -> None:
    members = tar.gzip(b"x") * 10_000
    assert unpacked(members, len(members)) == b"x" * 10_000


def test_pieces_may_live_in_one_reused_buffer() -> None:
    for form, data in COMPRESSED.items():
        buffer = bytearray(1000)

        def reused(data: bytes = data, buffer: bytearray = buffer) -> Iterator[memoryview]:
            for at in range(0, len(data), 1000):
                part = data[at : at + 1000]
                buffer[: len(part)] = part
                yield memoryview(buffer)[: len(part)]
                buffer[:] = os.urandom(1000)

        collected = bytearray()
        for piece in decompress(reused(), "layer"):
            collected += piece
        assert bytes(collected) == PLAIN, form


def test_errors_of_the_source_pass_through() -> None:
    def broken(data: bytes) -> Iterator[bytes]:
        yield data[:700]
        raise ConnectionError("gone")

    for data in COMPRESSED.values():
        with pytest.raises(ConnectionError):
            list(decompress(broken(data), "layer"))
