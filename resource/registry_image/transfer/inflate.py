"""Decompresses layers ahead of their reader. The thread that would otherwise wait checks the diff IDs."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from queue import Empty, Full, Queue

from registry_image.archive.compression import PIECE_SIZE, decompress
from registry_image.errors import Cancelled
from registry_image.oci.digest import Buffer, Verifier
from registry_image.oci.image import Layer
from registry_image.progress import Listener
from registry_image.storage.spool import POLL, Spool, gathered
from registry_image.transfer.fetch import Downloads
from registry_image.transfer.workers import WorkerGroup

#: Uncompressed bytes buffered for the reader: enough for the time in which it creates a thousand small files.
MEMORY = 4 * 1024 * 1024


class SharedVerifier:
    """A Verifier that two threads share: one adds pieces, both hash them, in order."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self._lock = threading.Lock()
        self._pieces: deque[bytes] = deque()  # added, and not hashed yet
        self._hashed = 0  # number of pieces

    def add(self, piece: bytes) -> None:
        self._pieces.append(piece)

    def hash_one(self) -> bool:
        """Hashes the oldest piece not hashed yet; False if there is none."""
        with self._lock:
            if not self._pieces:
                return False
            self._verifier.update(self._pieces.popleft())
            self._hashed += 1
            return True

    def hash_up_to(self, count: int) -> None:
        """Returns when the first ``count`` pieces, all added before, are hashed."""
        while self._hashed < count:
            self.hash_one()

    def finish(self) -> None:
        """Call it when all pieces are hashed. Raises DigestMismatch."""
        self._verifier.finish()


class Inflation:
    """The uncompressed bytes of ``layers``, one layer after the other, made by a thread of ``group``.

    The idle side hashes. When decompression is the bottleneck (large files), the reader hashes each piece just before
    it writes it, while the piece is in the CPU cache. When writing is the bottleneck (small files), memory is full, and
    the thread that decompresses hashes instead of waiting.
    """

    def __init__(self, group: WorkerGroup, downloads: Downloads, layers: Sequence[Layer], listener: Listener) -> None:
        self._group = group
        self._downloads = downloads
        self._layers = layers
        self._listener = listener
        self._begun: Queue[tuple[Spool, SharedVerifier]] = Queue(maxsize=1)  # of the layer after the one being read

    def start(self) -> None:
        # glibc maps fresh pages for every block of our size, and unmaps them, until a larger block has been freed
        # (mallopt(3), M_MMAP_THRESHOLD). Without this line a tenth of the time goes into page faults.
        bytes(8 * PIECE_SIZE)
        self._group.start(self._inflate, "inflate")

    def read(self, layer: Layer) -> Iterator[Buffer]:
        """The bytes of ``layer``, once, in the order of the layers. Raises before the end unless blob and diff ID are
        right.

        A failure anywhere in the group is raised at once.
        """
        output, verifier = self._next()
        try:
            for count, piece in enumerate(output.read(), start=1):
                self._group.check()
                verifier.hash_up_to(count)
                yield piece
        except Cancelled:
            self._group.check()
            raise
        verifier.finish()
        self._listener.finish("unpack", layer.descriptor.digest.short)

    def _next(self) -> tuple[Spool, SharedVerifier]:
        while True:
            self._group.check()
            with suppress(Empty):
                return self._begun.get(timeout=POLL)

    def _begin(self, layer: Layer) -> tuple[Spool, SharedVerifier]:
        """The spool and the verifier of ``layer``, as soon as the layer before it is being read.

        Without that wait, many small layers would be inflated in memory at once, each up to MEMORY.
        """
        begun = (
            Spool(self._group.cancelled, MEMORY),
            SharedVerifier(Verifier(layer.diff_id, None, f"{layer}: uncompressed")),
        )
        while not self._group.cancelled.is_set():
            with suppress(Full):
                self._begun.put(begun, timeout=POLL)
                return begun
        raise Cancelled

    def _inflate(self) -> None:
        for layer in self._layers:
            output, verifier = self._begin(layer)
            try:
                for piece in gathered(decompress(self._compressed(layer), str(layer))):
                    while output.is_full and verifier.hash_one():
                        pass
                    verifier.add(piece)
                    output.write(piece)
            except Cancelled:
                raise
            except Exception as error:  # noqa: BLE001  raised again in the reader, after all earlier bytes
                output.finish(error)
                return
            output.finish()

    def _compressed(self, layer: Layer) -> Iterator[Buffer]:
        part = layer.descriptor.digest.short
        self._listener.begin("unpack", part, layer.descriptor.size)
        for piece in self._downloads.read(layer):
            self._listener.advance("unpack", part, len(piece))
            yield piece
