"""Directories removed with all they hold: through handles, never through a symlink, at any depth (layers.md 29)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def remove_tree(
    parent: int,
    path: bytes,
    *,
    removed: Callable[[bytes], None] = lambda path: None,
    failed: Callable[[OSError, bytes], None] | None = None,
) -> None:
    """Removes the directory at ``path``: its last component is its name in the directory open as ``parent``.

    ``removed`` hears the path of each directory that is gone; what it raises ends the work. ``failed`` hears what could
    not be removed, and the work goes on; without it the first OSError is raised.
    """
    _Removal(removed, failed).run(parent, path)


class _Level:
    """A directory on the way down: who it is, and what is left to go into."""

    __slots__ = ("identity", "path", "subdirectories")

    def __init__(self, path: bytes, identity: tuple[int, int], subdirectories: list[bytes]) -> None:
        self.path = path
        self.identity = identity
        self.subdirectories = subdirectories


class _Removal:
    """One walk. Neither the stack nor the limit of open files bounds its depth: a single handle goes down, and up again
    by ``..``, where it must find the directory that it came from.
    """

    def __init__(self, removed: Callable[[bytes], None], failed: Callable[[OSError, bytes], None] | None) -> None:
        self._removed = removed
        self._failed = failed

    def run(self, parent: int, path: bytes) -> None:
        fd = _enter(parent, path)
        try:
            levels = [self._clear(fd, path)]
            while levels[-1].subdirectories or len(levels) > 1:
                level = levels[-1]
                if level.subdirectories:
                    below = level.subdirectories.pop()
                    try:
                        fd = _replace(fd, _enter(fd, below))
                    except OSError as error:
                        self._report(error, below)
                        continue
                    levels.append(self._clear(fd, below))
                else:
                    levels.pop()
                    fd = _replace(fd, os.open(b"..", _DIRECTORY, dir_fd=fd))
                    if _identity(fd) != levels[-1].identity:
                        raise OSError(f"{os.fsdecode(level.path)!r} was moved while it was being removed")
                    self._remove_empty(fd, level.path)
        finally:
            os.close(fd)
        self._remove_empty(parent, path)

    def _clear(self, fd: int, path: bytes) -> _Level:
        """Unlinks everything but directories in the directory at ``path``, open as ``fd``; remembers those."""
        # All names are read before the first is unlinked: some filesystems lose their place in between.
        with os.scandir(fd) as entries:
            children = [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries]
        subdirectories = []
        for name, is_directory in children:
            child = path + b"/" + name
            if is_directory:
                subdirectories.append(child)
                continue
            try:
                os.unlink(name, dir_fd=fd)
            except OSError as error:
                self._report(error, child)
        return _Level(path, _identity(fd), subdirectories)

    def _remove_empty(self, parent: int, path: bytes) -> None:
        try:
            os.rmdir(_name(path), dir_fd=parent)
        except OSError as error:
            self._report(error, path)
        else:
            self._removed(path)

    def _report(self, error: OSError, path: bytes) -> None:
        if self._failed is None:
            raise error
        self._failed(error, path)


def _enter(parent: int, path: bytes) -> int:
    """A handle on a directory about to be emptied, its mode made to allow that: who is not root needs it."""
    name = _name(path)
    try:
        fd = os.open(name, _DIRECTORY, dir_fd=parent)
    except PermissionError:
        # A directory in a tree that only we write: nobody puts a symlink in its place meanwhile.
        os.chmod(name, 0o700, dir_fd=parent)
        fd = os.open(name, _DIRECTORY, dir_fd=parent)
    with contextlib.suppress(PermissionError):
        os.fchmod(fd, 0o700)
    return fd


def _replace(fd: int, other: int) -> int:
    os.close(fd)
    return other


def _name(path: bytes) -> bytes:
    return path.rpartition(b"/")[2]


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino
