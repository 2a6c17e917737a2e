"""A cache of manifests and configs: a get reads them to select the image, then copies them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

from registry_image.oci import mediatype
from registry_image.oci.config import MAX_CONFIG_SIZE
from registry_image.oci.content import ContentReader, read_small_blob
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Buffer, Digest
from registry_image.oci.manifest import Index, Manifest

#: The most bytes in the cache. The documents of a real image have kilobytes.
MAX_CACHED = 8 * 1024 * 1024


class CachedReader:
    """A ContentReader: ``reader``, with up to MAX_CACHED bytes of its manifests and image configs cached."""

    def __init__(self, reader: ContentReader) -> None:
        self._reader = reader
        self._room = MAX_CACHED
        self._manifests: dict[Digest, Manifest | Index] = {}
        self._configs: dict[Digest, bytes] = {}

    def manifest(self, digest: Digest) -> Manifest | Index:
        if digest in self._manifests:
            return self._manifests[digest]
        manifest = self._reader.manifest(digest)
        self.keep(manifest)
        return manifest

    def keep(self, manifest: Manifest | Index) -> None:
        """Caches ``manifest``, which was read by its tag."""
        if manifest.digest not in self._manifests and self._has_room(len(manifest.raw)):
            self._manifests[manifest.digest] = manifest

    def blob(self, descriptor: Descriptor) -> AbstractContextManager[Iterator[Buffer]]:
        if descriptor.media_type not in mediatype.CONFIGS or descriptor.size > MAX_CONFIG_SIZE:
            return self._reader.blob(descriptor)
        if descriptor.digest not in self._configs:
            if not self._has_room(descriptor.size):
                return self._reader.blob(descriptor)
            what = f"config {descriptor.digest}"
            self._configs[descriptor.digest] = read_small_blob(self._reader, descriptor, what, limit=MAX_CONFIG_SIZE)
        return nullcontext(iter((self._configs[descriptor.digest],)))

    def _has_room(self, size: int) -> bool:
        """Whether ``size`` more bytes may be cached; they then count. (Threads race here, and may cache a few more.)"""
        if size > self._room:
            return False
        self._room -= size
        return True
