"""HTTP as registries need it: redirects, logins, retries, and which headers go where."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar

from registry_image.errors import AuthError, RateLimited, ResourceError, TransportError
from registry_image.net.adapter import Connections
from registry_image.net.attempts import Attempts, Clock
from registry_image.net.error_response import registry_error
from registry_image.net.http import Auth, Reply, Request, StreamingReply
from registry_image.net.origin import Origin, origin_of, resolve_location
from registry_image.net.redact import secrets_in, show_host
from registry_image.net.retry import RetryPolicy
from registry_image.net.scheme import Schemes
from registry_image.net.tls import TLS
from registry_image.progress import Listener
from registry_image.record import replace

#: Seconds to reach an address, and seconds without a byte after which a connection counts as broken. A listening host
#: answers within a round trip, and TCP retransmits after 1, 3 and 7 seconds.
TIMEOUTS = (15.0, 60.0)
#: Pause in seconds for all threads after a 429 without Retry-After; the thread that got it waits at least as long.
_DEFAULT_PAUSE = 0.25
#: The most redirects followed for one request; registries with object stores use one or two.
MAX_REDIRECTS = 10
#: The most logins for one request: one for a first token, one more if the token is stale or grants too little.
MAX_CHALLENGES = 2
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: Redirects that repeat the method and the body (RFC 9110, 15.4).
_REPEATING_REDIRECTS = frozenset({307, 308})
#: Request headers that a redirect to another host keeps; the others may hold secrets, as the clouds' do.
_CROSS_HOST_HEADERS = frozenset({"accept", "range"})
_Result = TypeVar("_Result")


class Traffic:
    """The number of answered requests, and the rest of the rate limit as last reported by the registry."""

    requests: int = 0
    quota: int | None = None


class Client:
    """Shared by all threads of a step. ``timeouts`` are those of TIMEOUTS.

    ``secrets`` are the credentials sent so far: error texts hide them, because a server may repeat them.
    """

    def __init__(
        self,
        *,
        tls: TLS,
        policy: RetryPolicy,
        listener: Listener,
        clock: Clock | None = None,
        timeouts: tuple[float, float] = TIMEOUTS,
    ) -> None:
        self.connections = Connections(tls)
        self.schemes = Schemes()
        self._policy = policy
        self.listener = listener
        self._timeouts = timeouts
        self.secrets: set[str] = set()
        self.clock = clock or Clock()
        self._lock = threading.Lock()
        self._paused_until: dict[Origin, float] = {}
        self.traffic = Traffic()

    def fetch(self, request: Request, limit: int) -> Reply:
        """Sends ``request``, with retries, and reads the whole answer.

        Raises RegistryError, TransportError, AuthError, or ContentError for an answer over ``limit`` bytes.
        """

        def once() -> Reply:
            with self._exchange(request) as reply:
                body = reply.read(limit)
            return Reply(status=reply.status, headers=reply.headers, body=body, url=reply.url)

        return self._retrying(request, once)

    def open(self, request: Request) -> StreamingReply:
        """As `fetch`, but leaves the body to the caller, who also handles its failures."""
        return self._retrying(request, lambda: self._exchange(request))

    def attempts(self, policy: RetryPolicy | None = None) -> Attempts:
        """For work of several requests that is retried as a whole, such as an upload session."""
        return Attempts(policy or self._policy, self.listener, self.clock)

    def _retrying(self, request: Request, act: Callable[[], _Result]) -> _Result:
        attempts = self.attempts(request.policy)
        origin = origin_of(request.url)
        while True:
            self._wait_for_rate_limit(origin, (request.policy or self._policy).budget)
            try:
                return act()
            except ResourceError as error:
                if isinstance(error, RateLimited):
                    self._paused_until[origin] = self.clock.monotonic() + (error.retry_after or _DEFAULT_PAUSE)
                attempts.failed(error)

    def _wait_for_rate_limit(self, origin: Origin, budget: float) -> None:
        """Waits if another thread has just got a 429 from ``origin``, unless that takes longer than ``budget``."""
        pause = self._paused_until.get(origin, 0.0) - self.clock.monotonic()
        if 0 < pause <= budget:
            self.clock.sleep(pause)

    def _exchange(self, request: Request) -> StreamingReply:
        """Follows redirects and logs in. Raises a RegistryError for a status that ``request`` does not accept."""
        try:
            reply = self._log_in(request)
        except AuthError as error:
            raise AuthError(f"{request.what}: {error.message}", hint=error.hint) from error
        if 200 <= reply.status < 300 or reply.status in request.accept:
            return reply
        raise self._error_of(request, reply)

    def _log_in(self, request: Request) -> StreamingReply:
        auth = request.auth
        for challenges_left in range(MAX_CHALLENGES, -1, -1):
            authorization = auth.authorization() if auth else ""
            reply = self._follow(request, authorization)
            challenged = reply.status == HTTPStatus.UNAUTHORIZED and challenges_left
            if not challenged or auth is None or not self._is_home(auth, reply.url):
                break
            error = self._error_of(request, reply)
            if not auth.challenged(authorization, reply.headers.all("www-authenticate")):
                raise error
        return reply

    def _error_of(self, request: Request, reply: StreamingReply) -> ResourceError:
        full = Reply(status=reply.status, headers=reply.headers, body=reply.finish(), url=reply.url)
        prefix = f"{request.what}: {show_host(reply.url)}"
        login = request.auth.login if request.auth else ""
        return registry_error(prefix, full, login=login, now=self.clock.now(), secrets=self.secrets)

    def _follow(self, request: Request, authorization: str) -> StreamingReply:
        url = request.url
        for _ in range(MAX_REDIRECTS):
            reply = self._send_by_scheme(request, url, authorization)
            location = reply.headers.get("location")
            if reply.status not in _REDIRECTS or not location:
                return reply
            url = resolve_location(reply.url, location)
            repeats = reply.status in _REPEATING_REDIRECTS and show_host(url) == show_host(request.url)
            if request.method not in ("GET", "HEAD") and not repeats:
                return reply  # the body may hold a secret that no other host may see
            reply.finish()
            request.check_redirect(url)
        raise TransportError(f"{request.what}: redirected more than {MAX_REDIRECTS} times", retryable=False)

    def _send_by_scheme(self, request: Request, url: str, authorization: str) -> StreamingReply:
        if not self.schemes.is_unknown(url):
            return self._send(request, self.schemes.apply(url), authorization)
        return self.schemes.find(
            url,
            lambda timeout: self._send(replace(request, connect_timeout=timeout), url, authorization),
            # Without credentials: the server on plain HTTP may not be the registry.
            lambda plain_url: self._send(request, plain_url, ""),
        )

    def _send(self, request: Request, url: str, authorization: str) -> StreamingReply:
        connect, stall = self._timeouts
        timeouts = (request.connect_timeout or connect, request.stall_timeout or stall)
        raw = self.connections.send(request, url, self._headers(request, url, authorization), timeouts)
        reply = StreamingReply(raw, url, request.what, self.clock.monotonic)
        self._count(reply.headers.count("ratelimit-remaining"))
        return reply

    def _headers(self, request: Request, url: str, authorization: str) -> dict[str, str]:
        """The headers that may go to ``url``, which may be the target of a redirect."""
        same_host = show_host(url) == show_host(request.url)
        headers = {
            name: value for name, value in request.headers.items() if same_host or name.lower() in _CROSS_HOST_HEADERS
        }
        if authorization and request.auth and self._is_home(request.auth, url):
            self.secrets.update(secrets_in(authorization))
            headers["Authorization"] = authorization
        return headers

    def _is_home(self, auth: Auth, url: str) -> bool:
        return origin_of(url) == origin_of(self.schemes.apply(auth.home))

    def _count(self, quota: int | None) -> None:
        with self._lock:
            self.traffic.requests += 1
            if quota is not None:
                self.traffic.quota = quota
