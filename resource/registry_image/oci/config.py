"""Image configs (image spec, config.md): how an image is run, and the digests of its uncompressed layers."""

from __future__ import annotations

from collections.abc import Mapping

from registry_image.decode import JSONReader, in_turn
from registry_image.errors import InvalidManifest
from registry_image.oci.digest import Digest
from registry_image.oci.platform import Platform
from registry_image.record import EMPTY, record

#: The largest image config, in bytes. Real ones stay under 100 kB; history and labels can grow.
MAX_CONFIG_SIZE = 8 * 1024 * 1024


@record(kw_only=True)
class ImageConfig:
    """``raw`` is the exact document; ``created`` its RFC 3339 text, or ""."""

    raw: bytes
    platform: Platform
    os_version: str = ""
    diff_ids: tuple[Digest, ...]
    created: str = ""
    env: tuple[str, ...] = ()
    user: str = ""
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    labels: Mapping[str, str] = EMPTY


def parse_config(raw: bytes, *, what: str = "image config") -> ImageConfig:
    """Raises InvalidManifest unless ``raw`` is an image config."""
    with in_turn(raw):
        return _read_config(raw, what)


def _read_config(raw: bytes, what: str) -> ImageConfig:
    reader = JSONReader.parse(raw, what)
    run = reader.child("config") if reader.has("config") else JSONReader({}, what)
    rootfs = reader.child("rootfs")
    # Read only to refuse keys that differ in case only, here too: nothing in it is used.
    for _ in reader.children("history"):
        pass
    if run.has("Healthcheck"):
        run.child("Healthcheck")
    try:
        diff_ids = tuple(Digest.parse(text) for text in rootfs.texts("diff_ids"))
    except InvalidManifest as error:
        raise InvalidManifest(f"{what}: rootfs: diff_ids: {error.message}") from error
    return ImageConfig(
        raw=raw,
        platform=Platform.read(reader),
        os_version=reader.text("os.version", ""),
        diff_ids=diff_ids,
        created=reader.text("created", ""),
        env=run.texts("Env"),
        user=run.text("User", ""),
        entrypoint=run.texts("Entrypoint"),
        cmd=run.texts("Cmd"),
        labels=run.text_map("Labels"),
    )
