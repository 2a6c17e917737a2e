"""Downloads several blobs at once, verifies them, and buffers those that arrive before their turn."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TypeAlias

from registry_image.errors import Cancelled, ContentError
from registry_image.oci.content import BlobSource, open_verified
from registry_image.oci.digest import Buffer, Digest
from registry_image.oci.image import Layer
from registry_image.storage.disk import write_all
from registry_image.storage.files import Region
from registry_image.storage.spool import POLL, Spool, gathered, unlinked_file
from registry_image.transfer.workers import WorkerGroup

#: The default number of blobs downloaded at once: enough to fill a link, few enough for any registry.
PARALLEL = 4
#: Bytes of one blob buffered in memory: about what arrives while a large file is written to disk.
MEMORY = 8 * 1024 * 1024
#: The same once MAX_IN_MEMORY has no room for MEMORY: the rest of the blob waits in its file.
LITTLE_MEMORY = 1024 * 1024
#: Bytes in memory of all blobs that are ahead of their turn: eight large ones wait, or 250 small ones. Threads have
#: heaps of their own, so the process takes up to three times as much.
MAX_IN_MEMORY = 16 * 1024 * 1024
#: Added to the bytes of each waiting blob in memory, so that the number of blobs is bounded too.
OVERHEAD = 64 * 1024
#: Bytes of all blobs that are ahead of their turn, wherever they wait. A larger blob is begun when its turn comes.
MAX_AHEAD = 4 * 1024 * 1024 * 1024
#: Bytes of all blobs that are kept because the image lists them again; further ones are downloaded again.
MAX_KEPT = 1024 * 1024 * 1024

_Blob: TypeAlias = tuple[Digest, int]


class Downloads:
    """The blobs of ``layers``, fetched in order, several at once, by threads of ``group``.

    Blobs that arrive early are buffered, first in memory, then in an unlinked file in ``directory``, which is used only
    while the network is the bottleneck. No blob is begun ahead of its turn while too much waits. A blob that is listed
    twice is fetched once.
    """

    def __init__(self, group: WorkerGroup, source: BlobSource, layers: Sequence[Layer], directory: bytes) -> None:
        self._group = group
        self._source = source
        self._directory = directory
        self._kept = _Kept(layers, directory)
        self._left = deque(layer for layer in layers if not self._kept.has_before(layer))
        self._changed = threading.Condition()  # guards what follows
        self._turn = 0  # the number of the layer being read
        self._spools: dict[int, Spool] = {}
        self._ahead: dict[int, tuple[int, int]] = {}  # sizes, whole and in memory, of blobs begun and not being read
        self._bytes_ahead = self._memory_ahead = 0  # their sums
        self._only: Layer | None = None
        self._current: Spool | None = None

    def start(self, parallel: int) -> None:
        for number in range(min(parallel, len(self._left))):
            self._group.start(self._work, f"download-{number}")

    def read(self, layer: Layer) -> Iterator[Buffer]:
        """The blob as it arrives, once, in the order of the layers. Raises before the end unless it matches its
        descriptor."""
        if self._kept.has_before(layer):
            return self._kept.read(layer)
        return self._kept.keep(layer, self._arriving(layer))

    def _arriving(self, layer: Layer) -> Iterator[Buffer]:
        with self._changed:
            self._turn = layer.number
            size, in_memory = self._ahead.pop(layer.number, (0, 0))
            self._bytes_ahead -= size
            self._memory_ahead -= in_memory
            self._current = self._spool(layer, MEMORY)
            self._changed.notify_all()
        yield from self._current.read()
        del self._spools[layer.number]

    def _spool(self, layer: Layer, memory: int) -> Spool:
        """Made by whichever comes first, the thread that writes it or the one that reads it."""
        if layer.number not in self._spools:
            spool = Spool(self._group.cancelled, memory, self._directory, self._is_starved)
            self._spools[layer.number] = spool
        return self._spools[layer.number]

    def _is_starved(self) -> bool:
        """Whether the reader waits for the network."""
        return self._current is not None and self._current.is_empty

    def verdict(self, layer: Layer) -> ContentError | None:
        """Downloads the rest of a layer that could not be unpacked, and cancels all other downloads.

        Returns the cause if the blob does not match its descriptor; None if the layer itself is corrupt.
        """
        self._only = layer
        spool = self._spools.get(layer.number)
        if spool is not None and self._group.failure is None:
            spool.discard()
            with suppress(Cancelled):
                spool.wait()
        failure = self._group.failure
        return failure if isinstance(failure, ContentError) else None

    def _work(self) -> None:
        while (begun := self._begin()) is not None:
            self._download(*begun)

    def _begin(self) -> tuple[Layer, Spool] | None:
        """The next layer, as soon as there is room for it, and where its blob goes; None after the last."""
        with self._changed:
            while self._left:
                layer = self._left[0]
                memory = self._room(layer)
                if memory:
                    self._left.popleft()
                    return layer, self._spool(layer, memory)
                self._check_wanted(layer)
                self._changed.wait(POLL)
            return None

    def _room(self, layer: Layer) -> int:
        """Reserves what ``layer`` takes while it waits; the memory that it gets, 0 if it must not be begun yet."""
        if layer.number <= self._turn:
            return MEMORY
        size = layer.descriptor.size
        if self._bytes_ahead + size > MAX_AHEAD:
            return 0
        for memory in (MEMORY, LITTLE_MEMORY):
            in_memory = min(size, memory) + OVERHEAD
            if self._memory_ahead + in_memory <= MAX_IN_MEMORY:
                self._ahead[layer.number] = size, in_memory
                self._bytes_ahead += size
                self._memory_ahead += in_memory
                return memory
        return 0

    def _download(self, layer: Layer, spool: Spool) -> None:
        self._check_wanted(layer)
        with open_verified(self._source, layer.descriptor, str(layer)) as pieces:
            for piece in gathered(self._while_wanted(pieces, layer)):
                spool.write(piece)
            spool.finish()

    def _while_wanted(self, pieces: Iterator[Buffer], layer: Layer) -> Iterator[Buffer]:
        for piece in pieces:
            self._check_wanted(layer)
            yield piece

    def _check_wanted(self, layer: Layer) -> None:
        """Raises Cancelled if ``layer`` is no longer needed."""
        if self._group.cancelled.is_set() or self._only not in (None, layer):
            raise Cancelled


class _Kept:
    """The blobs that are listed again, in an unlinked file in ``directory`` from the first time they are read."""

    def __init__(self, layers: Sequence[Layer], directory: bytes) -> None:
        self._directory = directory
        self._first: dict[_Blob, int] = {}  # the number of the first layer that has this blob
        self._again: set[_Blob] = set()
        self._file: int | None = None
        self._size = 0
        self._regions: dict[_Blob, Region] = {}
        total = 0
        for layer in layers:
            blob = _blob(layer)
            if self._first.setdefault(blob, layer.number) == layer.number or blob in self._again:
                continue
            total += layer.descriptor.size
            if total <= MAX_KEPT:
                self._again.add(blob)

    def has_before(self, layer: Layer) -> bool:
        """Whether ``layer`` has the blob of an earlier one, which is kept."""
        blob = _blob(layer)
        return blob in self._again and self._first[blob] != layer.number

    def keep(self, layer: Layer, pieces: Iterator[Buffer]) -> Iterator[Buffer]:
        """``pieces``, kept as they pass if they are needed again."""
        if _blob(layer) not in self._again:
            return pieces
        return self._keep(layer, pieces)

    def _keep(self, layer: Layer, pieces: Iterator[Buffer]) -> Iterator[Buffer]:
        if self._file is None:
            self._file = unlinked_file(self._directory)
        start = self._size
        for piece in pieces:
            self._size = write_all(self._file, piece, self._size, "keep a layer that is listed again")
            yield piece
        self._regions[_blob(layer)] = Region(self._file, start, self._size - start)

    def read(self, layer: Layer) -> Iterator[Buffer]:
        return self._regions[_blob(layer)].pieces(str(layer))

    def __del__(self) -> None:
        if self._file is not None:
            os.close(self._file)


def _blob(layer: Layer) -> _Blob:
    """Digest and size: a descriptor with another size is another blob, whose own download shows that it is wrong."""
    return layer.descriptor.digest, layer.descriptor.size
