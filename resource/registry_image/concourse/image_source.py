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
from registry_image.oci.cached import CachedReader
from registry_image.oci.config import MAX_CONFIG_SIZE, parse_config
from registry_image.oci.content import ContentReader, RepositoryReader, read_small_blob
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Buffer, Digest
from registry_image.oci.manifest import Index, Manifest
from registry_image.oci.platform import Platform
from registry_image.oci.reference import Reference, RepositoryName
from registry_image.storage.detect import open_image
from registry_image.storage.layout import REF_NAME
from registry_image.transfer.copy import Graph, graph_of
from registry_image.transfer.mutate import annotate, assemble, select_platforms
from registry_image.transfer.workers import map_on_processors

#: Ends of the tags for a signature, attestations and a bill of materials (cosign, "Signature Specification").
_COSIGN_SUFFIXES = ("sig", "att", "sbom")
#: Annotations that say what an entry is called in the layout it comes from.
_NAMES = frozenset({REF_NAME, "io.containerd.image.name"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageToPush:
    """``root`` is what the tags are to point at, ``reader`` has all that it refers to; ``form`` is for the log.

    ``verified`` says that nobody needs to read the blobs before anything is sent. ``promoted_from`` is the repository
    that has the image and its signatures, None for an image on this disk. ``derived_from`` is the digest that ``root``
    had before it was changed for this put, None if it was not.
    """

    reader: ContentReader
    root: Manifest | Index
    form: str
    verified: bool = False
    promoted_from: RepositoryReader | None = None
    mount_from: tuple[RepositoryName, ...] = ()
    derived_from: Digest | None = None

    def graph(self) -> Graph:
        """A promoted image takes its signatures and attestations along."""
        return graph_of(self.reader, self.root, self.promoted_from.referrers if self.promoted_from else None)

    def signatures(self) -> Iterator[tuple[str, Manifest | Index]]:
        """What cosign tagged after the promoted digest, where it does not use referrers, and under which tag."""
        if self.promoted_from is None or self.derived_from is not None:
            return
        for suffix in _COSIGN_SUFFIXES:
            tag = f"{self.root.digest.algorithm}-{self.root.digest.hex}.{suffix}"
            found = self.promoted_from.resolve(tag)
            if found is not None:
                yield tag, self.reader.manifest(found.digest)


@contextmanager
def open_image_to_push(request: PutRequest, connection: Connection) -> Iterator[ImageToPush]:
    """Raises ResourceError for what is no image."""
    with ExitStack() as stack:
        image = _open(request, connection, stack)
        root = annotate(image.root, request.annotations)
        if root.digest != image.root.digest:
            image = replace(image, root=root, derived_from=image.derived_from or image.root.digest)
        yield image


def _open(request: PutRequest, connection: Connection, stack: ExitStack) -> ImageToPush:
    given = [bool(request.image), bool(request.images), request.from_reference is not None]
    if sum(given) != 1:
        raise RequestError(
            "params: expected exactly one of `image`, `images` and `from`"
            f", got {'none' if not any(given) else 'several'}",
            hint="`image` is the path of a tarball or an OCI layout in an artifact of the build",
        )
    if request.platforms and request.from_reference is None:
        raise RequestError("params.platforms: only `from` can be thinned to some platforms")
    if request.from_reference is not None:
        return _promoted(request, connection, request.from_reference)
    if request.image:
        return stack.enter_context(_stored(request.directory, request.image, "params.image"))
    return _assembled(request, stack)


@contextmanager
def _stored(directory: str, pattern: str, field: str) -> Iterator[ImageToPush]:
    path = find_one(directory, pattern, field)
    # The path was found to lie within, links and all; from here on none is followed.
    with open_image(os.path.realpath(os.path.join(directory, path)), path, map_on_processors) as stored:
        form = f"{stored.form} {path!r}"
        yield ImageToPush(reader=stored.reader, root=stored.root, form=form, verified=stored.verified)


def _promoted(request: PutRequest, connection: Connection, reference: Reference) -> ImageToPush:
    source = repository(connection.client, request.source, reference.repository)
    digest = reference.digest
    if digest is None:
        tag = reference.tag or "latest"
        found = source.resolve(tag)
        if found is None:
            raise NotFound(f"params.from: {reference.repository} has no tag {tag!r}", status=404)
        digest = found.digest
    root = source.manifest(digest)
    image = ImageToPush(
        reader=CachedReader(source),
        root=root,
        form=f"{reference.name}@{digest}",
        verified=True,  # the upload verifies what it downloads
        promoted_from=source,
        mount_from=(reference.repository,),
    )
    if not request.platforms or isinstance(root, Manifest):
        return image
    selected = select_platforms(root, request.platforms)
    return image if selected is root else replace(image, root=selected, derived_from=root.digest)


def _assembled(request: PutRequest, stack: ExitStack) -> ImageToPush:
    entries: list[Descriptor] = []
    images: list[ImageToPush] = []
    for number, part in enumerate(request.images):
        field = f"params.images[{number}]"
        images.append(stack.enter_context(_stored(request.directory, part.path, field)))
        entries += _entries(images[-1], part, field)
    return ImageToPush(
        reader=MultiReader(images),
        root=assemble(entries),
        form=f"index of {len(images)} images",
        verified=all(image.verified for image in images),
    )


def _entries(image: ImageToPush, part: ImagePart, field: str) -> list[Descriptor]:
    """What an image brings to the index: its own entry, and its attestations' if it comes with an index."""
    if isinstance(image.root, Manifest):
        platform = part.platform or _config_platform(image.reader, image.root, field)
        return [replace(image.root.descriptor, platform=platform)]
    entries: list[Descriptor] = []
    real: list[Platform] = []
    for entry in image.root.manifests:
        manifest = image.reader.manifest(entry.digest)
        if isinstance(manifest, Index):
            raise ContentError(f"{field}: {quote(part.path)} holds nested indexes: expected one image")
        platform = entry.platform or _config_platform(image.reader, manifest, field)
        if not platform.is_unknown:
            real.append(platform)
            platform = part.platform or platform
        annotations = {name: value for name, value in entry.annotations.items() if name not in _NAMES}
        entries.append(replace(manifest.descriptor, platform=platform, annotations=annotations))
    if len(real) != 1:
        there = ", ".join(map(str, real)) or "none"
        raise ContentError(f"{field}: {quote(part.path)} holds {len(real)} images ({there}): expected one platform's")
    return entries


def _config_platform(reader: ContentReader, manifest: Manifest, field: str) -> Platform:
    if manifest.config.media_type not in mediatype.CONFIGS:
        raise RequestError(
            f"{field}: its config does not say for which platform it is", hint="set `platform` beside it"
        )
    what = f"{field}: config of {manifest.digest}"
    raw = read_small_blob(reader, manifest.config, what, limit=MAX_CONFIG_SIZE)
    return parse_config(raw, what=what).platform


class MultiReader:
    """The ContentReader of several images: each manifest and blob is read from the first image that has it."""

    def __init__(self, images: list[ImageToPush]) -> None:
        self._of: dict[Digest, ContentReader] = {}
        for image in images:
            graph = image.graph()
            for digest in (*graph.manifests, *graph.blobs):
                self._of.setdefault(digest, image.reader)

    def manifest(self, digest: Digest) -> Manifest | Index:
        return self._reader(digest).manifest(digest)

    def blob(self, descriptor: Descriptor) -> AbstractContextManager[Iterator[Buffer]]:
        return self._reader(descriptor.digest).blob(descriptor)

    def _reader(self, digest: Digest) -> ContentReader:
        if digest not in self._of:
            raise NotFound(f"params.images: {digest} is in none of them", status=404)
        return self._of[digest]
