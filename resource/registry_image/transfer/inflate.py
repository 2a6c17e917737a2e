"""Layers decompressed and held against their diff IDs, ahead of who reads them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from registry_image.archive.compression import PIECE_SIZE, decompress
from registry_image.errors import ContentError
from registry_image.oci.digest import Buffer, Verifier
from registry_image.oci.image import Layer
from registry_image.progress import Listener
from registry_image.storage.spool import Spool, Stopped
from registry_image.transfer.crew import Crew
from registry_image.transfer.fetch import Downloads

#: Uncompressed bytes that wait for who reads them: enough to bridge the making of a thousand small files.
MEMORY = 4 * 1024 * 1024


class Inflation:
    """The uncompressed bytes of ``layers``, one layer after the other.

    Decompression and hashing have a thread each: either of them alone takes longer than writing large files.
    """

    def __init__(self, crew: Crew, downloads: Downloads, layers: Sequence[Layer], listener: Listener) -> None:
        self._crew = crew
        self._downloads = downloads
        self._layers = layers
        self._listener = listener
        self._outputs = {layer.number: Spool(crew.stop, MEMORY) for layer in layers}
        self._hashed = {layer.number: Spool(crew.stop, MEMORY) for layer in layers}

    def start(self) -> None:
        # glibc maps fresh pages for each block as large as ours, and gives them back, until it has seen a larger one
        # freed (mallopt(3), M_MMAP_THRESHOLD). Without this line a tenth of the time goes into page faults.
        bytearray(8 * PIECE_SIZE)
        self._crew.start(self._inflate, "inflate")
        self._crew.start(self._hash, "hash")

    def read(self, layer: Layer) -> Iterator[Buffer]:
        """The bytes of ``layer``, once; only a layer whose blob and diff ID are right comes to an end.

        A failure anywhere in the crew is raised at once.
        """
        try:
            for piece in self._outputs[layer.number].read():
                self._crew.check()
                yield piece
        except Stopped:
            self._crew.check()
            raise

    def _inflate(self) -> None:
        for layer in self._layers:
            output, hashed = self._outputs[layer.number], self._hashed[layer.number]
            try:
                for piece in decompress(self._compressed(layer), str(layer)):
                    kept = piece if isinstance(piece, bytes) else bytes(piece)
                    output.write(kept)
                    hashed.write(kept)
            except Stopped:
                raise
            except Exception as error:  # noqa: BLE001  raised again by who reads, after all that came before it
                output.finish(error)
                return
            hashed.finish()

    def _compressed(self, layer: Layer) -> Iterator[Buffer]:
        part = layer.descriptor.digest.short
        self._listener.begin("unpack", part, layer.descriptor.size)
        for piece in self._downloads.read(layer):
            self._listener.advance("unpack", part, len(piece))
            yield piece

    def _hash(self) -> None:
        for layer in self._layers:
            verifier = Verifier(layer.diff_id, None, f"{layer}: uncompressed")
            for piece in self._hashed[layer.number].read():
                verifier.update(piece)
            try:
                verifier.finish()
            except ContentError as error:
                self._outputs[layer.number].finish(error)
                return
            self._outputs[layer.number].finish()
