"""HTTP as registries need it: redirects, logins, retries, and which headers go where."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import TypeVar

from registry_image.errors import ContentError, RateLimited, ResourceError, TransportError, quote
from registry_image.net.adapter import Connections
from registry_image.net.attempts import Attempts, Clock
from registry_image.net.error_response import registry_error
from registry_image.net.http import MAX_ERROR_BODY, Auth, Headers, Reply, Request, StreamingReply
from registry_image.net.origin import Origin, origin_of, resolve_location, show_host, show_url
from registry_image.net.retry import BUILD, RetryPolicy, Timeouts
from registry_image.net.scheme import Schemes
from registry_image.net.secrets import SECRETS
from registry_image.net.tls import TLS
from registry_image.progress import Listener
from registry_image.record import replace

#: Pause in seconds for all threads after a 429 without Retry-After; the thread that got it waits at least as long.
_DEFAULT_PAUSE = 0.25
#: The most redirects followed for one request; registries with object stores use one or two.
MAX_REDIRECTS = 10
#: The most logins for one request, with one from before it: one for a first token, one more if that is stale or grants
#: too little.
MAX_CHALLENGES = 2
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REFUSALS = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_ELSEWHERE = "the registry sent us on to this host, which gets no login: the registry's operators must look at it"
#: Redirects that repeat the method and the body (RFC 9110, 15.4).
_REPEATING_REDIRECTS = frozenset({307, 308})
#: Request headers that a redirect to another host keeps; the others may hold secrets, as the clouds' do.
_CROSS_HOST_HEADERS = frozenset({"accept", "range"})
_Result = TypeVar("_Result")


class Traffic:
    """The number of answered requests, and what the registry said last of the rate limit: the rest, and the whole."""

    requests: int = 0
    quota: int | None = None
    limit: int | None = None


class Client:
    """Shared by all threads of a step."""

    def __init__(
        self,
        *,
        tls: TLS,
        policy: RetryPolicy,
        listener: Listener,
        clock: Clock | None = None,
        timeouts: Timeouts = BUILD,
    ) -> None:
        self.connections = Connections(tls)
        self.schemes = Schemes()
        self._policy = policy
        self.listener = listener
        self._timeouts = timeouts
        self.clock = clock or Clock()
        self._end_of_step = self.clock.monotonic() + timeouts.step
        self._lock = threading.Lock()
        #: Gets a line about each request, without secrets: what `debug` shows.
        self.trace: Callable[[str], None] | None = None
        #: The hosts that `trace` calls mirrors.
        self.mirrors: tuple[str, ...] = ()
        self._paused_until: dict[Origin, float] = {}
        self.traffic = Traffic()

    def fetch(self, request: Request, limit: int) -> Reply:
        """Sends ``request``, with retries, and reads the whole answer.

        Raises RegistryError, TransportError, AuthError, or ContentError for an answer over ``limit`` bytes.
        """

        def once() -> Reply:
            with self._exchange(request) as reply:
                body = reply.read(limit)
            if request.method == "GET":
                body = _decoded(body, reply, limit, f"{request.what}: {show_host(reply.url)}")
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
        try:
            while True:
                self._wait_for_rate_limit(origin, (request.policy or self._policy).budget)
                try:
                    return act()
                except ResourceError as error:
                    if isinstance(error, RateLimited):
                        self._paused_until[origin] = self.clock.monotonic() + (error.retry_after or _DEFAULT_PAUSE)
                    attempts.failed(error)
        except BaseException as error:
            if not isinstance(error, Exception):  # a signal: `main` says what was being done
                error.add_note(f"{request.what}: waiting for {show_host(request.url)}")
            raise

    def _wait_for_rate_limit(self, origin: Origin, budget: float) -> None:
        """Waits if another thread has just got a 429 from ``origin``, unless that takes longer than ``budget``."""
        pause = self._paused_until.get(origin, 0.0) - self.clock.monotonic()
        if 0 < pause <= budget:
            self.clock.sleep(pause)

    def _exchange(self, request: Request) -> StreamingReply:
        """Follows redirects and logs in. Raises a RegistryError for a status that ``request`` does not accept."""
        reply = self._log_in(request)
        if 200 <= reply.status < 300 or reply.status in request.accept:
            return reply
        raise self._error_of(request, reply)

    def _log_in(self, request: Request) -> StreamingReply:
        auth = request.auth
        end = self._end(request)
        authorization = self._authorization(request)
        for challenges_left in range(MAX_CHALLENGES - bool(authorization), -1, -1):
            reply = self._follow(request, authorization, end)
            challenged = reply.status == HTTPStatus.UNAUTHORIZED and challenges_left
            if not challenged or auth is None or not self._is_home(auth, reply.url):
                break
            error = self._error_of(request, reply)
            self._check_time(request, end)
            with _naming(request):
                answered = auth.challenged(authorization, reply.headers.all("www-authenticate"))
            if not answered:
                raise error
            authorization = self._authorization(request)
        return reply

    def _authorization(self, request: Request) -> str:
        with _naming(request):
            return request.auth.authorization() if request.auth else ""

    def _error_of(self, request: Request, reply: StreamingReply) -> ResourceError:
        body = reply.finish()
        with suppress(ContentError):
            body = _decoded(body, reply, MAX_ERROR_BODY, request.what)
        full = Reply(status=reply.status, headers=reply.headers, body=body, url=reply.url)
        prefix = f"{request.what}: {show_host(reply.url)}"
        refusal = ""
        if request.auth and reply.status in _REFUSALS:
            at_home = self._is_home(request.auth, reply.url)
            refusal = request.auth.refusal(reply.status) if at_home else _ELSEWHERE
        return registry_error(prefix, full, refusal=refusal, now=self.clock.now())

    def _end(self, request: Request) -> float:
        """When to stop following redirects and logging in, as each may take almost as long as an answer may. A body
        that is a blob takes its time."""
        timeouts = self._timeouts_of(request)
        return math.inf if callable(request.body) else self.clock.monotonic() + max(timeouts.stall, timeouts.answer)

    def _check_time(self, request: Request, end: float) -> None:
        if self.clock.monotonic() > end:
            host = show_host(request.url)
            raise TransportError(f"{request.what}: {host}: redirects or logins, and no answer in time")

    def _follow(self, request: Request, authorization: str, end: float) -> StreamingReply:
        url = request.url
        for _ in range(MAX_REDIRECTS):
            reply = self._send_by_scheme(request, url, authorization)
            location = reply.headers.get("location")
            if reply.status not in _REDIRECTS or not location:
                return reply
            url = resolve_location(reply.url, location, request.what)
            repeats = reply.status in _REPEATING_REDIRECTS and show_host(url) == show_host(request.url)
            if request.method not in ("GET", "HEAD") and not repeats:
                return reply  # the body may hold a secret that no other host may see
            reply.finish()
            self._check_time(request, end)
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
        timeouts = self._timeouts_of(request)
        headers = self._headers(request, url, authorization)
        begin = self.clock.monotonic()
        if begin > self._end_of_step:
            taken = f"{self._timeouts.step:.0f} s"
            problem = f"{request.what}: {show_host(url)}: not asked any more: the answers so far took {taken}"
            raise TransportError(problem, retryable=False)
        try:
            raw = self.connections.send(request, url, headers, timeouts)
        except ResourceError as error:
            spent = _milliseconds(self.clock.monotonic() - begin)
            self._tell(request, url, headers, f"no answer after {spent}: {error.message}")
            raise
        reply = StreamingReply(raw, url, request.what, self.clock.monotonic, timeouts)
        self._count(reply.headers)
        self._tell(request, url, headers, _answered(reply, self.clock.monotonic() - begin))
        return reply

    def _timeouts_of(self, request: Request) -> Timeouts:
        usual, connect, stall = self._timeouts, request.connect_timeout, request.stall_timeout
        return Timeouts(
            connect=connect or usual.connect,
            stall=stall or usual.stall,
            answer=usual.answer if stall is None or stall <= usual.stall else BUILD.answer,
        )

    def _tell(self, request: Request, url: str, headers: Mapping[str, str], outcome: str) -> None:
        if self.trace is not None:
            now = time.strftime("%H:%M:%S", time.gmtime(self.clock.now()))
            login = f" as {quote(request.auth.login)}" if request.auth and "Authorization" in headers else ""
            mirror = ", the mirror" if show_host(request.url) in self.mirrors else ""
            self.trace(f"{now} {request.method} {show_url(url)}{login}{mirror}: {outcome}")

    def _headers(self, request: Request, url: str, authorization: str) -> dict[str, str]:
        """The headers that may go to ``url``, which may be the target of a redirect."""
        same_host = show_host(url) == show_host(request.url)
        headers = {
            name: value for name, value in request.headers.items() if same_host or name.lower() in _CROSS_HOST_HEADERS
        }
        if authorization and request.auth and self._is_home(request.auth, url):
            headers["Authorization"] = authorization
        # A server may repeat it. The clouds' libraries set it themselves.
        SECRETS.add(*(value.partition(" ")[2] for name, value in headers.items() if name.lower() == "authorization"))
        return headers

    def _is_home(self, auth: Auth, url: str) -> bool:
        return origin_of(url) == origin_of(self.schemes.apply(auth.home))

    def _count(self, headers: Headers) -> None:
        quota = headers.count("ratelimit-remaining")
        with self._lock:
            self.traffic.requests += 1
            if quota is not None:
                self.traffic.quota, self.traffic.limit = quota, headers.count("ratelimit-limit")


@contextmanager
def _naming(request: Request) -> Iterator[None]:
    """Puts what ``request`` does before the errors of its login."""
    try:
        yield
    except ResourceError as error:
        error.args = (f"{request.what}: {error.message}",)
        raise


def _answered(reply: StreamingReply, seconds: float) -> str:
    """Such as ``307, 0 bytes announced, 12 ms, redirected to cdn.example, 98 pulls left``."""
    length, quota = reply.headers.count("content-length"), reply.headers.count("ratelimit-remaining")
    parts = [str(reply.status), "no length announced" if length is None else f"{length} bytes announced"]
    parts.append(_milliseconds(seconds))
    if reply.status in _REDIRECTS and reply.headers.get("location"):
        location = reply.headers.get("location")
        has_host = location.partition("//")[0].lower() in ("", "http:", "https:")
        parts.append(f"redirected to {show_host(location) if has_host else 'itself'}")
    if reply.status == HTTPStatus.UNAUTHORIZED:
        parts.append("asks for a login")
    if quota is not None:
        parts.append(f"{quota} pulls left")
    return ", ".join(parts)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def _decoded(body: bytes, reply: StreamingReply, limit: int, what: str) -> bytes:
    if not reply.headers.get("content-encoding"):
        return body
    from registry_image.net.encoding import decoded  # hardly ever needed: not at start-up

    return decoded(body, reply.headers, limit, what)
