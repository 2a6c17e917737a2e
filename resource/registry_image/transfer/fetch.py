"""Downloads several blobs at once, verifies them, and buffers those that arrive before their turn."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress

from registry_image.errors import Cancelled, ContentError
from registry_image.oci.content import BlobSource, open_verified
from registry_image.oci.digest import Buffer
from registry_image.oci.image import Layer
from registry_image.storage.spool import Spool
from registry_image.transfer.workers import WorkerGroup

#: The default number of blobs downloaded at once: enough to fill a link, few enough for any registry.
PARALLEL = 4
#: Bytes of one blob buffered in memory: about what arrives while a large file is written to disk.
MEMORY = 8 * 1024 * 1024


class Downloads:
    """The blobs of ``layers``, fetched in order, several at once, by threads of ``group``.

    Blobs that arrive early are buffered, first in memory, then in an unlinked file in ``directory``, which is used only
    while the network is the bottleneck.
    """

    def __init__(self, group: WorkerGroup, source: BlobSource, layers: Sequence[Layer], directory: bytes) -> None:
        self._group = group
        self._source = source
        self._spools = {layer.number: Spool(group.cancelled, MEMORY, directory, self._is_starved) for layer in layers}
        self._layers = iter(layers)
        self._lock = threading.Lock()
        self._only: Layer | None = None
        self._current: Spool | None = None

    def start(self, parallel: int) -> None:
        for number in range(min(parallel, len(self._spools))):
            self._group.start(self._work, f"download-{number}")

    def read(self, layer: Layer) -> Iterator[Buffer]:
        """The blob as it arrives, once. Raises before the end unless it matches its descriptor."""
        self._current = self._spools[layer.number]
        yield from self._current.read()
        del self._spools[layer.number]

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
        while True:
            with self._lock:
                layer = next(self._layers, None)
            if layer is None:
                return
            self._download(layer)

    def _download(self, layer: Layer) -> None:
        spool = self._spools[layer.number]
        self._check_wanted(layer)
        with open_verified(self._source, layer.descriptor, str(layer)) as pieces:
            for piece in pieces:
                self._check_wanted(layer)
                spool.write(piece if isinstance(piece, bytes) else bytes(piece))
            spool.finish()

    def _check_wanted(self, layer: Layer) -> None:
        """Raises Cancelled if ``layer`` is no longer needed."""
        if self._group.cancelled.is_set() or self._only not in (None, layer):
            raise Cancelled
