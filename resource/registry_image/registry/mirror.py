"""A mirror in front of a registry is read first, and its failures never fail a get."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing
from typing import TypeVar

from registry_image.errors import NotFound, ResourceError, TransportError, Unavailable
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Buffer, Digest
from registry_image.oci.manifest import Index, Manifest
from registry_image.progress import Listener
from registry_image.registry.repository import Repository

_Result = TypeVar("_Result")


class MirroredRepository:
    """A SignatureReader. ``mirror`` should not retry (`ONCE`): the origin is the second attempt.

    ``tag`` is the tracked tag, if any. A mirror that fails is not used again; one that only lacks an item is. Either is
    logged once.
    """

    def __init__(self, mirror: Repository, origin: Repository, listener: Listener, *, tag: str | None = None) -> None:
        self._mirror = mirror
        self._origin = origin
        self._listener = listener
        self._tag = tag
        self._lock = threading.Lock()
        self._noted = False
        self._down = False

    def manifest(self, digest: Digest) -> Manifest | Index:
        return self._from_mirror(lambda: self._mirrored_manifest(digest)) or self._origin.manifest(digest)

    def tagged(self, tag: str) -> Manifest | Index:
        return self._from_mirror(lambda: self._mirrored_tag(tag)) or self._origin.tagged(tag)

    def _mirrored_tag(self, tag: str) -> Manifest | Index | None:
        # That a mirror lacks a tag of signatures is an ordinary answer, without a note.
        try:
            return self._mirror.tagged(tag)
        except NotFound:
            return None

    def _mirrored_manifest(self, digest: Digest) -> Manifest | Index:
        """Asks for the tag if the digest is missing: a pull-through cache may fetch manifests by tag only."""
        try:
            return self._mirror.manifest(digest)
        except NotFound:
            if self._tag is None:
                raise
            self._mirror.tagged(self._tag)
            return self._mirror.manifest(digest)

    def referrers(self, digest: Digest) -> tuple[Descriptor, ...]:
        # Few mirrors know referrers: a mirror without any is not worth a note.
        return self._from_mirror(lambda: self._mirror.referrers(digest)) or self._origin.referrers(digest)

    def blob(self, descriptor: Descriptor) -> AbstractContextManager[Iterator[Buffer]]:
        """If the mirror breaks in the middle, the origin continues at the same byte."""
        return closing(self._pieces(descriptor))

    def _pieces(self, descriptor: Descriptor) -> Generator[Buffer]:
        download = self._mirror.download(descriptor)
        if not self._down:
            try:
                yield from download.pieces()
            except ResourceError as error:
                self._failed(error)
            else:
                return
        yield from self._origin.download(descriptor, offset=download.offset).pieces()

    def _from_mirror(self, ask: Callable[[], _Result]) -> _Result | None:
        """None if the mirror fails, has failed before, or lacks the item."""
        if self._down:
            return None
        try:
            return ask()
        except ResourceError as error:
            self._failed(error)
            return None

    def _failed(self, error: ResourceError) -> None:
        # A refusal or wrong bytes concern one item; a missing answer concerns the whole mirror.
        if isinstance(error, TransportError | Unavailable):
            self._down = True
        self._note(error.message)

    def _note(self, problem: str) -> None:
        with self._lock:
            first, self._noted = not self._noted, True
        if first:
            self._listener.note(f"warning: mirror {self._mirror.name.host}: {problem}: asking {self._origin.name.host}")
