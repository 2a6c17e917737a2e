"""Images as `docker save` writes them: they get a manifest (Docker schema 2), and their layers are gzipped.

The same file gives the same digest every time: the manifest's fields have a fixed order, and gzip always writes the
same (docs/adr/0060-gzip-of-pushed-layers.md). Layers that are compressed already stay unchanged.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from registry_image.archive.compression import compression_of, decompress
from registry_image.archive.gzip import Run, compress
from registry_image.decode import JSON, JSONReader, dump_json, parse_json
from registry_image.errors import ContentError, DigestMismatch, InvalidManifest, NotFound, bare, quote
from registry_image.oci import mediatype
from registry_image.oci.config import MAX_CONFIG_SIZE, parse_config
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Buffer, Digest, Verifier
from registry_image.oci.manifest import MAX_MANIFEST_SIZE, Manifest, parse_manifest
from registry_image.storage.archive import Archive, Scratch, scratch
from registry_image.storage.files import Region, read_small

_LAYER_TYPES = {
    "gzip": mediatype.DOCKER_LAYER_GZIP,
    "zstd": mediatype.DOCKER_LAYER_ZSTD,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listed:
    """One image of ``manifest.json``: its files' names in the tar. ``sources`` are descriptors by diff ID."""

    config: str
    layers: tuple[str, ...]
    tags: tuple[str, ...]
    sources: Mapping[str, JSONReader]

    def foreign(self, diff_id: Digest) -> Descriptor | None:
        """The descriptor of a layer that is never uploaded. (Recent engines describe every layer here.)"""
        if str(diff_id) not in self.sources:
            return None
        descriptor = Descriptor.read(self.sources[str(diff_id)])
        return descriptor if mediatype.is_foreign_layer(descriptor.media_type) else None


class SavedImage:
    """The one image in a docker-save tarball: a ContentReader of `root`, the manifest made for it."""

    def __init__(self, root: Manifest, config: bytes, layers: dict[Digest, Region], what: str) -> None:
        self.root = root
        self.what = what
        self._config = config
        self._layers = layers

    def manifest(self, digest: Digest) -> Manifest:
        if digest != self.root.digest:
            raise NotFound(f"{self.what}: there is no manifest {digest}", status=404)
        return self.root

    def blob(self, descriptor: Descriptor) -> AbstractContextManager[Iterator[Buffer]]:
        if descriptor.digest == self.root.config.digest:
            return nullcontext(iter((self._config,)))
        region = self._layers.get(descriptor.digest)
        if region is None:
            raise NotFound(f"{self.what}: there is no blob {descriptor.digest}", status=404)
        return nullcontext(region.pieces(f"{self.what}: layer {descriptor.digest}"))


@contextmanager
def open_saved(archive: Archive, run: Run = map) -> Iterator[SavedImage]:
    """The image that ``archive`` holds. Raises ContentError if a file is missing, or a layer does not match the config.

    ``run`` may compress several blocks of a layer at once.
    """
    listed = _read_list(archive)
    config = read_small(archive, listed.config, MAX_CONFIG_SIZE)
    _check_name(listed.config, config, archive.what)
    diff_ids = parse_config(config, what=f"{archive.what}: {bare(listed.config)}").diff_ids
    if len(diff_ids) != len(listed.layers):
        raise InvalidManifest(
            f"{archive.what}: manifest.json names {len(listed.layers)} layers, "
            f"but the config has {len(diff_ids)} diff IDs"
        )
    with scratch() as packed:
        packer = _Packer(archive, packed, run)
        layers = [
            listed.foreign(diff_id) or packer.layer(name, diff_id)
            for name, diff_id in zip(listed.layers, diff_ids, strict=True)
        ]
        yield SavedImage(_make_manifest(config, layers), config, packer.regions, archive.what)


class _Packer:
    """Finds each layer's blob: in the tar if it is compressed there, else gzipped into a scratch file."""

    def __init__(self, archive: Archive, packed: Scratch, run: Run) -> None:
        self._archive = archive
        self._run = run
        self._packed = packed
        self._done: dict[Digest, Descriptor] = {}
        self.regions: dict[Digest, Region] = {}

    def layer(self, name: str, diff_id: Digest) -> Descriptor:
        """Raises DigestMismatch unless the layer's tar hashes to ``diff_id``: engines refuse such an image."""
        if diff_id in self._done:
            return self._done[diff_id]
        what = f"{self._archive.what}: layer {bare(name)}"
        region = self._archive.region(name)
        if region is None:
            raise ContentError(f"{what} is missing")
        media_type = _LAYER_TYPES.get(compression_of(region.start(what)))
        if media_type:
            stored = hashlib.sha256()
            tar = decompress(_hashing(region.pieces(what), stored), what)
            for _ in Verifier(diff_id, None, what).checked(tar):
                pass
            digest = Digest("sha256", stored.hexdigest())
        else:
            media_type = mediatype.DOCKER_LAYER_GZIP
            digest, region = self._gzip(region, diff_id, what)
        self.regions[digest] = region
        self._done[diff_id] = Descriptor(media_type=media_type, digest=digest, size=region.size)
        return self._done[diff_id]

    def _gzip(self, region: Region, diff_id: Digest, what: str) -> tuple[Digest, Region]:
        stored = hashlib.sha256()
        start = self._packed.size
        tar = Verifier(diff_id, None, what).checked(region.pieces(what))
        for piece in _hashing(compress(tar, self._run), stored):
            self._packed.append(piece)
        return Digest("sha256", stored.hexdigest()), Region(self._packed.descriptor, start, self._packed.size - start)


def _hashing(pieces: Iterator[bytes], hasher: hashlib._Hash) -> Iterator[bytes]:
    for piece in pieces:
        hasher.update(piece)
        yield piece


def _read_list(archive: Archive) -> _Listed:
    what = f"{archive.what}: manifest.json"
    document = parse_json(read_small(archive, "manifest.json", MAX_MANIFEST_SIZE), what)
    if not isinstance(document, list) or not document:
        raise InvalidManifest(f"{what}: expected a list of images, as docker save writes it")
    images = [_read_image(JSONReader(each, f"{what}: [{number}]")) for number, each in enumerate(document)]
    if len(images) > 1:
        names = ", ".join(" ".join(image.tags) or image.config for image in images)
        raise ContentError(
            f"{archive.what}: holds {len(images)} images ({quote(names)}): expected one",
            hint="save each image to a tarball of its own",
        )
    return images[0]


def _read_image(reader: JSONReader) -> _Listed:
    return _Listed(
        config=reader.text("Config"),
        layers=reader.texts("Layers"),
        tags=reader.texts("RepoTags"),
        sources=dict(reader.entries("LayerSources")),
    )


def _check_name(name: str, config: bytes, what: str) -> None:
    """Engines name a config after its digest; the two must agree then."""
    promised = posixpath.basename(name).removesuffix(".json").removeprefix("sha256:")
    actual = Digest.of(config)
    if len(promised) == len(actual.hex) and promised != actual.hex:
        raise DigestMismatch(f"{what}: config {bare(name)}", expected=f"sha256:{promised}", actual=str(actual))


def _make_manifest(config: bytes, layers: list[Descriptor]) -> Manifest:
    described = Descriptor(media_type=mediatype.DOCKER_CONFIG, digest=Digest.of(config), size=len(config))
    document = {
        "schemaVersion": 2,
        "mediaType": mediatype.DOCKER_MANIFEST,
        "config": _entry(described),
        "layers": [_entry(layer) for layer in layers],
    }
    manifest = parse_manifest(dump_json(document))
    if not isinstance(manifest, Manifest):
        raise AssertionError("a manifest was written")
    return manifest


def _entry(descriptor: Descriptor) -> dict[str, JSON]:
    """In the field order of go-containerregistry: a tarball of compressed layers has the same digest there."""
    entry = descriptor.as_json()
    return {name: entry[name] for name in ("mediaType", "size", "digest", "urls") if name in entry}
