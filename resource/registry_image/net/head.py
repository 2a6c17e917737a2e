"""The head of an answer, the sizes of its chunks, and its trailers, within bounds: http.client takes 100 header lines,
and of a proxy's answer to CONNECT any number.

Bytes that drip never let a socket's timeout pass, so these also have a time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from email.parser import Parser
from http.client import HTTPException, HTTPMessage, HTTPResponse, IncompleteRead
from io import BufferedReader, BytesIO
from typing import TYPE_CHECKING, Protocol

from registry_image.errors import quote

if TYPE_CHECKING:
    from socket import socket

#: The most header lines of one answer, interim answers and trailers included.
MAX_HEADERS = 1000
#: The most bytes of them.
MAX_HEAD = 256 * 1024
#: The longest number read from a header, in digits; a petabyte has 16.
MAX_DIGITS = 18
#: Header lines by which http.client finds the end of a body.
_FRAMING = frozenset({b"connection", b"content-length", b"keep-alive", b"proxy-connection", b"transfer-encoding"})
_SWITCHING_PROTOCOLS = b"101"


class Stream(Protocol):
    """A buffered reader."""

    def peek(self, size: int, /) -> bytes: ...

    def read(self, size: int, /) -> bytes: ...


class HeadTooLarge(HTTPException):
    """Beyond MAX_HEADERS or MAX_HEAD: the same would come again."""


class BadLength(HTTPException):
    """A Content-Length that does not say where the body ends: the same would come again."""


class HeadTooSlow(TimeoutError):
    """Beyond the time for a head."""


class HeadReader:
    """Reads lines from ``stream`` until one of the bounds. ``timeout`` is in seconds, from the first byte on."""

    def __init__(self, stream: Stream, timeout: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._timeout = timeout
        self._clock = clock
        self._end: float | None = None
        self._lines = 0
        self._bytes = 0

    def head(self) -> tuple[bytes, list[bytes]]:
        """The status line and the header lines of the final answer; interim ones are read past (RFC 9110, 15.2).

        The status line is empty at the end of the stream. Raises IncompleteRead for the end of the stream after it: the
        line that is missing may be the one that says where the body ends.
        """
        while True:
            status = self.line()
            code = status.split(b" ", 2)[1:2]
            interim = status.startswith(b"HTTP/1.") and code and code[0].strip().startswith(b"1")
            headers = self.block(required=True) if status.startswith(b"HTTP/") else []
            if not interim or code[0].strip() == _SWITCHING_PROTOCOLS:
                return status, headers

    def block(self, *, required: bool = False) -> list[bytes]:
        """Lines up to an empty one, which may be ``required``. A continuation is part of its line (RFC 9112, 5.2)."""
        lines: list[bytes] = []
        while (line := self.line()) not in (b"\r\n", b"\n", b""):
            if lines and line[:1] in b" \t":
                lines[-1] += line
            else:
                lines.append(line)
        if required and not line:
            raise IncompleteRead(b"")
        return lines

    def line(self) -> bytes:
        """One line with its end, which is missing at the end of the stream."""
        line = bytearray()
        while not line.endswith(b"\n"):
            waiting = self._stream.peek(1)
            if not waiting:
                break
            now = self._clock()
            self._end = self._end or now + self._timeout
            if now > self._end:
                raise HeadTooSlow
            piece = self._stream.read(waiting.find(b"\n") + 1 or len(waiting))
            line += piece
            self._bytes += len(piece)
            self._check()
        self._lines += 1
        self._check()
        return bytes(line)

    def _check(self) -> None:
        if self._lines > MAX_HEADERS or self._bytes > MAX_HEAD:
            raise HeadTooLarge(f"the headers are more than {MAX_HEADERS} lines or {MAX_HEAD} bytes")


class Response(HTTPResponse):
    """http.client's response, with our bounds."""

    def __init__(self, sock: socket, debuglevel: int = 0, method: str | None = None, url: str | None = None) -> None:
        super().__init__(sock, debuglevel, method, url)
        #: A head may take as long as the wait for its first byte.
        self._timeout = sock.gettimeout() or math.inf
        self._is_head = method == "HEAD"
        self._lines: list[bytes] = []

    def begin(self) -> None:
        if self.headers is not None:
            return
        stream = self.fp
        try:
            super().begin()
        finally:
            self.fp = stream
        # A line without a colon would end the headers, and urllib3 would log it.
        text = b"".join(line for line in self._lines if b":" in line.partition(b"\n")[0]).decode("latin-1")
        self.headers = self.msg = Parser(_class=HTTPMessage).parsestr(text)
        self._check_length()

    def _check_length(self) -> None:
        """Raises BadLength (RFC 9112, 6.3). http.client would read on until the connection ends, which a server that
        keeps it open never does."""
        lines = self.headers.get_all("content-length", [])
        numbers = {number.strip() for line in lines for number in line.split(",")}
        if not numbers or self.chunked:
            return
        number, *others = numbers
        if others or not (number.isascii() and number.isdigit() and len(number) <= MAX_DIGITS):
            if self._is_head:
                del self.headers["content-length"]  # there is no body
                return
            shown = quote(", ".join(lines))
            raise BadLength(f"the answer's Content-Length is not one number of at most {MAX_DIGITS} digits: {shown}")
        if self.length is None:
            self.length = int(number)  # "5, 5", which http.client does not read

    def _read_status(self) -> tuple[str, int, str]:
        """The first that http.client reads, here and of a proxy's answer to CONNECT.

        It gets the lines that frame the body only: it refuses the hundred and first.
        """
        status, self._lines = HeadReader(self.fp, self._timeout).head()
        framing = [line for line in self._lines if line.partition(b":")[0].strip().lower() in _FRAMING]
        self.fp = BufferedReader(BytesIO(b"".join([status, *framing, b"\r\n"]) if status else b""))
        return super()._read_status()  # type: ignore[misc,no-any-return]  # private to http.client, and not in typeshed

    def _read_next_chunk_size(self) -> int:
        """Raises ValueError for a line that is no size. http.client waits for each byte of it for the whole timeout,
        and after a negative size for the end of the connection."""
        size = int(HeadReader(self.fp, self._timeout).line().partition(b";")[0], 16)
        if not 0 <= size < 10**MAX_DIGITS:
            raise ValueError(size)
        return size

    def _read_and_discard_trailer(self) -> None:
        HeadReader(self.fp, self._timeout).block()
