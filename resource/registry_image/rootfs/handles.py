"""Finds the directories of a root filesystem, and keeps them open (layers.md 23 to 27).

A directory is found as in a chroot: symlinks are resolved here, one component at a time, and every component is opened
with O_NOFOLLOW beneath the one before.
"""

from __future__ import annotations

import errno
import os

from registry_image.archive.names import MAX_PATH
from registry_image.errors import StorageError, UnsafePath, quote
from registry_image.rootfs.layer_errors import LayerError

#: Symlinks followed on the way to one directory, as in Linux.
MAX_SYMLINKS = 40
#: Components that these symlinks may add to one path, so that no entry costs more than milliseconds.
MAX_SYMLINK_COMPONENTS = 4096
#: Directories opened behind symlinks, components of symlinks, and directories opened on one way beyond MAX_HANDLES, for
#: the whole image: 20 seconds of work. A change of directory through a symlink takes a few; made for it, one entry
#: takes 100,000.
MAX_STEPS = 4_000_000
#: Directories kept open, with a file descriptor each. Consecutive entries have the same parent, or one nearby.
MAX_HANDLES = 64

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class TooManySteps(LayerError):
    """The ways behind symlinks, and the very deep ones, took too much altogether."""

    def __init__(self) -> None:
        super().__init__(UnsafePath, f"ways to directories: more than {MAX_STEPS} steps behind symlinks or very deep")


class OpenDirectory:
    """An open directory beneath the root. ``path`` has no symlinks in it; b"" is the root itself.

    ``prefix`` + a name is that name's resolved path. The handle is closed with the last reference to the object, so it
    stays open while it is in use, even if the cache drops it.
    """

    __slots__ = ("fd", "path", "prefix")

    def __init__(self, fd: int, path: bytes) -> None:
        self.fd = fd
        self.path = path
        self.prefix = path + b"/" if path else b""

    def __del__(self) -> None:
        os.close(self.fd)


class Handles:
    """Finds directories beneath ``top``, and keeps up to MAX_HANDLES of them open. Creates nothing."""

    def __init__(self, top: OpenDirectory) -> None:
        self.top = top
        self._open: dict[bytes, OpenDirectory] = {}  # by resolved path, the least recently used first
        self._opened = 0
        self._steps = 0  # see MAX_STEPS

    def exact(self, path: bytes) -> OpenDirectory | None:
        """The directory at the resolved ``path``; None unless it and all its ancestors are directories."""
        directory, names = self._nearest(path)
        while names:
            below = self.open(directory, names.pop())
            if below is None:
                return None
            directory = below
        return directory

    def walk(self, path: bytes) -> tuple[OpenDirectory, list[bytes]]:
        """The deepest directory on ``path``, symlinks followed, and the names after it, which are no directories.

        Raises LayerError for too many symlinks, and TooManySteps.
        """
        directory, names = self._nearest(path)
        missing: list[bytes] = []
        symlinks = components = 0
        opened = self._opened
        while names:
            name = names.pop()
            if name == b"..":
                # `..` after a component that does not exist yet is resolved lexically, as in entry names.
                if missing:
                    missing.pop()
                else:
                    directory = self._above(directory)
                continue
            below = None if missing else self.open(directory, name)
            if below is not None:
                directory = below
                continue
            target = None if missing else _read_symlink(directory, name)
            if target is None:
                missing.append(name)
                continue
            parts = target.split(b"/")
            further = [part for part in parts if part not in (b"", b".")]
            self._count(symlinks, opened, len(parts))  # empty ones too: there may be thousands
            symlinks, opened = symlinks + 1, self._opened
            components += len(further)
            if symlinks > MAX_SYMLINKS or components > MAX_SYMLINK_COMPONENTS:
                raise LayerError(UnsafePath, f"directory {quote(path)}: too many symlinks, or a loop of symlinks")
            if target.startswith(b"/"):
                directory = self.top
            names += reversed(further)
        self._count(symlinks, opened, 0)
        return directory, missing

    def _count(self, symlinks: int, opened: int, further: int) -> None:
        """Counts what was opened since ``opened``, but not MAX_HANDLES of it before the first symlink; and components
        that a symlink adds."""
        self._steps += further + max(0, self._opened - opened - (0 if symlinks else MAX_HANDLES))
        if self._steps > MAX_STEPS:
            raise TooManySteps

    def _above(self, directory: OpenDirectory) -> OpenDirectory:
        above = self.exact(directory.path.rpartition(b"/")[0])
        if above is None:
            raise StorageError(
                f"directory {quote(directory.path)}: its parent vanished: does something else write here?"
            )
        return above

    def _nearest(self, path: bytes) -> tuple[OpenDirectory, list[bytes]]:
        """The deepest directory on ``path`` in the cache, and the names from there on, the last one first.

        Cached paths are resolved, so no symlink is missed.
        """
        names: list[bytes] = []
        while path:
            directory = self.cached(path)
            if directory is not None:
                return directory, names
            path, _, name = path.rpartition(b"/")
            names.append(name)
        return self.top, names

    def cached(self, path: bytes) -> OpenDirectory | None:
        """The directory at ``path`` if it is in the cache, where it becomes the most recently used."""
        if not path:
            return self.top
        directory = self._open.pop(path, None)
        if directory is not None:
            self._open[path] = directory
        return directory

    def open(self, parent: OpenDirectory, name: bytes) -> OpenDirectory | None:
        """The directory ``name`` in ``parent``; None if it is missing, a symlink or anything else."""
        try:
            fd = os.open(name, DIRECTORY, dir_fd=parent.fd)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:
                return None
            raise
        self._opened += 1
        directory = OpenDirectory(fd, parent.prefix + name)
        if len(directory.path) > MAX_PATH:
            raise LayerError(UnsafePath, f"directory {quote(directory.path)}: longer than {MAX_PATH} bytes")
        self._open[directory.path] = directory
        if len(self._open) > MAX_HANDLES:
            del self._open[next(iter(self._open))]
        return directory

    def forget(self, path: bytes) -> None:
        """Drops the directory at ``path`` and all beneath it, before they are removed."""
        for open_path in [key for key in self._open if key == path or key.startswith(path + b"/")]:
            del self._open[open_path]

    def close(self) -> None:
        self._open.clear()


def _read_symlink(parent: OpenDirectory, name: bytes) -> bytes | None:
    try:
        return os.readlink(name, dir_fd=parent.fd)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return None
        raise
