"""The Internet on loopback: a proxy that answers for hosts of the clouds under their real names, over TLS.

Programs under test find it by ``https_proxy`` and trust it by ``ca_certs``, as behind a company's intercepting proxy; a
request that ignores either never arrives. Nothing leaves the machine: a host without a route is refused.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypeAlias
from urllib.parse import parse_qs, urlsplit

from tests.support.certificates import Authority
from tests.support.fakehttp import in_background

TIMEOUT_SECONDS = 30
#: Seconds for one try to reach a `black_hole`, and to import a cloud's library on a slow machine.
SOON = 15.0
HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A whole request to ``host``."""

    method: str
    host: str
    target: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes = field(repr=False)

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.target).query).items()}

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode()).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


Site: TypeAlias = Callable[[Call], Reply]


def reply(value: object, status: int = 200, **headers: str) -> Reply:
    """``value`` as JSON; underscores in the names of ``headers`` are dashes."""
    lines = tuple((name.replace("_", "-"), text) for name, text in headers.items())
    return Reply(status=status, body=json.dumps(value).encode(), headers=(("Content-Type", "application/json"), *lines))


def forward(url: str) -> Site:
    """A site that passes requests on to ``url``, over plain HTTP."""
    upstream = urlsplit(url).netloc

    def ask(call: Call) -> Reply:
        connection = http.client.HTTPConnection(upstream, timeout=TIMEOUT_SECONDS)
        try:
            kept = {name: value for name, value in call.headers.items() if name not in HOP_BY_HOP}
            # A registry makes its absolute addresses from these headers.
            connection.request(call.method, call.target, call.body, {**kept, "X-Forwarded-Proto": "https"})
            answer = connection.getresponse()
            body = answer.read()
            length = [("Content-Length", answer.headers["Content-Length"])] if call.method == "HEAD" else []
            lines = [(name, value) for name, value in answer.getheaders() if name.lower() not in HOP_BY_HOP]
            return Reply(status=answer.status, body=body, headers=tuple(lines + length))
        finally:
            connection.close()

    return ask


class Internet:
    """Sites, by a regular expression of the host's whole name, and the requests to them."""

    def __init__(self, directory: Path) -> None:
        self.authority = Authority(directory, "Intercepting proxy")
        self.routes: dict[str, Site] = {}
        self.calls: list[Call] = []
        self.url = ""
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._lock = threading.Lock()

    @property
    def environment(self) -> dict[str, str]:
        """A worker's variables for this proxy: in lower case, as Concourse passes them."""
        return {"https_proxy": self.url}

    def answer(self, call: Call) -> Reply:
        """The answer of the host's site; 502 without one."""
        with self._lock:
            self.calls.append(call)
        site = self.site(call.host)
        return site(call) if site else Reply(status=502, body=f"no route to {call.host}".encode())

    def site(self, host: str) -> Site | None:
        """The first whose expression matches the host's name."""
        return next((site for pattern, site in self.routes.items() if re.fullmatch(pattern, host)), None)

    def context(self, host: str) -> ssl.SSLContext:
        """For a server with the name ``host``."""
        with self._lock:
            if host not in self._contexts:
                pair = self.authority.issue(host, names=(host,))
                made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                made.load_cert_chain(pair.certificate, pair.key)
                self._contexts[host] = made
            return self._contexts[host]


@contextlib.contextmanager
def internet(directory: Path) -> Iterator[Internet]:
    """Runs on a free port until the block is left."""
    made = Internet(directory)
    with serving(made.answer, made) as url:
        made.url = url
        yield made


@contextlib.contextmanager
def serving(site: Site, proxy: Internet | None = None) -> Iterator[str]:
    """Serves ``site`` over plain HTTP on a free port; yields its URL. With ``proxy``, CONNECT leads to its hosts."""

    class Handler(_Handler):
        here = staticmethod(site)
        internet = proxy

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    with in_background(server) as host:
        yield f"http://{host}"


@contextlib.contextmanager
def black_hole() -> Iterator[str]:
    """An address on loopback that neither answers nor refuses, as behind a firewall; yields its URL."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        # Linux drops new connections while the listening queue is full.
        for _ in range(2):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = TIMEOUT_SECONDS
    here: Site
    internet: Internet | None
    host = "127.0.0.1"

    def do_CONNECT(self) -> None:
        host = self.path.rpartition(":")[0]
        assert self.internet is not None
        if self.internet.site(host) is None:
            self.send_error(502, f"no route to {host}")
            return
        self.send_response(200)
        self.end_headers()
        try:
            self.connection = self.internet.context(host).wrap_socket(self.connection, server_side=True)
        except OSError:  # a client may refuse our certificate
            self.close_connection = True
            return
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb")
        self.host = host
        self.close_connection = False

    def _do(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        call = Call(method=self.command, host=self.host, target=self.path, headers=headers, body=body)
        answer = self.here(call)
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
        self.wfile.flush()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _do  # noqa: N815 (http.server's names)

    def finish(self) -> None:
        super().finish()
        self.connection.close()  # nobody else closes our TLS socket

    def log_message(self, format: str, *args: object) -> None:
        """Prints nothing."""
