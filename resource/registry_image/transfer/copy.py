"""Copies a graph of content from a reader to a writer: blobs in parallel, then manifests, children first, then tags."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, TypeVar

from registry_image.errors import Cancelled, InvalidManifest, ResourceError, SizeMismatch
from registry_image.oci import mediatype
from registry_image.oci.content import (
    BlobSource,
    ContentWriter,
    Manifests,
    open_verified,
    read_child,
    require_described,
)
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Buffer, Digest
from registry_image.oci.manifest import MAX_CHILDREN, Index, Manifest
from registry_image.transfer.fetch import PARALLEL
from registry_image.transfer.workers import WorkerGroup

#: How deep indexes, and referrers of referrers, may nest.
MAX_DEPTH = 8
#: The most bytes of all manifests of one graph, which stay in memory: for an index of fifty platforms, some 200 kB.
MAX_MANIFESTS_SIZE = 8 * 1024 * 1024
#: Finds the manifests that refer to a digest (`RepositoryReader.referrers`).
Referrers: TypeAlias = Callable[[Digest], Iterable[Descriptor]]
_Result = TypeVar("_Result")


@dataclass(slots=True)
class Graph:
    """All content of an image or index: ``blobs`` by digest, ``manifests`` each after its children.

    Foreign layers are left out: they keep their URLs, and only their publisher serves them. ``unrelated`` are listed as
    referrers but name another subject, or none, so they are left out too. ``manifests_size`` is in bytes.
    """

    blobs: dict[Digest, Descriptor] = field(default_factory=dict)
    manifests: dict[Digest, Manifest | Index] = field(default_factory=dict)
    unrelated: dict[Digest, Digest] = field(default_factory=dict)
    manifests_size: int = 0

    def leave_to_tags(self, root: Digest) -> None:
        """Takes ``root`` out, unless a manifest refers to it: it is written with its first tag.

        Written by its digest alone, it would be an untagged image for as long as no tag is written, or for ever.
        """
        # A manifest that refers to it would come after it.
        if next(reversed(self.manifests)) == root:
            del self.manifests[root]


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """What a copy sent. ``blobs_reused`` counts blobs that the writer had already or got by a mount."""

    bytes_uploaded: int = 0
    blobs_uploaded: int = 0
    blobs_reused: int = 0

    def __add__(self, other: Copied) -> Copied:
        return Copied(
            bytes_uploaded=self.bytes_uploaded + other.bytes_uploaded,
            blobs_uploaded=self.blobs_uploaded + other.blobs_uploaded,
            blobs_reused=self.blobs_reused + other.blobs_reused,
        )


def graph_of(reader: Manifests, root: Manifest | Index, referrers: Referrers | None = None) -> Graph:
    """``root`` and all it refers to; with ``referrers`` also manifests that refer to these: signatures, attestations.

    Raises InvalidManifest for a graph that is too deep or too large.
    """
    graph = Graph()
    _add(graph, reader, root, 0)
    if referrers is not None:
        _add_referrers(graph, reader, referrers)
    return graph


def _add(graph: Graph, reader: Manifests, manifest: Manifest | Index, depth: int) -> None:
    _count(graph, manifest, depth)
    if isinstance(manifest, Manifest):
        below: tuple[Descriptor, ...] = (manifest.config, *manifest.layers)
    else:
        below = manifest.manifests
    for child in below:
        if isinstance(manifest, Index) and not child.media_type:
            # Copied as a blob, a manifest would be in the registry, and no get could read it.
            raise InvalidManifest(f"index {manifest.digest}: its entry {child.digest} has no mediaType")
        if isinstance(manifest, Index) and child.media_type in mediatype.MANIFESTS | mediatype.INDEXES:
            if child.digest in graph.manifests:
                require_described(graph.manifests[child.digest], child)
            else:
                _add(graph, reader, read_child(reader, child), depth + 1)
        elif not mediatype.is_foreign_layer(child.media_type):
            # An index may list blobs too, as BuildKit's caches do.
            known = graph.blobs.setdefault(child.digest, child)
            if known.size != child.size:
                raise SizeMismatch(f"blob {child.digest}", expected=known.size, actual=child.size)
    graph.manifests[manifest.digest] = manifest


def _count(graph: Graph, manifest: Manifest | Index, depth: int) -> None:
    if depth > MAX_DEPTH or len(graph.manifests) + len(graph.unrelated) >= MAX_CHILDREN:
        raise InvalidManifest(
            f"{manifest.digest}: nested more than {MAX_DEPTH} deep, or more than {MAX_CHILDREN} parts"
        )
    graph.manifests_size += len(manifest.raw)
    if graph.manifests_size > MAX_MANIFESTS_SIZE:
        raise InvalidManifest(f"{manifest.digest}: with it, the manifests have more than {MAX_MANIFESTS_SIZE} bytes")


def _add_referrers(graph: Graph, reader: Manifests, referrers: Referrers) -> None:
    """Adds what refers to the manifests of ``graph``, and what refers to that.

    A registry may list any manifest as a referrer. Pushed with our credentials, one that names another subject would
    be attached to another image, so each is read, and is left out unless it names the digest that was asked for.
    """
    waiting = [(digest, 0) for digest in graph.manifests]
    for subject, depth in waiting:
        for entry in referrers(subject):
            if entry.digest in graph.manifests:
                continue
            referrer = read_child(reader, entry)
            if referrer.subject is None or referrer.subject.digest != subject:
                _count(graph, referrer, depth + 1)
                graph.unrelated[entry.digest] = subject
                continue
            before = len(graph.manifests)
            _add(graph, reader, referrer, depth + 1)
            added = list(graph.manifests.values())[before:]
            _require_attached(added, graph)
            waiting += [(manifest.digest, depth + 1) for manifest in added]


def _require_attached(added: Iterable[Manifest | Index], graph: Graph) -> None:
    """A referrer may be an index, whose children would be attached in the same way."""
    for manifest in added:
        if manifest.subject is not None and manifest.subject.digest not in graph.manifests:
            raise InvalidManifest(f"{manifest.digest}: it belongs to {manifest.subject.digest}, which is not copied")


def copy_graph(source: BlobSource, writer: ContentWriter, graph: Graph, *, parallel: int = PARALLEL) -> Copied:
    """Copies the blobs that ``writer`` lacks, ``parallel`` at once, then the manifests.

    Raises the first error; after a failed blob no manifest is written.
    """

    def copy_blob(blob: Descriptor, source: BlobSource) -> int | None:
        return None if writer.has(blob) else writer.put_blob(blob, source)

    sizes = for_each_blob(source, graph, copy_blob, parallel)
    for manifest in graph.manifests.values():
        writer.put_manifest(manifest)
    sent = [size for size in sizes if size]
    return Copied(bytes_uploaded=sum(sent), blobs_uploaded=len(sent), blobs_reused=len(sizes) - len(sent))


def verify_graph(source: BlobSource, graph: Graph, *, parallel: int = PARALLEL) -> None:
    """Reads every blob. Raises ContentError unless each matches its digest."""

    def verify(blob: Descriptor, source: BlobSource) -> None:
        with open_verified(source, blob, f"blob {blob.digest}") as pieces:
            for _ in pieces:
                pass

    for_each_blob(source, graph, verify, parallel)


class TagWriter(Protocol):
    def put_manifest(self, manifest: Manifest | Index, *, tag: str) -> None: ...


def put_tags(writer: TagWriter, root: Manifest | Index, tags: Iterable[str]) -> None:
    """Writes ``root``, whose content is there already, under ``tags``. An error lists the tags that moved before it."""
    moved: list[str] = []
    waiting = list(tags)
    try:
        while waiting:
            writer.put_manifest(root, tag=waiting[0])
            moved.append(waiting.pop(0))
    except ResourceError as error:
        error.args = (f"{error.message}: tags pushed: {_some(moved)}; not pushed: {_some(waiting)}",)
        raise


def _some(tags: list[str]) -> str:
    return ", ".join(tags) or "none"


def for_each_blob(
    source: BlobSource, graph: Graph, act: Callable[[Descriptor, BlobSource], _Result], parallel: int
) -> list[_Result]:
    """``act`` on every blob, large ones first, so that none of them runs alone at the end. Raises the first error."""
    blobs = sorted(graph.blobs.values(), key=lambda blob: -blob.size)
    # A signal ends the group too, so that no thread writes to files that the caller removes.
    with WorkerGroup() as group:
        cancellable = Cancellable(source, group.cancelled)
        return list(group.map(lambda blob: act(blob, cancellable), blobs, parallel, ahead=len(blobs)))


class Cancellable:
    """``source``, whose blobs raise Cancelled once ``cancelled`` is set."""

    def __init__(self, source: BlobSource, cancelled: threading.Event) -> None:
        self._source = source
        self._cancelled = cancelled

    @contextmanager
    def blob(self, descriptor: Descriptor) -> Iterator[Iterator[Buffer]]:
        with self._source.blob(descriptor) as pieces:
            yield self._until_cancelled(pieces)

    def _until_cancelled(self, pieces: Iterator[Buffer]) -> Iterator[Buffer]:
        for piece in pieces:
            if self._cancelled.is_set():
                raise Cancelled
            yield piece
