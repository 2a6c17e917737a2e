"""Decompresses layers: gzip, zstd or none, detected by the first bytes of the stream (layers.md 5 to 8).

Media types are ignored: some tools label zstd as gzip, or the reverse (layers.md 6; containerd#14160).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

from registry_image.archive.decoder import Decoder, DecoderError
from registry_image.archive.headers import BLOCK_SIZE, is_header
from registry_image.errors import CorruptLayer, quote
from registry_image.oci.digest import Buffer
from registry_image.record import record

#: The most bytes returned at once: a few kB of a zip bomb decompress to gigabytes, which must not fill memory. With
#: smaller pieces, threads spend more time waiting for the interpreter lock than working.
PIECE_SIZE = 1024 * 1024
#: The first input of a new member, in bytes; each later one is twice as large. Decoders copy the input that they do not
#: use, so with whole pieces as input, many small members in one piece would take quadratic time.
FIRST_FEED = 4096

_GZIP_MAGIC = b"\x1f\x8b"
#: Formats that people give us instead of a tar, by their first bytes.
_FOREIGN = {
    b"\xfd7zXZ\0": "xz",
    b"BZh": "bzip2",
    b"LZIP": "lzip",
    b"\x04\x22\x4d\x18": "lz4",
    b"PK\x03\x04": "zip",
    b"\x7fELF": "an ELF program",
    b"<": "HTML or XML",
    b"{": "JSON",
    b"[": "JSON",
}
_HINT = "layers are gzip, zstd or plain tar; anything else must be converted when the image is built"


@record(kw_only=True)
class _Format:
    """``padding`` may stand between members; ``tolerant`` formats ignore what follows the last one."""

    name: str
    magic_length: int
    starts: Callable[[bytes], bool]
    decoder: Callable[[], Decoder]
    padding: bytes = b""
    tolerant: bool = False


def decompress(pieces: Iterable[Buffer], what: str) -> Iterator[Buffer]:
    """The uncompressed bytes of ``pieces``, in pieces that are valid until the next is requested.

    Reads all of ``pieces`` and verifies every checksum. Raises CorruptLayer, naming ``what``, for a stream that is
    broken, cut short, or in another format. An empty stream gives an empty stream (layers.md 7).
    """
    stream = iter(pieces)
    head = _head(stream)
    whole = itertools.chain((head,), stream)
    start = bytes(head[:BLOCK_SIZE])
    compression = compression_of(start)
    if compression:
        return _decode(whole, _gzip() if compression == "gzip" else _zstd(), what)
    name = foreign_format(start)
    # The name of a tar's first member may begin like another format.
    if name and not is_header(start):
        raise CorruptLayer(f"{what}: expected gzip, zstd or tar, got {name}", hint=_HINT)
    return whole


def compression_of(start: bytes) -> Literal["gzip", "zstd", ""]:
    """The compression of a stream that begins with ``start``, at least four bytes; "" if it is neither."""
    return "gzip" if start.startswith(_GZIP_MAGIC) else "zstd" if _starts_zstd(start[:4]) else ""


def foreign_format(start: bytes) -> str:
    """The likely format of a stream that begins with ``start`` and is not a tar; "" if it is unknown."""
    return next((name for magic, name in _FOREIGN.items() if start.startswith(magic)), "")


def _head(stream: Iterator[Buffer]) -> Buffer:
    """The first piece, joined with further ones until it has the size of a tar header."""
    head: Buffer = b""
    for piece in stream:
        head = bytes(head) + piece if head else piece
        if len(head) >= BLOCK_SIZE:
            break
    return head


def _gzip() -> _Format:
    from registry_image.archive.gzipmember import GzipDecoder

    return _Format(
        name="gzip",
        magic_length=len(_GZIP_MAGIC),
        starts=_GZIP_MAGIC.__eq__,
        decoder=GzipDecoder,
        padding=b"\0",
        tolerant=True,
    )


def _zstd() -> _Format:
    from registry_image.archive.zstdframe import ZstdDecoder

    return _Format(name="zstd", magic_length=4, starts=_starts_zstd, decoder=ZstdDecoder)


def _starts_zstd(magic: bytes) -> bool:
    """Whether a frame or a skippable frame starts here (RFC 8878, 3.1)."""
    return magic == b"\x28\xb5\x2f\xfd" or (magic[1:] == b"\x2a\x4d\x18" and magic[0] & 0xF0 == 0x50)


def _decode(pieces: Iterable[Buffer], form: _Format, what: str) -> Iterator[bytes]:
    """Decompresses the members of a stream, one after the other. A member without its end is an error."""
    stream = iter(pieces)
    decoder: Decoder | None = None
    feed = FIRST_FEED
    rest = b""
    for piece in stream:
        data = memoryview(rest + piece if rest else piece)
        rest = b""
        while data:
            if decoder is None:
                data = _without_padding(data, form.padding)
                if len(data) < form.magic_length:
                    rest = bytes(data)
                    break
                if not form.starts(bytes(data[: form.magic_length])):
                    _end(data, stream, form, what)
                    return
                decoder, feed = form.decoder(), FIRST_FEED
            try:
                yield from _drain(decoder, data[:feed])
            except DecoderError as error:
                raise CorruptLayer(f"{what}: {error}", hint=error.hint) from error
            taken = min(feed, len(data)) - len(decoder.unused_data)
            data, feed = data[taken:], feed * 2
            if decoder.eof:
                decoder = None
    if decoder is not None or (rest and not form.tolerant):
        raise CorruptLayer(f"{what}: truncated {form.name} data: it ends in the middle of a member")


def _drain(decoder: Decoder, data: Buffer) -> Iterator[bytes]:
    """``data`` decompressed, in bounded pieces."""
    output = decoder.decompress(data, PIECE_SIZE)
    while output or not (decoder.eof or decoder.needs_input):
        if output:
            yield output
        if decoder.eof or decoder.needs_input:
            return
        output = decoder.decompress(b"", PIECE_SIZE)


def _without_padding(data: memoryview, padding: bytes) -> memoryview:
    while padding and data and data[0] == padding[0]:
        start = data[:FIRST_FEED].tobytes()  # not all: padding may precede each of many small members
        data = data[len(start) - len(start.lstrip(padding)) :]
    return data


def _end(data: memoryview, stream: Iterator[Buffer], form: _Format, what: str) -> None:
    """Reads what follows the last member, because it belongs to the blob that is hashed (layers.md 1, 5)."""
    if not form.tolerant:
        raise CorruptLayer(f"{what}: corrupt {form.name} data: expected a frame, got {quote(bytes(data[:20]))}")
    for _ in stream:
        pass
