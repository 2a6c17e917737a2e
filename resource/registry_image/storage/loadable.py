"""A tarball for `docker load`, written at several offsets at once: its layers may arrive in any order.

The manifest has the sizes of nearly all members, so each blob's offset is known before its first byte. Only zstd layers
are decompressed, at the end: engines before 23 cannot read them (moby#41759). The same image gives the same bytes.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext

from registry_image.archive.compression import decompress
from registry_image.decode import dump_json
from registry_image.errors import UnsupportedMediaType, storage_errors
from registry_image.oci import mediatype
from registry_image.oci.content import BlobSource, open_verified
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Buffer, Digest
from registry_image.oci.manifest import Index, Manifest
from registry_image.storage.archive import scratch
from registry_image.storage.disk import write_all
from registry_image.storage.files import Region

_BLOCK = tarfile.BLOCKSIZE
_MODE = 0o644


class LoadableTarball:
    """Writes the one image ``manifest`` to the new file ``path``, tagged ``name`` (``repository:tag``) if given.

    A ContentWriter, a BlobSource of what was put, and a context manager, which completes the tarball if every blob was
    put and nothing was raised. Raises UnsupportedMediaType for an image with foreign layers.
    """

    def __init__(self, path: str, manifest: Manifest, name: str | None = None) -> None:
        self._doing = f"writing tarball {path!r}"
        blobs = {blob.digest: blob for blob in (manifest.config, *manifest.layers)}
        names = {digest: digest.hex + _suffix(blob) for digest, blob in blobs.items()}
        names[manifest.config.digest] = f"{manifest.config.digest.hex}.json"
        for blob in manifest.layers:
            if mediatype.is_foreign_layer(blob.media_type):
                raise UnsupportedMediaType(f"tarball {path!r}: layer {blob.digest} must not be distributed")
        listed = {
            "Config": names[manifest.config.digest],
            "RepoTags": [name] if name is not None else None,
            "Layers": [names[layer.digest] for layer in manifest.layers],
        }
        self._places: dict[Digest, Region] = {}
        self._unpack = [(names[digest], blob) for digest, blob in blobs.items() if _is_zstd(blob)]
        with ExitStack() as stack:
            with storage_errors(self._doing):
                self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
            stack.callback(os.close, self._file)
            self._end = 0
            for digest, blob in blobs.items():
                if not _is_zstd(blob):
                    self._place(names[digest], blob)
            listing = dump_json([listed])
            listing = _header("manifest.json", len(listing)) + _padded(listing)
            self._end = write_all(self._file, listing, self._end, self._doing)
            if self._unpack:
                waiting, end = stack.enter_context(scratch()).descriptor, 0
                for _, blob in self._unpack:
                    self._places[blob.digest] = Region(waiting, end, blob.size)
                    end += blob.size
            self._open = stack.pop_all()

    def _place(self, name: str, blob: Descriptor) -> None:
        start = write_all(self._file, _header(name, blob.size), self._end, self._doing)
        self._places[blob.digest] = Region(self._file, start, blob.size)
        self._end = start + -(-blob.size // _BLOCK) * _BLOCK

    def __enter__(self) -> LoadableTarball:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._open:
            if kind is None:
                self._finish()

    def _finish(self) -> None:
        for name, blob in self._unpack:
            what = f"layer {blob.digest}"
            end = start = self._end + _BLOCK
            for piece in decompress(self._places[blob.digest].pieces(what), what):
                end = write_all(self._file, piece, end, self._doing)
            write_all(self._file, _header(name, end - start), self._end, self._doing)
            self._end = start + -(-(end - start) // _BLOCK) * _BLOCK
        with storage_errors(self._doing):
            os.ftruncate(self._file, self._end + 2 * _BLOCK)

    def blob(self, descriptor: Descriptor) -> AbstractContextManager[Iterator[Buffer]]:
        return nullcontext(self._places[descriptor.digest].pieces(f"{self._doing}: blob {descriptor.digest}"))

    def has(self, descriptor: Descriptor) -> bool:
        return False

    def put_blob(self, descriptor: Descriptor, source: BlobSource) -> int:
        place = self._places[descriptor.digest]
        position = place.offset
        with open_verified(source, descriptor, f"blob {descriptor.digest}") as pieces:
            for piece in pieces:
                position = write_all(place.descriptor, piece, position, self._doing)
        return descriptor.size

    def put_manifest(self, manifest: Manifest | Index) -> None:
        """Nothing to do: `docker load` reads its own list."""


def _header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = _MODE
    return member.tobuf(tarfile.GNU_FORMAT)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % _BLOCK)


def _is_zstd(blob: Descriptor) -> bool:
    return blob.media_type.endswith("zstd")


def _suffix(blob: Descriptor) -> str:
    return ".tar.gz" if blob.media_type.endswith("gzip") else ".tar"
