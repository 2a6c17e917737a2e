"""One request over a pooled connection, by requests' adapter: the only module that imports requests.

Nothing else of requests is used: its Session reads ``~/.netrc``, trusts certifi's list of authorities, keeps cookies,
re-quotes presigned URLs and sends credentials along with some redirects.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote, urlsplit

from requests import PreparedRequest
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import get_environ_proxies, select_proxy

from registry_image.errors import TransportError
from registry_image.net.certificate import ClientCertificate
from registry_image.net.http import Request
from registry_image.net.origin import is_loopback_name, origin_of, show_host
from registry_image.net.pool import POOLS
from registry_image.net.retry import Timeouts
from registry_image.net.secrets import SECRETS
from registry_image.net.tls import TLS, trust_bundle
from registry_image.net.transport_error import LIBRARY_ERRORS, PROXY_HINT, Setting, Untrusted, transport_error

if TYPE_CHECKING:
    import ssl

    from urllib3 import BaseHTTPResponse

#: Connections kept alive: enough for 16 look-ups and 16 downloads at a time.
POOL = 32
_USER_AGENT = "registry-image-resource"
#: How the addresses of proxies begin that can be used; SOCKS needs another library.
_PROXIES = ("http://", "https://")


class Connections:
    """All connections of a client. Threads share it."""

    def __init__(self, tls: TLS) -> None:
        self._tls = tls
        self._lock = threading.Lock()
        self._adapters: dict[tuple[ClientCertificate | None, bool], _Adapter] = {}

    def send(self, request: Request, url: str, headers: Mapping[str, str], timeouts: Timeouts) -> BaseHTTPResponse:
        """The response, its body unread. Raises TransportError."""
        scheme, hostname, port = origin_of(url)
        host = show_host(url)
        prepared = _prepare(request, url, headers)
        direct = not request.proxy or is_loopback_name(hostname) or skips_proxy(hostname, port)
        proxy = "" if direct else proxy_for(url)
        if proxy:
            _hide_login(proxy)
        if proxy and not proxy.startswith(_PROXIES):
            unusable = f"the proxy {show_host(proxy)} cannot be used: only proxies by http and https can"
            raise TransportError(f"{request.what}: {host}: {unusable}", hint=PROXY_HINT, retryable=False)
        adapter = self._adapter(host, secure="https" in (scheme, proxy.partition(":")[0]))
        bundle_unread = not adapter.trusts_bundle
        try:
            response: BaseHTTPResponse = adapter.send(
                prepared, stream=True, timeout=(timeouts.connect, timeouts.stall), proxies={scheme: proxy}
            ).raw
        except LIBRARY_ERRORS as error:
            setting = Setting(
                proxy=show_host(proxy),
                timeouts=timeouts,
                has_authorities=bool(self._tls.ca_certs),
                has_certificate=self._tls.certificate_for(host) is not None,
            )
            problem = transport_error(error, request.what, host, setting)
            if bundle_unread and isinstance(problem, Untrusted):
                adapter.trust_bundle()
                return self.send(request, url, headers, timeouts)
            raise problem from error
        return response

    def close(self) -> None:
        """Closes idle connections. The adapters' own method leaves them to the garbage collector (urllib3 2)."""
        for adapter in self._adapters.values():
            for manager in (adapter.poolmanager, *adapter.proxy_manager.values()):
                for key in manager.pools.keys():  # noqa: SIM118 (it cannot be iterated over itself)
                    manager.pools[key].close()

    def _adapter(self, host: str, *, secure: bool) -> _Adapter:
        certificate = self._tls.certificate_for(host) if secure else None
        key = (certificate, secure)
        with self._lock:
            if key not in self._adapters:
                self._adapters[key] = _Adapter(self._tls.context(certificate) if secure else None)
            return self._adapters[key]


def skips_proxy(hostname: str, port: int) -> bool:
    """Whether ``no_proxy`` has the host, or a domain or network of it, with its port or with none.

    The variables are shared with tools in Go. requests does not read all that these do: ports only where the address
    has one, and none after an IP address; no ``*.`` before a domain, and no networks of IPv6."""
    for entry in (os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or "").lower().split(","):
        name, _, number = entry.strip().rpartition(":")
        if not number.isdigit() or (":" in name and not name.endswith("]")):
            name, number = entry.strip(), str(port)
        name = name.strip("[]").removeprefix("*").removeprefix(".")
        if number != str(port) or not name:
            continue
        if hostname == name or hostname.endswith(f".{name}") or _is_in_network(hostname, name):
            return True
    return False


def _is_in_network(hostname: str, network: str) -> bool:
    if not set(network) & set("/:"):
        return False
    from ipaddress import ip_address, ip_network  # takes 3 ms: only for such entries

    with suppress(ValueError):
        return ip_address(hostname) in ip_network(network, strict=False)
    return False


def proxy_for(url: str) -> str:
    """The address of the proxy for ``url``, which is by http if the variable has no scheme; "" if there is none.

    A SOCKS proxy in all_proxy is for other programs: registry-image, and Go itself, do not read that variable."""
    proxies = get_environ_proxies(url)
    proxy = (select_proxy(url, proxies) or "").strip()
    if proxy.lower().startswith("socks") and urlsplit(url).scheme not in proxies:
        return ""
    scheme, _, rest = proxy.rpartition("://")
    return f"{scheme.lower() or 'http'}://{rest}" if proxy else ""


def _hide_login(proxy: str) -> None:
    """The proxy gets the login of its address, and may repeat it."""
    with suppress(ValueError):
        parts = urlsplit(proxy)
        SECRETS.add(unquote(parts.password or parts.username or ""))


def _prepare(request: Request, url: str, headers: Mapping[str, str]) -> PreparedRequest:
    prepared = PreparedRequest()
    prepared.method = request.method
    prepared.url = url
    prepared.headers = CaseInsensitiveDict({"User-Agent": _USER_AGENT, "Accept-Encoding": "identity"})
    prepared.headers.update(headers)
    if callable(request.body):
        prepared.headers["Content-Length"] = str(request.length)
        # urllib3 takes any iterable, but requests' stubs do not allow one in a prepared request.
        prepared.body = cast("bytes", request.body())
    else:
        prepared.body = request.body
        if request.body is not None:
            # Without it requests' adapter sends the body chunked, and token servers and ECR answer 411.
            prepared.headers["Content-Length"] = str(len(request.body))
    return prepared


class _Adapter(HTTPAdapter):
    """requests' adapter with our TLS context in place of its own list of authorities."""

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
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: object) -> object:
        # The second context is for a proxy that is itself asked over TLS.
        manager = super().proxy_manager_for(proxy, ssl_context=self._context, proxy_ssl_context=self._context, **kwargs)
        manager.pool_classes_by_scheme = POOLS
        return manager

    def cert_verify(self, conn: object, url: str, verify: object, cert: object) -> None:
        """Does nothing: requests would load certifi's authorities here, and the context already has ours."""
