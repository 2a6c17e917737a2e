"""The only writer of a root filesystem, which writes nothing outside of it (layers.md 23 to 29).

Every operation names a *directory*, open, and a name in it: a string that was checked is not containment, a chain of
handles is.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping

from registry_image.errors import CorruptLayer, InvalidWhiteout, StorageError, quote, storage_errors
from registry_image.rootfs import whiteout
from registry_image.rootfs.attributes import IMPLIED_TIME_NS, Attributes, Skipped
from registry_image.rootfs.handles import DIRECTORY, Handles, OpenDirectory, TooManySteps
from registry_image.rootfs.layer_errors import DESTINATION_HINTS, LayerError
from registry_image.rootfs.removal import remove_tree
from registry_image.rootfs.settling import Last, Settling

#: Paths of removed directories that are remembered, by a hash: about 10 MB.
MAX_REMOVED = 100_000
#: Bytes of the paths and ACLs of directories on which more than a time is set last, with what each takes beside them.
MAX_LOCKING = 32 * 1024 * 1024
_PATH_OVERHEAD = 250

_PROBE = b"umask"
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


class Root:
    """The root filesystem under construction at ``path``, an empty directory that nobody else writes to.

    A context manager, which closes its handles. OSError and LayerError pass through to the caller, which knows what was
    being done.
    """

    def __init__(self, path: str | bytes) -> None:
        self.path = os.path.abspath(os.fsencode(path))
        self.skipped = Skipped()
        self._last: tuple[bytes, OpenDirectory] | None = None  # the last path looked up, and its directory
        self._settling = Settling()  # what is set on directories when all is in them
        self._removed: set[int] = set()  # hashes of paths: of records whose path may no longer be a directory
        with storage_errors(f"open the root filesystem {quote(os.fsencode(path))}", DESTINATION_HINTS):
            self.top = OpenDirectory(os.open(os.fsencode(path), DIRECTORY), b"")
            self._prepare_top()
            self.attributes = Attributes(self.skipped, self._umask(), locks_out=self._is_locked_out())
            self.attributes.set_on_implied_directory(self.top.fd)
        self._handles = Handles(self.top)
        self.exact = self._handles.exact

    def _prepare_top(self) -> None:
        """Undoes the effect of the destination's default ACL on this directory."""
        if os.listdir(self.top.fd):
            raise StorageError("open the root filesystem: it is not empty: expected a fresh directory")
        for name in ("system.posix_acl_default", "system.posix_acl_access"):
            try:
                os.removexattr(self.top.fd, name)
            except OSError as error:
                if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
                    raise
        self.settle_later(b"", IMPLIED_TIME_NS, None)

    def _umask(self) -> int:
        """The process's umask, by its effect: reading it changes it, also for other threads, for a moment."""
        os.mkdir(_PROBE, 0o777, dir_fd=self.top.fd)
        mode = os.stat(_PROBE, dir_fd=self.top.fd).st_mode
        os.rmdir(_PROBE, dir_fd=self.top.fd)
        return 0o777 & ~mode

    def _is_locked_out(self) -> bool:
        """Whether a directory's mode can keep us from writing in it, by its effect: root may lack the capability."""
        os.mkdir(_PROBE, 0, dir_fd=self.top.fd)
        inside = os.path.join(_PROBE, _PROBE)
        try:
            os.mkdir(inside, dir_fd=self.top.fd)
        except PermissionError:
            return True
        else:
            os.rmdir(inside, dir_fd=self.top.fd)
            return False
        finally:
            os.rmdir(_PROBE, dir_fd=self.top.fd)

    def __enter__(self) -> Root:
        return self

    def __exit__(self, *_: object) -> None:
        self._handles.close()
        self._last = None

    # Finding directories

    def directory(self, path: bytes) -> OpenDirectory:
        """The directory at ``path``, without ``..``. Makes missing ones, and replaces what is not a directory."""
        if self._last is not None and self._last[0] == path:
            return self._last[1]
        directory = self._handles.cached(path)
        if directory is None:
            directory, missing = self._handles.walk(path)
            for name in missing:
                directory = self._imply(directory, name)
        self._last = path, directory
        return directory

    def find(self, path: bytes) -> OpenDirectory | None:
        """The directory at ``path``, if there is one. Makes nothing."""
        try:
            directory, missing = self._handles.walk(path)
        except TooManySteps:
            raise
        except LayerError:
            return None
        return None if missing else directory

    def _imply(self, parent: OpenDirectory, name: bytes) -> OpenDirectory:
        if whiteout.is_reserved(name):
            path = quote(parent.prefix + name)
            raise LayerError(InvalidWhiteout, f"directory {path}: no directory can have that name")
        directory, _ = self.make_directory(parent, name)
        self.attributes.set_on_implied_directory(directory.fd)
        self.settle_later(directory.path, IMPLIED_TIME_NS, None)
        return directory

    # Creating

    def make_directory(self, parent: OpenDirectory, name: bytes) -> tuple[OpenDirectory, bool]:
        """The directory ``name`` in ``parent``, and whether it is new. Anything else by that name is replaced."""
        try:
            os.mkdir(name, 0o700, dir_fd=parent.fd)
        except FileExistsError:
            existing = self._handles.cached(parent.prefix + name) or self._handles.open(parent, name)
            if existing is not None:
                return existing, False
            self.remove(parent, name)
            os.mkdir(name, 0o700, dir_fd=parent.fd)
        made = self._handles.open(parent, name)
        if made is None:
            path = quote(parent.prefix + name)
            raise LayerError(StorageError, f"directory {path}: vanished: does something else write here?")
        return made, True

    def create_file(self, parent: OpenDirectory, name: bytes, mode: int) -> int:
        """A new regular file, open for writing. Anything of that name is removed first (layers.md 29)."""
        try:
            return os.open(name, _NEW_FILE, mode, dir_fd=parent.fd)
        except FileExistsError:
            self.remove(parent, name)
            return os.open(name, _NEW_FILE, mode, dir_fd=parent.fd)

    def make_symlink(self, parent: OpenDirectory, name: bytes, target: bytes) -> None:
        self._replace(parent, name, lambda: os.symlink(target, name, dir_fd=parent.fd))

    def make_node(self, parent: OpenDirectory, name: bytes, mode: int, device: int) -> None:
        """A fifo or device, as the file type in ``mode`` says."""
        self._replace(parent, name, lambda: os.mknod(name, mode, device, dir_fd=parent.fd))

    def make_link(self, parent: OpenDirectory, name: bytes, source: OpenDirectory, source_name: bytes) -> None:
        """A hard link; the source's last component is not followed. FileExistsError if ``name`` is taken."""
        os.link(source_name, name, src_dir_fd=source.fd, dst_dir_fd=parent.fd, follow_symlinks=False)

    def _replace(self, parent: OpenDirectory, name: bytes, make: Callable[[], None]) -> None:
        try:
            make()
        except FileExistsError:
            self.remove(parent, name)
            make()

    # Removing

    def remove(self, parent: OpenDirectory, name: bytes) -> None:
        """Removes ``name`` with all its content, if it exists.

        Paths through it are forgotten: through a symlink with `_last`, through a directory with all handles beneath it.
        """
        self._last = None
        try:
            os.unlink(name, dir_fd=parent.fd)
        except FileNotFoundError:
            return
        except IsADirectoryError:
            path = parent.prefix + name
            self._handles.forget(path)
            remove_tree(parent.fd, path, removed=self._forget)

    def _forget(self, path: bytes) -> None:
        if len(self._removed) < MAX_REMOVED:
            self._removed.add(hash(path))

    def children(self, directory: OpenDirectory) -> Iterator[tuple[bytes, bool]]:
        """Names in a directory, and whether each is itself a directory."""
        with os.scandir(directory.fd) as entries:
            for entry in entries:
                yield os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)

    # Settling

    def settle_later(
        self, path: bytes, mtime_ns: int, mode: int | None, acls: Mapping[bytes, bytes] | None = None
    ) -> None:
        """Remembers a directory's time, which every new entry would change, its mode if it is not set yet, its ACLs."""
        self._settling.add(path, mtime_ns, mode, acls)

    def settle(self) -> None:
        """Sets the remembered times, then the remembered modes and ACLs, the deepest first (layers.md 46)."""
        locking: dict[bytes, Last] = {}
        size = 0
        for path, last in self._settling:
            self._settle_time(path, last.mtime_ns)
            earlier = locking.pop(path, None)
            size -= _size(path, earlier) if earlier else 0
            if last.mode is None and not last.acls:
                continue
            locking[path] = last
            size += _size(path, last)
            if size > MAX_LOCKING:
                message = f"directories without u+rwx or with ACLs that take more than {MAX_LOCKING} bytes"
                raise LayerError(CorruptLayer, message)
        for path in sorted(locking, reverse=True):
            directory, last = self.exact(path), locking[path]
            if directory is not None and last.mode is not None:
                os.fchmod(directory.fd, last.mode)
            if directory is not None and last.acls:
                self.attributes.set_acls(directory.fd, path, last.acls)
        self._settling.clear()

    def _settle_time(self, path: bytes, time: int) -> None:
        if not path:
            os.utime(self.top.fd, ns=(time, time))
        elif len(self._removed) == MAX_REMOVED or hash(path) in self._removed:
            # Removed, and perhaps something else since.
            directory = self.exact(path)
            if directory is not None:
                os.utime(directory.fd, ns=(time, time))
        else:
            parent, name = self._exact_parent(path)
            os.utime(name, ns=(time, time), dir_fd=parent.fd, follow_symlinks=False)

    def _exact_parent(self, path: bytes) -> tuple[OpenDirectory, bytes]:
        above, _, name = path.rpartition(b"/")
        parent = self.exact(above)
        if parent is None:
            raise LayerError(StorageError, f"directory {quote(above)}: vanished: does something else write here?")
        return parent, name


def _size(path: bytes, last: Last) -> int:
    return len(path) + _PATH_OVERHEAD + sum(map(len, last.acls.values()))
