"""Gzip in members of 1 MiB: others read it, and nothing but the bytes decides what is written."""

from __future__ import annotations

import gzip
import hashlib
import os
import random
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from registry_image.archive.gzip import BLOCK, compress
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
    subprocess.run([parts.need("gzip"), "-t"], input=written, check=True)
    for program in ("gzip", "igzip"):
        command = [parts.need(program), "-dc"]
        assert subprocess.run(command, input=written, capture_output=True, check=True).stdout == data


@pytest.mark.parametrize(
    ("data", "digest"),
    [
        (b"", "30e6fa98fb48c2b132824d1ac5e2243c0be9e9082ff32598d34d7687ca7f6c7f"),
        (TEXT, "077f25c9922e7a3d472cc8bd1c1ce079782a1429cd83478bb3c26c9eece36792"),
        (NOISE, "2784e34ba4ffe7aa1e4adfe2e98d8bdf4cd17fe00add13cf16311a9fae4f0a13"),
        (TEXT + NOISE + bytes(3 * BLOCK), "afa0cf0d8faade15d3021e1bc69b97d5e37e721c5188107a432b1ea8ea9ac80c"),
    ],
    ids=["nothing", "text", "noise", "all"],
)
def test_the_bytes_are_the_same_on_every_machine_and_in_every_release(data: bytes, digest: str) -> None:
    # Fails where a release of libdeflate writes other bytes: images pushed with it would get new digests.
    assert hashlib.sha256(packed(data)).hexdigest() == digest


def test_each_member_holds_one_block() -> None:
    written = packed(TEXT + NOISE)
    blocks = []
    while written:
        member = zlib.decompressobj(wbits=31)
        blocks.append(member.decompress(written))
        assert member.eof
        written = member.unused_data
    assert b"".join(blocks) == TEXT + NOISE
    assert {len(block) for block in blocks[:-1]} == {BLOCK}
    assert 0 < len(blocks[-1]) <= BLOCK


@pytest.mark.parametrize("number", [0, 1, 2], ids=["first", "middle", "last"])
def test_no_member_has_a_name_or_a_time(number: int) -> None:
    members = packed(bytes(3 * BLOCK)).split(b"\x1f\x8b\x08")[1:]
    assert len(members) == 3
    # Flags and time; RFC 1952, 2.3.
    assert members[number][:5] == bytes(5)


def test_how_the_bytes_come_in_does_not_matter() -> None:
    assert len({packed(TEXT, piece) for piece in (1000, 1 << 16, BLOCK, BLOCK + 1, len(TEXT))}) == 1


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_how_many_blocks_are_compressed_at_once_does_not_matter(threads: int) -> None:
    data = TEXT + NOISE + TEXT
    with ThreadPoolExecutor(threads) as pool:
        assert b"".join(compress([data], pool.map)) == packed(data)
    assert b"".join(compress([data], map_on_processors)) == packed(data)


def test_a_failure_while_reading_comes_out() -> None:
    def broken() -> Iterator[bytes]:
        yield TEXT
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(compress(broken(), map_on_processors))


def test_a_run_sees_each_block_once_and_in_order() -> None:
    seen: list[int] = []

    def run(function: Callable[[bytes], bytes], blocks: Iterable[bytes]) -> Iterator[bytes]:
        for block in blocks:
            seen.append(len(block))
            yield function(block)

    list(compress([TEXT], run))
    assert seen == [BLOCK] * (len(TEXT) // BLOCK) + [len(TEXT) % BLOCK]


def test_nothing_is_imported_before_the_first_block() -> None:
    program = (
        "import sys; from registry_image.archive.gzip import compress; assert 'deflate' not in sys.modules; "
        "list(compress([b'x'])); assert 'deflate' in sys.modules"
    )
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
