"""Manifests made from others: annotated, reduced to some platforms, or assembled into an index.

Every function is pure. The result has a new digest, unless there was nothing to change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import compress

from registry_image.decode import JSON, array_of, dump_json, key_of, parse_object
from registry_image.errors import NoMatchingPlatform, UnsupportedMediaType
from registry_image.oci import mediatype
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.manifest import Index, Manifest, parse_manifest
from registry_image.oci.platform import Platform
from registry_image.transfer.select import available, matching

#: On an attestation's entry in an index: the digest of the image that it attests (BuildKit).
ATTESTS = "vnd.docker.reference.digest"
_OCI_CONFIGS = dict.fromkeys({mediatype.DOCKER_CONFIG, *mediatype.OLD_DOCKER_CONFIGS}, mediatype.OCI_CONFIG)
_OCI_TYPES = {
    mediatype.DOCKER_LAYER_GZIP: mediatype.OCI_LAYER_GZIP,
    mediatype.DOCKER_LAYER_ZSTD: mediatype.OCI_LAYER_ZSTD,
    mediatype.DOCKER_LAYER: mediatype.OCI_LAYER,
}


def annotate(manifest: Manifest | Index, annotations: Mapping[str, str]) -> Manifest | Index:
    """``manifest`` with ``annotations`` added, replacing those of the same name.

    A Docker manifest has no annotations, so it becomes the OCI manifest of the same image; its blobs stay. Raises
    UnsupportedMediaType for a Docker manifest list, whose images would have to become OCI images too.
    """
    if all(manifest.annotations.get(name) == value for name, value in annotations.items()):
        return manifest
    if manifest.media_type == mediatype.DOCKER_INDEX:
        raise UnsupportedMediaType(
            f"annotate {manifest.digest}: a Docker manifest list has no annotations",
            hint="build an OCI index instead (docker buildx: `oci-mediatypes=true`)",
        )
    document = parse_object(manifest.raw, str(manifest.digest))
    if manifest.media_type == mediatype.DOCKER_MANIFEST:
        _make_oci(document)
    document[key_of(document, "annotations")] = {**manifest.annotations, **annotations}
    return parse_manifest(dump_json(document))


def _make_oci(document: dict[str, JSON]) -> None:
    document[key_of(document, "mediaType")] = mediatype.OCI_MANIFEST
    for described in array_of(document, "layers"):
        _rename(described, _OCI_TYPES)
    # An OCI manifest is an image's only with this type, so old Docker's types become it too.
    _rename(document[key_of(document, "config")], _OCI_CONFIGS)


def _rename(described: JSON, types: Mapping[str, str]) -> None:
    if isinstance(described, dict):
        key = key_of(described, "mediaType")
        kind = described.get(key) or ""
        if isinstance(kind, str) and kind in types:
            described[key] = types[kind]


def select_platforms(index: Index, platforms: Iterable[Platform]) -> Index:
    """``index`` with only the images for ``platforms`` and their attestations, in the same order.

    Raises NoMatchingPlatform.
    """
    images = [entry for entry in index.manifests if entry.media_type in mediatype.MANIFESTS]
    chosen: set[str] = set()
    for platform in platforms:
        best = next(matching(platform, images), None)
        if best is None:
            raise NoMatchingPlatform(f"index {index.digest}", wanted=str(platform), available=available(images))
        # An index for Windows has an image for each version of it, under one platform.
        kind = best.platform, bool(best.artifact_type)
        chosen |= {str(entry.digest) for entry in images if (entry.platform, bool(entry.artifact_type)) == kind}
    keep = [str(entry.digest) in chosen or entry.annotations.get(ATTESTS) in chosen for entry in index.manifests]
    if all(keep):
        return index
    document = parse_object(index.raw, str(index.digest))
    document[key_of(document, "manifests")] = list(compress(array_of(document, "manifests"), keep))
    return _parse_index(document)


def assemble(entries: list[Descriptor]) -> Index:
    """An index of ``entries``: Docker's if all are Docker's, since Quay refused a mixture (quay#6070), else OCI's."""
    docker = all(entry.media_type == mediatype.DOCKER_MANIFEST for entry in entries)
    return _parse_index(
        {
            "schemaVersion": 2,
            "mediaType": mediatype.DOCKER_INDEX if docker else mediatype.OCI_INDEX,
            "manifests": [entry.as_json() for entry in entries],
        }
    )


def _parse_index(document: dict[str, JSON]) -> Index:
    index = parse_manifest(dump_json(document))
    if not isinstance(index, Index):
        raise AssertionError("an index was written")
    return index
