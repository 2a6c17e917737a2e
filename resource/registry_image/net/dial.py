"""Connects to a host: to the first of its addresses that answers, in a bounded time for all of them (RFC 8305).

urllib3 tries the addresses one after the other, each for the whole timeout, and looks names up without one: eight
addresses that do not answer would hold a check eight times as long, dead name servers for a minute.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import chain, zip_longest
from typing import TypeAlias

#: Seconds after which the next address is tried beside those that have not answered (RFC 8305, 5).
STAGGER = 0.25
#: The least time for a look-up, in seconds: resolv.conf(5) waits 5 for a name server before it asks the next one.
LOOKUP_TIMEOUT = 6.0

#: Family, type, protocol and address, as `socket.getaddrinfo` gives them without the canonical name.
Address: TypeAlias = "tuple[int, int, int, tuple[str | int, ...]]"
Options: TypeAlias = "Iterable[tuple[int, int, int | bytes]]"


def dial(host: str, port: int, timeout: float, options: Options = ()) -> socket.socket:
    """A connected socket, whose own timeout is ``timeout`` too.

    Connecting takes at most ``timeout`` seconds for all addresses together, and the look-up before it at most twice
    that or LOOKUP_TIMEOUT. Raises OSError (TimeoutError if no address answers, socket.gaierror if the name is unknown
    or no name server answers), and UnicodeError for a text that cannot be a host.
    """
    connection = connect(look_up(host, port, max(2 * timeout, LOOKUP_TIMEOUT)), timeout, options)
    connection.settimeout(timeout)
    return connection


def look_up(host: str, port: int, timeout: float) -> list[Address]:
    """The addresses of ``host``, at least one, its preferred family first and the families in turn (RFC 8305, 4).

    Raises OSError (socket.gaierror, also if that took ``timeout`` seconds) and UnicodeError.
    """
    found: list[Address] = []
    failed: list[OSError | UnicodeError] = []

    def ask() -> None:
        try:
            found.extend((*entry[:3], entry[4]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            failed.append(error)

    # The resolver takes no timeout. A thread that it holds ends with the process.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(timeout)
    if failed:
        raise failed[0]
    if asking.is_alive():
        raise socket.gaierror(socket.EAI_AGAIN, f"no answer from the name servers in {timeout:.3g} s")
    if not found:
        raise OSError("the name has no address")
    first = [address for address in found if address[0] == found[0][0]]
    others = [address for address in found if address[0] != found[0][0]]
    return [address for address in chain.from_iterable(zip_longest(first, others)) if address]


def connect(addresses: Sequence[Address], timeout: float, options: Options = ()) -> socket.socket:
    """The first connection that comes about. An address is tried STAGGER seconds after the one before it, or as soon
    as all before it have failed.

    Raises the OSError of the first address that failed if all did, and TimeoutError.
    """
    end = time.monotonic() + timeout
    waiting = deque(addresses)
    attempts: dict[int, socket.socket] = {}
    failed: list[OSError] = []
    next_start = 0.0
    with selectors.DefaultSelector() as selector:
        try:
            while True:
                now = time.monotonic()
                if now >= end:
                    raise TimeoutError
                if waiting and (now >= next_start or not attempts):
                    attempt = _begin(waiting.popleft(), options, failed)
                    if attempt is not None:
                        attempts[selector.register(attempt, selectors.EVENT_WRITE).fd] = attempt
                        next_start = now + STAGGER
                    continue
                if not attempts:
                    raise failed[0]
                for key, _ in selector.select(min(end, next_start if waiting else end) - now):
                    selector.unregister(key.fd)
                    attempt = attempts.pop(key.fd)
                    number = attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if not number:
                        return attempt
                    attempt.close()
                    failed.append(OSError(number, os.strerror(number)))
        finally:
            for attempt in attempts.values():
                attempt.close()


def _begin(address: Address, options: Options, failed: list[OSError]) -> socket.socket | None:
    """A socket that is connecting; None, and its error in ``failed``, if that failed at once."""
    family, kind, protocol, to = address
    attempt = None
    try:
        attempt = socket.socket(family, kind, protocol)
        for option in options:
            attempt.setsockopt(*option)
        attempt.setblocking(False)
        with suppress(BlockingIOError):
            attempt.connect(to)
    except OSError as error:
        failed.append(error)
        if attempt is not None:
            attempt.close()
        return None
    return attempt
