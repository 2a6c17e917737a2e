"""Images and indexes in one expression, pushed straight over HTTP: nothing here uses the code under test.

built = image(layer(tar), layer(other, "zstd"), config={"Env": ["A=b"]})
digest = push(registry, "some/name", built, "latest")
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.client
import json
import platform
import ssl
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal
from urllib.parse import urlencode, urlsplit

from tests.support.registry import Registry

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Compression = Literal["gzip", "zstd", "none"]
Json = Mapping[str, object]

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
"""This machine's architecture, by its name in the specification."""
CREATED = "2026-01-02T03:04:05Z"
TIMEOUT_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """Bytes with their descriptor's fields. A test replaces ``digest`` or ``size`` to make them wrong."""

    media_type: str
    data: bytes = field(repr=False)
    digest: str
    size: int
    extra: Json = field(default_factory=dict)
    """Further descriptor fields: platform, annotations, urls."""

    @property
    def descriptor(self) -> dict[str, object]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size, **self.extra}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer's blob and the digest of its uncompressed bytes."""

    blob: Blob
    diff_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A manifest or index with all it needs below it: ``children`` are manifests, ``blobs`` are not."""

    manifest: Blob
    blobs: tuple[Blob, ...] = ()
    children: tuple[Content, ...] = ()

    @property
    def digest(self) -> str:
        return self.manifest.digest


def digest_of(data: bytes) -> str:
    """The sha256 digest of ``data``, as in a descriptor."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def blob(data: bytes, media_type: str = "application/octet-stream", **extra: object) -> Blob:
    """``data`` with its right descriptor; ``extra`` are further descriptor fields."""
    return Blob(media_type=media_type, data=data, digest=digest_of(data), size=len(data), extra=extra)


def compressed(data: bytes, compression: Compression) -> bytes:
    """``data`` as one gzip member or one zstd frame, or unchanged; the same bytes every time."""
    if compression == "gzip":
        return gzip.compress(data, compresslevel=6, mtime=0)
    if compression == "zstd":
        return zstd.compress(data, 3)
    return data


def layer(tar: bytes, compression: Compression = "gzip", *, docker: bool = False) -> Layer:
    """A layer of the archive ``tar``, with the right media type."""
    suffix = {"gzip": "gzip", "zstd": "zstd", "none": ""}[compression]
    if docker:
        media_type = "application/vnd.docker.image.rootfs.diff.tar" + (f".{suffix}" if suffix else "")
    else:
        media_type = "application/vnd.oci.image.layer.v1.tar" + (f"+{suffix}" if suffix else "")
    return Layer(blob=blob(compressed(tar, compression), media_type), diff_id=digest_of(tar))


def config_of(
    layers: Sequence[Layer], config: Json | None = None, *, architecture: str = ARCHITECTURE, **extra: object
) -> dict[str, object]:
    """An image configuration; ``config`` is its inner object (Env, User …), ``extra`` its outer fields."""
    return {
        "created": CREATED,
        "architecture": architecture,
        "os": "linux",
        "config": dict(config or {}),
        "rootfs": {"type": "layers", "diff_ids": [each.diff_id for each in layers]},
        **extra,
    }


def image(
    *layers: Layer | bytes,
    config: Json | None = None,
    annotations: Mapping[str, str] | None = None,
    docker: bool = False,
    **extra: object,
) -> Content:
    """An image of ``layers`` (an uncompressed archive stands for its gzip layer), lowest first.

    ``config`` is the configuration's inner object, ``extra`` its outer fields (architecture, variant, created …).
    """
    built = [each if isinstance(each, Layer) else layer(each, docker=docker) for each in layers]
    kind = "application/vnd.docker.container.image.v1+json" if docker else "application/vnd.oci.image.config.v1+json"
    return manifest_of(
        blob(json.dumps({**config_of(built, config), **extra}).encode(), kind),
        [each.blob for each in built],
        annotations=annotations,
        docker=docker,
    )


def manifest_of(
    config: Blob,
    layers: Sequence[Blob],
    *,
    annotations: Mapping[str, str] | None = None,
    docker: bool = False,
    **extra: object,
) -> Content:
    """The manifest of any ``config`` and ``layers``."""
    kind = "docker.distribution.manifest.v2" if docker else "oci.image.manifest.v1"
    body: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": f"application/vnd.{kind}+json",
        "config": config.descriptor,
        "layers": [each.descriptor for each in layers],
        **({"annotations": annotations} if annotations else {}),
        **extra,
    }
    return Content(
        manifest=blob(json.dumps(body).encode(), f"application/vnd.{kind}+json"),
        blobs=(config, *layers),
    )


def on(content: Content, architecture: str, os: str = "linux", **more: object) -> Content:
    """``content`` as an entry of an index, for a platform."""
    described = {**content.manifest.extra, "platform": {"architecture": architecture, "os": os, **more}}
    return replace(content, manifest=replace(content.manifest, extra=described))


def index(
    *children: Content, annotations: Mapping[str, str] | None = None, docker: bool = False, **extra: object
) -> Content:
    """An index of ``children`` (see `on`)."""
    kind = "docker.distribution.manifest.list.v2" if docker else "oci.image.index.v1"
    body: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": f"application/vnd.{kind}+json",
        "manifests": [child.manifest.descriptor for child in children],
        **({"annotations": annotations} if annotations else {}),
        **extra,
    }
    return Content(manifest=blob(json.dumps(body).encode(), f"application/vnd.{kind}+json"), children=children)


def write_layout(directory: Path, content: Content, name: str = "latest") -> None:
    """Write ``content`` as an OCI image layout, listed in its index.json under ``name``."""
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for each in _everything(content):
        (blobs / each.digest.removeprefix("sha256:")).write_bytes(each.data)
    listed = {**content.manifest.descriptor, "annotations": {"org.opencontainers.image.ref.name": name}}
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [listed]}))


def read_layout(directory: Path) -> Content:
    """The single image that `write_layout` wrote to ``directory``."""
    blobs = directory / "blobs" / "sha256"

    def read(descriptor: dict[str, str]) -> Blob:
        return blob((blobs / descriptor["digest"].removeprefix("sha256:")).read_bytes(), descriptor["mediaType"])

    manifest = read(json.loads((directory / "index.json").read_text())["manifests"][0])
    listed = json.loads(manifest.data)
    return Content(manifest=manifest, blobs=tuple(read(each) for each in (listed["config"], *listed["layers"])))


def push(registry: Registry, repository: str, content: Content, *tags: str) -> str:
    """Push ``content`` and all below it into ``repository``, under ``tags`` (by digest alone without); its digest."""
    connection = _connect(registry)
    headers = _authorization(registry, repository)
    try:
        _push(connection, f"/v2/{repository}", content, tags or (content.digest,), headers)
    finally:
        connection.close()
    return content.digest


def delete(registry: Registry, repository: str, digest: str) -> None:
    """Delete the manifest ``digest``, and with it every tag that points at it."""
    connection = _connect(registry)
    try:
        _ask(connection, "DELETE", f"/v2/{repository}/manifests/{digest}", b"", _authorization(registry, repository))
    finally:
        connection.close()


def _everything(content: Content) -> list[Blob]:
    below = [each for child in content.children for each in _everything(child)]
    return [content.manifest, *content.blobs, *below]


def _push(
    connection: http.client.HTTPConnection,
    base: str,
    content: Content,
    references: Sequence[str],
    headers: Mapping[str, str],
) -> None:
    for child in content.children:
        _push(connection, base, child, (child.digest,), headers)
    for each in content.blobs:
        location = _ask(connection, "POST", f"{base}/blobs/uploads/", b"", headers)["Location"]
        target = urlsplit(location)
        query = "&".join(part for part in (target.query, urlencode({"digest": each.digest})) if part)
        typed = {**headers, "Content-Type": "application/octet-stream"}
        _ask(connection, "PUT", f"{target.path}?{query}", each.data, typed)
    typed = {**headers, "Content-Type": content.manifest.media_type}
    for reference in references:
        _ask(connection, "PUT", f"{base}/manifests/{reference}", content.manifest.data, typed)


def _connect(registry: Registry) -> http.client.HTTPConnection:
    if registry.ca is None:
        return http.client.HTTPConnection(registry.host, timeout=TIMEOUT_SECONDS)
    context = ssl.create_default_context(cafile=str(registry.ca))
    return http.client.HTTPSConnection(registry.host, timeout=TIMEOUT_SECONDS, context=context)


def _authorization(registry: Registry, repository: str) -> dict[str, str]:
    if registry.username is None:
        return {}
    basic = {"Authorization": "Basic " + base64.b64encode(f"{registry.username}:{registry.password}".encode()).decode()}
    if registry.tokens is None:
        return basic
    query = urlencode({"service": registry.tokens.service, "scope": f"repository:{repository}:pull,push,delete"})
    request = urllib.request.Request(f"{registry.tokens.url}?{query}", headers=basic)  # noqa: S310 (our own server)
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
        return {"Authorization": f"Bearer {json.load(answer)['token']}"}


def _ask(
    connection: http.client.HTTPConnection, method: str, target: str, body: bytes, headers: Mapping[str, str]
) -> http.client.HTTPMessage:
    connection.request(method, target, body, dict(headers))
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status in {200, 201, 202}, f"{method} {target}: {answer.status} {text.decode(errors='replace')}"
    return answer.headers
