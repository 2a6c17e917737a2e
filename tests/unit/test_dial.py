"""Connecting to a host: its addresses race, all within one time, and a look-up ends too."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from registry_image.net import dial as dialling
from registry_image.net.dial import Address, connect, dial, look_up
from tests.support.silent import closed_port, silent_host

SOON = 0.6
"""Seconds for all addresses together, where none answers. STAGGER is a quarter of one."""
ENOUGH = 30.0
"""Where one answers."""


def at(host: str, port: int) -> Address:
    return (socket.AF_INET, socket.SOCK_STREAM, 0, (host, port))


@contextlib.contextmanager
def listening(host: str = "127.0.0.1") -> Iterator[Address]:
    with socket.create_server((host, 0)) as server:
        yield at(host, server.getsockname()[1])


@contextlib.contextmanager
def dropping() -> Iterator[Address]:
    with silent_host(accepts=False) as name:
        yield at(*name)


@contextlib.contextmanager
def refusing() -> Iterator[Address]:
    with closed_port() as name:
        yield at(*name)


def open_sockets() -> set[str]:
    links = set()
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            links.add(os.readlink(f"/proc/self/fd/{entry}"))
    return {link for link in links if link.startswith("socket:")}


def test_the_first_address_that_answers_is_connected_to() -> None:
    with listening() as first, listening() as second, connect([first, second], ENOUGH) as connection:
        assert connection.getpeername() == first[3]


def test_an_address_that_drops_packets_does_not_hold_up_the_next() -> None:
    with dropping() as dead, listening() as alive, connect([dead, dead, alive], ENOUGH) as connection:
        assert connection.getpeername() == alive[3]


def test_an_address_that_refuses_is_followed_by_the_next_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialling, "STAGGER", 60.0)
    with refusing() as first, listening() as alive, connect([first, alive], ENOUGH) as connection:
        assert connection.getpeername() == alive[3]


def test_an_address_of_a_family_that_is_missing_is_passed_over() -> None:
    with listening() as alive, connect([(socket.AF_INET, 99, 0, alive[3]), alive], ENOUGH) as connection:
        assert connection.getpeername() == alive[3]


def test_the_error_is_that_of_the_first_address() -> None:
    with refusing() as first, pytest.raises(ConnectionRefusedError):
        connect([first, (socket.AF_INET, 99, 0, ("127.0.0.1", 1))], ENOUGH)


def test_all_addresses_share_one_time() -> None:
    with dropping() as dead:
        begin = time.monotonic()
        with pytest.raises(TimeoutError):
            connect([dead] * 100, SOON)
        assert SOON <= time.monotonic() - begin < 50 * SOON


def test_no_socket_is_left_but_the_connection() -> None:
    with dropping() as dead, refusing() as refuses, listening() as alive:
        before = open_sockets()
        with connect([dead, refuses, alive], ENOUGH):
            assert len(open_sockets() - before) == 1
        with pytest.raises(TimeoutError):
            connect([dead, dead], SOON)
        assert open_sockets() <= before


def test_the_connection_has_the_timeout_and_the_options() -> None:
    options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    with listening() as alive, dial("127.0.0.1", int(alive[3][1]), ENOUGH, options) as connection:
        assert connection.gettimeout() == ENOUGH
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_families_take_turns_and_the_preferred_one_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    six = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", (f"2001:db8::{number}", 443, 0, 0)) for number in (1, 2, 3)]
    four = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 443))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: six + four)
    found = [str(address[3][0]) for address in look_up("registry.test", 443, ENOUGH)]
    assert found == ["2001:db8::1", "192.0.2.1", "2001:db8::2", "2001:db8::3"]


def test_a_name_server_that_does_not_answer_is_a_dns_error_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()

    def hang(*_: object, **__: object) -> list[object]:
        done.wait()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    with pytest.raises(socket.gaierror, match=r"no answer from the name servers in 0\.05 s") as caught:
        look_up("registry.test", 443, 0.05)
    assert caught.value.errno == socket.EAI_AGAIN
    done.set()


def test_an_unknown_name_and_an_impossible_one_keep_their_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnicodeError):
        look_up("a" * 64 + ".test", 443, ENOUGH)

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(socket.gaierror, match="unknown"):
        look_up("registry.test", 443, ENOUGH)


def test_a_name_without_an_address_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
    with pytest.raises(OSError, match="the name has no address"):
        look_up("registry.test", 443, ENOUGH)
