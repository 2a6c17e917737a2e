"""HTTP as registries need it: redirects, logins, retries, and which headers go where."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
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

#: Seconds to reach a host; a listening one answers within one round trip, retransmissions take 1, 3 and 7 seconds.
CONNECT_TIMEOUT = 15.0
#: Seconds without a byte after which a connection counts as broken.
STALL_TIMEOUT = 60.0
#: Seconds without requests to a host that had too many, if it does not say how long: what the one that was told
#: waits at least.
UNASKED_QUIET = 0.25
#: Redirects followed for one request; object stores behind registries take one or two.
MAX_REDIRECTS = 10
#: Tries to log in for one request: a first token, and another if that one is stale or grants too little.
MAX_CHALLENGES = 2
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: Those that repeat the method and the body (RFC 9110, 15.4).
_REPEATING_REDIRECTS = frozenset({307, 308})
#: Headers of a request that go along when it is redirected to another host; a cloud's carry its secrets.
_HEADERS_ABROAD = frozenset({"accept", "range"})
_Got = TypeVar("_Got")


@dataclass(slots=True)
class Traffic:
    """So far: HTTP requests answered, and what the registry last said is left of its rate limit."""

    requests: int = 0
    quota: int | None = None


class Client:
    """Shared by all threads of a step; keeps connections alive. ``traffic`` counts. ``stall`` is in seconds.

    ``secrets`` is whatever was sent to log in: a server may repeat it in what it says, and that is shown to people.
    """

    def __init__(
        self,
        *,
        tls: TLS,
        policy: RetryPolicy,
        listener: Listener,
        clock: Clock | None = None,
        stall: float = STALL_TIMEOUT,
    ) -> None:
        self.connections = Connections(tls)
        self.schemes = Schemes()
        self._policy = policy
        self.listener = listener
        self._stall = stall
        self.secrets: set[str] = set()
        self.clock = clock or Clock()
        self._lock = threading.Lock()
        self._quiet: dict[Origin, float] = {}
        self.traffic = Traffic()

    def fetch(self, request: Request, limit: int) -> Reply:
        """Sends ``request`` and reads the whole answer, at most ``limit`` bytes, retrying within the policy.

        Raises RegistryError and its kinds, TransportError, AuthError, or ContentError for an answer over the limit.
        """

        def once() -> Reply:
            with self._exchange(request) as reply:
                body = reply.read(limit)
            return Reply(status=reply.status, headers=reply.headers, body=body, url=reply.url)

        return self._retrying(request, once)

    def open(self, request: Request) -> StreamingReply:
        """As `fetch`, but leaves the body to the caller: only what happens before it is retried."""
        return self._retrying(request, lambda: self._exchange(request))

    def attempts(self, policy: RetryPolicy | None = None) -> Attempts:
        """For work of several requests that is retried as a whole, such as an upload session."""
        return Attempts(policy or self._policy, self.listener, self.clock)

    def _retrying(self, request: Request, act: Callable[[], _Got]) -> _Got:
        attempts = self.attempts(request.policy)
        origin = origin_of(request.url)
        while True:
            self._hold_back(origin, (request.policy or self._policy).budget)
            try:
                return act()
            except ResourceError as error:
                if isinstance(error, RateLimited):
                    self._quiet[origin] = self.clock.monotonic() + (error.retry_after or UNASKED_QUIET)
                attempts.failed(error)

    def _hold_back(self, origin: Origin, budget: float) -> None:
        """Waits where another thread was just told that there were too many requests; ``budget`` is in seconds."""
        pause = self._quiet.get(origin, 0.0) - self.clock.monotonic()
        if 0 < pause <= budget:
            self.clock.sleep(pause)

    def _exchange(self, request: Request) -> StreamingReply:
        """Redirects and logins; an answer that is not wanted is raised."""
        try:
            reply = self._log_in(request)
        except AuthError as error:
            raise AuthError(f"{request.what}: {error.message}", hint=error.hint) from error
        if 200 <= reply.status < 300 or reply.status in request.accept:
            return reply
        raise self._error_of(request, reply)

    def _log_in(self, request: Request) -> StreamingReply:
        """The answer to ``request`` with whatever credentials its server wants and we have."""
        auth = request.auth
        for challenges_left in range(MAX_CHALLENGES, -1, -1):
            authorization = auth.authorization() if auth else ""
            reply = self._follow(request, authorization)
            refusable = reply.status == HTTPStatus.UNAUTHORIZED and challenges_left
            if not refusable or auth is None or not self._is_home(auth, reply.url):
                break
            refused = self._error_of(request, reply)
            if not auth.challenged(authorization, reply.headers.all("www-authenticate")):
                raise refused
        return reply

    def _error_of(self, request: Request, reply: StreamingReply) -> ResourceError:
        whole = Reply(status=reply.status, headers=reply.headers, body=reply.finish(), url=reply.url)
        begin = f"{request.what}: {show_host(reply.url)}"
        login = request.auth.login if request.auth else ""
        return registry_error(begin, whole, login=login, now=self.clock.now(), secrets=self.secrets)

    def _follow(self, request: Request, authorization: str) -> StreamingReply:
        url = request.url
        for _ in range(MAX_REDIRECTS):
            reply = self._send_found(request, url, authorization)
            location = reply.headers.get("location")
            if reply.status not in _REDIRECTS or not location:
                return reply
            url = resolve_location(reply.url, location)
            repeats = reply.status in _REPEATING_REDIRECTS and show_host(url) == show_host(request.url)
            if request.method not in ("GET", "HEAD") and not repeats:
                return reply  # what was sent may be a secret, and is for nobody else
            reply.finish()
            request.check_redirect(url)
        raise TransportError(f"{request.what}: redirected more than {MAX_REDIRECTS} times", retryable=False)

    def _send_found(self, request: Request, url: str, authorization: str) -> StreamingReply:
        """Over TLS, or plain HTTP where no TLS answers and that is allowed."""
        if not self.schemes.is_unknown(url):
            return self._send(request, self.schemes.apply(url), authorization)
        return self.schemes.find(
            url,
            lambda patience: self._send(replace(request, connect_timeout=patience), url, authorization),
            # Without credentials: what answers there has not shown yet that it is the registry.
            lambda plain_url: self._send(request, plain_url, ""),
        )

    def _send(self, request: Request, url: str, authorization: str) -> StreamingReply:
        timeout = (request.connect_timeout or CONNECT_TIMEOUT, request.stall_timeout or self._stall)
        raw = self.connections.send(request, url, self._headers(request, url, authorization), timeout)
        reply = StreamingReply(raw, url, request.what, self.clock.monotonic)
        self._count(reply.headers.count("ratelimit-remaining"))
        return reply

    def _headers(self, request: Request, url: str, authorization: str) -> dict[str, str]:
        """Those of ``request`` that may go to ``url``, where it was perhaps redirected to."""
        at_home = show_host(url) == show_host(request.url)
        headers = {name: value for name, value in request.headers.items() if at_home or name.lower() in _HEADERS_ABROAD}
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
