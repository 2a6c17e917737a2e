"""Layers with changed bytes: unpacked, or one error of ours; outside nothing changes either way (layers.md 50)."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry_image.errors import ExtractionError
from tests.support import tar
from tests.support.layers import unpack
from tests.support.tree import snapshot

LOWER = tar.archive(
    tar.file("d/f", "lower"), tar.symlink("l", to="d"), tar.hardlink("h", to="d/f"), tar.directory("d/e"), tar.fifo("p")
)
UPPER = tar.archive(
    tar.whiteout("d/f"),
    tar.opaque("l/e"),
    tar.file("l/new", "x" * 600, xattrs={"user.a": b"1"}, mtime_ns=5),
    tar.hardlink("late", to="d/z"),
    tar.symlink("d/up", to="../../../.."),
    tar.file("d/up/z", "z"),
    tar.file("d/z", "z", mode=0o4755, uid=9),
    tar.gnu_sparse("d/s", [(0, b"a"), (5000, b"b")], 6000),
    tar.directory("l", mode=0o700),
    tar.file("x" * 120, "long"),
    tar.symlink(".wh..wh.plnk/l", to="../d"),
    tar.file(".wh..wh.plnk/l/.wh.z"),
)
#: Bytes with a meaning in a header: separators, dots, signs of numbers, types, the prefix of whiteouts.
TELLING = st.sampled_from(
    [b"/", b"..", b"../", b"\0", b".wh.", b".wh..wh.", b"7", b"1", b"2", b"5", b"L", b"x", b"\x80", b"\xff"]
)
CHANGES = st.lists(
    st.tuples(st.integers(0, len(UPPER) - 1), st.one_of(TELLING, st.binary(min_size=1, max_size=3))), max_size=6
)


pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may look into files of any mode")


def with_checksums(data: bytearray) -> bytes:
    """Corrects the checksum of every header, so that the changed bytes get past it."""
    for at in range(0, len(data) - 511, 512):
        block = data[at : at + 512]
        if block[257:262] == b"ustar":
            block[148:156] = b" " * 8
            data[at + 148 : at + 156] = b"%06o\0 " % sum(block)
    return bytes(data)


@pytest.mark.rule(50)
@settings(max_examples=150)
@given(changes=CHANGES)
def test_changed_bytes_are_laid_out_or_refused(changes: list[tuple[int, bytes]]) -> None:
    data = bytearray(UPPER)
    for position, text in changes:
        data[position : position + len(text)] = text
    with tempfile.TemporaryDirectory(prefix="broken-") as name:
        place = Path(name)
        (place / "outside").mkdir()
        (place / "outside/canary").write_text("canary")
        before = snapshot(place / "outside")
        failed = False
        try:
            unpack(place / "rootfs", LOWER, with_checksums(data))
        except ExtractionError:
            failed = True
        assert snapshot(place / "outside") == before
        assert sorted(os.listdir(place)) == ["outside", "rootfs"]
        for path in snapshot(place / "rootfs"):
            reserved = {part for part in path.split(b"/") if part.startswith(b".wh.")}
            # AUFS's directory is removed at the end of its layer.
            assert reserved <= ({b".wh..wh.plnk"} if failed else set()), path
