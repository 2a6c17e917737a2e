"""A queue of bytes between two threads: in memory while it is short, else in an unlinked file."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator

from registry_image.errors import Cancelled, storage_errors
from registry_image.oci.digest import Buffer
from registry_image.storage.disk import write_all

#: Bytes handed over at once: waking another thread costs as much as hashing tens of kilobytes.
BATCH = 1024 * 1024
#: Bytes per read of the file.
READ_SIZE = 256 * 1024
#: Bytes of the smallest piece that may wait: one of two bytes takes fifty in memory.
LEAST = 4096
#: Seconds that a download ahead of its turn may pause before it spills to disk: servers drop idle connections.
PATIENCE = 5.0
#: Poll interval, in seconds: a signal may have unwound the thread that should wake a waiting one.
POLL = 0.1
_BUFFERING = "buffer a layer on disk"


class Spool:
    """One thread writes, one reads, in order.

    Up to ``memory`` bytes wait in memory; then the writer waits for its reader. As long as nobody reads, and if there
    is a ``directory`` (on the filesystem with room for the image), it continues in an unlinked file there: at once if
    ``is_urgent``, else after PATIENCE. Once a file is begun, all further bytes go to it.
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
        self._batch: list[bytes] = []  # the writer's own: not handed over yet
        self._batched = 0  # bytes in _batch
        self._pieces: list[bytes] = []
        self._held = 0  # bytes in _pieces
        self._file: int | None = None
        self._written = 0  # bytes in the file
        self._reading = self._discarding = self._finished = False
        self._error: BaseException | None = None

    def write(self, piece: bytes) -> None:
        """Raises Cancelled, and StorageError if the file cannot grow."""
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
                    self._file = unlinked_file(directory)
                else:
                    self._wait()
            if self._discarding:
                return
            if self._file is None:
                self._pieces += batch
                self._held += size
                self._changed.notify()
                return
        # The reader reads nothing after _written, so the write needs no lock.
        for piece in batch:
            self._written = write_all(self._file, piece, self._written, _BUFFERING)
        with self._changed:
            self._changed.notify()

    def finish(self, error: BaseException | None = None) -> None:
        """Ends the stream. The reader gets ``error``, if there is one, after all that was written."""
        self._hand_over()
        with self._changed:
            self._finished, self._error = True, error
            self._changed.notify()

    def read(self) -> Iterator[Buffer]:
        """Everything, up to the end or the error. A piece is valid until the next is requested. Raises Cancelled."""
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
            with storage_errors("read a buffered layer"):
                count = os.preadv(self._file, [view[:size]], position)
            position += count
            yield view[:count]

    def discard(self) -> None:
        """Drops all that is written from now on; the writer never waits."""
        with self._changed:
            self._discarding = True
            self._changed.notify()

    @property
    def is_empty(self) -> bool:
        """Whether the reader has all that was written so far, and waits for more."""
        return not self._finished and not self._held and self._file is None

    @property
    def is_full(self) -> bool:
        """Whether memory has no room for more, so that the writer may do something else meanwhile."""
        return self._held >= self._memory and self._file is None

    def wait(self) -> BaseException | None:
        """Waits for the end of the stream; its error. Raises Cancelled."""
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


def gathered(pieces: Iterable[Buffer]) -> Iterator[bytes]:
    """``pieces`` for a Spool, small ones joined to LEAST bytes: a registry, or gzip, may give two bytes at a time."""
    waiting = bytearray()
    for piece in pieces:
        if not waiting and len(piece) >= LEAST:
            yield piece if isinstance(piece, bytes) else bytes(piece)
            continue
        waiting += piece
        if len(waiting) >= LEAST:
            yield bytes(waiting)
            waiting.clear()
    if waiting:
        yield bytes(waiting)


def unlinked_file(directory: bytes) -> int:
    """A new file in ``directory``, without a name, open for reading and writing. Raises StorageError."""
    with storage_errors(_BUFFERING):
        try:
            return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError:
            # NFS, overlayfs before Linux 6.1, and ZFS 2.1.7 on Linux 6.1 (openzfs#14301) have no O_TMPFILE.
            import tempfile

            fd, path = tempfile.mkstemp(prefix=b".registry-image-", dir=directory)
            os.unlink(path)
            return fd
