"""The two seams: where content is read from and where it is written to.

A repository, a mirrored repository, an OCI layout directory and an archive are readers; a repository and a layout
directory are writers. Get, put and promote are copies from a reader to a writer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from registry_image.errors import InvalidManifest
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Buffer, Digest, Verifier
from registry_image.oci.manifest import Index, Manifest


class BlobSource(Protocol):
    """What a blob is read from. Raises as a ContentReader does."""

    def blob(self, descriptor: Descriptor) -> AbstractContextManager[Iterator[Buffer]]:
        """The blob's bytes in pieces, from the first to the last, over broken connections too.

        The pieces are *not* verified: whoever reads holds them against a `Verifier`, which also stops a blob that is
        longer than its descriptor. A piece is valid until the next one is asked for.
        """


class ContentReader(BlobSource, Protocol):
    """Every method raises NotFound for what is not there, TransportError or RegistryError for what cannot be had."""

    def resolve(self, tag: str) -> Descriptor | None:
        """What ``tag`` points at now, or None if there is no such tag or repository."""

    def manifest(self, digest: Digest) -> Manifest | Index:
        """The manifest or index, verified against ``digest``."""

    def referrers(self, digest: Digest) -> tuple[Descriptor, ...]:
        """Manifests whose ``subject`` is ``digest``: signatures, attestations (distribution spec, referrers)."""


class ContentWriter(Protocol):
    """Where a copy goes."""

    def has(self, descriptor: Descriptor) -> bool:
        """Whether the blob is there already."""

    def put_blob(self, descriptor: Descriptor, source: BlobSource) -> int:
        """Reads the blob from ``source``, verifies it, and keeps it; nothing is kept of one that does not verify.

        Returns how many bytes that took: 0 if the blob could be had without reading it.
        """

    def put_manifest(self, manifest: Manifest | Index, *, tag: str | None = None) -> None:
        """Keeps the exact bytes, under their digest or (also) under ``tag``. What it refers to is there already."""


def read_small_blob(reader: ContentReader, descriptor: Descriptor, what: str, *, limit: int) -> bytes:
    """A verified blob that is wanted whole, such as a config. Raises ContentError if it is over ``limit`` bytes."""
    if descriptor.size > limit:
        raise InvalidManifest(f"{what}: {descriptor.size} bytes: more than {limit}")
    verifier = Verifier(descriptor.digest, descriptor.size, what)
    data = bytearray()
    with reader.blob(descriptor) as pieces:
        for piece in pieces:
            verifier.update(piece)
            data += piece
    verifier.finish()
    return bytes(data)
