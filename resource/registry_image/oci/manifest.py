"""Manifests and indexes (image spec, manifest.md and image-index.md), with their exact bytes."""

from __future__ import annotations

from collections.abc import Mapping

from registry_image.decode import JSONReader, in_turn
from registry_image.errors import InvalidManifest, UnsupportedMediaType, quote
from registry_image.oci import mediatype
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Digest, verify
from registry_image.record import EMPTY, record

#: The largest manifest, in bytes: the distribution spec asks registries to accept 4 MiB.
MAX_MANIFEST_SIZE = 4 * 1024 * 1024
#: The most layers a manifest, or manifests an index, may list. Docker's own limit is 127 layers.
MAX_CHILDREN = 10_000


@record(kw_only=True)
class RawManifest:
    """What manifests and indexes share. ``raw`` are the exact bytes: the ones hashed are written, pushed and parsed."""

    raw: bytes
    media_type: str
    digest: Digest
    artifact_type: str = ""
    subject: Descriptor | None = None
    annotations: Mapping[str, str] = EMPTY

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(media_type=self.media_type, digest=self.digest, size=len(self.raw))


@record(kw_only=True)
class Manifest(RawManifest):
    """One image, or one artifact whose ``config`` is not an image's."""

    config: Descriptor
    layers: tuple[Descriptor, ...]

    @property
    def is_image(self) -> bool:
        """Whether the config is an image's, so that it names a platform and diff IDs."""
        kind = self.config.media_type
        old = self.media_type == mediatype.DOCKER_MANIFEST and kind in mediatype.OLD_DOCKER_CONFIGS
        return old or kind in mediatype.CONFIGS


@record(kw_only=True)
class Index(RawManifest):
    """Manifests and further indexes, in order."""

    manifests: tuple[Descriptor, ...]


def parse_manifest(
    raw: bytes, *, digest: Digest | None = None, content_type: str = "", what: str = "manifest"
) -> Manifest | Index:
    """The manifest or index in ``raw``, verified before it is parsed if ``digest`` is given.

    ``content_type`` is the transport's, and must agree with the document's own ``mediaType`` if both are there.
    Raises DigestMismatch, InvalidManifest, or UnsupportedMediaType for Docker schema 1 and any other document.
    """
    if len(raw) > MAX_MANIFEST_SIZE:
        raise InvalidManifest(f"{what}: larger than {MAX_MANIFEST_SIZE} bytes")
    if digest is None:
        digest = Digest.of(raw)
    else:
        verify(raw, digest, what)
    with in_turn(raw):
        reader = JSONReader.parse(raw, what)
        media_type = _media_type(reader, content_type.partition(";")[0].strip(), what)
        if media_type in mediatype.MANIFESTS:
            return _read_manifest(reader, raw, media_type, digest)
        if media_type in mediatype.INDEXES:
            return _read_index(reader, raw, media_type, digest)
    hint = None
    if media_type in (mediatype.DOCKER_SCHEMA1, mediatype.DOCKER_SCHEMA1_SIGNED):
        hint = "Docker schema 1 is retired: push the image again with a current tool"
    raise UnsupportedMediaType(f"{what}: {quote(media_type)} is neither an image manifest nor an index", hint=hint)


def _media_type(reader: JSONReader, content_type: str, what: str) -> str:
    if reader.integer("schemaVersion", 2) == 1:
        return mediatype.DOCKER_SCHEMA1
    declared = reader.text("mediaType", "")
    known = mediatype.MANIFESTS | mediatype.INDEXES
    if declared and content_type in known and declared != content_type:
        raise InvalidManifest(f"{what}: mediaType is {quote(declared)}, but it was served as {quote(content_type)}")
    media_type = declared or content_type
    # OCI makes mediaType optional: without it, the fields decide (image spec, manifest.md, "mediaType").
    if media_type not in known and not declared:
        media_type = mediatype.OCI_INDEX if reader.has("manifests") else mediatype.OCI_MANIFEST
    if media_type in mediatype.MANIFESTS and reader.has("manifests"):
        # One document must not mean an image to one reader and an index to the next (CVE-2021-41190).
        raise InvalidManifest(f"{what}: ambiguous: a manifest with `manifests`")
    if media_type in mediatype.INDEXES and (reader.has("layers") or reader.has("config")):
        raise InvalidManifest(f"{what}: ambiguous: an index with `config` or `layers`")
    return media_type


def _read_manifest(reader: JSONReader, raw: bytes, media_type: str, digest: Digest) -> Manifest:
    layers = tuple(Descriptor.read(child) for child in reader.children("layers"))
    _bound(layers, reader.where)
    return Manifest(
        raw=raw,
        media_type=media_type,
        digest=digest,
        config=Descriptor.read(reader.child("config")),
        layers=layers,
        artifact_type=reader.text("artifactType", ""),
        subject=_subject(reader),
        annotations=reader.text_map("annotations"),
    )


def _read_index(reader: JSONReader, raw: bytes, media_type: str, digest: Digest) -> Index:
    manifests = tuple(Descriptor.read(child) for child in reader.children("manifests"))
    _bound(manifests, reader.where)
    return Index(
        raw=raw,
        media_type=media_type,
        digest=digest,
        manifests=manifests,
        artifact_type=reader.text("artifactType", ""),
        subject=_subject(reader),
        annotations=reader.text_map("annotations"),
    )


def _subject(reader: JSONReader) -> Descriptor | None:
    return Descriptor.read(reader.child("subject")) if reader.has("subject") else None


def _bound(children: tuple[Descriptor, ...], where: str) -> None:
    if len(children) > MAX_CHILDREN:
        raise InvalidManifest(f"{where}: {len(children)} entries: more than {MAX_CHILDREN}")
