"""A mirror in front of the registry that it mirrors: asked first, and never the reason that something fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing
from typing import TypeVar

from registry_image.errors import NotFound, ResourceError, TransportError, Unavailable, quote
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Buffer, Digest
from registry_image.oci.manifest import Index, Manifest
from registry_image.progress import Listener
from registry_image.registry.repository import Repository

_Got = TypeVar("_Got")


class MirroredRepository:
    """A RepositoryReader. ``mirror`` should try once only (`ONCE`): the origin is its second try.

    ``tag`` is the one that is tracked, if any. A mirror that did not answer is not asked again; one that lacks
    something is, for other things. The reader of the log is told once.
    """

    def __init__(self, mirror: Repository, origin: Repository, listener: Listener, *, tag: str | None = None) -> None:
        self._mirror = mirror
        self._origin = origin
        self._listener = listener
        self._tag = tag
        self._lock = threading.Lock()
        self._noted = False
        self._down = False

    def resolve(self, tag: str) -> Descriptor | None:
        found = self._from_mirror(lambda: self._mirror.resolve(tag))
        if found is None and not self._down:
            self._note(f"it has no {quote(tag)}")
        return found if found is not None else self._origin.resolve(tag)

    def manifest(self, digest: Digest) -> Manifest | Index:
        found = self._from_mirror(lambda: self._taught_manifest(digest))
        return found if found is not None else self._origin.manifest(digest)

    def _taught_manifest(self, digest: Digest) -> Manifest | Index:
        """A pull-through cache may know a digest only after somebody asked for its tag."""
        try:
            return self._mirror.manifest(digest)
        except NotFound:
            if self._tag is None:
                raise
            self._mirror.tagged(self._tag)
            return self._mirror.manifest(digest)

    def referrers(self, digest: Digest) -> tuple[Descriptor, ...]:
        # Few mirrors know referrers, so nothing there is an ordinary answer, without a note.
        return self._from_mirror(lambda: self._mirror.referrers(digest)) or self._origin.referrers(digest)

    def blob(self, descriptor: Descriptor) -> AbstractContextManager[Iterator[Buffer]]:
        """Where the mirror breaks in the middle, the origin goes on at the same byte."""
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

    def _from_mirror(self, ask: Callable[[], _Got]) -> _Got | None:
        """What the mirror answers, or None if it is down, was, or does not know."""
        if self._down:
            return None
        try:
            return ask()
        except ResourceError as error:
            self._failed(error)
            return None

    def _failed(self, error: ResourceError) -> None:
        # A whole answer, be it a refusal or wrong bytes, is about one thing; no answer is about the mirror.
        if isinstance(error, TransportError | Unavailable):
            self._down = True
        self._note(error.message)

    def _note(self, problem: str) -> None:
        with self._lock:
            first, self._noted = not self._noted, True
        if first:
            self._listener.note(f"warning: mirror {self._mirror.name.host}: {problem}: asking {self._origin.name.host}")
