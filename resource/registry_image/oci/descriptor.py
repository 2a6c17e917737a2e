"""Descriptors (image spec, descriptor.md): references to content."""

from __future__ import annotations

from collections.abc import Mapping

from registry_image.decode import JSON, JSONReader
from registry_image.errors import InvalidManifest
from registry_image.oci.digest import Digest
from registry_image.oci.platform import Platform
from registry_image.record import EMPTY, record

#: The largest blob, in bytes (256 TiB): the sum of ten thousand of them is still a valid offset in a file.
MAX_BLOB_SIZE = 1 << 48


@record(kw_only=True)
class Descriptor:
    """``size`` is in bytes. ``platform`` is normalised, and None if the index names none. ``os_version`` and
    ``os_features`` are what it demands of the operating system (image-index.md, ``os.version``, ``os.features``)."""

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None
    os_version: str = ""
    os_features: tuple[str, ...] = ()
    artifact_type: str = ""
    urls: tuple[str, ...] = ()
    annotations: Mapping[str, str] = EMPTY

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
        place = reader.child("platform") if reader.has("platform") else JSONReader({}, reader.where)
        platform = Platform.read(place)
        return cls(
            media_type=reader.text("mediaType", ""),
            digest=digest,
            size=size,
            platform=platform if str(platform) else None,
            os_version=place.text("os.version", ""),
            os_features=place.texts("os.features"),
            artifact_type=reader.text("artifactType", ""),
            urls=reader.texts("urls"),
            annotations=reader.text_map("annotations"),
        )

    def as_json(self) -> dict[str, JSON]:
        """As it is written in an index or a manifest, without empty fields."""
        document: dict[str, JSON] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if self.urls:
            document["urls"] = list(self.urls)
        if self.artifact_type:
            document["artifactType"] = self.artifact_type
        if self.platform is not None:
            platform: dict[str, JSON] = {"architecture": self.platform.architecture, "os": self.platform.os}
            if self.platform.variant:
                platform["variant"] = self.platform.variant
            if self.os_version:
                platform["os.version"] = self.os_version
            if self.os_features:
                platform["os.features"] = list(self.os_features)
            document["platform"] = platform
        if self.annotations:
            document["annotations"] = dict(self.annotations)
        return document
