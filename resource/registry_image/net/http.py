"""The words of HTTP between the client and those who use it: a request, its answer, who we say we are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, TypeAlias

from registry_image.errors import ContentError, TransportError
from registry_image.net.redact import show_host
from registry_image.net.retry import RetryPolicy
from registry_image.net.transport_error import LIBRARY_ERRORS, transport_error

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

#: A body that can be sent again: bytes, or a function that opens a fresh iterator over pieces (then `Request.length`).
Body: TypeAlias = "bytes | Callable[[], Iterable[bytes]]"
#: The longest number that is read from a header, in digits: more than a petabyte has, and int() bounds it too.
MAX_DIGITS = 18
#: The most that one piece of a body has, in bytes. Larger ones leave the cache; smaller ones cost more calls.
PIECE = 256 * 1024
#: The most that is read of an error's or redirect's body, in bytes: codes and messages are far shorter, pages are cut.
MAX_ERROR_BODY = 64 * 1024
#: Seconds for the whole of a small answer, so that a byte now and then cannot go on for ever.
ANSWER_TIMEOUT = 300.0


class Headers:
    """The headers of an answer; names are case-insensitive, and one may stand on several lines."""

    __slots__ = ("_lines",)

    def __init__(self, lines: Iterable[tuple[str, str]]) -> None:
        self._lines: dict[str, list[str]] = {}
        for name, value in lines:
            self._lines.setdefault(name.lower(), []).append(value)

    def get(self, name: str, default: str = "") -> str:
        """The first line of that name."""
        return self._lines.get(name.lower(), [default])[0]

    def all(self, name: str) -> list[str]:
        """Every line of that name, in order, such as each WWW-Authenticate."""
        return self._lines.get(name.lower(), [])

    def count(self, name: str) -> int | None:
        """The whole number that the header begins with ("20;w=21600" is 20), or None if it begins with none."""
        text = self.get(name).partition(";")[0].strip()
        return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS else None

    def lines(self) -> list[tuple[str, str]]:
        """Every line, its name in lower case."""
        return [(name, value) for name, values in self._lines.items() for value in values]


class Auth(Protocol):
    """Puts Authorization on requests to one registry. Shared by threads."""

    @property
    def home(self) -> str:
        """The server's address, such as ``https://ghcr.io``: to no other origin is Authorization ever sent."""

    @property
    def login(self) -> str:
        """Whom we say we are, for error texts; "" is nobody."""

    def authorization(self) -> str:
        """The header's value for the next request, renewed if about to expire; "" while none is known to be needed."""

    def challenged(self, refused: str, challenges: list[str]) -> bool:
        """After a 401 to a request that carried ``refused``: whether another try makes sense. May raise AuthError."""


def _anywhere(url: str) -> None:
    """The default of `Request.check_redirect`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, and what it is for.

    ``what`` begins every error text: "check ghcr.io/org/img:1.2". Statuses in ``accept`` are answers, besides 2xx;
    every other one is raised as a RegistryError. A body that is a function needs ``length``, its size in bytes.
    ``policy`` None is the client's. ``connect_timeout`` and ``stall_timeout``, in seconds, replace the client's limits.
    ``proxy`` False goes straight. ``check_redirect`` may refuse an address by raising.
    """

    method: str
    url: str = field(repr=False)
    what: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: Body | None = field(default=None, repr=False)
    length: int | None = None
    auth: Auth | None = None
    accept: Collection[int] = ()
    policy: RetryPolicy | None = None
    connect_timeout: float | None = None
    stall_timeout: float | None = None
    proxy: bool = True
    check_redirect: Callable[[str], None] = _anywhere


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A whole, small answer. ``url`` is where it came from after redirects: the base of a relative Location or Link."""

    status: int
    headers: Headers
    body: bytes = field(repr=False)
    url: str = field(repr=False)


class StreamingReply:
    """An answer whose body is still to be read, without a copy more than the socket makes.

    A context manager; leaving it gives the connection back if the body was read to its end, and closes it if not.

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
            except LIBRARY_ERRORS as error:
                raise transport_error(error, self._what, show_host(self.url)) from error
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

    def __enter__(self) -> StreamingReply:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
