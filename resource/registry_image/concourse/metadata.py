"""What a step tells about an image: a version, and names with values for people and for later steps' variables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from registry_image.concourse.pattern import compile_pattern
from registry_image.concourse.source import Source
from registry_image.concourse.version import Version
from registry_image.decode import JSON
from registry_image.oci.config import ImageConfig
from registry_image.oci.manifest import Manifest

Pairs = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What get and put answer. ``metadata`` is in the order it is shown in; no name is there twice."""

    version: Version
    metadata: Pairs

    def as_json(self) -> dict[str, JSON]:
        return {
            "version": dict(self.version.as_json()),
            "metadata": [{"name": name, "value": value} for name, value in self.metadata.items()],
        }


def describe(
    source: Source, version: Version, *, manifest: Manifest | None = None, config: ImageConfig | None = None
) -> dict[str, str]:
    """Metadata as far as the image is known. ``size`` is what a pull transfers: config and layers, in bytes.

    Labels and annotations that the source wants follow in the order of their names; they replace nothing.
    """
    told = {"repository": source.name}
    if version.tag:
        told["tag"] = version.tag
    told |= {"digest": str(version.digest), "image": f"{source.name}@{version.digest}"}
    if config is not None:
        told["platform"] = str(config.platform)
        if config.created:
            told["created"] = config.created
    if manifest is not None:
        told["size"] = str(manifest.config.size + sum(layer.size for layer in manifest.layers))
    labels = config.labels if config else {}
    annotations = manifest.annotations if manifest else {}
    for name, value in (
        *_matching(labels, source.label_regex, "source.label_regex"),
        *_matching(annotations, source.annotation_regex, "source.annotation_regex"),
    ):
        told.setdefault(name, value)
    return told


def _matching(pairs: Pairs, expression: str, field: str) -> Iterator[tuple[str, str]]:
    if expression:
        pattern = compile_pattern(expression, field)
        # RE2 reads UTF-8, in which half of a surrogate pair, as JSON may have it, cannot be written.
        found = (name for name in pairs if pattern.search(name.encode("utf-8", "replace").decode()))
        yield from ((name, pairs[name]) for name in sorted(found))
