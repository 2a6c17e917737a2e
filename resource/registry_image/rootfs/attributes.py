"""Owner, mode, extended attributes and times, set in the one right order (layers.md 41 to 48).

The order is chown, chmod, xattrs, times: chown takes away setuid, setgid (umoci#169) and ``security.capability``
(buildah#3320), even from root and even when the owner stays. Times are last, because the others change them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from errno import E2BIG, EACCES, EINVAL, ENOENT, ENOSPC, EOPNOTSUPP, EPERM, ERANGE

from registry_image.archive.entry import SYMLINK, Entry
from registry_image.errors import quote

#: Of a directory that no layer describes: fixed, so that the same image gives the same tree (layers.md 46).
IMPLIED_MODE = 0o755
IMPLIED_TIME_NS = 0

_SPECIAL_BITS = 0o7000
#: The kernel's interface has 64 bits for seconds; the kernel itself clamps to what the filesystem can store.
_MAX_TIME_NS = (2**63 - 1) * 10**9
#: Attributes of the host, not of the image: SELinux labels, and those that only its administrator's tools write.
_SKIPPED_XATTRS = (b"security.selinux", b"system.", b"trusted.")
#: POSIX ACLs, the only attributes in ``system.`` that belong to the image.
_ACLS = (b"system.posix_acl_access", b"system.posix_acl_default")
#: Reasons: a filesystem without xattrs, or with too little room; a user namespace; a name outside all namespaces; no
#: /proc, which symlinks and nodes need.
_XATTR_REFUSALS = frozenset({EOPNOTSUPP, EPERM, EACCES, EINVAL, E2BIG, ERANGE, ENOSPC, ENOENT})
#: Reasons: no CAP_CHOWN, or an owner that the user namespace does not map.
_OWNER_REFUSALS = frozenset({EPERM, EINVAL})


class Skipped:
    """What could not be set or made here: the number and the first example of each kind, for one warning each."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._first: dict[str, str] = {}

    def add(self, kind: str, example: str) -> None:
        self._counts[kind] = self._counts.get(kind, 0) + 1
        self._first.setdefault(kind, example)

    def __iter__(self) -> Iterator[str]:
        for kind, count in self._counts.items():
            yield f"{kind}: {count}, the first is {self._first[kind]}"


class Attributes:
    """Sets an entry's attributes on a new inode, or on a directory that exists already.

    Only root sets owners (layers.md 48). Attributes that the kernel refuses are added to ``skipped``. ``umask`` is the
    process's, which takes bits from new files. ``locks_out`` says whether a directory's mode binds the process.
    """

    def __init__(self, skipped: Skipped, umask: int, *, locks_out: bool) -> None:
        self.sets_owners = os.geteuid() == 0
        self.locks_out = locks_out
        self._skipped = skipped
        self._missing_bits = _SPECIAL_BITS | umask

    def set_on_file(self, fd: int, entry: Entry) -> None:
        """On a regular file that was created with the low nine bits of its mode, and written."""
        mode = entry.mode
        if self.sets_owners:
            try:
                os.fchown(fd, entry.uid, entry.gid)
            except OSError as error:
                self._refuse_owner(error, entry)
                # The file stays owned by root, so keeping setuid would make it setuid root.
                mode &= ~(stat.S_ISUID | stat.S_ISGID)
        if mode & self._missing_bits:
            os.fchmod(fd, mode)
        if entry.xattrs:
            locked = not self.sets_owners and not entry.mode & stat.S_IWUSR
            if locked:
                # Without root, setxattr needs write permission on the file, even through an open descriptor.
                os.fchmod(fd, entry.mode | stat.S_IWUSR)
            self._set_xattrs(fd, entry.path, entry.xattrs)
            if locked:
                os.fchmod(fd, entry.mode)
        time = clamped(entry.mtime_ns)
        os.utime(fd, ns=(time, time))

    def set_on_node(self, directory: int, name: bytes, entry: Entry) -> None:
        """On a symlink, fifo or device ``name`` in an open directory, which is neither opened nor followed."""
        if self.sets_owners:
            try:
                os.chown(name, entry.uid, entry.gid, dir_fd=directory, follow_symlinks=False)
            except OSError as error:
                self._refuse_owner(error, entry)
        if entry.type != SYMLINK:
            os.chmod(name, entry.mode, dir_fd=directory)
        if entry.xattrs:
            # There is no setxattrat before Linux 6.13. /proc goes through our handle; the name is not followed.
            path = b"/proc/self/fd/%d/%b" % (directory, name)
            self._set_xattrs(path, entry.path, entry.xattrs, follow_symlinks=False)
        time = clamped(entry.mtime_ns)
        os.utime(name, ns=(time, time), dir_fd=directory, follow_symlinks=False)

    def set_on_directory(self, fd: int, entry: Entry, *, fresh: bool) -> None:
        """On a directory, except its time, its ACLs and a mode that would lock us out, which `Root.settle` sets.

        A directory that is not ``fresh`` loses the extended attributes that ``entry`` lacks (layers.md 28).
        """
        if self.sets_owners:
            try:
                os.fchown(fd, entry.uid, entry.gid)
            except OSError as error:
                self._refuse_owner(error, entry)
        os.fchmod(fd, entry.mode | 0o700 if self.locks_out else entry.mode)
        if not fresh:
            self._remove_xattrs(fd, entry.xattrs)
        if entry.xattrs:
            now = {name: value for name, value in entry.xattrs.items() if name not in _ACLS}
            self._set_xattrs(fd, entry.path, now)

    def set_acls(self, fd: int, path: bytes, acls: Mapping[bytes, bytes]) -> None:
        """On a directory, when all is in it: what is made beneath a default ACL inherits it."""
        self._set_xattrs(fd, path, acls)

    def set_on_implied_directory(self, fd: int) -> None:
        """On a missing parent: mode 0755, owned by root, whatever the umask and the directory above (layers.md 26)."""
        if self.sets_owners:
            os.fchown(fd, 0, 0)
        os.fchmod(fd, IMPLIED_MODE)

    def _refuse_owner(self, error: OSError, entry: Entry) -> None:
        if error.errno not in _OWNER_REFUSALS:
            raise error
        self._skipped.add("owners that files cannot be given here", f"{entry.uid}:{entry.gid} of {quote(entry.path)}")

    def _set_xattrs(
        self, target: int | bytes, path: bytes, xattrs: Mapping[bytes, bytes], *, follow_symlinks: bool = True
    ) -> None:
        for name, value in xattrs.items():
            if name.startswith(_SKIPPED_XATTRS) and name not in _ACLS:
                continue
            try:
                os.setxattr(target, name, value, follow_symlinks=follow_symlinks)
            except OSError as error:
                if error.errno not in _XATTR_REFUSALS:
                    raise
                reason = f"{quote(name)} of {quote(path)}: {error.strerror}"
                self._skipped.add("extended attributes that cannot be set here", reason)

    def _remove_xattrs(self, fd: int, kept: Mapping[bytes, bytes]) -> None:
        try:
            for name in map(os.fsencode, os.listxattr(fd)):
                if name not in kept and not name.startswith(_SKIPPED_XATTRS):
                    os.removexattr(fd, name)
        except OSError as error:
            # The host's security module may refuse to remove its own attributes.
            if error.errno not in _XATTR_REFUSALS:
                raise


def acls_of(entry: Entry) -> dict[bytes, bytes]:
    return {name: entry.xattrs[name] for name in _ACLS if name in entry.xattrs}


def clamped(time_ns: int) -> int:
    """The time, in nanoseconds, nearest to ``time_ns`` that the kernel accepts (layers.md 45)."""
    return min(max(time_ns, -_MAX_TIME_NS), _MAX_TIME_NS)
