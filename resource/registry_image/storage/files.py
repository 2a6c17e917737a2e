"""Files by name, in a directory or inside a tar, which many threads may read at once.

Their content is not verified here: readers compare it with a digest.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from registry_image.errors import ContentError, bare, quote, storage_errors
from registry_image.oci.digest import Buffer
from registry_image.record import record

#: Bytes per read from disk: large enough to make system calls rare, small beside the memory of a step.
PIECE = 256 * 1024
#: Bytes that tell formats apart (`compression_of`, `foreign_format`).
START = 64


class Files(Protocol):
    """Files by name; ``what`` names all of them in messages, as in "OCI layout 'image/oci'"."""

    what: str

    def has(self, name: str) -> bool:
        """Whether there is anything called ``name``."""

    def open(self, name: str) -> AbstractContextManager[Iterator[Buffer]]:
        """The file's bytes in pieces. Raises ContentError if it is missing, StorageError if it cannot be read."""


@record()
class Region:
    """``size`` bytes of the file open as ``descriptor``, from ``offset`` on."""

    descriptor: int
    offset: int
    size: int

    def start(self, what: str) -> bytes:
        """Enough of its first bytes to recognise a format. Raises StorageError."""
        with storage_errors(f"reading {what}"):
            return os.pread(self.descriptor, min(START, self.size), self.offset)

    def pieces(self, what: str) -> Iterator[bytes]:
        """All of it. Raises ContentError if the file ends before the region does, StorageError if it cannot be read."""
        position, end = self.offset, self.offset + self.size
        while position < end:
            with storage_errors(f"reading {what}"):
                piece = os.pread(self.descriptor, min(PIECE, end - position), position)
            if not piece:
                missing = end - position
                raise ContentError(f"reading {what}: cut short: expected {self.size} bytes, {missing} are missing")
            position += len(piece)
            yield piece


def read_small(files: Files, name: str, limit: int) -> bytes:
    """The whole file ``name``. Raises ContentError if it has more than ``limit`` bytes."""
    data = bytearray()
    with files.open(name) as pieces:
        for piece in pieces:
            data += piece
            if len(data) > limit:
                raise ContentError(f"{files.what}: {bare(name)} has more than {limit} bytes")
    return bytes(data)


class Directory:
    """The files below ``path``. A symbolic link is followed only to what is below ``path`` itself."""

    def __init__(self, path: str, what: str) -> None:
        self.path = os.path.realpath(path)
        self.what = what

    def has(self, name: str) -> bool:
        return os.path.lexists(os.path.join(self.path, name))

    @contextmanager
    def open(self, name: str) -> Iterator[Iterator[Buffer]]:
        real = os.path.realpath(os.path.join(self.path, name))
        if os.path.commonpath((self.path, real)) != self.path:
            # An artifact may come from an untrusted build; its links must not make us push files of the container.
            raise ContentError(
                f"{self.what}: {name} is a symbolic link that leads out of the directory",
                hint="copy the files instead of linking them (cp -rL)",
            )
        with closing_descriptor(real, f"{self.what}: {name}") as descriptor:
            yield Region(descriptor, 0, os.fstat(descriptor).st_size).pieces(f"{self.what}: {name}")


@contextmanager
def closing_descriptor(path: str, what: str) -> Iterator[int]:
    """A regular file open for reading. Raises ContentError for anything else, StorageError if it cannot be opened."""
    with storage_errors(f"opening {what} ({quote(path)})"):
        try:
            # O_NONBLOCK: opening a fifo would otherwise wait for its writer, possibly for ever.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError as error:
            raise ContentError(f"{what} is missing") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ContentError(f"{what} is not a regular file")
        yield descriptor
    finally:
        os.close(descriptor)
