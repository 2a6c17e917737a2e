"""A Content-Encoding that was not asked for: some proxies compress what looks like JSON (RFC 9110, 8.4)."""

from __future__ import annotations

from registry_image.errors import ContentError, quote
from registry_image.net.http import Headers

_GZIP_MAGIC = b"\x1f\x8b"


def decoded(body: bytes, headers: Headers, limit: int, what: str) -> bytes:
    """``body`` without its encoding, if that is gzip.

    Raises ContentError for another encoding, for broken gzip, and for more than ``limit`` bytes.
    """
    encoding = headers.get("content-encoding").strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip"):
        raise ContentError(f"{what}: the answer has the Content-Encoding {quote(encoding)}, which was not asked for")
    if not body.startswith(_GZIP_MAGIC):
        return body  # only the header says so
    import zlib  # rarely needed: not at start-up

    decompressor = zlib.decompressobj(wbits=31)
    try:
        data = decompressor.decompress(body, limit + 1)
    except zlib.error as error:
        raise ContentError(f"{what}: the answer has the Content-Encoding gzip, which is broken: {error}") from error
    if len(data) > limit:
        raise ContentError(f"{what}: the answer is larger than {limit} bytes when its Content-Encoding is undone")
    if not decompressor.eof:
        raise ContentError(f"{what}: the answer has the Content-Encoding gzip, which ends early")
    return data
