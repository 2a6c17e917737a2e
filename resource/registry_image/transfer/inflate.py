"""Layers decompressed and held against their diff IDs, ahead of who reads them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

from registry_image.archive.compression import PIECE_SIZE, decompress
from registry_image.oci.digest import Buffer, Verifier
from registry_image.oci.image import Layer
from registry_image.progress import Listener
from registry_image.transfer.ahead import Ahead
from registry_image.transfer.crew import Crew
from registry_image.transfer.fetch import Downloads

#: Processors that downloads, decompression and writing keep busy by themselves.
BUSY_ANYHOW = 2


def inflated(
    crew: Crew, downloads: Downloads, layers: Sequence[Layer], listener: Listener
) -> Callable[[Layer], Iterator[Buffer]]:
    """A function from each of ``layers``, in order, to its uncompressed bytes, in pieces, once.

    Only a layer whose blob and diff ID are right comes to an end. Decompression has a thread of its own. So has the
    diff ID's hash, given more than two processors; on two it is the reader's, who has the bytes in the cache then.
    """
    # glibc maps fresh pages for each block as large as ours, and gives them back, until it has seen a larger one
    # freed (mallopt(3), M_MMAP_THRESHOLD). Without this line a tenth of the time goes into page faults.
    bytes(8 * PIECE_SIZE)

    def decompressed(layer: Layer) -> Iterator[Buffer]:
        return decompress(_compressed(layer, downloads, listener), str(layer))

    plain = Ahead(crew, layers, decompressed, "inflate")

    def verified(layer: Layer) -> Iterator[Buffer]:
        verifier = Verifier(layer.diff_id, None, f"{layer}: uncompressed")
        for piece in plain.read(layer):
            verifier.update(piece)
            yield piece
        verifier.finish()

    if len(os.sched_getaffinity(0)) > BUSY_ANYHOW:
        return Ahead(crew, layers, verified, "hash").read
    return verified


def _compressed(layer: Layer, downloads: Downloads, listener: Listener) -> Iterator[Buffer]:
    part = layer.descriptor.digest.short
    listener.begin("unpack", part, layer.descriptor.size)
    for piece in downloads.read(layer):
        listener.advance("unpack", part, len(piece))
        yield piece
