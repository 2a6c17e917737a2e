"""The interfaces of everything that content is read from or written to.

A repository, a mirrored repository, an OCI layout directory and an archive are readers; a repository, a layout
directory and a tarball are writers. Get, put and promote are copies from a reader to a writer. Each protocol asks for
no more than its users need: moving bytes needs no manifests, and only a registry has tags.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from registry_image.errors import InvalidManifest, SizeMismatch, quote
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Buffer, Digest, Verifier
from registry_image.oci.manifest import Index, Manifest

# Every method of a reader raises NotFound for missing content, TransportError or RegistryError if it cannot be read.


class BlobSource(Protocol):
    def blob(self, descriptor: Descriptor) -> AbstractContextManager[Iterator[Buffer]]:
        """The blob's bytes in pieces, from the first to the last, over broken connections too.

        The pieces are *not* verified: see `open_verified`. A piece is valid until the next one is requested.
        """


class Manifests(Protocol):
    def manifest(self, digest: Digest) -> Manifest | Index:
        """The manifest or index, verified against ``digest``."""


class ContentReader(BlobSource, Manifests, Protocol):
    """Reads all of an image."""


class RepositoryReader(ContentReader, Protocol):
    """A repository in a registry: it also has tags, and knows which manifests refer to a digest."""

    def resolve(self, tag: str) -> Descriptor | None:
        """What ``tag`` points at now, or None if there is no such tag or repository."""

    def referrers(self, digest: Digest) -> tuple[Descriptor, ...]:
        """Manifests whose ``subject`` is ``digest``: signatures, attestations (distribution spec, referrers)."""


class ContentWriter(Protocol):
    def has(self, descriptor: Descriptor) -> bool:
        """Whether the blob is there already."""

    def put_blob(self, descriptor: Descriptor, source: BlobSource) -> int:
        """Reads the blob from ``source``, verifies and stores it. A blob that does not verify leaves nothing behind.

        Returns the number of bytes read: 0 if the writer got the blob otherwise, as by a mount from a repository.
        """

    def put_manifest(self, manifest: Manifest | Index) -> None:
        """Stores the exact bytes under their digest. Everything that the manifest refers to is there already."""


@contextmanager
def open_verified(source: BlobSource, descriptor: Descriptor, what: str) -> Iterator[Iterator[Buffer]]:
    """The blob's pieces. Raises before the end unless they match ``descriptor``.

    Every caller reads to the end, so leaving the context without an error means that the blob was verified. Raises
    SizeMismatch or DigestMismatch, naming ``what``, and reads no more than the descriptor allows.
    """
    with source.blob(descriptor) as pieces:
        yield Verifier(descriptor.digest, descriptor.size, what).checked(pieces)


def read_child(reader: Manifests, entry: Descriptor) -> Manifest | Index:
    """The manifest or index that ``entry`` of another document describes. Every child is read here.

    Raises SizeMismatch or InvalidManifest unless it has the size and the type of its entry, besides what
    ``reader.manifest`` raises: there, its own type and the one that it is served with are compared.
    """
    document = reader.manifest(entry.digest)
    require_described(document, entry)
    return document


def require_described(document: Manifest | Index, entry: Descriptor) -> None:
    """Raises SizeMismatch or InvalidManifest unless ``document`` has the size and the type of ``entry``.

    A reader that goes by the entry would otherwise see another image than one that goes by the document
    (CVE-2021-41190).
    """
    what = f"manifest {entry.digest}"
    if len(document.raw) != entry.size:
        raise SizeMismatch(what, expected=entry.size, actual=len(document.raw))
    # A layout's table of contents may leave the type out: then nothing was declared.
    if entry.media_type and entry.media_type != document.media_type:
        raise InvalidManifest(f"{what}: its entry says {quote(entry.media_type)}, but it is {document.media_type}")


def read_small_blob(source: BlobSource, descriptor: Descriptor, what: str, *, limit: int) -> bytes:
    """A whole verified blob, such as a config. Raises ContentError if it is over ``limit`` bytes."""
    if descriptor.size > limit:
        raise InvalidManifest(f"{what}: {descriptor.size} bytes: more than {limit}")
    data = bytearray()  # no list: a piece of two bytes takes fifty
    with open_verified(source, descriptor, what) as pieces:
        for piece in pieces:
            data += piece
    return bytes(data)
