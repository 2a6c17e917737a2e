"""An answer whose body is still to be read, without a copy more than the socket makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING

from registry_image.errors import ContentError, TransportError
from registry_image.net.exchange import Headers
from registry_image.net.faults import FOREIGN, explain
from registry_image.net.redact import show_host

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

#: The most that one piece of a body has, in bytes. Larger ones leave the cache; smaller ones cost more calls.
PIECE = 256 * 1024
#: The most that is read of an error's or redirect's body, in bytes: codes and messages are far shorter, pages are cut.
MAX_ERROR_BODY = 64 * 1024
#: Seconds for the whole of a small answer, so that a byte now and then cannot go on for ever.
ANSWER_TIMEOUT = 300.0


class Response:
    """A context manager; leaving it gives the connection back if the body was read to its end, and closes it if not.

    ``url`` is where it came from after redirects. ``framed`` says whether HTTP itself tells where the body ends.
    """

    def __init__(self, raw: BaseHTTPResponse, url: str, what: str, clock: Callable[[], float]) -> None:
        self._raw = raw
        self._what = what
        self._clock = clock
        self.url = url
        self.status = raw.status
        self.headers = Headers(raw.headers.items())
        chunked = self.headers.get("transfer-encoding").lower() == "chunked"
        self.framed = chunked or bool(self.headers.get("content-length"))

    def stream(self) -> Iterator[bytes]:
        """The body in pieces of up to PIECE bytes, each as soon as it is there, so that nothing received is lost when
        the connection breaks. Raises TransportError if it does, or if the body ends before Content-Length."""
        read = self._raw.read1
        while True:
            try:
                piece = read(PIECE, decode_content=False)
            except FOREIGN as error:
                raise explain(error, self._what, show_host(self.url)) from error
            if not piece:
                return
            yield piece

    def read(self, limit: int) -> bytes:
        """The whole body. Raises TransportError, or ContentError if it has more than ``limit`` bytes."""
        data = bytearray()
        end = self._clock() + ANSWER_TIMEOUT
        for piece in self.stream():
            data += piece
            if len(data) > limit:
                raise ContentError(f"{self._what}: {show_host(self.url)}: the answer is larger than {limit} bytes")
            if self._clock() > end:
                raise TransportError(f"{self._what}: {show_host(self.url)}: no end after {ANSWER_TIMEOUT:.0f} s")
        return bytes(data)

    def finish(self) -> bytes:
        """The beginning of a body that matters little, up to MAX_ERROR_BODY bytes, and the response closed: read to
        its end, the connection serves again, which saves a handshake for each blob that is redirected."""
        data = bytearray()
        end = self._clock() + ANSWER_TIMEOUT
        with self, suppress(TransportError):
            for piece in self.stream():
                data += piece
                if len(data) > MAX_ERROR_BODY or self._clock() > end:
                    break
        return bytes(data[:MAX_ERROR_BODY])

    def close(self) -> None:
        """Gives the connection back or closes it."""
        if not self._raw.closed:
            self._raw.close()
        self._raw.release_conn()

    def __enter__(self) -> Response:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
