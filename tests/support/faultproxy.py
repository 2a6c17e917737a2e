"""A TCP proxy in front of a real server that breaks connections at scripted bytes; it knows nothing of HTTP.

with fault_proxy(registry.host) as proxy:
    proxy.break_next(after=1000, how="reset")    # the next connection with 1000 bytes to the client
    ...
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

How = Literal["close", "reset", "stall"]
_BLOCK = 64 * 1024


@dataclass(slots=True)
class FaultProxy:
    """``host`` is ``127.0.0.1:port``. ``sent`` counts the bytes to the client, over all connections."""

    upstream: tuple[str, int]
    host: str = ""
    sent: int = 0
    connections: int = 0
    dead: bool = False
    """While true, new connections are closed at once."""
    _faults: deque[tuple[int, How]] = field(default_factory=deque)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _closing: threading.Event = field(default_factory=threading.Event)
    _open: set[socket.socket] = field(default_factory=set)

    def break_next(self, *, after: int, how: How = "close") -> None:
        """Breaks the next connection that sends ``after`` bytes to the client, there; further calls queue up."""
        with self._lock:
            self._faults.append((after, how))

    def kill(self) -> None:
        """Ends every connection now, and refuses new ones."""
        with self._lock:
            self.dead = True
            for side in self._open:
                with contextlib.suppress(OSError):
                    side.shutdown(socket.SHUT_RDWR)

    def serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), socket.create_connection(self.upstream) as server:
            with self._lock:
                self.connections += 1
                self._open |= {client, server}
            up = threading.Thread(target=_pump, args=(client, server, server.sendall), daemon=True)
            up.start()
            _pump(server, client, _Breaking(self, client).send)
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            up.join()
            with self._lock:
                self._open -= {client, server}


class _Breaking:
    """Sends to one client, up to the next fault in the queue."""

    def __init__(self, proxy: FaultProxy, client: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._count = 0

    def send(self, data: bytes) -> None:
        proxy = self._proxy
        with proxy._lock:
            fault = proxy._faults[0] if proxy._faults else None
            broken = fault is not None and self._count + len(data) >= fault[0]
            if fault is not None and broken:
                proxy._faults.popleft()
                data = data[: max(0, fault[0] - self._count)]
            proxy.sent += len(data)
        self._count += len(data)
        self._client.sendall(data)
        if fault is None or not broken:
            return
        if fault[1] == "stall":
            proxy._closing.wait()
        if fault[1] == "reset":
            self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._client.shutdown(socket.SHUT_RD)  # else a receiving thread keeps it open
            self._client.close()
        raise ConnectionError("broken as asked")


def _pump(source: socket.socket, target: socket.socket, send: Callable[[bytes], None]) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_BLOCK):
            send(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def fault_proxy(upstream: str) -> Iterator[FaultProxy]:
    """Runs in front of ``upstream`` (``host:port``) until the block is left."""
    name, _, port = upstream.rpartition(":")
    proxy = FaultProxy((name, int(port)))

    def handle(client: socket.socket) -> None:
        if proxy.dead:
            client.close()
        else:
            proxy.serve(client)

    with accepting(handle) as proxy.host:
        try:
            yield proxy
        finally:
            proxy._closing.set()
            proxy.kill()


@contextlib.contextmanager
def talker(words: bytes) -> Iterator[str]:
    """A server that sends ``words`` to every client and closes the connection. Yields its ``host:port``."""

    def handle(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.settimeout(5)
            client.recv(_BLOCK)
            client.sendall(words)

    with accepting(handle) as host:
        yield host


@contextlib.contextmanager
def accepting(handle: Callable[[socket.socket], None]) -> Iterator[str]:
    """Runs ``handle`` for each connection, in a thread, until the block is left. Yields the ``host:port``."""
    threads: list[threading.Thread] = []
    clients: list[socket.socket] = []
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                thread = threading.Thread(target=handle, args=(client,), daemon=True)
                threads.append(thread)
                clients.append(client)
                thread.start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        acceptor.join()
        listener.close()
        for client in clients:  # their threads may still wait for a peer
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()


@contextlib.contextmanager
def tunnelling_proxy(upstream: str) -> Iterator[tuple[str, list[str]]]:
    """An HTTP proxy that tunnels every CONNECT to ``upstream``. Yields its ``host:port`` and the request lines."""
    asked: list[str] = []
    with fault_proxy(upstream) as proxy:

        def handle(client: socket.socket) -> None:
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(1)
            asked.append(head.decode("latin-1"))
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            proxy.serve(client)

        with accepting(handle) as host:
            yield host, asked
