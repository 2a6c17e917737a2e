"""A queue of bytes between two threads."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from registry_image.errors import Cancelled, StorageError
from registry_image.oci.digest import Buffer
from registry_image.storage import spool as spooling
from registry_image.storage.spool import LEAST, READ_SIZE, Spool, gathered

TIMEOUT = 30.0


@contextmanager
def in_thread(work: Callable[[], object]) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield thread
    thread.join(TIMEOUT)
    assert not thread.is_alive()


def everything(spool: Spool) -> bytes:
    return b"".join(bytes(piece) for piece in spool.read())


def test_small_pieces_are_joined_and_large_ones_are_not_copied() -> None:
    large = os.urandom(LEAST)
    pieces: list[Buffer] = [b"ab", memoryview(b"cd"), b"", large, large, bytearray(large), b"f" * (LEAST - 1), b"g"]
    joined = list(gathered(pieces))
    assert b"".join(joined) == b"".join(pieces)
    assert all(len(piece) >= LEAST for piece in joined[:-1])
    assert joined[1] is large
    assert list(gathered([])) == []


@pytest.mark.parametrize("memory", [1, 10, 1 << 20])
@pytest.mark.parametrize("spills", [False, True])
def test_everything_arrives_in_order(tmp_path: Path, memory: int, *, spills: bool) -> None:
    pieces = [bytes([number % 256]) * (number * 37 % 501) for number in range(1000)]
    spool = Spool(threading.Event(), memory, os.fsencode(tmp_path) if spills else None)

    def write() -> None:
        for piece in pieces:
            spool.write(piece)
        spool.finish()

    with in_thread(write):
        assert everything(spool) == b"".join(pieces)
    assert list(tmp_path.iterdir()) == []


def test_before_its_turn_a_spool_uses_an_unlinked_file_and_the_writer_never_waits(tmp_path: Path) -> None:
    spool = Spool(threading.Event(), 1000, os.fsencode(tmp_path))
    data = os.urandom(3 * READ_SIZE + 7)
    for at in range(0, len(data), 999):
        spool.write(data[at : at + 999])
    assert list(tmp_path.iterdir()) == []
    spool.finish()
    assert everything(spool) == data


def test_a_spool_that_fits_in_memory_makes_no_file() -> None:
    spool = Spool(threading.Event(), 1000, b"/nonexistent")
    spool.write(b"x" * 999)
    spool.finish()
    assert everything(spool) == b"x" * 999


def test_a_spool_is_full_while_there_is_no_room_in_memory_nor_yet_a_file(tmp_path: Path) -> None:
    spool = Spool(threading.Event(), 10)
    spool.write(b"x" * 9)
    assert not spool.is_full
    spool.write(b"x")
    assert spool.is_full
    pieces = spool.read()
    assert next(pieces) == b"x" * 9
    assert not spool.is_full

    spills = Spool(threading.Event(), 10, os.fsencode(tmp_path))
    spills.write(b"x" * 10)
    assert spills.is_full
    spills.write(b"x" * 10)  # to the file, which always has room
    assert not spills.is_full


def test_before_its_turn_a_writer_waits_while_nothing_is_urgent(tmp_path: Path) -> None:
    urgent = threading.Event()
    asked = threading.Event()

    def is_urgent() -> bool:
        asked.set()
        return urgent.is_set()

    spool = Spool(threading.Event(), 10, os.fsencode(tmp_path), is_urgent)

    def write() -> None:
        for _ in range(100):
            spool.write(b"0123456789")
        spool.finish()

    with in_thread(write) as thread:
        assert asked.wait(TIMEOUT)
        assert thread.is_alive()
        urgent.set()
    assert everything(spool) == b"0123456789" * 100


def test_before_its_turn_a_writer_waits_only_for_so_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spooling, "PATIENCE", 0.0)
    spool = Spool(threading.Event(), 10, os.fsencode(tmp_path), lambda: False)
    for _ in range(100):
        spool.write(b"0123456789")
    spool.finish()
    assert everything(spool) == b"0123456789" * 100


def test_a_spool_is_empty_while_its_reader_waits() -> None:
    spool = Spool(threading.Event(), 10)
    assert spool.is_empty
    spool.write(b"0123456789")
    assert not spool.is_empty
    reader = spool.read()
    next(reader)
    assert spool.is_empty
    spool.finish()
    assert not spool.is_empty


def test_a_writer_waits_for_its_reader_once_it_reads(tmp_path: Path) -> None:
    spool = Spool(threading.Event(), 10, os.fsencode(tmp_path))
    written: list[int] = []
    spool.write(b"first data")
    reader = spool.read()
    assert bytes(next(reader)) == b"first data"

    def write() -> None:
        for number in range(100):
            spool.write(b"0123456789")
            written.append(number)
        spool.finish()

    with in_thread(write):
        for seen, _ in enumerate(reader):
            # One piece is being handed over, one is buffered, and one may have been written but not counted.
            assert len(written) <= seen + 3


def test_the_reader_gets_an_error_after_what_came_before_it() -> None:
    spool = Spool(threading.Event(), 100)
    spool.write(b"data")
    spool.finish(ValueError("broken"))
    reader = spool.read()
    assert bytes(next(reader)) == b"data"
    with pytest.raises(ValueError, match="broken"):
        next(reader)
    assert isinstance(spool.wait(), ValueError)


def test_a_waiting_thread_is_cancelled() -> None:
    cancelled = threading.Event()
    full, empty = Spool(cancelled, 1), Spool(cancelled, 1)
    full.write(b"x")
    ended: list[str] = []

    def write() -> None:
        with pytest.raises(Cancelled):
            full.write(b"y")
        ended.append("writer")

    def read() -> None:
        with pytest.raises(Cancelled):
            next(empty.read())
        ended.append("reader")

    def wait() -> None:
        with pytest.raises(Cancelled):
            empty.wait()
        ended.append("waiter")

    with in_thread(write), in_thread(read), in_thread(wait):
        cancelled.set()
    assert sorted(ended) == ["reader", "waiter", "writer"]


def test_a_discarded_spool_drops_bytes_without_waiting() -> None:
    spool = Spool(threading.Event(), 10)
    spool.write(b"x" * 10)

    def write() -> None:
        for _ in range(100):
            spool.write(b"x" * 10)
        spool.finish()

    with in_thread(write):
        spool.discard()
        assert spool.wait() is None


def test_a_disk_that_refuses_is_a_storage_error(tmp_path: Path) -> None:
    spool = Spool(threading.Event(), 1, os.fsencode(tmp_path / "missing"))
    spool.write(b"x")
    with pytest.raises(StorageError) as caught:
        spool.write(b"y")
    assert caught.value.errno == errno.ENOENT


def test_the_file_is_closed_with_the_spool(tmp_path: Path) -> None:
    def open_files() -> int:
        return sum(
            os.path.dirname(os.readlink(f"/proc/self/fd/{fd}")) == str(tmp_path)
            for fd in os.listdir("/proc/self/fd")
            if os.path.lexists(f"/proc/self/fd/{fd}")
        )

    spool = Spool(threading.Event(), 1, os.fsencode(tmp_path))
    spool.write(b"x")
    spool.write(b"y")
    assert open_files() == 1
    del spool
    assert open_files() == 0
