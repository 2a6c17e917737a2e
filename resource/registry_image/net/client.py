"""HTTP as registries need it, over requests' adapter: pool, timeouts, proxies, redirects, logins, retries.

Above the adapter everything is ours on purpose: requests' Session would read ``~/.netrc``, trust the CA list of a
Python package, keep cookies, re-quote presigned URLs and send credentials along some redirects.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, TypeAlias

from registry_image.errors import ResourceError
from registry_image.net.retry import RetryPolicy
from registry_image.net.tls import TLS
from registry_image.oci.digest import Buffer
from registry_image.progress import Listener

#: A body that can be sent again: bytes, or a function that opens a fresh iterator over pieces (then `Request.length`).
Body: TypeAlias = "bytes | Callable[[], Iterable[bytes]]"


class Headers(Protocol):
    """Names are case-insensitive."""

    def get(self, name: str, default: str = "") -> str: ...

    def all(self, name: str) -> list[str]:
        """Every line of that name, in order, such as each WWW-Authenticate."""


class Auth(Protocol):
    """Puts Authorization on requests to one registry. Shared by threads."""

    @property
    def host(self) -> str:
        """Host and port as in a URL: to no other origin is Authorization ever sent."""

    def authorization(self) -> str:
        """The header's value for the next request, renewed if about to expire; "" while none is known to be needed."""

    def challenged(self, refused: str, challenges: list[str]) -> bool:
        """After a 401 to a request that carried ``refused``: whether another try makes sense. May raise AuthError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, and what it is for.

    ``what`` begins every error text: "check ghcr.io/org/img:1.2". Statuses in ``accept`` are answers; every other one
    at or above 300 is raised as a RegistryError. A body that is a function needs ``length``, its size in bytes.
    ``policy`` None is the client's. ``timeout`` None is the client's stall limit, in seconds. ``proxy`` False goes straight (IMDS).
    """

    method: str
    url: str
    what: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = field(default=None, repr=False)
    length: int | None = None
    auth: Auth | None = None
    accept: Collection[int] = ()
    policy: RetryPolicy | None = None
    timeout: float | None = None
    proxy: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole, small answer. ``url`` is where it came from after redirects: the base of a relative Location or Link."""

    status: int
    headers: Headers
    body: bytes
    url: str = field(repr=False)


class Response:
    """An answer whose body is still to be read. A context manager; leaving it gives the connection back or closes it."""

    status: int
    headers: Headers
    url: str

    def stream(self) -> Iterator[Buffer]:
        """The body in pieces of up to 256 KiB. Raises TransportError if it breaks or ends before Content-Length."""
        raise NotImplementedError

    def read(self, limit: int) -> bytes:
        """The whole body. Raises ContentError if it has more than ``limit`` bytes, or TransportError."""
        raise NotImplementedError

    def close(self) -> None: ...

    def __enter__(self) -> Response:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Time, as parameters: ``monotonic`` for spans, ``now`` for dates (Unix time), ``sleep`` to wait. All in seconds."""

    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep


class Attempts:
    """The tries of one piece of work, under a RetryPolicy: ``failed`` waits or raises, ``progressed`` starts afresh."""

    def failed(self, error: ResourceError) -> None:
        """Waits before the next try, and says so to the listener; raises ``error`` if no further try makes sense."""
        raise NotImplementedError

    def progressed(self) -> None:
        """Something was achieved since the last failure: the budget is whole again."""
        raise NotImplementedError


class Client:
    """Shared by all threads of a step; keeps connections alive. ``requests`` counts the HTTP requests sent so far;
    ``quota`` is what the registry last said is left of the rate limit, or None."""

    requests: int
    quota: int | None

    def __init__(self, *, tls: TLS, policy: RetryPolicy, listener: Listener, clock: Clock = Clock()) -> None:  # noqa: B008
        raise NotImplementedError

    def allow_plain_http(self, host: str) -> None:
        """From now on ``https://host`` means plain HTTP where no TLS answers (a bad certificate stays an error)."""
        raise NotImplementedError

    def fetch(self, request: Request, limit: int) -> Answer:
        """Sends ``request`` and reads the whole answer, at most ``limit`` bytes, retrying within the policy.

        Raises RegistryError (NotFound, Unauthorized, RateLimited, Unavailable), TransportError, AuthError, ContentError.
        """
        raise NotImplementedError

    def open(self, request: Request) -> Response:
        """As `fetch`, but leaves the body to the caller: only what happens before it is retried."""
        raise NotImplementedError

    def attempts(self, what: str, policy: RetryPolicy | None = None) -> Attempts:
        """For work of several requests that is retried as a whole, such as an upload session."""
        raise NotImplementedError

    def close(self) -> None:
        """Closes idle connections."""
        raise NotImplementedError
