"""Content in memory, behind the same interface as a registry's, and broken where a test wants it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from registry_image.errors import NotFound
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Buffer, Digest
from registry_image.oci.manifest import Index, Manifest, parse_manifest
from tests.support import images

Pieces = Callable[[bytes], Iterator[Buffer]]


class MemoryReader:
    """A ContentReader. ``blobs`` may be changed under their digests; ``pieces`` are those of one digest's blob.

    ``most_open`` is the most blobs that were read at the same time, ``opened`` lists them in order.
    """

    def __init__(self, *contents: images.Content, piece: int = 64 * 1024) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.pieces: dict[str, Pieces] = {}
        self.opened: list[str] = []
        self.most_open = 0
        self._open = 0
        self._piece = piece
        self._lock = threading.Lock()
        for content in contents:
            self.add(content)

    def add(self, content: images.Content) -> None:
        self.manifests[content.digest] = content.manifest.data
        self.blobs |= {blob.digest: blob.data for blob in content.blobs}
        for child in content.children:
            self.add(child)

    def manifest(self, digest: Digest) -> Manifest | Index:
        if str(digest) not in self.manifests:
            raise NotFound(f"manifest {digest}", status=404)
        return parse_manifest(self.manifests[str(digest)], digest=digest)

    @contextmanager
    def blob(self, descriptor: Descriptor) -> Iterator[Iterator[Buffer]]:
        digest = str(descriptor.digest)
        with self._lock:
            self.opened.append(digest)
            self._open += 1
            self.most_open = max(self.most_open, self._open)
        try:
            yield self.pieces.get(digest, self._in_pieces)(self.blobs[digest])
        finally:
            with self._lock:
                self._open -= 1

    def _in_pieces(self, data: bytes) -> Iterator[Buffer]:
        view = memoryview(data)
        return (view[at : at + self._piece] for at in range(0, len(view), self._piece))
