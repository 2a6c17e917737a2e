"""A tar as `Files`: its members are listed once, then read in place."""

from __future__ import annotations

import io
import os
import posixpath
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from registry_image.archive.compression import compression_of, decompress, foreign_format
from registry_image.errors import ContentError, quote, storage_errors
from registry_image.oci.digest import Buffer
from registry_image.storage.disk import write_all
from registry_image.storage.files import Region, closing_descriptor

#: The most members of an image archive, which has a few for each layer and platform. A root filesystem has more.
MAX_MEMBERS = 50_000
#: The largest header of an archive, in bytes, PAX records included.
MAX_HEADER = 1024 * 1024
#: How messages call a format whose bare name would not be clear.
_IN_WORDS = {"xz": "xz data", "bzip2": "bzip2 data", "zip": "a zip file"}


class _Headers(io.FileIO):
    """A file from which tarfile reads headers. On its own it would read a PAX header of gigabytes into memory."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, closefd=False)

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= MAX_HEADER:
            raise ValueError(f"a header of more than {MAX_HEADER} bytes")
        return super().read(size)


class Archive:
    """The regular files of a tar, by normalised name (no leading ``./`` or ``/``); of two with one name, the first.

    Links are followed within the tar: `docker save` writes them for layers that are in it already.
    """

    def __init__(self, descriptor: int, what: str) -> None:
        self.what = what
        self._regions: dict[str, Region] = {}
        self._links: dict[str, str] = {}
        size = os.fstat(descriptor).st_size
        try:
            # tarfile only lists the members and their offsets; `Region` reads the data.
            with _Headers(descriptor) as file, tarfile.open(fileobj=file, mode="r:") as tar:
                for count, member in enumerate(tar):
                    if count >= MAX_MEMBERS:
                        raise ContentError(f"{what}: a tar of more than {MAX_MEMBERS} files: not an image archive")
                    self._add(member, descriptor)
        except (tarfile.TarError, ValueError, OSError, RecursionError) as error:
            raise ContentError(f"{what}: {_seems(descriptor, size)}: {error}") from error

    def _add(self, member: tarfile.TarInfo, descriptor: int) -> None:
        name = posixpath.normpath(member.name).lstrip("/")
        if name in self._regions or name in self._links:
            return
        if member.isreg() and not member.issparse() and member.size >= 0 and member.offset_data >= 0:
            self._regions[name] = Region(descriptor, member.offset_data, member.size)
        elif member.issym():
            self._links[name] = posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
        elif member.islnk():
            self._links[name] = posixpath.normpath(member.linkname)

    def names(self) -> list[str]:
        return [*self._regions, *self._links]

    def region(self, name: str) -> Region | None:
        """The data of the file ``name``; None if it, or the target of its links, is missing."""
        name = posixpath.normpath(name)
        for _ in range(len(self._links) + 1):
            if name in self._regions:
                return self._regions[name]
            if name not in self._links:
                return None
            name = self._links[name]
        return None

    def has(self, name: str) -> bool:
        return self.region(name) is not None

    @contextmanager
    def open(self, name: str) -> Iterator[Iterator[Buffer]]:
        region = self.region(name)
        if region is None:
            raise ContentError(f"{self.what}: {name} is missing")
        yield region.pieces(f"{self.what}: {name}")


@contextmanager
def open_archive(path: str, what: str) -> Iterator[Archive]:
    """The tar at ``path``, plain, gzip or zstd, detected by its content. Raises ContentError for anything else.

    A compressed tar is first decompressed into a scratch file.
    """
    with closing_descriptor(path, what) as descriptor:
        if not compression_of(os.pread(descriptor, 4, 0)):
            yield Archive(descriptor, what)
            return
        with scratch() as unpacked:
            whole = Region(descriptor, 0, os.fstat(descriptor).st_size)
            for piece in decompress(whole.pieces(what), what):
                unpacked.append(piece)
            yield Archive(unpacked.descriptor, what)


class Scratch:
    """An unlinked temporary file, to be appended to and read as `Region`."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.size = 0

    def append(self, piece: Buffer) -> None:
        self.size = write_all(self.descriptor, piece, self.size, "writing a temporary file")


@contextmanager
def scratch() -> Iterator[Scratch]:
    """A new Scratch, gone after the block and after the process. Raises StorageError."""
    with storage_errors("making a temporary file"):
        file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (closed by the with below)
    with file:
        yield Scratch(file.fileno())


def _seems(descriptor: int, size: int) -> str:
    start = os.pread(descriptor, 64, 0)
    if not size:
        return "an empty file, not a tar"
    name = foreign_format(start)
    if name:
        return f"this seems to be {_IN_WORDS.get(name, name)}, not a tar (plain, gzip or zstd)"
    return f"not a sound tar: it begins {quote(start[:16])}"
