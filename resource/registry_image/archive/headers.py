"""One tar header block: v7, ustar, star and GNU (layers.md 10, 13, 14, 18). `tarstream` reads what follows it."""

from __future__ import annotations

import re
import zlib
from functools import lru_cache
from struct import Struct

from registry_image.archive.entry import NO_XATTRS, Entry
from registry_image.errors import quote

#: The unit of tar, in bytes.
BLOCK_SIZE = 512
#: The largest user or group id: the next one, 2³²-1, is -1, which means "unchanged" to chown.
MAX_ID = 2**32 - 2
#: The largest device number: the kernel has 32 bits for it.
MAX_DEVICE = 2**32 - 1

#: name, mode, uid, gid, size, mtime, checksum, type, linkname, magic and version, device numbers, prefix
_FIELDS = Struct("100s8s8s8s12s12s8sc100s8s64x16s155s12x")
_USTAR = b"ustar\0"
_GNU = b"ustar  \0"
_STAR_TRAILER = b"tar\0"
#: Length of star's prefix, in bytes: its times follow.
_STAR_PREFIX = 131

# Blanks and digits, then only blanks, or a NUL and anything: old archivers left garbage after the NUL. Possessive, so
# that garbage after a leading NUL does not match.
_OCTAL = re.compile(rb"[ \0]*+([0-7]*+)(?:\0.*|[ \0]*)", re.DOTALL)


class Malformed(Exception):
    """A header that breaks its format; the reader adds which layer, which member and where."""


def is_header(block: bytes) -> bool:
    """Whether ``block`` is a header whose checksum is right."""
    return len(block) == BLOCK_SIZE and _checksum_is_right(block, block[148:156])


def parse_header(block: bytes) -> Entry:
    """The block's fields, without checks on type, ids and sizes; the path includes its prefix.

    Raises Malformed for a wrong checksum or an invalid number.
    """
    name, mode, uid, gid, size, mtime, checksum, kind, linkname, magic, devices, prefix = _FIELDS.unpack(block)
    if not _checksum_is_right(block, checksum):
        raise Malformed("wrong header checksum")
    path = _text(name)
    entry = Entry()
    entry.devmajor = entry.devminor = 0
    if magic[:6] == _USTAR:
        if prefix[0]:
            if block[508:] == _STAR_TRAILER:
                prefix = prefix[:_STAR_PREFIX]
            path = _text(prefix) + b"/" + path
        entry.devmajor, entry.devminor = number(devices[:8]), number(devices[8:])
    elif magic == _GNU:
        # Bytes 345 to 500 are times and a sparse map here, not a prefix (layers.md 13).
        entry.devmajor, entry.devminor = number(devices[:8]), number(devices[8:])
    entry.path = path
    entry.type = kind
    entry.mode = number(mode) & 0o7777
    entry.uid = number(uid)
    entry.gid = number(gid)
    entry.size = number(size)
    entry.mtime_ns = number(mtime) * 1_000_000_000
    entry.linkname = _text(linkname) if linkname[0] else b""
    entry.xattrs = NO_XATTRS
    entry.sparse = None
    return entry


def is_gnu(block: bytes) -> bool:
    return block[257:265] == _GNU


@lru_cache(maxsize=4096)
def number(field: bytes) -> int:
    """A numeric field: octal, or GNU's base-256 two's complement. Raises Malformed.

    Cached: modes, owners and times repeat, and a hit takes a tenth of the time of parsing.
    """
    if field[0] & 0x80:
        value = int.from_bytes(field, "big")
        bits = 8 * len(field)
        # The top bit only marks the encoding; the next one is the sign.
        value = value - (1 << bits) if field[0] & 0x40 else value - (1 << (bits - 1))
        if not -(2**63) <= value < 2**63:
            raise Malformed(f"a number that needs more than 64 bits: {quote(field)}")
        return value
    match = _OCTAL.fullmatch(field)
    if match is None:
        raise Malformed(f"not an octal number: {quote(field)}")
    return int(match[1] or b"0", 8)


def _checksum_is_right(block: bytes, field: bytes) -> bool:
    # Adler-32's low half is 1 plus the sum of the bytes, modulo 65521, which a block of ASCII never reaches. It takes a
    # twentieth of the time of sum().
    total = (zlib.adler32(block) & 0xFFFF) - 1 if block.isascii() else sum(block)
    expected = total - sum(field) + 8 * 0x20
    if field == b"%06o\0 " % expected:
        return True
    try:
        stored = number(field)
    except Malformed:
        return False
    # Sun's tar summed the bytes as signed ones.
    return stored in (expected, expected - 256 * sum(byte > 127 for byte in block[:148] + block[156:]))


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]
