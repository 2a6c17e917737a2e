"""Applies layers to a root, oldest first, each in the order of its tar (docs/layers.md has the rules and reasons)."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from typing import Protocol

from registry_image.archive.entry import BLOCK_DEVICE, CHARACTER, DIRECTORY, FIFO, HARDLINK, REGULAR, SYMLINK, Entry
from registry_image.errors import CorruptLayer, UnsafePath, quote
from registry_image.oci.digest import Buffer
from registry_image.progress import Listener
from registry_image.rootfs import whiteout
from registry_image.rootfs.attributes import acls_of
from registry_image.rootfs.handles import OpenDirectory
from registry_image.rootfs.layer_errors import LayerError, extraction_error
from registry_image.rootfs.paths import PathSet
from registry_image.rootfs.removal import NAMES_AT_ONCE
from registry_image.rootfs.root import Root
from registry_image.rootfs.sparse_file import write_sparse
from registry_image.rootfs.whiteout import Mark

_NODES = {FIFO: stat.S_IFIFO, CHARACTER: stat.S_IFCHR, BLOCK_DEVICE: stat.S_IFBLK}
#: Reasons: not root, a user namespace, no CAP_MKNOD, a number that is too large for Linux (layers.md 47).
_DEVICE_REFUSALS = frozenset({errno.EPERM, errno.EACCES, errno.EINVAL})
#: Bits of a device's major and minor number in Linux; a tar may have 32 for each.
_MAJOR_BITS, _MINOR_BITS = 12, 20
#: The most hard links of one layer that precede their source: each takes memory. Only archivers that sort their names
#: write any.
MAX_MISSING = 100_000
#: Bytes of their paths and their sources' paths together.
MAX_MISSING_SIZE = 16 * 1024 * 1024
#: The most devices that the kernel refuses, and hard links to them. Images have a few dozen.
MAX_LEFT_OUT = 100_000
#: Bytes of the paths of directories that are still to be swept, with what each takes beside its length.
MAX_SWEEPING_SIZE = 16 * 1024 * 1024
_PATH_OVERHEAD = 64


class LayerReader(Protocol):
    """The members of a layer, one after the other (`archive.tarstream.TarReader`)."""

    def next(self) -> Entry | None: ...

    def body(self) -> Iterator[Buffer]: ...


class Applier:
    """Applies layers to ``root``: `apply` for each, oldest first, then `finish` once.

    Raises ExtractionErrors only; the tree is unusable after one. ``entries`` counts members, ``bytes_written`` the data
    of files.
    """

    def __init__(self, root: Root, listener: Listener) -> None:
        self.entries = 0
        self.bytes_written = 0
        self._root = root
        self._listener = listener
        self._attributes = root.attributes
        self._has_lower = False  # the first layer has nothing to hide, so it records nothing
        self._added = PathSet()  # resolved paths that this layer wrote, with their ancestors
        self._noted: OpenDirectory | None = None  # the last directory that was added, with its ancestors
        self._swept = PathSet()  # directories without anything of lower layers
        self._missing: dict[tuple[bytes, bytes], bytes] = {}  # sources of hard links, by directory and name
        self._missing_size = 0
        self._left_out: set[int] = set()  # hashes of paths: of devices that the kernel refused, and links to them
        self._stashed = False
        self._at = b""

    def apply(self, layer: LayerReader, what: str) -> None:
        """One layer; ``what`` names it in errors."""
        self._added.clear()
        self._swept.clear()
        self._missing.clear()
        self._missing_size = 0
        self._noted = None
        self._stashed = False
        try:
            while (entry := layer.next()) is not None:
                self._at = entry.path
                self.entries += 1
                self._entry(entry, layer)
            self._link_missing()
            if self._stashed:
                self._root.remove(self._root.top, whiteout.STASH)
        except (OSError, LayerError) as error:
            raise extraction_error(error, what, self._at) from error
        self._has_lower = True

    def finish(self) -> None:
        """Sets directories' times, which must come last, and reports the warnings, one for each kind."""
        try:
            self._root.settle()
        except (OSError, LayerError) as error:
            raise extraction_error(error, "set the times of directories") from error
        if not self._attributes.sets_owners:
            self._listener.note(f"warning: not root, so the image's owners are left out: all is uid {os.geteuid()}'s")
        for skipped in self._root.skipped:
            self._listener.note(f"warning: {skipped}")

    def _entry(self, entry: Entry, layer: LayerReader) -> None:
        path = entry.path
        may_mark = whiteout.may_mark(path)
        if may_mark and self._is_mark(path):
            return
        if not path:
            self._set_top(entry)
            return
        above, _, name = path.rpartition(b"/")
        parent = self._root.directory(above)
        if may_mark and whiteout.is_reserved(name) and parent.path != whiteout.STASH:
            return  # a symlink in AUFS's directory leads here, where the name would stay (layers.md 37)
        if self._has_lower:
            self._add(parent, name)
        kind = entry.type
        if kind == REGULAR:
            self._make_file(parent, name, entry, layer)
        elif kind == DIRECTORY:
            self._make_directory(parent, name, entry)
        elif kind == HARDLINK:
            self._make_link(parent, name, entry)
        elif kind == SYMLINK:
            self._root.make_symlink(parent, name, entry.linkname)
            self._attributes.set_on_node(parent.fd, name, entry)
        else:
            self._make_node(parent, name, entry)

    def _add(self, parent: OpenDirectory, name: bytes) -> None:
        """Records ``name``, with its ancestors, as this layer's (layers.md 34)."""
        self._added.add(parent.prefix + name)
        if parent is self._noted:
            return
        self._noted = parent
        path = parent.path
        while path and path not in self._added:
            self._added.add(path)
            path = path.rpartition(b"/")[0]

    # Files, directories and nodes

    def _set_top(self, entry: Entry) -> None:
        if entry.type != DIRECTORY:
            raise LayerError(UnsafePath, f"an entry of type {quote(entry.type)} for the root: expected a directory")
        self._attributes.set_on_directory(self._root.top.fd, entry, fresh=False)
        self._settle_later(b"", entry)

    def _make_file(self, parent: OpenDirectory, name: bytes, entry: Entry, layer: LayerReader) -> None:
        fd = self._root.create_file(parent, name, entry.mode & 0o777)
        try:
            if entry.sparse is not None:
                self.bytes_written += write_sparse(fd, entry.sparse, layer.body())
                os.ftruncate(fd, entry.size)
            elif entry.size:
                self.bytes_written += entry.size
                for data in layer.body():
                    written = os.write(fd, data)
                    while written < len(data):
                        written += os.write(fd, data[written:])
            self._attributes.set_on_file(fd, entry)
        finally:
            os.close(fd)

    def _make_directory(self, parent: OpenDirectory, name: bytes, entry: Entry) -> None:
        directory, fresh = self._root.make_directory(parent, name)
        self._attributes.set_on_directory(directory.fd, entry, fresh=fresh)
        self._settle_later(directory.path, entry)

    def _settle_later(self, path: bytes, entry: Entry) -> None:
        mode = entry.mode if self._attributes.locks_out and entry.mode & 0o700 != 0o700 else None
        self._root.settle_later(path, entry.mtime_ns, mode, acls_of(entry) if entry.xattrs else None)

    def _make_node(self, parent: OpenDirectory, name: bytes, entry: Entry) -> None:
        try:
            self._root.make_node(parent, name, _NODES[entry.type] | entry.mode, _device(entry))
        except OSError as error:
            if entry.type == FIFO or error.errno not in _DEVICE_REFUSALS:
                raise
            self._root.remove(parent, name)
            self._leave_out(parent.prefix + name)
            return
        self._attributes.set_on_node(parent.fd, name, entry)

    def _leave_out(self, path: bytes) -> None:
        self._left_out.add(hash(path))
        if len(self._left_out) > MAX_LEFT_OUT:
            raise LayerError(CorruptLayer, f"more than {MAX_LEFT_OUT} devices that may not be made here")
        self._root.skipped.add("device nodes left out, as they may not be made here", quote(path))

    # Hard links

    def _make_link(self, parent: OpenDirectory, name: bytes, entry: Entry) -> None:
        """Links now, or at the end of the layer if the source is missing. The link's attributes are ignored: the inode
        has an entry of its own (layers.md 41)."""
        path = parent.prefix + name
        try:
            try:
                self._link(parent, name, entry.linkname)
            except FileExistsError:
                if self._resolved(entry.linkname) == path:
                    return
                self._root.remove(parent, name)
                self._link(parent, name, entry.linkname)
        except FileNotFoundError:
            # Remove the old entry now: if the name exists at the end of the layer, a later entry made it, and wins.
            self._root.remove(parent, name)
            self._link_later(parent.path, name, entry.linkname)

    def _link_later(self, directory: bytes, name: bytes, source: bytes) -> None:
        earlier = self._missing.pop((directory, name), None)
        if earlier is not None:
            self._missing_size -= len(directory) + len(name) + len(earlier)
        self._missing[directory, name] = source
        self._missing_size += len(directory) + len(name) + len(source)
        if len(self._missing) > MAX_MISSING or self._missing_size > MAX_MISSING_SIZE:
            raise LayerError(
                CorruptLayer,
                f"more than {MAX_MISSING} hard links, or {MAX_MISSING_SIZE} bytes of paths, before their sources",
            )

    def _link(self, parent: OpenDirectory, name: bytes, target: bytes) -> None:
        """Raises FileNotFoundError if the target is missing, FileExistsError if ``name`` is taken."""
        above, _, target_name = target.rpartition(b"/")
        source = self._root.find(above)
        if source is None:
            raise FileNotFoundError
        try:
            self._root.make_link(parent, name, source, target_name or b".")
        except PermissionError as error:
            if self._root.exact(source.prefix + target_name) is None:
                raise
            message = f"hard link {quote(parent.prefix + name)}: its source {quote(target)} is a directory"
            raise LayerError(CorruptLayer, message) from error

    def _resolved(self, target: bytes) -> bytes | None:
        above, _, name = target.rpartition(b"/")
        source = self._root.find(above)
        return None if source is None else source.prefix + name

    def _link_missing(self) -> None:
        for (directory, name), source in self._missing.items():
            path = directory + b"/" + name if directory else name
            self._at = path
            parent = self._root.exact(directory)
            if parent is None:
                continue  # a later entry of the layer removed its directory
            try:
                self._link(parent, name, source)
            except FileExistsError:
                continue  # a later entry of the layer has this name
            except FileNotFoundError as error:
                if hash(self._resolved(source)) in self._left_out:
                    self._leave_out(path)
                    continue
                raise LayerError(
                    CorruptLayer, f"hard link {quote(path)}: there is no {quote(source)} to link to"
                ) from error

    # Whiteouts

    def _is_mark(self, path: bytes) -> bool:
        """Applies ``path`` if it is a whiteout or belongs to AUFS; False if the entry is still to be made."""
        kind, path = whiteout.read(path)
        if kind is Mark.STASHED and not self._stashed:
            self._stashed = True
            self._root.make_directory(self._root.top, whiteout.STASH)
        elif kind is Mark.WHITEOUT and self._has_lower:
            self._hide(path)
        elif kind is Mark.OPAQUE and self._has_lower:
            directory = self._root.find(path)
            if directory is not None:
                self._sweep(directory)
        return kind not in (Mark.ENTRY, Mark.STASHED)

    def _hide(self, path: bytes) -> None:
        """Removes what lower layers have at ``path`` (layers.md 32, 35)."""
        above, _, name = path.rpartition(b"/")
        parent = self._root.find(above)
        if parent is None:
            return
        self._left_out.discard(hash(parent.prefix + name))
        if parent.prefix + name not in self._added:
            self._root.remove(parent, name)
            return
        directory = self._root.exact(parent.prefix + name)
        if directory is not None:
            self._sweep(directory)

    def _sweep(self, directory: OpenDirectory) -> None:
        """Removes what lower layers have in ``directory``, at any depth; once in each layer (layers.md 38)."""
        todo = [directory.path]
        size = 0  # of the paths in `todo`
        while todo:
            path = todo.pop()
            size -= len(path) + _PATH_OVERHEAD
            if path in self._swept:
                continue
            self._swept.add(path)
            below = self._root.exact(path)
            if below is None:
                continue
            for child in self._remove_lower(below):
                todo.append(child)
                size += len(child) + _PATH_OVERHEAD
                if size > MAX_SWEEPING_SIZE:
                    message = f"more than {MAX_SWEEPING_SIZE} bytes of paths in a directory that a whiteout empties"
                    raise LayerError(CorruptLayer, message)

    def _remove_lower(self, directory: OpenDirectory) -> Iterator[bytes]:
        """Removes what lower layers have in ``directory`` itself; the paths of the directories that are left.

        Names are read before the first is removed, because on some filesystems a scan would skip names otherwise, and
        NAMES_AT_ONCE of them, because a directory may have millions.
        """
        while True:
            lower: list[bytes] = []
            for name, _ in self._root.children(directory):
                if directory.prefix + name not in self._added:
                    lower.append(name)
                    if len(lower) == NAMES_AT_ONCE:
                        break
            for name in lower:
                self._root.remove(directory, name)
            if len(lower) < NAMES_AT_ONCE:
                break
        for name, is_directory in self._root.children(directory):
            if is_directory:
                yield directory.prefix + name


def _device(entry: Entry) -> int:
    if entry.devmajor >> _MAJOR_BITS or entry.devminor >> _MINOR_BITS:
        raise OSError(errno.EINVAL, "no such device number")
    return os.makedev(entry.devmajor, entry.devminor)
