"""Removes directory trees: through handles, never through a symlink, at any depth (layers.md 29)."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

#: Names of a directory that are read before the first of them is removed. There may be millions.
NAMES_AT_ONCE = 50_000
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def remove_tree(
    parent: int,
    path: bytes,
    *,
    removed: Callable[[bytes], None] = lambda path: None,
    failed: Callable[[OSError, bytes], None] | None = None,
) -> None:
    """Removes the directory at ``path``: its last component is its name in the directory open as ``parent``.

    ``removed`` is called with the path of each directory that was removed; an error of its own ends the removal.
    ``failed`` is called with each OSError, and the removal continues; without it the first OSError is raised.
    """
    _Removal(removed, failed).run(parent, path)


class _Level(NamedTuple):
    """A directory on the way down, with the names of subdirectories still to be removed.

    If it ``has_more`` than was read, it is read again, unless nothing was removed since ``done`` was counted.
    """

    path: bytes
    identity: tuple[int, int]
    subdirectories: list[bytes]
    has_more: bool
    done: int


class _Removal:
    """One walk. Neither the stack nor the limit of open files bounds its depth: a single handle goes down, and up again
    by ``..``, where it must find the directory that it came from.
    """

    def __init__(self, removed: Callable[[bytes], None], failed: Callable[[OSError, bytes], None] | None) -> None:
        self._removed = removed
        self._failed = failed
        self._done = 0  # how many were removed

    def run(self, parent: int, path: bytes) -> None:
        fd = _enter(parent, path)
        try:
            levels = [self._clear(fd, path)]
            while levels[-1].subdirectories or self._is_to_be_read(levels[-1]) or len(levels) > 1:
                level = levels[-1]
                if level.subdirectories:
                    below = level.path + b"/" + level.subdirectories.pop()
                    try:
                        fd = _replace(fd, _enter(fd, below))
                    except OSError as error:
                        self._report(error, below)
                        continue
                    levels.append(self._clear(fd, below))
                elif self._is_to_be_read(level):
                    levels[-1] = self._clear(fd, level.path)
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
        """Unlinks everything in the directory at ``path``, open as ``fd``, but its subdirectories."""
        # Names are read before the first is unlinked: on some filesystems the scan would skip names otherwise.
        with os.scandir(fd) as entries:
            batch = islice(entries, NAMES_AT_ONCE)
            children = [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in batch]
        done = self._done
        subdirectories = []
        for name, is_directory in children:
            if is_directory:
                subdirectories.append(name)
                continue
            try:
                os.unlink(name, dir_fd=fd)
            except OSError as error:
                self._report(error, path + b"/" + name)
            else:
                self._done += 1
        return _Level(path, _identity(fd), subdirectories, len(children) == NAMES_AT_ONCE, done)

    def _is_to_be_read(self, level: _Level) -> bool:
        return level.has_more and self._done > level.done

    def _remove_empty(self, parent: int, path: bytes) -> None:
        try:
            os.rmdir(_name(path), dir_fd=parent)
        except OSError as error:
            self._report(error, path)
        else:
            self._done += 1
            self._removed(path)

    def _report(self, error: OSError, path: bytes) -> None:
        if self._failed is None:
            raise error
        self._failed(error, path)


def _enter(parent: int, path: bytes) -> int:
    """A handle on a directory that is about to be emptied; without root, its mode must be changed to allow that."""
    name = _name(path)
    try:
        fd = os.open(name, _DIRECTORY, dir_fd=parent)
    except PermissionError:
        # Only we write to this tree, so nobody puts a symlink in place of the directory meanwhile.
        os.chmod(name, 0o700, dir_fd=parent)
        fd = os.open(name, _DIRECTORY, dir_fd=parent)
    with suppress(PermissionError):
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
