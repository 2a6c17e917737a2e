"""What a put is to push: an image in an artifact, an index made of several, or an image in another repository."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace

from registry_image.concourse.connect import Connection, repository
from registry_image.concourse.inputs import find_one
from registry_image.concourse.request.put import ImagePart, PutRequest
from registry_image.errors import ContentError, NotFound, RequestError, quote
from registry_image.oci import mediatype
from registry_image.oci.cached import Kept
from registry_image.oci.config import MAX_CONFIG_SIZE, parse_config
from registry_image.oci.content import ContentReader, read_small_blob
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Buffer, Digest
from registry_image.oci.manifest import Index, Manifest
from registry_image.oci.platform import Platform
from registry_image.oci.reference import RepositoryName
from registry_image.storage.detect import open_stored
from registry_image.storage.layout import REF_NAME
from registry_image.transfer.copy import Graph, graph_of
from registry_image.transfer.mutate import Part, annotate, assemble, thin
from registry_image.transfer.workers import map_on_processors

#: Ends of the tags for a signature, attestations and a bill of materials (cosign, "Signature Specification").
_COSIGN_SUFFIXES = ("sig", "att", "sbom")
#: Annotations that say what an entry is called in the layout it comes from.
_NAMES = frozenset({REF_NAME, "io.containerd.image.name"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """``root`` is what the tags are to point at, ``reader`` has all that it refers to; ``form`` is for the log.

    ``local`` says that the bytes lie on a disk and can be verified before anything is sent. ``made_of`` is the digest
    that ``root`` had before it was changed for this put, None if it was not.
    """

    reader: ContentReader
    root: Manifest | Index
    form: str
    local: bool = True
    mount_from: tuple[RepositoryName, ...] = ()
    made_of: Digest | None = None

    def graph(self) -> Graph:
        """A promoted image takes its signatures and attestations along."""
        return graph_of(self.reader, self.root, referrers=not self.local)

    def signatures(self) -> Iterator[tuple[str, Manifest | Index]]:
        """What cosign tagged after the promoted digest, where it does not use referrers, and under which tag."""
        if self.local or self.made_of is not None:
            return
        for suffix in _COSIGN_SUFFIXES:
            tag = f"{self.root.digest.algorithm}-{self.root.digest.hex}.{suffix}"
            found = self.reader.resolve(tag)
            if found is not None:
                yield tag, self.reader.manifest(found.digest)


@contextmanager
def open_offer(request: PutRequest, connection: Connection) -> Iterator[Offer]:
    """Raises ResourceError for what is no image."""
    with ExitStack() as stack:
        offer = _open(request, connection, stack)
        root = annotate(offer.root, request.annotations)
        if root.digest != offer.root.digest:
            offer = replace(offer, root=root, made_of=offer.made_of or offer.root.digest)
        yield offer


def _open(request: PutRequest, connection: Connection, stack: ExitStack) -> Offer:
    given = [bool(request.image), bool(request.images), request.from_reference is not None]
    if sum(given) != 1:
        raise RequestError(
            "params: expected exactly one of `image`, `images` and `from`"
            f", got {'none' if not any(given) else 'several'}",
            hint="`image` is the path of a tarball or an OCI layout in an artifact of the build",
        )
    if request.platforms and request.from_reference is None:
        raise RequestError("params.platforms: only `from` can be thinned to some platforms")
    if request.image or request.images:
        # Layers that are not compressed yet are now: that takes a while.
        connection.listener.note(f"reading {request.image or f'{len(request.images)} images'}")
    if request.image:
        return stack.enter_context(_stored(request.directory, request.image, "params.image"))
    if request.images:
        return _assembled(request, stack)
    return _elsewhere(request, connection)


@contextmanager
def _stored(directory: str, pattern: str, field: str) -> Iterator[Offer]:
    path = find_one(directory, pattern, field)
    # The path was found to lie within, links and all; from here on none is followed.
    with open_stored(os.path.realpath(os.path.join(directory, path)), path, map_on_processors) as stored:
        yield Offer(reader=stored.reader, root=stored.root, form=f"{stored.form} {path!r}")


def _elsewhere(request: PutRequest, connection: Connection) -> Offer:
    reference = request.from_reference
    if reference is None:
        raise AssertionError("checked before")
    source = repository(connection.client, request.source, reference.repository)
    digest = reference.digest
    if digest is None:
        tag = reference.tag or "latest"
        found = source.resolve(tag)
        if found is None:
            raise NotFound(f"params.from: {reference.repository} has no tag {tag!r}", status=404)
        digest = found.digest
    root = source.manifest(digest)
    offer = Offer(
        reader=Kept(source),
        root=root,
        form=f"{reference.name}@{digest}",
        local=False,
        mount_from=(reference.repository,),
    )
    if not request.platforms or isinstance(root, Manifest):
        return offer
    thinned = thin(root, request.platforms)
    return offer if thinned is root else replace(offer, root=thinned, made_of=root.digest)


def _assembled(request: PutRequest, stack: ExitStack) -> Offer:
    parts: list[Part] = []
    readers = _Several()
    for number, image in enumerate(request.images):
        field = f"params.images[{number}]"
        offer = stack.enter_context(_stored(request.directory, image.path, field))
        readers.add(offer)
        parts += _parts(offer, image, field)
    return Offer(reader=readers, root=assemble(parts), form=f"index of {len(request.images)} images")


def _parts(offer: Offer, image: ImagePart, field: str) -> list[Part]:
    """The entries that an image brings to the index: its own, and its attestations' if it comes with an index."""
    if isinstance(offer.root, Manifest):
        platform = image.platform or _config_platform(offer.reader, offer.root, field)
        return [Part(manifest=offer.root, platform=platform, annotations={})]
    parts: list[Part] = []
    for entry in offer.root.manifests:
        manifest = offer.reader.manifest(entry.digest)
        if isinstance(manifest, Index):
            raise ContentError(f"{field}: {quote(image.path)} holds nested indexes: expected one image")
        platform = entry.platform or _config_platform(offer.reader, manifest, field)
        notes = {name: value for name, value in entry.annotations.items() if name not in _NAMES}
        parts.append(Part(manifest=manifest, platform=platform, annotations=notes))
    real = [part for part in parts if not part.platform.is_unknown]
    if len(real) != 1:
        there = ", ".join(str(part.platform) for part in real) or "none"
        raise ContentError(f"{field}: {quote(image.path)} holds {len(real)} images ({there}): expected one platform's")
    return [replace(part, platform=image.platform) if part in real and image.platform else part for part in parts]


def _config_platform(reader: ContentReader, manifest: Manifest, field: str) -> Platform:
    if manifest.config.media_type not in mediatype.CONFIGS:
        raise RequestError(
            f"{field}: its config does not say for which platform it is", hint="set `platform` beside it"
        )
    what = f"{field}: config of {manifest.digest}"
    raw = read_small_blob(reader, manifest.config, what, limit=MAX_CONFIG_SIZE)
    return parse_config(raw, what=what).platform


class _Several:
    """Readers as one: each manifest and blob from the one whose image has it."""

    def __init__(self) -> None:
        self._of: dict[Digest, ContentReader] = {}

    def add(self, offer: Offer) -> None:
        graph = offer.graph()
        for digest in (*graph.manifests, *graph.blobs):
            self._of.setdefault(digest, offer.reader)

    def resolve(self, tag: str) -> Descriptor | None:
        return None

    def manifest(self, digest: Digest) -> Manifest | Index:
        return self._reader(digest).manifest(digest)

    def blob(self, descriptor: Descriptor) -> AbstractContextManager[Iterator[Buffer]]:
        return self._reader(descriptor.digest).blob(descriptor)

    def referrers(self, digest: Digest) -> tuple[Descriptor, ...]:
        return ()

    def _reader(self, digest: Digest) -> ContentReader:
        if digest not in self._of:
            raise NotFound(f"params.images: {digest} is in none of them", status=404)
        return self._of[digest]
