"""The seams: where content is read from and where it is written to.

A repository, a mirrored repository, an OCI layout directory and an archive are readers; a repository, a layout
directory and a tarball are writers. Get, put and promote are copies from a reader to a writer. Each protocol is as
narrow as what asks for it: what moves bytes needs no manifests, and only a registry has names.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from registry_image.errors import InvalidManifest
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Buffer, Digest, Verifier
from registry_image.oci.manifest import Index, Manifest

# Every method of a reader raises NotFound for what is not there, TransportError or RegistryError for what cannot be
# had.


class BlobSource(Protocol):
    """What moves bytes asks for this."""

    def blob(self, descriptor: Descriptor) -> AbstractContextManager[Iterator[Buffer]]:
        """The blob's bytes in pieces, from the first to the last, over broken connections too.

        The pieces are *not* verified: see `open_verified`. A piece is valid until the next one is asked for.
        """


class Manifests(Protocol):
    """What finds out what there is to move asks for this."""

    def manifest(self, digest: Digest) -> Manifest | Index:
        """The manifest or index, verified against ``digest``."""


class ContentReader(BlobSource, Manifests, Protocol):
    """All of an image: in a layout, a tarball, a registry."""


class RepositoryReader(ContentReader, Protocol):
    """What only a registry has besides: names, and an index of what refers to what."""

    def resolve(self, tag: str) -> Descriptor | None:
        """What ``tag`` points at now, or None if there is no such tag or repository."""

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

    def put_manifest(self, manifest: Manifest | Index) -> None:
        """Keeps the exact bytes under their digest. What the manifest refers to is there already."""


@contextmanager
def open_verified(source: BlobSource, descriptor: Descriptor, what: str) -> Iterator[Iterator[Buffer]]:
    """The blob's pieces, which come to an end only if they are what ``descriptor`` promises.

    Every caller reads to the end, so leaving the context without an error means that the blob was verified. Raises
    SizeMismatch or DigestMismatch, naming ``what``, and reads no more than the descriptor allows.
    """
    with source.blob(descriptor) as pieces:
        yield Verifier(descriptor.digest, descriptor.size, what).checked(pieces)


def read_small_blob(source: BlobSource, descriptor: Descriptor, what: str, *, limit: int) -> bytes:
    """A verified blob that is wanted whole, such as a config. Raises ContentError if it is over ``limit`` bytes."""
    if descriptor.size > limit:
        raise InvalidManifest(f"{what}: {descriptor.size} bytes: more than {limit}")
    with open_verified(source, descriptor, what) as pieces:
        return b"".join(map(bytes, pieces))
