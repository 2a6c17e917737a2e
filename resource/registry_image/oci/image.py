"""One platform's image: its manifest and config, and the layers paired with their diff IDs."""

from __future__ import annotations

from registry_image.errors import InvalidManifest
from registry_image.oci.config import ImageConfig
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Digest
from registry_image.oci.manifest import Manifest
from registry_image.record import record


@record(kw_only=True)
class Layer:
    """``descriptor`` is of the blob as stored, ``diff_id`` of its uncompressed bytes. ``number`` counts from 1."""

    number: int
    count: int
    descriptor: Descriptor
    diff_id: Digest

    def __str__(self) -> str:
        return f"layer {self.number} of {self.count} ({self.descriptor.digest})"


@record(kw_only=True)
class Image:
    manifest: Manifest
    config: ImageConfig

    @property
    def layers(self) -> tuple[Layer, ...]:
        """In the order they are applied, oldest first. Raises InvalidManifest if layers and diff IDs do not pair up."""
        descriptors, diff_ids = self.manifest.layers, self.config.diff_ids
        if len(descriptors) != len(diff_ids):
            raise InvalidManifest(
                f"image {self.manifest.digest}: {len(descriptors)} layers in the manifest, "
                f"but {len(diff_ids)} diff IDs in the config"
            )
        pairs = zip(descriptors, diff_ids, strict=True)
        return tuple(
            Layer(number=number, count=len(diff_ids), descriptor=descriptor, diff_id=diff_id)
            for number, (descriptor, diff_id) in enumerate(pairs, 1)
        )
