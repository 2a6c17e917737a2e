"""Progress of reading."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from registry_image.oci.content import BlobSource
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Buffer
from registry_image.progress import Listener


class ProgressReader:
    """A BlobSource: ``source``, with the progress of ``step`` on every blob reported to ``listener``.

    A blob counts as finished, and verified (`open_verified`), if the context is left without an error.
    """

    def __init__(self, source: BlobSource, listener: Listener, step: str) -> None:
        self._source = source
        self._listener = listener
        self._step = step

    @contextmanager
    def blob(self, descriptor: Descriptor) -> Iterator[Iterator[Buffer]]:
        part = descriptor.digest.short
        self._listener.begin(self._step, part, descriptor.size)
        with self._source.blob(descriptor) as pieces:
            yield self._counted(pieces, part)
        self._listener.finish(self._step, part)

    def _counted(self, pieces: Iterator[Buffer], part: str) -> Iterator[Buffer]:
        for piece in pieces:
            yield piece
            self._listener.advance(self._step, part, len(piece))
