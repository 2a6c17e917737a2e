"""Gzip in blocks: what others read, and that nothing but the bytes decides what is written."""

from __future__ import annotations

import gzip
import hashlib
import random
import subprocess
from collections.abc import Callable, Iterable, Iterator

import pytest

from registry_image.archive.gzip import BLOCK, Work, compress
from registry_image.transfer.workers import map_on_processors
from tests.support import parts

TEXT = b"".join(b"line %d of a file\n" % number for number in range(150_000))
NOISE = random.Random(1).randbytes(300_000)


def packed(data: bytes, piece: int = 1 << 16) -> bytes:
    return b"".join(compress(data[at : at + piece] for at in range(0, len(data), piece)))


@pytest.mark.parametrize("data", [b"", b"x", TEXT, NOISE, TEXT[:BLOCK], TEXT[: BLOCK + 1], NOISE + TEXT])
def test_others_read_it(data: bytes) -> None:
    written = packed(data)
    assert gzip.decompress(written) == data
    for program in ("gzip", "igzip"):
        command = [parts.need(program), "-dc"]
        assert subprocess.run(command, input=written, capture_output=True, check=True).stdout == data


def test_the_bytes_are_the_same_on_every_machine_and_in_every_release() -> None:
    # Fails where Python is linked with another zlib, such as zlib-ng: images pushed from there would get new digests.
    digest = "a3b0794f39a6ef643a304a49f2f20f4ef501d6c6227a19c4858f7f7edbac7204"
    assert hashlib.sha256(packed(TEXT + NOISE)).hexdigest() == digest


def test_how_the_bytes_come_in_does_not_matter() -> None:
    assert len({packed(TEXT, piece) for piece in (1000, 1 << 16, BLOCK, BLOCK + 1, len(TEXT))}) == 1


def test_how_many_blocks_are_compressed_at_once_does_not_matter() -> None:
    assert b"".join(compress([TEXT, NOISE, TEXT], map_on_processors)) == packed(TEXT + NOISE + TEXT)


def test_blocks_know_what_came_before_them() -> None:
    # A block of what the last 32 KiB were is next to nothing.
    repeated = NOISE[: 16 * 1024] * (3 * BLOCK // (16 * 1024))
    assert len(packed(repeated)) < 60_000


def test_a_failure_while_reading_comes_out() -> None:
    def broken() -> Iterator[bytes]:
        yield TEXT
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(compress(broken(), map_on_processors))


def test_a_run_sees_each_block_once_and_in_order() -> None:
    seen: list[int] = []

    def run(function: Callable[[Work], bytes], works: Iterable[Work]) -> Iterator[bytes]:
        for work in works:
            seen.append(len(work[0]))
            yield function(work)

    list(compress([TEXT], run))
    assert seen == [BLOCK] * (len(TEXT) // BLOCK) + [len(TEXT) % BLOCK]
