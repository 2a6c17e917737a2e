"""Unpacks an image's layers into a root, oldest first; downloads and decompression run ahead of the writer.

socket → blob digest → spool ─┐  several at once, in threads of `fetch`
                              └→ decompress ─┬→ diff ID  in a thread of `inflate`
                                             └→ diff ID → tar → Applier → Root  in the caller's thread
"""

from __future__ import annotations

import os

from registry_image.archive.tarstream import TarReader
from registry_image.errors import CorruptLayer, DigestMismatch, InvalidWhiteout, UnsafePath
from registry_image.oci.content import BlobSource
from registry_image.oci.image import Image
from registry_image.progress import Listener
from registry_image.record import record
from registry_image.rootfs.apply import Applier
from registry_image.rootfs.root import Root
from registry_image.transfer.fetch import PARALLEL, Downloads
from registry_image.transfer.inflate import Inflation
from registry_image.transfer.workers import WorkerGroup


@record(kw_only=True)
class Unpacked:
    """``entries`` counts the members of all layers, ``bytes_written`` the data of files."""

    entries: int
    bytes_written: int


def unpack(source: BlobSource, image: Image, root: Root, listener: Listener, *, parallel: int = PARALLEL) -> Unpacked:
    """Unpacks every layer of ``image`` into ``root``, and downloads ``parallel`` blobs at once.

    A layer is done when its blob's digest and size, and its diff ID, are verified. The first error ends everything, and
    names the cause: a blob with a wrong digest is reported as that, even if its bytes were a corrupt archive first.
    Raises ContentError, ExtractionError, and what ``source`` raises.
    """
    applier = Applier(root, listener)
    layers = image.layers
    with WorkerGroup() as group:
        downloads = Downloads(group, source, layers, os.path.dirname(root.path))
        inflation = Inflation(group, downloads, layers, listener)
        downloads.start(parallel)
        inflation.start()
        for layer in layers:
            try:
                applier.apply(TarReader(inflation.read(layer), str(layer)), str(layer))
            except (CorruptLayer, UnsafePath, InvalidWhiteout, DigestMismatch) as error:
                cause = downloads.verdict(layer)
                if cause is None or cause is error:
                    raise
                raise cause from error
        applier.finish()
    return Unpacked(entries=applier.entries, bytes_written=applier.bytes_written)
