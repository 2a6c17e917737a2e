"""Hosts that do not answer, or refuse."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator


@contextlib.contextmanager
def silent_host(*, accepts: bool, address: str = "127.0.0.1", port: int = 0) -> Iterator[tuple[str, int]]:
    """The address and port of a socket that nobody reads. Without ``accepts`` its queue of connections is full, so that
    the kernel drops what asks for another, as a firewall does."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((address, port), backlog=64 if accepts else 0))
        name = listener.getsockname()
        while not accepts:
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0.2)
            try:
                waiting.connect(name)
            except TimeoutError:
                break
        yield name[0], name[1]


@contextlib.contextmanager
def closed_port() -> Iterator[tuple[str, int]]:
    """An address and a port that refuse connections: taken, so that no other test can listen there meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        name = taken.getsockname()
        yield name[0], name[1]
