"""Descriptors (image spec, descriptor.md): what points at content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from registry_image.decode import JSON, JSONReader
from registry_image.errors import InvalidManifest
from registry_image.oci.digest import Digest
from registry_image.oci.platform import Platform

#: The largest blob that a descriptor may promise, in bytes (256 TiB): ten thousand of them still make an offset that a
#: file can have, and a number that can be written.
MAX_BLOB_SIZE = 1 << 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """``size`` is in bytes. ``platform`` is as an index says it, normalised; None where it says nothing."""

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None
    artifact_type: str = ""
    urls: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, reader: JSONReader) -> Descriptor:
        """Raises InvalidManifest."""
        size = reader.integer("size")
        if not 0 <= size <= MAX_BLOB_SIZE:
            raise InvalidManifest(f"{reader.where}: size: {'negative' if size < 0 else f'more than {MAX_BLOB_SIZE}'}")
        try:
            digest = Digest.parse(reader.text("digest"))
        except InvalidManifest as error:
            raise InvalidManifest(f"{reader.where}: {error.message}") from error
        return cls(
            media_type=reader.text("mediaType", ""),
            digest=digest,
            size=size,
            platform=_platform(reader.child("platform")) if reader.has("platform") else None,
            artifact_type=reader.text("artifactType", ""),
            urls=reader.texts("urls"),
            annotations=reader.text_map("annotations"),
        )

    def as_json(self) -> dict[str, JSON]:
        """As it stands in an index or a manifest, without the fields that say nothing."""
        document: dict[str, JSON] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if self.urls:
            document["urls"] = list(self.urls)
        if self.artifact_type:
            document["artifactType"] = self.artifact_type
        if self.platform is not None:
            platform: dict[str, JSON] = {"architecture": self.platform.architecture, "os": self.platform.os}
            document["platform"] = platform | ({"variant": self.platform.variant} if self.platform.variant else {})
        if self.annotations:
            document["annotations"] = dict(self.annotations)
        return document


def _platform(reader: JSONReader) -> Platform:
    return Platform.of(reader.text("os", ""), reader.text("architecture", ""), reader.text("variant", ""))
