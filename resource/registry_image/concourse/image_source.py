"""The image that a put pushes: one in an artifact, several under a new index, or one from another repository."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from registry_image.concourse.connect import Connection, repository
from registry_image.concourse.inputs import find_one
from registry_image.concourse.request.put import ImagePart, PutRequest
from registry_image.errors import ContentError, NoMatchingPlatform, NotFound, RequestError, quote
from registry_image.oci.cached import CachedReader
from registry_image.oci.config import MAX_CONFIG_SIZE, parse_config
from registry_image.oci.content import ContentReader, RepositoryReader, read_child, read_small_blob
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Buffer, Digest
from registry_image.oci.manifest import Index, Manifest
from registry_image.oci.platform import Platform, choose
from registry_image.oci.reference import Reference, RepositoryName
from registry_image.record import record, replace
from registry_image.storage.detect import open_image
from registry_image.storage.layout import NAMES
from registry_image.transfer.copy import Graph, graph_of
from registry_image.transfer.mutate import annotate, assemble, select_platforms
from registry_image.transfer.resolve import resolve_tags
from registry_image.transfer.select import select_image
from registry_image.transfer.workers import map_on_processors

if TYPE_CHECKING:
    from registry_image.signing.policy import Policy

#: Suffixes of cosign's tags for signatures, attestations and SBOMs (cosign's SIGNATURE_SPEC.md).
_COSIGN_SUFFIXES = ("sig", "att", "sbom")
_Content = TypeVar("_Content")


@record(kw_only=True)
class CosignImage:
    """What cosign keeps under ``tag`` for the manifest ``subject``: ``digest`` lists its signatures or attestations."""

    tag: str
    subject: Digest
    digest: Digest


@record(kw_only=True)
class ImageToPush:
    """The tags will point at ``root``; ``reader`` has everything that it refers to; ``form`` is for the log.

    Without ``verified``, the blobs are read and verified before anything is sent. ``promoted_from`` is the origin of a
    promoted image, None for an image on disk. ``derived_from`` is the digest before params changed the image, or None.
    """

    reader: ContentReader
    root: Manifest | Index
    form: str
    verified: bool = False
    promoted_from: RepositoryReader | None = None
    mount_from: tuple[RepositoryName, ...] = ()
    derived_from: Digest | None = None

    def graph(self) -> Graph:
        """With the signatures and attestations, if the image is promoted."""
        return graph_of(self.reader, self.root, self.promoted_from.referrers if self.promoted_from else None)

    def signatures(self) -> Iterator[CosignImage]:
        """What cosign's tag scheme has for the promoted image, unless it was changed, and for the platforms of an index
        (`cosign sign --recursive`). Newer formats use referrers."""
        if self.promoted_from is None:
            return
        platforms = self.root.manifests if isinstance(self.root, Index) else ()
        signed = [entry for entry in platforms if not (entry.platform and entry.platform.is_unknown)]
        if self.derived_from is None:
            signed.insert(0, self.root.descriptor)
        subjects = {_cosign_tag(each.digest, suffix): each.digest for each in signed for suffix in _COSIGN_SUFFIXES}
        for tag, digest in resolve_tags(self.promoted_from, tuple(subjects)).items():
            yield CosignImage(tag=tag, subject=subjects[tag], digest=digest)


def _cosign_tag(digest: Digest, suffix: str) -> str:
    return f"{digest.algorithm}-{digest.hex}.{suffix}"


def require_one_image(request: PutRequest) -> None:
    """Sends nothing. Raises RequestError unless ``request`` names one image in one way."""
    given = sum((bool(request.image), bool(request.images), request.from_reference is not None))
    if given != 1:
        raise RequestError(
            f"params: expected exactly one of `image`, `images` and `from`, got {'several' if given else 'none'}",
            hint=None if given else "`image` is the path of a tarball or an OCI layout in an artifact of the build",
        )
    if request.platforms and request.from_reference is None:
        raise RequestError("params.platforms: only valid together with `from`")


@contextmanager
def open_image_to_push(
    request: PutRequest, connection: Connection, policy: Policy | None = None
) -> Iterator[ImageToPush]:
    """``request`` names one image (`require_one_image`); ``policy`` is whose signatures `from` wants. Raises
    ResourceError."""
    with ExitStack() as stack:
        image = _open(request, connection, stack, policy)
        if isinstance(image.root, Index) and not image.root.manifests:
            # No get could take an image from it, on any platform.
            raise ContentError(f"{image.form}: its index lists no image")
        root = annotate(image.root, request.annotations)
        if root.digest != image.root.digest:
            image = replace(image, root=root, derived_from=image.derived_from or image.root.digest)
        yield image


def _open(request: PutRequest, connection: Connection, stack: ExitStack, policy: Policy | None) -> ImageToPush:
    if request.from_reference is not None:
        return _promoted(request, connection, request.from_reference, policy)
    if request.image:
        return stack.enter_context(_stored(request.directory, request.image, "params.image"))
    return _assembled(request, stack)


@contextmanager
def _stored(directory: str, pattern: str, field: str) -> Iterator[ImageToPush]:
    path = find_one(directory, pattern, field)
    # `find_one` followed the links and checked the target; open the resolved path so that no link is followed again.
    with open_image(os.path.realpath(os.path.join(directory, path)), path, map_on_processors) as stored:
        form = f"{stored.form} {path!r}"
        yield ImageToPush(reader=stored.reader, root=stored.root, form=form, verified=stored.verified)


def _promoted(request: PutRequest, connection: Connection, reference: Reference, policy: Policy | None) -> ImageToPush:
    source = repository(connection.client, request.source, reference.repository)
    digest = reference.digest
    if digest is None:
        tag = reference.tag or "latest"
        if (descriptor := source.resolve(tag)) is None:
            from registry_image.concourse.check import suggestion

            near = suggestion(source, tag)
            raise NotFound(f"params.from: {reference.repository} has no tag {quote(tag)}{near}", status=404)
        digest = descriptor.digest
    if policy is not None:
        from registry_image.signing.policy import verify

        signer = verify(source, digest, policy, str(reference.repository))
        connection.listener.note(f"{reference.name}@{digest} is signed by {signer}")
    root = source.manifest(digest)
    image = ImageToPush(
        reader=CachedReader(source),
        root=root,
        form=f"{reference.name}@{digest}",
        verified=True,  # the upload verifies what it downloads
        promoted_from=source,
        mount_from=(reference.repository,),
    )
    if not request.platforms:
        return image
    if isinstance(root, Manifest):
        _require_platforms(image.reader, root, request.platforms)
        return image
    selected = select_platforms(root, request.platforms)
    return image if selected is root else replace(image, root=selected, derived_from=root.digest)


def _require_platforms(reader: ContentReader, manifest: Manifest, platforms: tuple[Platform, ...]) -> None:
    """Raises NoMatchingPlatform unless the only image is for each of ``platforms``; NotAnImage for an artifact."""
    found = select_image(reader, manifest, platforms[0]).config.platform
    for wanted in platforms:
        if choose(wanted, [found]) is None:
            available = [str(found)] if str(found) else []
            raise NoMatchingPlatform(f"image {manifest.digest}", wanted=str(wanted), available=available)


def _assembled(request: PutRequest, stack: ExitStack) -> ImageToPush:
    entries: list[Descriptor] = []
    images: list[ImageToPush] = []
    paths: dict[tuple[Platform, str, tuple[str, ...]], str] = {}
    for number, part in enumerate(request.images):
        field = f"params.images[{number}]"
        images.append(stack.enter_context(_stored(request.directory, part.path, f"{field}.path")))
        for entry in _entries(images[-1], part, f"{field}: {quote(part.path)}"):
            if entry.platform and not entry.platform.is_unknown:
                # Of Windows, an index has one image for each version.
                demanded = entry.platform, entry.os_version, entry.os_features
                if demanded in paths:
                    both = f"{quote(paths[demanded])} and {quote(part.path)}"
                    raise RequestError(f"params.images: {both} are both for {entry.platform}")
                paths[demanded] = part.path
            entries.append(entry)
    return ImageToPush(
        reader=MultiReader(images),
        root=assemble(entries),
        form=f"index of {len(images)} images",
        verified=all(image.verified for image in images),
    )


def _entries(image: ImageToPush, part: ImagePart, field: str) -> list[Descriptor]:
    """The image's entries in the new index: its own, and those of its attestations if it has an index."""
    if isinstance(image.root, Manifest):
        return [_described(image.reader, image.root, part, field)]
    entries: list[Descriptor] = []
    real: list[Platform] = []
    for entry in image.root.manifests:
        manifest = read_child(image.reader, entry)
        if isinstance(manifest, Index):
            raise ContentError(f"{field} holds nested indexes: expected one image")
        described = entry if entry.platform else _described(image.reader, manifest, part, field)
        if described.platform and not described.platform.is_unknown:
            real.append(described.platform)
            described = replace(described, platform=part.platform or described.platform)
        annotations = {name: value for name, value in entry.annotations.items() if name not in NAMES}
        entries.append(
            replace(
                manifest.descriptor,
                platform=described.platform,
                os_version=described.os_version,
                os_features=described.os_features,
                annotations=annotations,
            )
        )
    if len(real) != 1:
        platforms = ", ".join(map(str, real)) or "none"
        raise ContentError(f"{field} holds images of {len(real)} platforms ({platforms}): expected one")
    return entries


def _described(reader: ContentReader, manifest: Manifest, part: ImagePart, field: str) -> Descriptor:
    """The entry for ``manifest``, for the platform of ``part`` or else of its config."""
    if part.platform:
        return replace(manifest.descriptor, platform=part.platform)
    if manifest.is_image:
        what = f"{field}: config of {manifest.digest}"
        raw = read_small_blob(reader, manifest.config, what, limit=MAX_CONFIG_SIZE)
        config = parse_config(raw, what=what)
        if config.platform.os and config.platform.architecture:
            return replace(manifest.descriptor, platform=config.platform, os_version=config.os_version)
    raise RequestError(f"{field}: its config does not name a platform", hint="set `platform` beside its `path`")


class MultiReader:
    """Reads each manifest and blob from the first of several images that has it."""

    def __init__(self, images: list[ImageToPush]) -> None:
        self._readers = [image.reader for image in images]

    def manifest(self, digest: Digest) -> Manifest | Index:
        return self._first(lambda reader: reader.manifest(digest), digest)

    def blob(self, descriptor: Descriptor) -> AbstractContextManager[Iterator[Buffer]]:
        return self._first(lambda reader: reader.blob(descriptor), descriptor.digest)

    def _first(self, read: Callable[[ContentReader], _Content], digest: Digest) -> _Content:
        for reader in self._readers:
            with suppress(NotFound):
                return read(reader)
        raise NotFound(f"params.images: no image has {digest}", status=404)
