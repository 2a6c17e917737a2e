"""Media types of manifests and layers: those of the OCI image spec, and Docker's for the same documents."""

from __future__ import annotations

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
#: The config, ``{}``, of an artifact that needs none (image spec, manifest.md, "Guidance for an Empty Descriptor").
EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_LAYER_ZSTD = "application/vnd.docker.image.rootfs.diff.tar.zstd"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
DOCKER_SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"

MANIFESTS = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEXES = frozenset({OCI_INDEX, DOCKER_INDEX})
CONFIGS = frozenset({OCI_CONFIG, DOCKER_CONFIG})
#: What old releases of Docker and of registries wrote as the type of an image's config in a Docker manifest, and Docker
#: still takes for one (moby#48361); ``python:3.5.1-alpine`` is such an image. "" is a missing type.
OLD_DOCKER_CONFIGS = frozenset({"", "application/octet-stream", "application/json", "text/html", "text/plain"})

#: The types that every request for a manifest accepts. docker-registry 2.8 answers 404 if the stored type is not among
#: them (distribution#4385).
ACCEPT = (OCI_INDEX, DOCKER_INDEX, OCI_MANIFEST, DOCKER_MANIFEST)

_NON_DISTRIBUTABLE = (
    "application/vnd.oci.image.layer.nondistributable.",
    "application/vnd.docker.image.rootfs.foreign.",
)


def is_foreign_layer(media_type: str) -> bool:
    """Whether a layer of this type (OCI: non-distributable) is fetched from its ``urls`` and never uploaded."""
    return media_type.startswith(_NON_DISTRIBUTABLE)
