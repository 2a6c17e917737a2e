"""What Concourse sends on stdin, held against the schemas, then typed: past this door there is no bare JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from registry_image.concourse.source import Source, parse_digest, read_platform, read_source
from registry_image.concourse.validation import Kind, read_document
from registry_image.concourse.version import Cursor, Version
from registry_image.decode import JSONReader
from registry_image.errors import InvalidManifest, RequestError
from registry_image.oci.digest import Digest
from registry_image.oci.platform import Platform
from registry_image.oci.reference import Reference, RepositoryName

Format: TypeAlias = Literal["rootfs", "oci", "oci-layout"]
IfExists: TypeAlias = Literal["overwrite", "skip", "fail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRequest:
    """``version`` is None at the first check."""

    source: Source
    version: Cursor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GetRequest:
    """``destination`` is the directory that becomes the artifact. ``platform`` is the params', else the source's."""

    source: Source
    version: Version
    destination: str
    formats: tuple[Format, ...] = ("rootfs",)
    platform: Platform
    skip_download: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePart:
    """One image of an index to be made: where it lies below the put's directory, and its platform if its config
    is not to say."""

    path: str
    platform: Platform | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PutRequest:
    """``directory`` is where the artifacts are. ``from_reference`` is ``params.from``; "" and None are absent."""

    source: Source
    directory: str
    image: str = ""
    images: tuple[ImagePart, ...] = ()
    from_reference: Reference | None = None
    platforms: tuple[Platform, ...] = ()
    version: str = ""
    keep_v: bool = False
    bump_aliases: bool = False
    tags: tuple[str, ...] = ()
    additional_tags: str = ""
    tag_prefix: str = ""
    if_exists: IfExists = "overwrite"
    annotations: Mapping[str, str] = field(default_factory=dict)
    mount_from: tuple[RepositoryName, ...] = ()
    create_repository: bool = False
    dry_run: bool = False


def parse_check(raw: bytes) -> CheckRequest:
    """Raises RequestError."""
    source, _, version = _read(raw, "check")
    cursor = Cursor(tag=version.text("tag", ""), digest=_well_formed(version.text("digest", "")))
    return CheckRequest(source=source, version=cursor if cursor.tag or cursor.digest else None)


def parse_get(raw: bytes, destination: str) -> GetRequest:
    """Raises RequestError."""
    source, params, version = _read(raw, "get")
    formats = params.texts("formats") or (params.text("format", "rootfs"),)
    if params.has("formats") and params.has("format"):
        raise RequestError("params: `format` and `formats` are both set", hint="name all of them in `formats`")
    return GetRequest(
        source=source,
        version=Version(tag=version.text("tag", ""), digest=parse_digest(version.text("digest"), "version.digest")),
        destination=destination,
        formats=tuple(form for form in get_args(Format) if form in formats),
        platform=read_platform(params) if params.has("platform") else source.platform,
        skip_download=params.boolean("skip_download"),
    )


def parse_put(raw: bytes, directory: str) -> PutRequest:
    """Raises RequestError."""
    source, params, _ = _read(raw, "put")
    if source.content_trust:
        raise RequestError(
            "source.content_trust: signing by Notary v1 is retired: its public server ends in December 2026",
            hint="remove `content_trust`; signatures will be made the way cosign makes them",
        )
    if_exists = params.text("if_exists", "overwrite")
    return PutRequest(
        source=source,
        directory=directory,
        image=params.text("image", ""),
        images=tuple(
            ImagePart(path=part.text("path"), platform=read_platform(part) if part.has("platform") else None)
            for part in params.children("images")
        ),
        from_reference=Reference.parse(params.text("from")) if params.has("from") else None,
        platforms=tuple(Platform.parse(text) for text in params.texts("platforms")),
        version=params.text("version", ""),
        keep_v=params.boolean("keep_v"),
        bump_aliases=params.boolean("bump_aliases"),
        tags=params.texts("tags"),
        additional_tags=params.text("additional_tags", ""),
        tag_prefix=params.text("tag_prefix", ""),
        if_exists=next(word for word in get_args(IfExists) if word == if_exists),
        annotations=params.text_map("annotations"),
        mount_from=tuple(RepositoryName.parse(text) for text in params.texts("mount_from")),
        create_repository=params.boolean("create_repository"),
        dry_run=params.boolean("dry_run"),
    )


def _read(raw: bytes, kind: Kind) -> tuple[Source, JSONReader, JSONReader]:
    """The source, and readers of the params and the version, empty if absent."""
    document = read_document(raw, kind)
    source, params, version = (JSONReader(document.get(key, {}), key) for key in ("source", "params", "version"))
    return read_source(source), params, version


def _well_formed(digest: str) -> Digest | None:
    try:
        return Digest.parse(digest)
    except InvalidManifest:
        return None
