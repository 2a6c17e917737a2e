"""A tarball that `docker load` takes, written at any place at once: its layers may arrive in any order.

The sizes of all members are known from the manifest, so each blob's place is known before its first byte. The same
image gives the same bytes.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager

from registry_image.errors import StorageError, UnsupportedMediaType
from registry_image.oci import mediatype
from registry_image.oci.content import ContentReader
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Buffer, Digest, Verifier
from registry_image.oci.manifest import Index, Manifest
from registry_image.storage.files import Region

_BLOCK = tarfile.BLOCKSIZE
_MODE = 0o644


class LoadableTarball:
    """Writes the one image ``manifest`` to the new file ``path``, tagged ``name`` (``repository:tag``) if given.

    A ContentWriter; a context manager that leaves a whole tarball, if every blob was put, and keeps the file open for
    `region` until then. Raises UnsupportedMediaType for an image with foreign layers.
    """

    def __init__(self, path: str, manifest: Manifest, name: str | None = None) -> None:
        self._places: dict[Digest, int] = {}
        self._what = f"tarball {path!r}"
        members: dict[Digest, tuple[str, Descriptor]] = {}
        for blob in (manifest.config, *manifest.layers):
            if mediatype.is_foreign_layer(blob.media_type):
                raise UnsupportedMediaType(f"{self._what}: layer {blob.digest} may not be distributed, only linked to")
            suffix = ".json" if blob is manifest.config else _suffix(blob.media_type)
            members.setdefault(blob.digest, (f"{blob.digest.hex}{suffix}", blob))
        listed = {
            "Config": members[manifest.config.digest][0],
            "RepoTags": [name] if name is not None else None,
            "Layers": [members[layer.digest][0] for layer in manifest.layers],
        }
        with self._disk():
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
        try:
            self._lay_out(list(members.values()), json.dumps([listed], separators=(",", ":")).encode())
        except BaseException:
            os.close(self._file)
            raise

    def _lay_out(self, members: list[tuple[str, Descriptor]], listing: bytes) -> None:
        end = 0
        for name, blob in members:
            end = self._write(_header(name, blob.size), end)
            self._places[blob.digest] = end
            end += -(-blob.size // _BLOCK) * _BLOCK
        end = self._write(_header("manifest.json", len(listing)), end)
        end = self._write(listing + b"\0" * (-len(listing) % _BLOCK), end)
        with self._disk():
            os.ftruncate(self._file, end + 2 * _BLOCK)

    def __enter__(self) -> LoadableTarball:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def region(self, descriptor: Descriptor) -> Region:
        """Where a blob of the image lies in the file, to be read again from there."""
        return Region(self._file, self._places[descriptor.digest], descriptor.size)

    def has(self, descriptor: Descriptor) -> bool:
        return False

    def put_blob(self, descriptor: Descriptor, source: ContentReader) -> int:
        verifier = Verifier(descriptor.digest, descriptor.size, f"blob {descriptor.digest}")
        position = self._places[descriptor.digest]
        with source.blob(descriptor) as pieces:
            for piece in pieces:
                verifier.update(piece)
                position = self._write(piece, position)
        verifier.finish()
        return descriptor.size

    def put_manifest(self, manifest: Manifest | Index, *, tag: str | None = None) -> None:
        """Nothing to do: `docker load` goes by its own list."""

    def _write(self, data: Buffer, position: int) -> int:
        rest = memoryview(data)
        while rest:
            with self._disk():
                written = os.pwrite(self._file, rest, position)
            position += written
            rest = rest[written:]
        return position

    @contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(f"writing {self._what}: {error.strerror}", errno=error.errno) from error


def _header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = _MODE
    return member.tobuf(tarfile.GNU_FORMAT)


def _suffix(media_type: str) -> str:
    if media_type.endswith("gzip"):
        return ".tar.gz"
    return ".tar.zst" if media_type.endswith("zstd") else ".tar"
