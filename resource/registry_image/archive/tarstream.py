"""Reads the members of a tar from a byte stream: strict where the standard ``tarfile`` guesses (layers.md 10 to 20).

>>> reader = TarReader(pieces, "layer 1 of 3")
>>> while entry := reader.next():
...     for data in reader.body():
...         ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from registry_image.archive import pax, sparse
from registry_image.archive.entry import BLOCK_DEVICE, CHARACTER, DIRECTORY, FIFO, HARDLINK, REGULAR, SYMLINK, Entry
from registry_image.archive.headers import BLOCK_SIZE, MAX_DEVICE, MAX_ID, Malformed, is_gnu, parse_header
from registry_image.archive.names import Unsafe, check_symlink_target, normalise
from registry_image.errors import CorruptLayer, UnsafePath, quote
from registry_image.oci.digest import Buffer

#: The largest extended header, long name or long link, in bytes, as in Go's archive/tar and libarchive.
MAX_EXTENDED_SIZE = 1024 * 1024
#: All of one member's extended headers together, in bytes: room for the largest of each of the four kinds.
MAX_EXTENDED_TOTAL = 4 * (MAX_EXTENDED_SIZE + BLOCK_SIZE)
#: The most members of one layer. The largest images have a million; each costs an inode and some time.
MAX_ENTRIES = 10_000_000

_EXTENDED, _GLOBAL, _LONG_NAME, _LONG_LINK = b"x", b"g", b"L", b"K"
_NUL, _CONTIGUOUS, _SPARSE = b"\0", b"7", b"S"
_FILES = frozenset({REGULAR, _NUL, _CONTIGUOUS, _SPARSE})
_BODILESS = frozenset({HARDLINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO})
_ZEROS = bytes(BLOCK_SIZE)
_EVERYTHING = 2**63


class TarReader:
    """Reads ``pieces``, the uncompressed bytes, as they arrive; ``what`` names the layer in errors.

    Bodies are views of the pieces, never copies. Raises CorruptLayer and UnsafePath; errors of ``pieces`` pass through.
    The reader cannot be used after an error.

    ``seek`` is for a file: it may pass over up to that many bytes from the end of the last piece on, and returns how
    many it passed over. Bodies that are not asked for are then not read; without ``seek`` everything is.
    """

    __slots__ = (
        "_base",
        "_body",
        "_end",
        "_entries",
        "_entry",
        "_padding",
        "_pieces",
        "_position",
        "_seek",
        "_view",
        "what",
    )

    def __init__(self, pieces: Iterable[Buffer], what: str, seek: Callable[[int], int] | None = None) -> None:
        self.what = what
        self._pieces = iter(pieces)
        self._seek = seek
        self._view = memoryview(b"")  # the current piece
        self._position = 0  # in the piece
        self._end = 0  # of the piece
        self._base = 0  # offset of the piece in the stream
        self._body = 0  # bytes of the current member's data not returned yet
        self._padding = 0  # bytes between that data and the next header
        self._entries = 0
        self._entry: Entry | None = None

    def next(self) -> Entry | None:
        """The next member, after the rest of the last one; None at the end, when every byte has been read."""
        self._skip()
        start = self._base + self._position
        self._entry = None
        try:
            block = self._header()
            if block is None:
                return None
            self._entry = entry = parse_header(block)
            if entry.type == REGULAR:
                self._set_body(entry.size)
                entry.path = normalise(entry.path)
                _check_owner(entry)
            else:
                described = self._other(entry, block)
                if described is None:
                    return None
                self._entry = entry = described
        except Malformed as error:
            kind = UnsafePath if isinstance(error, Unsafe) else CorruptLayer
            raise kind(f"{self.what}: {self._name()} at byte {start}: {error}") from error
        self._entries += 1
        if self._entries > MAX_ENTRIES:
            raise CorruptLayer(f"{self.what}: more than {MAX_ENTRIES} entries")
        return entry

    @property
    def offset(self) -> int:
        """Where in the stream the current member's data begins, as long as none of it was read; in bytes."""
        return self._base + self._position

    def body(self) -> Iterator[Buffer]:
        """The stored bytes of the current member, once; of a sparse file, the segments of ``entry.sparse`` in turn.

        A piece is valid until the next piece or the next member is requested.
        """
        size, start = self._body, self._position
        if size > self._end - start:
            return self._long_body()
        self._body = 0
        self._position = start + size
        return iter((self._view[start : start + size],) if size else ())

    def _long_body(self) -> Iterator[Buffer]:
        while self._body:
            start = self._position
            if start == self._end:
                if not self._load():
                    raise self._truncated()
                continue
            end = min(start + self._body, self._end)
            self._body -= end - start
            self._position = end
            yield self._view[start:end]

    def _other(self, entry: Entry, block: bytes) -> Entry | None:
        """Reads extended headers, then the member that they describe; any member but a plain file comes here. None at
        the end of the tar, which may follow a global header: ``git archive`` of an empty tree is nothing else."""
        records: dict[bytes, bytes] = {}
        long_name = long_link = b""
        total = 0
        while entry.type not in _FILES and entry.type not in _BODILESS:
            kind = entry.type
            if kind not in (_EXTENDED, _GLOBAL, _LONG_NAME, _LONG_LINK):
                raise Malformed(f"unknown type {quote(kind)}")
            if not 0 <= entry.size <= MAX_EXTENDED_SIZE:
                raise Malformed(f"an extended header of {entry.size} bytes: expected at most {MAX_EXTENDED_SIZE}")
            total += BLOCK_SIZE + entry.size
            if total > MAX_EXTENDED_TOTAL:
                raise Malformed(f"extended headers of more than {MAX_EXTENDED_TOTAL} bytes before one entry")
            text = self._take(entry.size + -entry.size % BLOCK_SIZE)[: entry.size]
            if kind == _EXTENDED:
                records = pax.parse_records(text)
            elif kind == _GLOBAL:
                # Only validated: as in umoci, containerd and Docker it changes no entry (layers.md 12).
                pax.parse_records(text)
            elif kind == _LONG_NAME:
                long_name = text.partition(b"\0")[0]
            else:
                long_link = text.partition(b"\0")[0]
            following = self._header()
            if following is None:
                if kind == _GLOBAL and not (records or long_name or long_link):
                    return None
                raise Malformed("the tar ends after an extended header, before the entry it describes")
            block = following
            self._entry = entry = parse_header(block)
        pax.override(entry, records)
        entry.path = long_name or entry.path
        entry.linkname = long_link or entry.linkname
        self._finish(entry, block, records)
        return entry

    def _finish(self, entry: Entry, block: bytes, records: dict[bytes, bytes]) -> None:
        """Completes ``entry`` from its header and records, and sets how many bytes of data follow."""
        kind = entry.type
        is_sparse = kind == _SPARSE or sparse.is_sparse(records)
        if kind == _NUL and entry.path.endswith(b"/"):
            # How v7 writes a directory (layers.md 10).
            kind = entry.type = DIRECTORY
        if kind in _FILES:
            entry.type = REGULAR
            self._set_body(entry.size)
            if kind == _SPARSE:
                self._read_old_sparse(entry, block)
            elif is_sparse:
                self._read_pax_sparse(entry, records)
        else:
            # No data follows, whatever the size field says (layers.md 15).
            entry.size = 0
            if is_sparse:
                raise Malformed(f"a sparse file of type {quote(kind)}")
            if kind == HARDLINK:
                entry.linkname = normalise(entry.linkname)
            elif kind == SYMLINK:
                check_symlink_target(entry.linkname)
            elif kind in (CHARACTER, BLOCK_DEVICE):
                _check_device(entry)
        entry.path = normalise(entry.path)
        _check_owner(entry)

    def _read_old_sparse(self, entry: Entry, block: bytes) -> None:
        if not is_gnu(block):
            raise Malformed("a sparse file that is not GNU's")
        # The map continues in blocks that the size field does not count.
        numbers, size = sparse.read_old_map(block, lambda: self._take(BLOCK_SIZE))
        entry.sparse, entry.size = sparse.segments(numbers, size, self._body), size

    def _read_pax_sparse(self, entry: Entry, records: dict[bytes, bytes]) -> None:
        entry.path = sparse.name(records) or entry.path
        size = sparse.real_size(records)
        numbers = sparse.read_pax_map(records, self._take_body_block)
        entry.sparse, entry.size = sparse.segments(numbers, size, self._body), size

    def _take_body_block(self) -> bytes:
        if self._body < BLOCK_SIZE:
            raise Malformed("a sparse map longer than the data that holds it")
        self._body -= BLOCK_SIZE
        return self._take(BLOCK_SIZE)

    def _set_body(self, size: int) -> None:
        if size < 0:
            raise Malformed(f"a negative size: {size}")
        self._body = size
        self._padding = -size % BLOCK_SIZE

    def _header(self) -> bytes | None:
        """The next header block; None at the end of the tar, when all that follows has been read (layers.md 19)."""
        block = self._block()
        if block is None or block[0] or block != _ZEROS:
            return block
        second = self._block()
        if second is not None and second != _ZEROS:
            raise Malformed("a single zero block, with data after it")
        self._pass_over(_EVERYTHING)
        while self._load():
            pass
        self._position = self._end
        return None

    def _block(self) -> bytes | None:
        start = self._position
        if self._end - start >= BLOCK_SIZE:
            self._position = start + BLOCK_SIZE
            return self._view[start : start + BLOCK_SIZE].tobytes()
        if start == self._end and not self._load():
            return None
        return self._take(BLOCK_SIZE)

    def _take(self, size: int) -> bytes:
        """Exactly ``size`` bytes."""
        taken = bytearray()
        while len(taken) < size:
            start = self._position
            if start == self._end and not self._load():
                raise self._truncated()
            start = self._position
            end = min(start + size - len(taken), self._end)
            taken += self._view[start:end]
            self._position = end
        return bytes(taken)

    def _skip(self) -> None:
        """Skips the rest of the current member. Its padding may be missing at the end of the stream."""
        rest = self._body + self._padding
        while rest > self._end - self._position:
            rest -= self._end - self._position
            rest -= self._pass_over(rest)
            if not self._load():
                self._position = self._end
                if rest > self._padding:
                    raise self._truncated()
                rest = 0
        self._position += rest
        self._body = self._padding = 0

    def _pass_over(self, size: int) -> int:
        """In a file, leaves this piece and passes over up to ``size`` bytes after it; how many they were."""
        if self._seek is None:
            return 0
        passed = self._seek(size)
        self._base += self._end + passed
        self._view = memoryview(b"")
        self._position = self._end = 0
        return passed

    def _load(self) -> bool:
        """Moves to the next piece; False at the end of the stream."""
        for piece in self._pieces:
            if piece:
                self._base += self._end
                self._view = memoryview(piece)
                self._position, self._end = 0, len(piece)
                return True
        return False

    def _truncated(self) -> CorruptLayer:
        return CorruptLayer(f"{self.what}: truncated tar: it ends at byte {self._base + self._end}, in {self._name()}")

    def _name(self) -> str:
        return f"entry {quote(self._entry.path)}" if self._entry else "an entry's header"


def _check_owner(entry: Entry) -> None:
    if not 0 <= entry.uid <= MAX_ID or not 0 <= entry.gid <= MAX_ID:
        raise Malformed(f"owner {entry.uid}:{entry.gid}: expected numbers from 0 to {MAX_ID}")


def _check_device(entry: Entry) -> None:
    if not 0 <= entry.devmajor <= MAX_DEVICE or not 0 <= entry.devminor <= MAX_DEVICE:
        raise Malformed(f"device {entry.devmajor}:{entry.devminor}: expected numbers from 0 to {MAX_DEVICE}")
