"""Decodes one zstd frame, and says so where only its window is too large (RFC 8878, 3.1.1)."""

from __future__ import annotations

import sys

from registry_image.archive.decoder import DecoderError
from registry_image.oci.digest import Buffer

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: The largest window, as a power of two: 128 MiB, libzstd's own limit, all that ``zstd --ultra -22`` uses. A decoder
#: takes as much memory as the window has.
WINDOW_LOG_MAX = 27

_MIB = 1024 * 1024
_MAGIC = b"\x28\xb5\x2f\xfd"
#: The most bytes of a frame's header: magic, descriptor, window, dictionary, content size.
_HEADER_SIZE = 4 + 1 + 1 + 4 + 8


class ZstdDecoder:
    """Decodes one frame, skippable ones too. What follows it is in ``unused_data`` once ``eof`` is true."""

    def __init__(self) -> None:
        options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: WINDOW_LOG_MAX}
        self._frame = zstd.ZstdDecompressor(options=options)
        self._header = b""

    @property
    def eof(self) -> bool:
        return self._frame.eof

    @property
    def needs_input(self) -> bool:
        return self._frame.needs_input

    @property
    def unused_data(self) -> bytes:
        return self._frame.unused_data

    def decompress(self, data: Buffer, max_length: int) -> bytes:
        """Raises DecoderError."""
        if len(self._header) < _HEADER_SIZE:
            self._header += bytes(data[: _HEADER_SIZE - len(self._header)])
        try:
            return self._frame.decompress(data, max_length)
        except zstd.ZstdError as error:
            window = _window(self._header)
            if window > 1 << WINDOW_LOG_MAX:
                raise DecoderError(
                    f"zstd data with a window of {-(-window // _MIB)} MiB, over our {(1 << WINDOW_LOG_MAX) // _MIB}",
                    hint=f"compress it again, with `zstd --long={WINDOW_LOG_MAX}` at most",
                ) from error
            raise DecoderError(f"corrupt zstd data: {error}") from error


def _window(header: bytes) -> int:
    """The window's size in bytes, which for a frame of a single segment is that of its content; 0 if it is unknown."""
    if len(header) < 6 or not header.startswith(_MAGIC):
        return 0
    descriptor = header[4]
    if not descriptor & 0x20:
        base = 1 << (10 + (header[5] >> 3))
        return base + base // 8 * (header[5] & 7)
    # The size stands after the dictionary's number; two bytes are 256 more than they say.
    start = 5 + (0, 1, 2, 4)[descriptor & 3]
    length = 1 << (descriptor >> 6)
    return int.from_bytes(header[start : start + length], "little")
