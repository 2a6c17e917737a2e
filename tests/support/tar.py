"""Writes layers, byte by byte: any dialect of tar, any corruption, in one expression.

>>> layer = archive(
...     directory("usr/bin"),
...     file("usr/bin/git", b"ELF", mode=0o4755, uid=0, xattrs={"security.capability": b"\\x01"}),
...     hardlink("usr/libexec/git-core/git", to="usr/bin/git"),
...     whiteout("etc/motd"),
...     opaque("var/cache"),
... )

Every function returns the blocks of its member as bytes, so a stream is a concatenation and a broken one is a slice.
`archive` joins them and adds the two zero blocks. Members are PAX by default: ustar headers, with extended records only
for values that ustar cannot express. `header` is the raw block: each field takes a value, or the bytes to put there.
"""

from __future__ import annotations

import gzip as zlib_gzip
import sys
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypeAlias, TypedDict, Unpack

if sys.version_info >= (3, 14):
    from compression import zstd as libzstd
else:
    from backports import zstd as libzstd


Dialect: TypeAlias = Literal["v7", "ustar", "gnu", "pax"]
Text: TypeAlias = str | bytes
Number: TypeAlias = int | bytes
Records: TypeAlias = Mapping[str, Text] | Sequence[tuple[Text, Text]]

BLOCK = 512
END = bytes(2 * BLOCK)
#: A time that no clock has by accident, 2020-09-13T12:26:40Z.
MTIME = 1_600_000_000
_MAGIC = {"v7": b"", "ustar": b"ustar\x0000", "pax": b"ustar\x0000", "gnu": b"ustar  \0"}


def raw(text: Text) -> bytes:
    return text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def octal(value: int, width: int) -> bytes:
    """``value`` as octal digits and NUL, ``width`` bytes in all."""
    return b"%0*o\0" % (width - 1, value)


def base256(value: int, width: int) -> bytes:
    """``value``, possibly negative, in GNU's binary form (layers.md 14)."""
    number = bytearray((value % (1 << (8 * width))).to_bytes(width, "big"))
    number[0] |= 0x80
    return bytes(number)


def number(value: Number, width: int) -> bytes:
    if isinstance(value, bytes):
        return value.ljust(width, b"\0")
    return octal(value, width) if 0 <= value < 8 ** (width - 1) else base256(value, width)


def header(
    name: Text = "file",
    *,
    type: bytes = b"0",
    mode: Number = 0o644,
    uid: Number = 0,
    gid: Number = 0,
    size: Number = 0,
    mtime: Number = MTIME,
    linkname: Text = b"",
    magic: bytes | None = None,
    uname: Text = b"",
    gname: Text = b"",
    devmajor: Number = 0,
    devminor: Number = 0,
    rest: bytes = b"",
    checksum: bytes | None = None,
    dialect: Dialect = "ustar",
) -> bytes:
    """One header block. ``rest`` are the bytes from 345 on: ustar's prefix, or GNU's times and sparse map."""
    block = b"".join(
        (
            raw(name)[:100].ljust(100, b"\0"),
            number(mode, 8),
            number(uid, 8),
            number(gid, 8),
            number(size, 12),
            number(mtime, 12),
            b" " * 8,
            type,
            raw(linkname)[:100].ljust(100, b"\0"),
            (_MAGIC[dialect] if magic is None else magic).ljust(8, b"\0"),
            raw(uname).ljust(32, b"\0"),
            raw(gname).ljust(32, b"\0"),
            bytes(8) if dialect == "v7" else number(devmajor, 8),
            bytes(8) if dialect == "v7" else number(devminor, 8),
            rest,
        )
    ).ljust(BLOCK, b"\0")
    assert len(block) == BLOCK
    field = b"%06o\0 " % sum(block) if checksum is None else checksum.ljust(8, b"\0")
    return block[:148] + field + block[156:]


def pax_record(key: Text, value: Text) -> bytes:
    tail = b" " + raw(key) + b"=" + raw(value) + b"\n"
    length = len(tail)
    while length != len(tail) + len(str(length)):
        length = len(tail) + len(str(length))
    return b"%d" % length + tail


def pax(records: Records | bytes, *, type: bytes = b"x", size: Number | None = None) -> bytes:
    """An extended header (``x``), or a global one (``g``); ``records`` may be the raw body."""
    if isinstance(records, bytes):
        body = records
    else:
        pairs = records.items() if isinstance(records, Mapping) else records
        body = b"".join(pax_record(key, value) for key, value in pairs)
    return header("PaxHeaders/file", type=type, size=len(body) if size is None else size) + padded(body)


def gnu_long(text: Text, *, type: bytes = b"L") -> bytes:
    """GNU's header for the next member's name (``L``) or link target (``K``)."""
    body = raw(text) + b"\0"
    return header("././@LongLink", type=type, size=len(body), mtime=0, dialect="gnu") + padded(body)


class Attributes(TypedDict, total=False):
    """Options of any member. ``mtime_ns`` (nanoseconds since the epoch) overrides ``mtime`` (seconds)."""

    mode: int
    uid: int
    gid: int
    mtime: int
    mtime_ns: int
    xattrs: Mapping[str, Text]
    dialect: Dialect


def member(
    name: Text,
    type: bytes,
    *,
    data: bytes = b"",
    linkname: Text = b"",
    device: tuple[int, int] = (0, 0),
    **attributes: Unpack[Attributes],
) -> bytes:
    """Any member, after its extended headers."""
    dialect = attributes.get("dialect", "pax")
    uid, gid = attributes.get("uid", 0), attributes.get("gid", 0)
    mtime_ns = attributes.get("mtime_ns", attributes.get("mtime", MTIME) * 10**9)
    mtime = mtime_ns // 10**9
    path, target = raw(name), raw(linkname)
    before, rest = b"", b""
    records: dict[str, Text] = {}
    if dialect == "gnu":
        before += gnu_long(path) if len(path) > 100 else b""
        before += gnu_long(target, type=b"K") if len(target) > 100 else b""
    elif dialect == "pax":
        records |= {"path": path} if len(path) > 100 else {}
        records |= {"linkpath": target} if len(target) > 100 else {}
        records |= {"uid": str(uid)} if uid >= 8**7 else {}
        records |= {"gid": str(gid)} if gid >= 8**7 else {}
        records |= {"mtime": seconds(mtime_ns)} if mtime_ns % 10**9 or mtime_ns < 0 else {}
        uid, gid, mtime = uid % 8**7, gid % 8**7, max(0, mtime)
    elif len(path) > 100:
        assert dialect == "ustar", f"{dialect} cannot hold a name of {len(path)} bytes"
        cut = path.rindex(b"/", 0, 156)
        rest, path = path[:cut], path[cut + 1 :]
        assert len(path) <= 100
    for key, value in attributes.get("xattrs", {}).items():
        records[f"SCHILY.xattr.{key}"] = value
    block = header(
        path,
        type=type,
        mode=attributes.get("mode", 0o644),
        uid=uid,
        gid=gid,
        size=len(data),
        mtime=mtime,
        linkname=target,
        devmajor=device[0],
        devminor=device[1],
        rest=rest,
        dialect=dialect,
    )
    return (pax(records) if records else b"") + before + block + padded(data)


def seconds(ns: int) -> str:
    """Nanoseconds since the epoch as PAX writes a time: decimal seconds."""
    whole, fraction = divmod(abs(ns), 10**9)
    return f"{'-' if ns < 0 else ''}{whole}" + (f".{fraction:09}".rstrip("0") if fraction else "")


def file(name: Text, data: Text = b"", **attributes: Unpack[Attributes]) -> bytes:
    return member(name, b"0", data=raw(data), **attributes)


def directory(name: Text, **attributes: Unpack[Attributes]) -> bytes:
    attributes.setdefault("mode", 0o755)
    return member(raw(name).rstrip(b"/") + b"/", b"5", **attributes)


def symlink(name: Text, to: Text, **attributes: Unpack[Attributes]) -> bytes:
    attributes.setdefault("mode", 0o777)
    return member(name, b"2", linkname=to, **attributes)


def hardlink(name: Text, to: Text, **attributes: Unpack[Attributes]) -> bytes:
    """A hard link; its own mode, owner and time are never applied (layers.md 41)."""
    return member(name, b"1", linkname=to, **attributes)


def fifo(name: Text, **attributes: Unpack[Attributes]) -> bytes:
    return member(name, b"6", **attributes)


def device(name: Text, major: int, minor: int, *, block: bool = False, **attributes: Unpack[Attributes]) -> bytes:
    return member(name, b"4" if block else b"3", device=(major, minor), **attributes)


def whiteout(path: Text) -> bytes:
    """The marker that hides ``path`` of lower layers."""
    parent, slash, name = raw(path).rpartition(b"/")
    return file(parent + slash + b".wh." + name, mode=0)


def opaque(path: Text) -> bytes:
    """The marker that hides everything lower layers have in directory ``path`` ("" is the root)."""
    parent = raw(path).rstrip(b"/")
    return file((parent + b"/" if parent else b"") + b".wh..wh..opq", mode=0)


def gnu_sparse(name: Text, segments: Sequence[tuple[int, bytes]], size: int, *, mode: int = 0o644) -> bytes:
    """A sparse file as old GNU tar wrote it (type ``S``): ``segments`` are (offset, data), the rest is holes."""
    pairs = [number(offset, 12) + number(len(data), 12) for offset, data in segments]
    data = b"".join(data for _, data in segments)
    rest = bytes(386 - 345) + b"".join(pairs[:4]).ljust(96, b"\0") + bytes([len(pairs) > 4]) + number(size, 12)
    block = header(name, type=b"S", size=len(data), mode=mode, rest=rest, dialect="gnu")
    for at in range(4, len(pairs), 21):
        more = len(pairs) > at + 21
        block += (b"".join(pairs[at : at + 21]).ljust(504, b"\0") + bytes([more])).ljust(BLOCK, b"\0")
    return block + padded(data)


def pax_sparse(
    name: Text,
    segments: Sequence[tuple[int, bytes]],
    size: int,
    *,
    version: Literal["0.0", "0.1", "1.0"] = "1.0",
    mode: int = 0o644,
) -> bytes:
    """A sparse file in one of GNU tar's three PAX forms."""
    data = b"".join(data for _, data in segments)
    numbers = [value for offset, data_ in segments for value in (offset, len(data_))]
    records: list[tuple[Text, Text]]
    if version == "1.0":
        lines = "".join(f"{value}\n" for value in (len(segments), *numbers))
        data = padded(lines.encode()) + data
        records = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", str(size))]
        records.append(("GNU.sparse.name", name))
    else:
        records = [("GNU.sparse.size", str(size)), ("GNU.sparse.numblocks", str(len(segments)))]
        if version == "0.1":
            records += [("GNU.sparse.name", name), ("GNU.sparse.map", ",".join(map(str, numbers)))]
        else:
            for offset, segment in segments:
                records += [("GNU.sparse.offset", str(offset)), ("GNU.sparse.numbytes", str(len(segment)))]
    shown = name if version == "0.0" else b"GNUSparseFile.0/" + raw(name).replace(b"/", b"_")[:80]
    return pax(records) + header(shown, size=len(data), mode=mode) + padded(data)


def archive(*members: bytes, end: bytes = END) -> bytes:
    """A whole tar; ``end`` follows the last member."""
    return b"".join(members) + end


def gzip(data: bytes, *, level: int = 6) -> bytes:
    """One member, no time and no name in its header: the same input gives the same bytes."""
    return zlib_gzip.compress(data, level, mtime=0)


class GzipFields(TypedDict, total=False):
    """The optional fields of a gzip header (RFC 1952, 2.3.1)."""

    text: bool
    crc: bool
    extra: bytes | None
    name: bytes | None
    comment: bytes | None


def gzip_member(data: bytes, **fields: Unpack[GzipFields]) -> bytes:
    """One member whose header has the given fields."""
    texts = {8: fields.get("name"), 16: fields.get("comment")}
    extra = fields.get("extra")
    flags = fields.get("text", False) | fields.get("crc", False) << 1 | (extra is not None) << 2
    flags |= sum(flag for flag, text in texts.items() if text is not None)
    head = b"\x1f\x8b\x08" + bytes([flags]) + MTIME.to_bytes(4, "little") + b"\0\x03"
    if extra is not None:
        head += len(extra).to_bytes(2, "little") + extra
    head += b"".join(text + b"\0" for text in texts.values() if text is not None)
    if fields.get("crc", False):
        head += (zlib.crc32(head) & 0xFFFF).to_bytes(2, "little")
    # After the ten bytes of a header without fields.
    return head + gzip(data)[10:]


def zstd(data: bytes, *, level: int = 3) -> bytes:
    """One frame, with its size and a checksum."""
    parameter = libzstd.CompressionParameter
    return libzstd.compress(data, options={parameter.compression_level: level, parameter.checksum_flag: 1})


def zstd_skippable(data: bytes = b"skipped") -> bytes:
    """A skippable frame, as stargz and seekable zstd write them."""
    return b"\x50\x2a\x4d\x18" + len(data).to_bytes(4, "little") + data


def pieces(data: bytes, size: int) -> Iterable[memoryview]:
    """``data`` in pieces of ``size`` bytes, as from a socket."""
    view = memoryview(data)
    return (view[at : at + size] for at in range(0, len(data), size))
