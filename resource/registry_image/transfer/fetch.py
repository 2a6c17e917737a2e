"""Many blobs at once, each verified to its last byte, those ahead of their turn kept until it comes."""

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

#: Blobs on their way at once, unless the caller says otherwise: enough to fill a link, few enough for any registry.
PARALLEL = 4
#: Bytes of one blob that wait in memory: what a connection brings while a large file is written to disk.
MEMORY = 8 * 1024 * 1024


class Downloads:
    """The blobs of ``layers``, fetched in order, several at once, by threads of ``group``.

    What comes before its turn is kept in ``directory``, without a name, where memory does not do. That happens only
    while the network is what everybody waits for: else it would be work for nothing.
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
        """The blob as it comes, once. Only a blob that is what its descriptor says comes to an end."""
        self._current = self._spools[layer.number]
        yield from self._current.read()
        del self._spools[layer.number]

    def _is_starved(self) -> bool:
        """Whether who reads waits for the network."""
        return self._current is not None and self._current.is_empty

    def verdict(self, layer: Layer) -> ContentError | None:
        """Reads the rest of a layer that makes no sense: perhaps it is not the layer that was asked for.

        Its digest is the cause then, and whatever its bytes did to us the consequence. Everything else is called off.
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
        self._go_on(layer)
        with open_verified(self._source, layer.descriptor, str(layer)) as pieces:
            for piece in pieces:
                self._go_on(layer)
                spool.write(piece if isinstance(piece, bytes) else bytes(piece))
            spool.finish()

    def _go_on(self, layer: Layer) -> None:
        """Raises Cancelled if nobody waits for ``layer`` any more."""
        if self._group.cancelled.is_set() or self._only not in (None, layer):
            raise Cancelled
