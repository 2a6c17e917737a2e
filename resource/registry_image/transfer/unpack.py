"""An image's layers into a root, oldest first; downloads and decompression run ahead of the hand that writes.

socket → blob digest → spool ─┐ several at once        (threads of `fetch`)
                              └→ decompress → diff ID → pipe ─┐ one thread, in the layers' order
                                                              └→ tar → Applier → Root   the caller's own thread
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from registry_image.archive.compression import decompress
from registry_image.archive.tarstream import TarReader
from registry_image.errors import CorruptLayer, DigestMismatch, InvalidWhiteout, UnsafePath
from registry_image.oci.content import ContentReader
from registry_image.oci.digest import Buffer, Verifier
from registry_image.oci.image import Image, Layer
from registry_image.progress import Listener
from registry_image.rootfs.apply import Applier
from registry_image.rootfs.root import Root
from registry_image.storage.spool import Spool, Stopped
from registry_image.transfer.crew import Crew
from registry_image.transfer.fetch import PARALLEL, Downloads

#: Uncompressed bytes that wait for the applier: enough to bridge the making of a thousand small files.
PIPE_MEMORY = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """``entries`` counts the members of all layers, ``bytes_written`` the data of files."""

    entries: int
    bytes_written: int


def unpack(
    reader: ContentReader, image: Image, root: Root, listener: Listener, *, parallel: int = PARALLEL
) -> Unpacked:
    """Every layer of ``image`` into ``root``, ``parallel`` blobs being downloaded at once.

    A layer counts as done when its blob's digest and size, and its diff ID, have been verified to the last byte. The
    first error ends everything, and it is the causal one: a blob that is not what was asked for is reported as that,
    not as the corrupt archive it makes. Raises ContentError, ExtractionError, and what ``reader`` raises.
    """
    applier = Applier(root, listener)
    layers = image.layers
    with Crew() as crew:
        downloads = Downloads(crew, reader, layers, os.path.dirname(root.path), listener)
        inflated = {layer.number: Spool(crew.stop, PIPE_MEMORY) for layer in layers}
        downloads.start(parallel)
        crew.start(lambda: _inflate(layers, downloads, inflated, listener), "inflate")
        for layer in layers:
            pipe = inflated.pop(layer.number)
            try:
                applier.apply(TarReader(_pieces(pipe, crew), str(layer)), str(layer))
            except (CorruptLayer, UnsafePath, InvalidWhiteout, DigestMismatch) as error:
                cause = downloads.verdict(layer)
                if cause is None or cause is error:
                    raise
                raise cause from error
            listener.finish("unpack", layer.descriptor.digest.short)
        applier.finish()
    return Unpacked(entries=applier.entries, bytes_written=applier.bytes_written)


def _pieces(pipe: Spool, crew: Crew) -> Iterator[Buffer]:
    """What is in ``pipe``; a failure anywhere in the crew ends it at once."""
    try:
        for piece in pipe.read():
            crew.check()
            yield piece
    except Stopped:
        crew.check()
        raise


def _inflate(layers: Sequence[Layer], downloads: Downloads, pipes: dict[int, Spool], listener: Listener) -> None:
    for layer in layers:
        pipe = pipes[layer.number]
        try:
            _inflate_layer(layer, downloads, pipe, listener)
        except Stopped:
            raise
        except Exception as error:  # noqa: BLE001  raised again by who reads the pipe, after all that came before it
            pipe.finish(error)
            return
        pipe.finish()


def _inflate_layer(layer: Layer, downloads: Downloads, pipe: Spool, listener: Listener) -> None:
    part = layer.descriptor.digest.short
    listener.begin("unpack", part, layer.descriptor.size)

    def compressed() -> Iterator[Buffer]:
        for piece in downloads.read(layer):
            listener.advance("unpack", part, len(piece))
            yield piece

    verifier = Verifier(layer.diff_id, None, f"{layer}: uncompressed")
    for piece in decompress(compressed(), str(layer)):
        verifier.update(piece)
        pipe.write(piece if isinstance(piece, bytes) else bytes(piece))
    verifier.finish()
