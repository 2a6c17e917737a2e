"""A relay in front of a server that cuts connections after a number of bytes from the client."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class CutProxy:
    """``sent`` counts the bytes from clients. When it reaches the next of ``cuts``, the connection ends; with ``dead``
    no later connection gets an answer."""

    host: str
    cuts: list[int]
    dead: bool = False
    sent: int = 0


@contextlib.contextmanager
def cut_proxy(target: str, *cuts: int, dead: bool = False) -> Iterator[CutProxy]:
    """Relays to ``target`` (``host:port``) until the block is left."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=64)
    proxy = CutProxy(host=f"127.0.0.1:{listening.getsockname()[1]}", cuts=sorted(cuts), dead=dead)
    lock = threading.Lock()
    over = False

    def allowance(count: int) -> int:
        """How many of ``count`` bytes may pass; after fewer the connection ends."""
        nonlocal over
        with lock:
            if over:
                return 0
            if proxy.cuts and proxy.sent + count >= proxy.cuts[0]:
                passing = proxy.cuts.pop(0) - proxy.sent
                proxy.sent += passing
                over = dead
                return passing
            proxy.sent += count
            return count

    def relay(client: socket.socket) -> None:
        host, _, port = target.rpartition(":")
        with client, socket.create_connection((host, int(port))) as server:
            back = threading.Thread(target=downwards, args=(server, client), daemon=True)
            back.start()
            upwards(client, server)
            back.join()

    def upwards(client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 14):
                passing = allowance(len(data))
                server.sendall(data[:passing])
                if passing < len(data):
                    break
        for each in (client, server):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def downwards(server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 14):
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listening.accept()
                if over:
                    client.close()
                    continue
                relays.append(threading.Thread(target=relay, args=(client,), daemon=True))
                relays[-1].start()

    relays: list[threading.Thread] = []
    accepting = threading.Thread(target=serve, daemon=True)
    accepting.start()
    try:
        yield proxy
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        accepting.join()
