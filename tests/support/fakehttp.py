"""The HTTP server below the fake registry. A reply says where it breaks."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.support.certificates import KeyPair

_TLS_HANDSHAKE = 0x16


@dataclass(slots=True)
class Ask:
    """A request; the names of headers are in lower case, ``target`` is that of the request line."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. Status 0 sends nothing; a header None is left out; an iterable body is sent in chunks."""

    status: int
    headers: Mapping[str, str | None] = field(default_factory=dict)
    body: bytes | Iterable[bytes] = field(default=b"", repr=False)
    cut_after: int | None = None
    reset: bool = False
    stall_after: int | None = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, handle: Callable[[Ask], Reply], port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.handle = handle
        self.closing = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        """Prints nothing: many tests have clients that go away."""


@contextlib.contextmanager
def serve(
    handle: Callable[[Ask], Reply], pair: KeyPair | None = None, *, clients: Path | None = None, port: int = 0
) -> Iterator[str]:
    """Serves on a loopback port, a free one if it is 0, until the block is left; yields its ``host:port``. ``pair``
    switches TLS on; with ``clients``, an authority, clients need one of its certificates."""
    server = _Server(handle, port)
    if pair is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        if clients is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(clients)
        # The connection's own thread does the handshake, at its first read.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    with in_background(server) as host:
        try:
            yield host
        finally:
            server.closing.set()


@contextlib.contextmanager
def in_background(server: ThreadingHTTPServer) -> Iterator[str]:
    """Runs ``server`` in a thread until the block is left; yields its ``host:port``."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    wbufsize = 64 * 1024
    disable_nagle_algorithm = True

    def handle(self) -> None:
        if not isinstance(self.connection, ssl.SSLSocket):
            first = self.connection.recv(1, socket.MSG_PEEK)
            if first and first[0] == _TLS_HANDSHAKE:
                self.connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")  # as Go's server does
                return
        try:
            super().handle()
        except ssl.SSLError:
            # Let the alert arrive: closing with something unread would reset the connection.
            socket.socket.shutdown(self.connection, socket.SHUT_WR)
            while socket.socket.recv(self.connection, 65536):
                pass
        except ConnectionError:
            pass

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.headers.get("transfer-encoding", "") == "chunked":
            body = self._chunks()
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._send(self.server.handle(Ask(self.command, self.path, headers, body)))

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815 (http.server's names)

    def _chunks(self) -> bytes:
        data = bytearray()
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return bytes(data)

    def _send(self, reply: Reply) -> None:
        if reply.status == 0:
            self.close_connection = True
            return
        whole = reply.body if isinstance(reply.body, bytes) else None
        framing = {"transfer-encoding": "chunked"} if whole is None else {"content-length": str(len(whole))}
        self.send_response(reply.status)
        for name, value in {**framing, **reply.headers}.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self._send_body(reply, _pieces(reply.body) if isinstance(reply.body, bytes) else _chunked(reply.body))

    def _send_body(self, reply: Reply, pieces: Iterable[bytes]) -> None:
        ends = [end for end in (reply.cut_after, reply.stall_after) if end is not None]
        left = min(ends, default=None)
        for piece in pieces:
            if left is not None and len(piece) >= left:
                self.wfile.write(piece[:left])
                break
            self.wfile.write(piece)
            left = None if left is None else left - len(piece)
        self.wfile.flush()
        if reply.stall_after is not None:
            self.server.closing.wait()
        if reply.cut_after is not None:
            self.close_connection = True
            if reply.reset:
                # A linger time of zero makes close send RST instead of FIN.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()

    def log_message(self, format: str, *args: object) -> None:
        """Prints nothing: tests have the log of requests."""


def _pieces(data: bytes) -> Iterator[bytes]:
    view = memoryview(data)
    for start in range(0, len(data), 1 << 20):
        yield bytes(view[start : start + (1 << 20)])


def _chunked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield b"%x\r\n%s\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"
