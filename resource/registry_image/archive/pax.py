"""PAX extended headers (POSIX pax, "pax Extended Header"): parses them, applies them to a header (layers.md 11)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from registry_image.archive.entry import Entry
from registry_image.archive.headers import Malformed
from registry_image.errors import quote

XATTR = b"SCHILY.xattr."
#: Keys that repeat in one header, in order: sparse format 0.0.
SPARSE_OFFSET, SPARSE_LENGTH = b"GNU.sparse.offset", b"GNU.sparse.numbytes"
SPARSE_MAP = b"GNU.sparse.map"

#: A record begins with its own length, at most the seven digits of an extended header's limit.
_LENGTH = re.compile(rb"([0-9]{1,7}) ")
#: Nineteen digits, after the zeros with which some writers pad, hold every 64-bit number. Python would take quadratic
#: time to convert a megabyte of them.
_INTEGER = re.compile(rb"-?0{0,99}[0-9]{1,19}")
_TIME = re.compile(rb"(-?)([0-9]{1,19})(?:\.([0-9]*))?")
_NAMES = frozenset({b"path", b"linkpath", b"uname", b"gname"})


def parse_records(body: bytes) -> dict[bytes, bytes]:
    """The records of an ``x`` or ``g`` header, the last of each key. Raises Malformed.

    Sparse format 0.0 has a record for every offset and length. They are joined to one ``GNU.sparse.map``, as in 0.1.
    """
    records: dict[bytes, bytes] = {}
    sparse: list[bytes] = []
    position = 0
    while position < len(body):
        match = _LENGTH.match(body, position)
        end = position + int(match[1]) if match else 0
        if match is None or end <= match.end() or end > len(body) or body[end - 1] != 0x0A:
            raise Malformed(f"not a PAX record: {quote(body[position : position + 40])}")
        key, equals, value = body[match.end() : end - 1].partition(b"=")
        if not key or not equals or b"\0" in key or (key in _NAMES and b"\0" in value):
            raise Malformed(f"not a PAX record: {quote(body[position:end])}")
        if key in (SPARSE_OFFSET, SPARSE_LENGTH):
            if key != (SPARSE_LENGTH if len(sparse) % 2 else SPARSE_OFFSET):
                raise Malformed("sparse offsets and lengths do not alternate")
            sparse.append(value)
        else:
            records[key] = value
        position = end
    if sparse:
        records[SPARSE_MAP] = b",".join(sparse)
    return records


def override(entry: Entry, records: Mapping[bytes, bytes]) -> None:
    """Applies ``records`` to the header's fields. An empty value leaves the field unchanged. Raises Malformed.

    An empty extended attribute is set: Linux has them, and containerd and Docker keep them.
    """
    xattrs = {}
    for key, value in records.items():
        if key.startswith(XATTR):
            xattrs[key[len(XATTR) :]] = value
        elif not value:
            continue
        elif key == b"path":
            entry.path = value
        elif key == b"linkpath":
            entry.linkname = value
        elif key == b"size":
            entry.size = integer(value)
        elif key == b"uid":
            entry.uid = integer(value)
        elif key == b"gid":
            entry.gid = integer(value)
        elif key == b"mtime":
            entry.mtime_ns = _nanoseconds(value)
    if xattrs:
        entry.xattrs = xattrs


def integer(text: bytes) -> int:
    """A decimal number of 64 bits. Raises Malformed."""
    if not _INTEGER.fullmatch(text):
        raise Malformed(f"not a number: {quote(text)}")
    value = int(text)
    if not -(2**63) <= value < 2**63:
        raise Malformed(f"a number that needs more than 64 bits: {quote(text)}")
    return value


def _nanoseconds(text: bytes) -> int:
    """Decimal seconds as nanoseconds; digits beyond the ninth are cut off."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise Malformed(f"not a time: {quote(text)}")
    sign, seconds, fraction = match.groups(b"")
    value = int(seconds) * 1_000_000_000 + int(fraction[:9].ljust(9, b"0"))
    return -value if sign else value
