"""HTTP as registries need it, over requests' adapter: pool, timeouts, proxies, redirects, logins, retries.

Above the adapter everything is ours on purpose: requests' Session would read ``~/.netrc``, trust the CA list of a
Python package, keep cookies, re-quote presigned URLs and send credentials along some redirects.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar, cast

from requests import PreparedRequest
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import get_environ_proxies

from registry_image.errors import AuthError, RateLimited, ResourceError, TransportError
from registry_image.net.attempts import Attempts, Clock
from registry_image.net.exchange import Answer, Auth, Request
from registry_image.net.faults import FOREIGN, NoTLS, Untrusted, explain
from registry_image.net.origin import Origin, follow, is_loopback_name, origin_of
from registry_image.net.redact import secrets_in, show_host
from registry_image.net.refusal import refusal
from registry_image.net.response import Response
from registry_image.net.retry import RetryPolicy
from registry_image.net.tls import TLS, ClientCertificate, trust_bundle
from registry_image.progress import Listener

if TYPE_CHECKING:
    import ssl

    from urllib3 import BaseHTTPResponse

#: Seconds to reach a host; a listening one answers within one round trip, retransmissions take 1, 3 and 7 seconds.
CONNECT_TIMEOUT = 15.0
#: Seconds without a byte after which a connection counts as broken.
STALL_TIMEOUT = 60.0
#: Seconds without requests to a host that had too many, if it does not say how long: what the one that was told
#: waits at least.
UNASKED_QUIET = 0.25
#: Redirects followed for one request; object stores behind registries take one or two.
MAX_REDIRECTS = 10
#: Kept-alive connections: 16 look-ups and as many downloads as anybody configures.
POOL = 32
#: Tries to log in for one request: a first token, and another if that one is stale or grants too little.
MAX_CHALLENGES = 2
#: Seconds for TLS to come about where plain HTTP is allowed, four times as long after each time it was too short: a
#: plain server may wait for ever for the end of what it takes for a request line, as Python's does.
PROBE_TIMEOUT = 0.3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: Those that repeat the method and the body (RFC 9110, 15.4).
_REPEATING_REDIRECTS = frozenset({307, 308})
#: Headers of a request that go along when it is redirected to another host; a cloud's carry its secrets.
_HEADERS_ABROAD = frozenset({"accept", "range"})
_USER_AGENT = "registry-image-resource"
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
        self._tls = tls
        self._policy = policy
        self.listener = listener
        self._stall = stall
        self.secrets: set[str] = set()
        self.clock = clock or Clock()
        self._lock = threading.Lock()
        self._adapters: dict[tuple[ClientCertificate | None, bool], _Adapter] = {}
        self._plain_allowed: set[str] = set()
        self._probes: dict[str, float] = {}
        self._schemes: dict[str, str] = {}
        self._quiet: dict[Origin, float] = {}
        self.traffic = Traffic()

    def allow_plain_http(self, host: str) -> None:
        """From now on ``https://host`` means plain HTTP where no TLS answers (a bad certificate stays an error)."""
        self._plain_allowed.add(host)

    def fetch(self, request: Request, limit: int) -> Answer:
        """Sends ``request`` and reads the whole answer, at most ``limit`` bytes, retrying within the policy.

        Raises RegistryError and its kinds, TransportError, AuthError, or ContentError for an answer over the limit.
        """

        def once() -> Answer:
            with self._exchange(request) as response:
                body = response.read(limit)
            return Answer(status=response.status, headers=response.headers, body=body, url=response.url)

        return self._retrying(request, once)

    def open(self, request: Request) -> Response:
        """As `fetch`, but leaves the body to the caller: only what happens before it is retried."""
        return self._retrying(request, lambda: self._exchange(request))

    def attempts(self, policy: RetryPolicy | None = None) -> Attempts:
        """For work of several requests that is retried as a whole, such as an upload session."""
        return Attempts(policy or self._policy, self.listener, self.clock)

    def close(self) -> None:
        """Closes idle connections."""
        for adapter in self._adapters.values():
            adapter.close()

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

    def _exchange(self, request: Request) -> Response:
        """Redirects and logins; an answer that is not wanted is raised."""
        try:
            response = self._log_in(request)
        except AuthError as error:
            raise AuthError(f"{request.what}: {error.message}", hint=error.hint) from error
        if 200 <= response.status < 300 or response.status in request.accept:
            return response
        raise self._refusal(request, response)

    def _log_in(self, request: Request) -> Response:
        """The answer to ``request`` with whatever credentials its server wants and we have."""
        auth = request.auth
        for challenges_left in range(MAX_CHALLENGES, -1, -1):
            authorization = auth.authorization() if auth else ""
            response = self._follow(request, authorization)
            refusable = response.status == HTTPStatus.UNAUTHORIZED and challenges_left
            if not refusable or auth is None or not self._is_home(auth, response.url):
                break
            refused = self._refusal(request, response)
            if not auth.challenged(authorization, response.headers.all("www-authenticate")):
                raise refused
        return response

    def _refusal(self, request: Request, response: Response) -> ResourceError:
        answer = Answer(status=response.status, headers=response.headers, body=response.finish(), url=response.url)
        begin = f"{request.what}: {show_host(response.url)}"
        login = request.auth.login if request.auth else ""
        return refusal(begin, answer, login=login, now=self.clock.now(), secrets=self.secrets)

    def _is_home(self, auth: Auth, url: str) -> bool:
        return origin_of(url) == origin_of(self._found(auth.home))

    def _found(self, url: str) -> str:
        """``url`` in the scheme that its host was found to speak."""
        scheme, _, rest = url.partition("://")
        return f"http://{rest}" if scheme == "https" and self._schemes.get(rest.partition("/")[0]) == "http" else url

    def _follow(self, request: Request, authorization: str) -> Response:
        url = request.url
        for _ in range(MAX_REDIRECTS):
            response = self._send_found(request, url, authorization)
            location = response.headers.get("location")
            if response.status not in _REDIRECTS or not location:
                return response
            url = follow(response.url, location)
            repeats = response.status in _REPEATING_REDIRECTS and show_host(url) == show_host(request.url)
            if request.method not in ("GET", "HEAD") and not repeats:
                return response  # what was sent may be a secret, and is for nobody else
            response.finish()
            request.check_redirect(url)
        raise TransportError(f"{request.what}: redirected more than {MAX_REDIRECTS} times", retryable=False)

    def _send_found(self, request: Request, url: str, authorization: str) -> Response:
        """Over the scheme that was found for the host: TLS, or plain HTTP where no TLS answers and that is allowed."""
        host = url.removeprefix("https://").partition("/")[0]
        if host not in self._plain_allowed or host in self._schemes:
            return self._send(request, self._found(url), authorization)
        patience = self._probes.get(host, PROBE_TIMEOUT)
        try:
            response = self._send(replace(request, connect_timeout=patience), url, authorization)
        except NoTLS as error:
            self._probes[host] = min(CONNECT_TIMEOUT, patience * 4)
            # Without credentials: what answers here has not shown yet that it is the registry.
            response = self._send(request, url.replace("https", "http", 1), "")
            leads_to_tls = response.headers.get("location").startswith("https:")
            if error.retryable and (leads_to_tls or response.status == HTTPStatus.BAD_REQUEST):
                # What Go, nginx and Apache say to plain HTTP where TLS is meant: it only failed for once.
                response.close()
                raise
            self._schemes[host] = "http"
        else:
            self._schemes[host] = "https"
        return response

    def _prepare(self, request: Request, url: str, authorization: str) -> PreparedRequest:
        prepared = PreparedRequest()
        prepared.method = request.method
        prepared.url = url
        prepared.headers = CaseInsensitiveDict({"User-Agent": _USER_AGENT, "Accept-Encoding": "identity"})
        at_home = show_host(url) == show_host(request.url)
        prepared.headers.update(
            {name: value for name, value in request.headers.items() if at_home or name.lower() in _HEADERS_ABROAD}
        )
        if authorization and request.auth and self._is_home(request.auth, url):
            self.secrets.update(secrets_in(authorization))
            prepared.headers["Authorization"] = authorization
        if callable(request.body):
            prepared.headers["Content-Length"] = str(request.length)
            # urllib3 takes any iterable; requests' stubs do not say so of a prepared request.
            prepared.body = cast("bytes", request.body())
        else:
            prepared.body = request.body
            if request.body is not None:
                # Else requests' adapter sends it chunked, which token servers and ECR answer with 411.
                prepared.headers["Content-Length"] = str(len(request.body))
        return prepared

    def _send(self, request: Request, url: str, authorization: str) -> Response:
        scheme, hostname, _ = origin_of(url)
        prepared = self._prepare(request, url, authorization)
        proxies = get_environ_proxies(url) if request.proxy and not is_loopback_name(hostname) else {}
        timeout = (request.connect_timeout or CONNECT_TIMEOUT, request.stall_timeout or self._stall)
        host = show_host(url)
        adapter = self._adapter(
            self._tls.certificate_for(host) if scheme == "https" else None, secure=scheme == "https"
        )
        doubtful = not adapter.trusts_bundle
        try:
            raw: BaseHTTPResponse = adapter.send(prepared, stream=True, timeout=timeout, proxies=proxies).raw
        except FOREIGN as error:
            problem = explain(error, request.what, host)
            if doubtful and isinstance(problem, Untrusted):
                adapter.trust_bundle()
                return self._send(request, url, authorization)
            raise problem from error
        response = Response(raw, url, request.what, self.clock.monotonic)
        self._count(response.headers.count("ratelimit-remaining"))
        return response

    def _count(self, quota: int | None) -> None:
        with self._lock:
            self.traffic.requests += 1
            if quota is not None:
                self.traffic.quota = quota

    def _adapter(self, certificate: ClientCertificate | None, *, secure: bool) -> _Adapter:
        key = (certificate, secure)
        with self._lock:
            if key not in self._adapters:
                self._adapters[key] = _Adapter(self._tls.context(certificate) if secure else None)
            return self._adapters[key]


class _Adapter(HTTPAdapter):
    """requests' adapter with our TLS context, wherever it would have used its own list of authorities."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._context = context
        self.trusts_bundle = False
        super().__init__(pool_connections=POOL, pool_maxsize=POOL)

    def trust_bundle(self) -> None:
        if self._context is not None:
            trust_bundle(self._context)
        self.trusts_bundle = True

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: object) -> None:
        super().init_poolmanager(connections, maxsize, block, ssl_context=self._context, **kwargs)

    def proxy_manager_for(self, proxy: str, **kwargs: object) -> object:
        return super().proxy_manager_for(proxy, ssl_context=self._context, **kwargs)

    def cert_verify(self, conn: object, url: str, verify: object, cert: object) -> None:
        """Here requests would point the connection at certifi's file; the context has said it all."""
