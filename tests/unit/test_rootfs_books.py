"""What is remembered: the umask, the paths that a layer added, and the times and modes that come last."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from registry_image.rootfs import paths, settling
from registry_image.rootfs.layer_errors import LayerError
from registry_image.rootfs.paths import PathSet
from registry_image.rootfs.root import Root
from registry_image.rootfs.settling import Last, Settling


def test_a_root_leaves_the_umask_alone(tmp_path: Path) -> None:
    """The library lays out images in several threads, and the umask is the whole process's."""
    before = os.umask(0o027)
    try:
        with Root(bytes(tmp_path)):
            assert os.umask(0o027) == 0o027
        assert os.umask(before) == 0o027
    finally:
        os.umask(before)
    assert os.listdir(tmp_path) == []


def test_a_path_set_knows_what_was_added_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "RECENT", 7)
    known = PathSet()
    added = [b"%d" % number for number in range(100)]
    for number, path in enumerate(added):
        assert path not in known
        known.add(path)
        known.add(path)
        assert all(earlier in known for earlier in added[: number + 1])
    assert not any(b"%d" % number in known for number in range(100, 200))
    known.clear()
    assert not any(path in known for path in added)


def test_a_path_set_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "RECENT", 10)
    monkeypatch.setattr(paths, "MAX_PATHS", 30)
    known = PathSet()
    for number in range(39):
        known.add(b"%d" % number)
    with pytest.raises(LayerError, match="more than 30 paths"):
        known.add(b"39")


RECORDS = [
    (b"", Last(0, None)),
    (b"a/b", Last(1_500_000_000_123_456_789, 0o555)),
    (b"\xff" * 4095, Last(-1, 0o7000, {b"system.posix_acl_access": b"x" * 70_000, b"system.posix_acl_default": b""})),
    (b"a", Last(-(2**40) - 5, 0, {b"system.posix_acl_default": b"\0\1"})),
    (b"a/b", Last(2**62, None)),
]


@pytest.mark.parametrize("block", [1, 60, settling.BLOCK])
def test_records_come_back_in_order(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(settling, "BLOCK", block)
    log = Settling()
    for path, last in RECORDS * 3:
        log.add(path, *last)
    assert list(log) == RECORDS * 3
    log.clear()
    assert list(log) == []


@pytest.mark.rule(45)
def test_a_time_out_of_range_is_recorded_as_the_nearest_one() -> None:
    log = Settling()
    log.add(b"late", 10**30, None)
    log.add(b"early", -(10**30), None)
    assert [last.mtime_ns for _, last in log] == [(2**63 - 1) * 10**9, -(2**63 - 1) * 10**9]


def test_records_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "BLOCK", 100)
    monkeypatch.setattr(settling, "MAX_SIZE", 1000)
    log = Settling()

    def fill() -> None:
        for number in range(1000):
            log.add(b"%d" % number, number, None)

    with pytest.raises(LayerError, match="more than 1000 bytes"):
        fill()
