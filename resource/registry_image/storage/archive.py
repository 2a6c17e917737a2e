"""A tar as `Files`: its members are listed once, then read in place."""

from __future__ import annotations

import os
import posixpath
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from registry_image.archive.compression import compression_of, decompress, foreign_format
from registry_image.archive.entry import HARDLINK, REGULAR, SYMLINK, Entry
from registry_image.archive.headers import BLOCK_SIZE
from registry_image.archive.tarstream import TarReader
from registry_image.errors import ContentError, CorruptLayer, UnsafePath, bare, quote, storage_errors
from registry_image.oci.digest import Buffer
from registry_image.storage.disk import write_all
from registry_image.storage.files import Region, closing_descriptor

#: The most members of an image archive, which has a few for each layer and platform. A root filesystem has more.
MAX_MEMBERS = 50_000
#: All headers of an archive together, in bytes, extended ones included. The index holds names and link targets, which
#: are in headers, so this bounds its memory. 50,000 plain members have 25 MB.
MAX_HEADERS = 32 * 1024 * 1024
#: Links followed from one name to a file. `docker save` writes one.
MAX_LINKS = 40
#: Bytes per read of headers.
_HEADERS_PIECE = 64 * 1024
#: How messages call a format whose bare name would not be clear.
_IN_WORDS = {"xz": "xz data", "bzip2": "bzip2 data", "zip": "a zip file"}


class _Window:
    """Pieces of a file, of which some can be passed over unread."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self._size = size
        self._position = 0

    def __iter__(self) -> Iterator[bytes]:
        while piece := self._next():
            self._position += len(piece)
            yield piece

    def _next(self) -> bytes:
        with storage_errors("reading a tar"):
            return os.pread(self._descriptor, _HEADERS_PIECE, self._position)

    def seek(self, size: int) -> int:
        passed = max(0, min(size, self._size - self._position))
        self._position += passed
        return passed


class Archive:
    """The regular files of a tar, by normalised name (no leading ``./`` or ``/``); of two with one name, the first.

    Links are followed within the tar: `docker save` writes them for layers that are in it already. The tar is read as
    strictly as a layer, and only its headers.
    """

    def __init__(self, descriptor: int, what: str) -> None:
        self.what = what
        self._descriptor = descriptor
        self._regions: dict[bytes, Region] = {}
        self._links: dict[bytes, bytes] = {}  # targets; those of hard links begin with /, the top of the tar
        whole = Region(descriptor, 0, os.fstat(descriptor).st_size)
        if not whole.size:
            raise ContentError(f"{what}: an empty file, not a tar")
        try:
            self._read(_Window(descriptor, whole.size))
        except (CorruptLayer, UnsafePath) as error:
            name = foreign_format(whole.start(what))
            if not name or self._regions or self._links:
                raise ContentError(f"{error}: expected a tar (plain, gzip or zstd)") from error
            seems = _IN_WORDS.get(name, name)
            raise ContentError(f"{what}: this seems to be {seems}, not a tar (plain, gzip or zstd)") from error

    def _read(self, window: _Window) -> None:
        reader = TarReader(window, f"{self.what}: not a sound tar", window.seek)
        headers = end = 0
        for _ in range(MAX_MEMBERS):
            entry = reader.next()
            if entry is None:
                return
            headers += reader.offset - end
            if headers > MAX_HEADERS:
                raise ContentError(
                    f"{self.what}: a tar with more than {MAX_HEADERS} bytes of headers: not an image archive"
                )
            if entry.sparse is not None:
                # No tool packs an image that way, and the file's bytes are not in the tar as they are.
                raise ContentError(f"{self.what}: {quote(entry.path)} is a sparse file: no image archive has one")
            end = reader.offset + entry.size + -entry.size % BLOCK_SIZE
            self._add(entry, reader.offset)
        if reader.next() is not None:
            raise ContentError(f"{self.what}: a tar of more than {MAX_MEMBERS} files: not an image archive")

    def _add(self, entry: Entry, offset: int) -> None:
        name = entry.path
        if name in self._regions or name in self._links:
            return
        if entry.type == REGULAR:
            self._regions[name] = Region(self._descriptor, offset, entry.size)
        elif entry.type == SYMLINK:
            self._links[name] = entry.linkname
        elif entry.type == HARDLINK:
            self._links[name] = b"/" + entry.linkname

    def names(self) -> Iterator[bytes]:
        """In no particular order."""
        yield from self._regions
        yield from self._links

    def region(self, name: str) -> Region | None:
        """The data of the file ``name``; None if it, or the target of its links, is missing."""
        # JSON may hold a lone surrogate. No file has such a name, so it is missing.
        path = _within(name.encode("utf-8", "surrogatepass"))
        for _ in range(MAX_LINKS):
            if path not in self._links:
                break
            path = _within(posixpath.join(posixpath.dirname(path), self._links[path]))
        return self._regions.get(path)

    def has(self, name: str) -> bool:
        return self.region(name) is not None

    @contextmanager
    def open(self, name: str) -> Iterator[Iterator[Buffer]]:
        region = self.region(name)
        if region is None:
            raise ContentError(f"{self.what}: {bare(name)} is missing")
        yield region.pieces(f"{self.what}: {bare(name)}")


@contextmanager
def open_archive(path: str, what: str) -> Iterator[Archive]:
    """The tar at ``path``, plain, gzip or zstd, detected by its content. Raises ContentError for anything else.

    A compressed tar is first decompressed into a scratch file.
    """
    with closing_descriptor(path, what) as descriptor:
        whole = Region(descriptor, 0, os.fstat(descriptor).st_size)
        if not compression_of(whole.start(what)):
            yield Archive(descriptor, what)
            return
        with scratch() as unpacked:
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


def _within(path: bytes) -> bytes:
    """``path`` from the top of the tar, above which nothing is."""
    return posixpath.normpath(b"/" + path).lstrip(b"/")
