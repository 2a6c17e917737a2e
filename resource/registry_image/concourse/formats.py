"""get's formats `oci` and `oci-layout`: copies from the registry to a tarball and a layout directory."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass

from registry_image.concourse.request.get import PRODUCTS, Format
from registry_image.oci.content import ContentReader
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Buffer, Digest
from registry_image.oci.manifest import Index, Manifest
from registry_image.progress import Listener
from registry_image.storage.layout import LayoutDirectory
from registry_image.storage.loadable import LoadableTarball
from registry_image.transfer.copy import Graph, copy_graph, graph_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What a get names and takes: ``root`` is behind the version's digest, ``manifest`` the platform's image in it, or
    None where no platform was chosen. ``name`` is ``repository:tag`` of the origin, None without a tag."""

    root: Manifest | Index
    manifest: Manifest | None
    name: str | None


@contextmanager
def write_formats(
    formats: tuple[Format, ...], reader: ContentReader, fetched: Fetched, directory: str, *, parallel: int
) -> Iterator[ContentReader]:
    """Writes ``oci/`` and ``image.tar`` into ``directory``, as far as ``formats`` names them.

    Gives the reader that has nearest what another format needs, so that every blob is downloaded once. ``reader``
    tells its own progress (see `Told`).
    """
    with ExitStack() as stack:
        near = reader
        if "oci-layout" in formats:
            near = _write_layout(reader, fetched.root, os.path.join(directory, PRODUCTS["oci-layout"]), parallel)
        if "oci" in formats and fetched.manifest is not None:
            path = os.path.join(directory, PRODUCTS["oci"])
            tarball = stack.enter_context(LoadableTarball(path, fetched.manifest, fetched.name))
            blobs = {blob.digest: blob for blob in (fetched.manifest.config, *fetched.manifest.layers)}
            copy_graph(near, tarball, Graph(blobs=blobs), parallel=parallel)
            near = near if "oci-layout" in formats else _Tarred(near, tarball, blobs)
        yield near


def _write_layout(reader: ContentReader, root: Manifest | Index, path: str, parallel: int) -> LayoutDirectory:
    layout = LayoutDirectory(path)
    graph = graph_of(reader, root)
    # The root is written as index.json, or beside it.
    del graph.manifests[root.digest]
    copy_graph(reader, layout, graph, parallel=parallel)
    layout.seal(root)
    return layout


class _Tarred:
    """``reader``, but for the blobs that are in ``tarball`` by now."""

    def __init__(self, reader: ContentReader, tarball: LoadableTarball, blobs: dict[Digest, Descriptor]) -> None:
        self._reader = reader
        self._tarball = tarball
        self._blobs = blobs

    def resolve(self, tag: str) -> Descriptor | None:
        return self._reader.resolve(tag)

    def manifest(self, digest: Digest) -> Manifest | Index:
        return self._reader.manifest(digest)

    def blob(self, descriptor: Descriptor) -> AbstractContextManager[Iterator[Buffer]]:
        if descriptor.digest not in self._blobs:
            return self._reader.blob(descriptor)
        return nullcontext(self._tarball.region(descriptor).pieces(f"{PRODUCTS['oci']}: blob {descriptor.digest}"))

    def referrers(self, digest: Digest) -> tuple[Descriptor, ...]:
        return self._reader.referrers(digest)


class Told:
    """``reader``, telling ``listener`` of every blob that is read from it."""

    def __init__(self, reader: ContentReader, listener: Listener, step: str = "download") -> None:
        self._reader = reader
        self._listener = listener
        self._step = step

    def resolve(self, tag: str) -> Descriptor | None:
        return self._reader.resolve(tag)

    def manifest(self, digest: Digest) -> Manifest | Index:
        return self._reader.manifest(digest)

    def blob(self, descriptor: Descriptor) -> AbstractContextManager[Iterator[Buffer]]:
        return closing(self._pieces(descriptor))

    def _pieces(self, descriptor: Descriptor) -> Generator[Buffer]:
        part = descriptor.digest.short
        self._listener.begin(self._step, part, descriptor.size)
        with self._reader.blob(descriptor) as pieces:
            for piece in pieces:
                yield piece
                self._listener.advance(self._step, part, len(piece))
        self._listener.finish(self._step, part)

    def referrers(self, digest: Digest) -> tuple[Descriptor, ...]:
        return self._reader.referrers(digest)
