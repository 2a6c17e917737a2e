"""Bytes on their way from one thread to another: in memory while few, else in a file that has no name."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator

from registry_image.errors import Cancelled, storage_errors
from registry_image.oci.digest import Buffer
from registry_image.storage.disk import write_all

#: Bytes that are handed over at once. Waking another thread costs as much as hashing tens of kilobytes.
BATCH = 1024 * 1024
#: Bytes that one read of the file gives.
READ_SIZE = 256 * 1024
#: Seconds that a writer before its turn waits although nothing is urgent: servers cut connections that stand still.
PATIENCE = 5.0
#: Seconds between looks at whether all this still goes on. Nobody needs to wake who waits for the last time: a signal
#: may have unwound the thread that would have done it.
POLL = 0.1
_KEEPING = "keep a layer that waits"


class Spool:
    """One thread writes, one reads, in order.

    Up to ``memory`` bytes wait in memory. A writer with more waits for its reader, except before its turn: as long as
    nobody reads, and if there is a ``directory``, further bytes go to an unlinked file there, on the filesystem that
    has room for the image: at once if ``is_urgent``, else after PATIENCE. What has begun to go to the file goes there
    to its end.
    """

    def __init__(
        self,
        cancelled: threading.Event,
        memory: int,
        directory: bytes | None = None,
        is_urgent: Callable[[], bool] = lambda: True,
    ) -> None:
        self._cancelled = cancelled
        self._memory = memory
        self._directory = directory
        self._is_urgent = is_urgent
        self._changed = threading.Condition()
        self._batch_size = min(BATCH, memory)
        self._batch: list[bytes] = []  # the writer's own: what it has not handed over yet
        self._batched = 0  # bytes in _batch
        self._pieces: list[bytes] = []
        self._held = 0  # bytes in _pieces
        self._file: int | None = None
        self._written = 0  # bytes in the file
        self._reading = self._discarding = self._finished = False
        self._error: BaseException | None = None

    def write(self, piece: bytes) -> None:
        """Raises Cancelled, and StorageError where the file cannot grow."""
        self._batch.append(piece)
        self._batched += len(piece)
        if self._batched >= self._batch_size:
            self._hand_over()

    def _hand_over(self) -> None:
        batch, size = self._batch, self._batched
        self._batch, self._batched = [], 0
        patient_until = time.monotonic() + PATIENCE
        with self._changed:
            while self._held >= self._memory and self._file is None and not self._discarding:
                directory = None if self._reading else self._directory
                if directory is not None and (self._is_urgent() or time.monotonic() > patient_until):
                    self._file = _nameless_file(directory)
                else:
                    self._wait()
            if self._discarding:
                return
            if self._file is None:
                self._pieces += batch
                self._held += size
                self._changed.notify()
                return
        # The reader does not look behind _written, so the lock need not be held while the disk works.
        for piece in batch:
            self._written = write_all(self._file, piece, self._written, _KEEPING)
        with self._changed:
            self._changed.notify()

    def finish(self, error: BaseException | None = None) -> None:
        """The writer's last word: all is written, or ``error``, which the reader gets after what was written."""
        self._hand_over()
        with self._changed:
            self._finished, self._error = True, error
            self._changed.notify()

    def read(self) -> Iterator[Buffer]:
        """Everything, to the end or the error. A piece is valid until the next is asked for. Raises Cancelled."""
        with self._changed:
            self._reading = True
        while True:
            with self._changed:
                while not self._pieces and self._file is None and not self._finished:
                    self._wait()
                if not self._pieces:
                    break
                pieces, self._pieces, self._held = self._pieces, [], 0
                self._changed.notify()
            yield from pieces
        yield from self._read_file()
        if self._error is not None:
            raise self._error

    def _read_file(self) -> Iterator[Buffer]:
        if self._file is None:
            return
        buffer = bytearray(READ_SIZE)
        view = memoryview(buffer)
        position = 0
        while True:
            with self._changed:
                while position == self._written and not self._finished:
                    self._wait()
                size = min(self._written - position, READ_SIZE)
            if not size:
                return
            with storage_errors("read back a waiting layer"):
                count = os.preadv(self._file, [view[:size]], position)
            position += count
            yield view[:count]

    def discard(self) -> None:
        """Nobody will read on: what is written from now on is dropped, and its writer never waits."""
        with self._changed:
            self._discarding = True
            self._changed.notify()

    @property
    def is_empty(self) -> bool:
        """Whether its reader has all that was written so far, and waits for more."""
        return not self._finished and not self._held and self._file is None

    @property
    def is_full(self) -> bool:
        """Whether memory has no room for more now: the time for its writer to do something else."""
        return self._held >= self._memory and self._file is None

    def wait(self) -> BaseException | None:
        """Waits for the writer's last word; its error. Raises Cancelled."""
        with self._changed:
            while not self._finished:
                self._wait()
            return self._error

    def _wait(self) -> None:
        if self._cancelled.is_set():
            raise Cancelled
        self._changed.wait(POLL)

    def __del__(self) -> None:
        if self._file is not None:
            os.close(self._file)


def _nameless_file(directory: bytes) -> int:
    with storage_errors(_KEEPING):
        try:
            return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError:
            # Not every filesystem has nameless files (NFS, overlayfs before Linux 6.1).
            import tempfile

            fd, path = tempfile.mkstemp(prefix=b".registry-image-", dir=directory)
            os.unlink(path)
            return fd
