"""The types of HTTP that the client shares with its callers: requests, replies, logins."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, TypeAlias

from registry_image.errors import ContentError, TransportError
from registry_image.net.head import MAX_DIGITS
from registry_image.net.origin import show_host
from registry_image.net.retry import BUILD, RetryPolicy, Timeouts
from registry_image.net.transport_error import LIBRARY_ERRORS, Setting, transport_error
from registry_image.record import EMPTY, Hidden, record

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

#: A body that can be sent again: bytes, or a function that opens a new iterator over its pieces.
Body: TypeAlias = "bytes | Callable[[], Iterable[bytes]]"
#: The largest piece of a body, in bytes. Larger ones do not stay in the CPU cache; smaller ones cost more calls.
PIECE = 256 * 1024
#: The most that is read of an error's or redirect's body, in bytes; codes and messages are far shorter.
MAX_ERROR_BODY = 64 * 1024
#: Bytes a second that count as progress, over RATE_PERIOD seconds: a byte now and then would never stall.
MIN_RATE = 1000
RATE_PERIOD = 60.0


class Headers:
    """Names are case-insensitive; a name may have several lines."""

    __slots__ = ("_lines",)

    def __init__(self, lines: Iterable[tuple[str, str]]) -> None:
        self._lines: dict[str, list[str]] = {}
        for name, value in lines:
            self._lines.setdefault(name.lower(), []).append(value)

    def get(self, name: str) -> str:
        return self._lines.get(name.lower(), [""])[0]

    def all(self, name: str) -> list[str]:
        return self._lines.get(name.lower(), [])

    def count(self, name: str) -> int | None:
        """The whole number before any parameters ("20;w=21600" is 20), or None."""
        text = self.get(name).partition(";")[0].strip()
        return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS else None

    def lines(self) -> list[tuple[str, str]]:
        """Names are in lower case."""
        return [(name, value) for name, values in self._lines.items() for value in values]


class Auth(Protocol):
    """A login to one registry. Threads share it."""

    @property
    def home(self) -> str:
        """The registry's address, such as ``https://ghcr.io``: the only origin that gets Authorization."""

    @property
    def login(self) -> str:
        """The user, for error texts; "" if there is none."""

    def refusal(self, status: int) -> str:
        """The hint for a 401 or 403 from ``home``: what became of the login, and what to look at; "" for none."""

    def authorization(self) -> str:
        """The header's value for the next request, renewed if about to expire; "" before the first challenge.

        May raise AuthError, and what `Client.fetch` raises.
        """

    def challenged(self, refused: str, challenges: list[str]) -> bool:
        """Logs in after a 401 to a request with the header ``refused``; False if another attempt is pointless.

        May raise AuthError.
        """


@record(kw_only=True)
class Request:
    """``what`` begins every error text: "check ghcr.io/org/img:1.2". A status that is neither 2xx nor in ``accept`` is
    raised as a RegistryError. A body that is a function needs ``length``, its size in bytes. ``policy`` and the
    timeouts (seconds) default to the client's; an answer that may begin later than those may also take as long as in a
    build. ``proxy`` False ignores proxies.
    ``check_redirect`` may refuse an address by raising."""

    method: str
    url: Hidden[str]
    what: str
    headers: Hidden[Mapping[str, str]] = EMPTY
    body: Hidden[Body | None] = None
    length: int | None = None
    auth: Auth | None = None
    accept: Collection[int] = ()
    policy: RetryPolicy | None = None
    connect_timeout: float | None = None
    stall_timeout: float | None = None
    proxy: bool = True
    check_redirect: Callable[[str], None] = lambda _: None


@record(kw_only=True)
class Reply:
    """A whole, small answer. ``url`` is the address after redirects: the base of a relative Location or Link."""

    status: int
    headers: Headers
    body: Hidden[bytes]
    url: Hidden[str]


class StreamingReply:
    """An answer with an unread body. Leaving the context keeps the connection alive if the body was read to its end.

    ``url`` is the address after redirects. ``framed`` is False if the body ends only with the connection.
    """

    def __init__(
        self,
        raw: BaseHTTPResponse,
        url: str,
        what: str,
        clock: Callable[[], float],
        timeouts: Timeouts = BUILD,
    ) -> None:
        self._raw = raw
        self._what = what
        self._clock = clock
        self._timeouts = timeouts
        self.url = url
        self.status = raw.status
        self.headers = Headers(raw.headers.items())
        chunked = self.headers.get("transfer-encoding").lower() == "chunked"
        self.framed = chunked or bool(self.headers.get("content-length"))

    def stream(self) -> Iterator[bytes]:
        """Pieces of up to PIECE bytes, each as soon as it arrives, so that a broken connection loses nothing received.

        Raises TransportError, also for a body that ends before Content-Length, and for one that drips."""
        pieces = self._pieces()
        waited, came, asked = 0.0, 0, self._clock()
        for piece in pieces:
            # Only the time in the network counts: whoever takes the pieces may be slow.
            waited, came = waited + self._clock() - asked, came + len(piece)
            if waited >= RATE_PERIOD:
                if came < MIN_RATE * RATE_PERIOD:
                    host = show_host(self.url)
                    raise TransportError(f"{self._what}: {host}: stalled: less than {MIN_RATE} bytes/s for a minute")
                waited, came = 0.0, 0
            yield piece
            asked = self._clock()

    def _pieces(self) -> Iterator[bytes]:
        read = self._raw.read1
        while True:
            try:
                piece = read(PIECE, decode_content=False)
            except LIBRARY_ERRORS as error:
                setting = Setting(timeouts=self._timeouts)
                raise transport_error(error, self._what, show_host(self.url), setting) from error
            if not piece:
                return
            yield piece

    def read(self, limit: int) -> bytes:
        """Raises TransportError, or ContentError if the body has more than ``limit`` bytes."""
        data = bytearray()
        timeout = self._timeouts.answer
        end = self._clock() + timeout
        too_large = ContentError(f"{self._what}: {show_host(self.url)}: the answer is larger than {limit} bytes")
        if (self._raw.length_remaining or 0) > limit:  # 0 for HEAD
            raise too_large
        for piece in self._pieces():
            data += piece
            if len(data) > limit:
                raise too_large
            if self._clock() > end:
                raise TransportError(f"{self._what}: {show_host(self.url)}: no end after {timeout:.3g} s")
        return bytes(data)

    def finish(self) -> bytes:
        """Closes the reply; returns the first MAX_ERROR_BODY bytes of the body. Reading a short body to its end keeps
        the connection, which saves a handshake for each redirected blob."""
        data = bytearray()
        end = self._clock() + self._timeouts.answer
        with self, suppress(TransportError):
            for piece in self._pieces():
                data += piece
                if len(data) > MAX_ERROR_BODY or self._clock() > end:
                    break
        return bytes(data[:MAX_ERROR_BODY])

    def close(self) -> None:
        if not self._raw.closed:
            self._raw.close()
        self._raw.release_conn()

    def __enter__(self) -> StreamingReply:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
