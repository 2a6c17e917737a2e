"""Decodes one gzip member: its header here, its deflate data, CRC and size in isal (RFC 1952, 2.3).

isal reads headers too, but fails for several optional fields if they come in pieces, which end anywhere.
"""

from __future__ import annotations

import zlib
from collections.abc import Generator
from typing import cast

from isal import igzip_lib

from registry_image.archive.decoder import DecoderError
from registry_image.oci.digest import Buffer

_FIXED_LENGTH = 10
_DEFLATE = 8
_FHCRC, _FEXTRA, _FNAME, _FCOMMENT, _RESERVED = 1 << 1, 1 << 2, 1 << 3, 1 << 4, 0b1110_0000
#: In place of a field's length: the field ends after its first zero byte.
_TO_ZERO = -1

# isal's type stub declares an instance.
_IsalError = cast("type[Exception]", igzip_lib.IsalError)


class GzipDecoder:
    """Decodes one member. What follows it is in ``unused_data`` once ``eof`` is true."""

    def __init__(self) -> None:
        self._header: _Header | None = _Header()
        self._body = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP_NO_HDR_VER)

    @property
    def eof(self) -> bool:
        return self._body.eof

    @property
    def needs_input(self) -> bool:
        return self._body.needs_input

    @property
    def unused_data(self) -> bytes:
        return self._body.unused_data

    def decompress(self, data: Buffer, max_length: int) -> bytes:
        """Raises DecoderError."""
        if self._header is not None:
            data = self._header.skip(memoryview(data))
            if not self._header.ended:
                return b""
            self._header = None
        try:
            return self._body.decompress(data, max_length)
        except _IsalError as error:
            raise DecoderError(f"corrupt gzip data: {error}") from error


class _Header:
    """Skips a header that comes in pieces of any size. A name or a comment has any length, so neither is kept."""

    def __init__(self) -> None:
        self.ended = False
        self._crc = 0
        self._fields = self._read_fields()
        self._length = next(self._fields)
        self._field = bytearray()

    def skip(self, data: memoryview) -> memoryview:
        """What follows the header; nothing while it has not ``ended``. Raises DecoderError."""
        while data and not self.ended:
            if self._length == _TO_ZERO:
                zero = bytes(data).find(0)
                taken, complete = (len(data), False) if zero < 0 else (zero + 1, True)
            else:
                taken = min(self._length - len(self._field), len(data))
                self._field += data[:taken]
                complete = len(self._field) == self._length
            self._crc = zlib.crc32(data[:taken], self._crc)
            data = data[taken:]
            if complete:
                self._next()
        return data

    def _next(self) -> None:
        field, self._field = bytes(self._field), bytearray()
        try:
            self._length = self._fields.send(field)
        except StopIteration:
            self.ended = True

    def _read_fields(self) -> Generator[int, bytes, None]:
        """Yields the length of each field, and is sent the field, except one that ends with a zero byte."""
        fixed = yield _FIXED_LENGTH
        method, flags = fixed[2], fixed[3]
        if method != _DEFLATE:
            raise DecoderError(f"corrupt gzip data: compression method {method}, which is not deflate (8)")
        if flags & _RESERVED:
            raise DecoderError(f"corrupt gzip data: reserved flags in a header: {flags:#04x}")
        if flags & _FEXTRA:
            extra = yield 2
            if any(extra):
                yield int.from_bytes(extra, "little")
        if flags & _FNAME:
            yield _TO_ZERO
        if flags & _FCOMMENT:
            yield _TO_ZERO
        if flags & _FHCRC:
            expected = self._crc & 0xFFFF  # of all that stands before the field
            stored = int.from_bytes((yield 2), "little")
            if stored != expected:
                raise DecoderError(
                    f"corrupt gzip data: the CRC of a header is {expected:#06x}, but {stored:#06x} is written"
                )
