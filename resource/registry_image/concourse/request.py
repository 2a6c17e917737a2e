"""What Concourse sends on stdin, held against the schemas, then typed: past this door there is no bare JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from registry_image.concourse.source import Source
from registry_image.concourse.version import Cursor, Version
from registry_image.oci.platform import Platform
from registry_image.oci.reference import Reference, RepositoryName

Format: TypeAlias = Literal["rootfs", "oci", "oci-layout"]


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
    if_exists: Literal["overwrite", "skip", "fail"] = "overwrite"
    annotations: Mapping[str, str] = field(default_factory=dict)
    mount_from: tuple[RepositoryName, ...] = ()
    create_repository: bool = False
    dry_run: bool = False


def parse_check(raw: bytes) -> CheckRequest:
    """Raises RequestError."""
    raise NotImplementedError


def parse_get(raw: bytes, destination: str) -> GetRequest:
    """Raises RequestError."""
    raise NotImplementedError


def parse_put(raw: bytes, directory: str) -> PutRequest:
    """Raises RequestError."""
    raise NotImplementedError
