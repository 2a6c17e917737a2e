"""The result of get and put: a version, metadata for people and for later steps' variables, and small files."""

from __future__ import annotations

import json
from collections.abc import Mapping

from registry_image.concourse.request.pattern import compile_pattern
from registry_image.concourse.request.source import Source
from registry_image.concourse.request.version import Version
from registry_image.decode import JSON
from registry_image.oci.config import ImageConfig
from registry_image.oci.image import Image
from registry_image.oci.manifest import Index, Manifest
from registry_image.record import record

Pairs = Mapping[str, str]


@record(kw_only=True)
class StepResult:
    """``metadata`` is in display order."""

    version: Version
    metadata: Pairs

    def as_json(self) -> dict[str, JSON]:
        return {
            "version": dict(self.version.as_json()),
            "metadata": [{"name": name, "value": value} for name, value in self.metadata.items()],
        }


@record(kw_only=True)
class Taken:
    """``root`` is what the version's digest names, ``image`` the platform's image in it, or None.

    ``name`` is the repository as shown to users.
    """

    name: str
    version: Version
    root: Manifest | Index
    image: Image | None

    @property
    def tagged_name(self) -> str | None:
        """``repository:tag``, None without a tag."""
        return f"{self.name}:{self.version.tag}" if self.version.tag else None

    @property
    def manifest(self) -> Manifest | None:
        """The image's, or an artifact's."""
        if self.image is not None:
            return self.image.manifest
        return self.root if isinstance(self.root, Manifest) else None

    @property
    def config(self) -> ImageConfig | None:
        return self.image.config if self.image else None


def describe(taken: Taken) -> dict[str, str]:
    """The metadata without labels. ``size`` is what a pull transfers: config and layers, in bytes."""
    version, config, manifest = taken.version, taken.config, taken.manifest
    # The tag is present even if empty: a pipeline that uses the variable fails if it does not exist.
    metadata = {"repository": taken.name, "tag": version.tag}
    metadata |= {"digest": str(version.digest), "image": f"{taken.name}@{version.digest}"}
    if config is not None:
        if str(config.platform):
            metadata["platform"] = str(config.platform)
        if config.created:
            metadata["created"] = config.created
    if manifest is not None:
        metadata["size"] = str(manifest.config.size + sum(layer.size for layer in manifest.layers))
    return metadata


def wanted_labels(source: Source, taken: Taken) -> dict[str, str]:
    """Labels, then annotations, whose names match the source's expressions, each sorted. Raises RequestError."""
    wanted = dict(_matching(taken.config.labels if taken.config else {}, source.label_regex, "source.label_regex"))
    annotations = taken.manifest.annotations if taken.manifest else {}
    for name, value in _matching(annotations, source.annotation_regex, "source.annotation_regex"):
        wanted.setdefault(name, value)
    return wanted


def _matching(pairs: Pairs, expression: str, field: str) -> list[tuple[str, str]]:
    if not expression:
        return []
    pattern = compile_pattern(expression, field)
    # RE2 reads UTF-8, which has no lone surrogates; JSON may have them.
    return sorted((name, pairs[name]) for name in pairs if pattern.search(name.encode("utf-8", "replace").decode()))


def small_files(taken: Taken) -> dict[str, bytes]:
    """The files that every get writes; manifests and config byte for byte as the registry served them."""
    files = {
        "repository": taken.name.encode(),
        "tag": taken.version.tag.encode(),
        "digest": str(taken.version.digest).encode(),
    }
    if isinstance(taken.root, Index):
        files["index.json"] = taken.root.raw
    if taken.manifest is not None:
        files["manifest.json"] = taken.manifest.raw
    if taken.config is not None:
        files["config.json"] = taken.config.raw
        files["labels.json"] = json.dumps(dict(taken.config.labels)).encode()
    return files


def task_metadata(config: ImageConfig) -> bytes:
    """``metadata.json``, which tells Concourse how to run a task in the rootfs."""
    fields = {"env": config.env, "user": config.user, "entrypoint": config.entrypoint, "cmd": config.cmd}
    return json.dumps(fields).encode()
