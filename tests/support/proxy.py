"""An HTTP proxy on loopback that tunnels (CONNECT) by a table of routes, and logs its requests."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.fakehttp import in_background


@dataclass(slots=True, kw_only=True)
class Proxy:
    """``routes`` maps the requested ``host:port`` to the real one."""

    url: str
    routes: Mapping[str, str]
    asked: list[str] = field(default_factory=list)


@contextlib.contextmanager
def tunnelling_proxy(routes: Mapping[str, str]) -> Iterator[Proxy]:
    """Runs a proxy until the block is left."""

    class Handler(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            proxy.asked.append(self.path)
            host, _, port = routes.get(self.path, "").rpartition(":")
            if not host:
                self.send_error(502)
                return
            with socket.create_connection((host, int(port))) as upstream:
                self.send_response(200)
                self.end_headers()
                back = threading.Thread(target=_copy, args=(upstream, self.connection), daemon=True)
                back.start()
                _copy(self.connection, upstream)
                back.join()
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            """Prints nothing: `asked` is the log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with in_background(server) as host:
        proxy = Proxy(url=f"http://{host}", routes=routes)
        yield proxy


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Copies bytes until either side ends."""
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
