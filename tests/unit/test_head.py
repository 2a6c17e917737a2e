"""The head of an answer: interim answers, many and long headers, bytes that drip."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from registry_image.errors import RegistryError, TransportError
from registry_image.net.client import Client
from registry_image.net.head import MAX_HEAD, MAX_HEADERS, HeadReader, HeadTooLarge, HeadTooSlow
from registry_image.net.http import Request
from registry_image.net.retry import ONCE, Timeouts
from registry_image.net.tls import TLS
from tests.support.clients import STALL, Time, a_client
from tests.support.ear import Ear
from tests.support.faultproxy import accepting, talker

#: Seconds for a head.
TIMEOUT = 60.0
METHODS = ["HEAD", "GET", "POST", "PUT"]
FINAL = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n"
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def answer(words: bytes, method: str, time: Time | None = None, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
    with talker(words) as host:
        request = Request(method=method, url=f"http://{host}/x", what="ask it", body=body or None)
        reply = a_client(time=time).fetch(request, 1000)
    return reply.status, dict(reply.headers.lines()), reply.body


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("interim", [EARLY, PROCESSING * 2, CONTINUE, CONTINUE + EARLY + PROCESSING * 90], ids=len)
def test_interim_answers_are_read_past(method: str, interim: bytes) -> None:
    status, headers, _ = answer(interim + FINAL + b"X-Last: yes\r\n\r\n", method)
    assert status == 200
    assert headers["x-last"] == "yes"
    assert "link" not in headers


def test_switching_protocols_is_no_interim_answer() -> None:
    with pytest.raises(RegistryError, match="101"):
        answer(b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + FINAL + b"\r\n", "GET")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "headers",
    [b"".join(b"X-%d: y\r\n" % number for number in range(150)), b"X-0: " + b"y" * 70_000 + b"\r\n"],
    ids=["many", "long"],
)
def test_many_and_long_headers_are_taken(method: str, headers: bytes) -> None:
    status, found, _ = answer(FINAL + headers + b"X-Last: yes\r\n\r\n", method)
    assert status == 200
    assert found["x-last"] == "yes"
    assert found["x-0"].startswith("y")


def test_the_body_follows_its_many_headers() -> None:
    many = b"X: y\r\n" * 500
    assert answer(b"HTTP/1.1 200 OK\r\n" + many + b"Content-Length: 3\r\n\r\nabcdef", "GET")[2] == b"abc"
    chunked = b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nTrailer: x\r\n\r\n"
    assert answer(b"HTTP/1.1 200 OK\r\n" + many + chunked, "GET")[2] == b"abc"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "words",
    [
        FINAL + b"X: y\r\n" * (MAX_HEADERS + 1),
        FINAL + b"X: " + b"y" * (MAX_HEAD + 1),
        FINAL + (b"X: " + b"y" * 1000 + b"\r\n") * 300,
        CONTINUE * MAX_HEADERS,
        PROCESSING * MAX_HEADERS,
    ],
    ids=["many", "long", "long together", "100", "102"],
)
def test_a_head_beyond_its_bounds_is_one_error_at_once(method: str, words: bytes) -> None:
    time = Time()
    with pytest.raises(TransportError, match=r"ask it: .*the headers are more than 1000 lines or 262144 bytes"):
        answer(words, method, time)
    assert time.waits == []


def test_trailers_beyond_their_bounds_are_one_error_at_once() -> None:
    time = Time()
    words = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n" + b"X: y\r\n" * (MAX_HEADERS + 1)
    with pytest.raises(TransportError, match="the headers are more than"):
        answer(words, "GET", time)
    assert time.waits == []


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "words", [b"HTTP/1.1 20", b"HTTP/1.1 200 OK\r\n", FINAL, FINAL + b"X: y\r\n", FINAL + b"X: y"], ids=repr
)
def test_a_head_without_its_end_is_told_and_asked_for_again(method: str, words: bytes) -> None:
    time = Time()
    with pytest.raises(TransportError, match=r": the connection ended before the answer did$"):
        answer(words, method, time)
    assert time.waits


@pytest.mark.parametrize("method", METHODS)
def test_a_connection_that_is_closed_without_an_answer_is_told_and_tried_again(method: str) -> None:
    time = Time()
    with pytest.raises(TransportError, match=r": the connection was closed without an answer$"):
        answer(b"", method, time)
    assert time.waits


@pytest.mark.parametrize("size", [b"-5", b"f" * 20, b"z", b""])
def test_a_chunk_without_a_size_is_told_and_asked_for_again(size: bytes) -> None:
    time = Time()

    def handle(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            while client.recv(65536):
                client.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\nabc")

    with accepting(handle) as host:
        request = Request(method="GET", url=f"http://{host}/x", what="ask it")
        with pytest.raises(TransportError, match=r": the connection ended before the answer did$"):
            a_client(time=time, stall=STALL).fetch(request, 1000)
    assert time.waits


class Drip(io.RawIOBase):
    """Gives a byte at a time, and calls ``tick`` before each."""

    def __init__(self, data: bytes, tick: Callable[[], None]) -> None:
        self._data = io.BytesIO(data)
        self._tick = tick

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        self._tick()
        byte = self._data.read(1)
        buffer[: len(byte)] = byte
        return len(byte)


@pytest.mark.parametrize("data", [FINAL + b"X: y\r\n" * 900, CONTINUE * 900], ids=["headers", "interim answers"])
def test_a_head_that_drips_has_an_end(data: bytes) -> None:
    time = Time()

    def tick() -> None:
        time.seconds += 1.0

    reader = HeadReader(io.BufferedReader(Drip(data, tick)), TIMEOUT, lambda: time.seconds)
    with pytest.raises(HeadTooSlow):
        reader.head()
    assert time.seconds < TIMEOUT + 5


def test_a_head_that_comes_late_but_at_once_is_read() -> None:
    time = Time()
    data = io.BufferedReader(io.BytesIO(FINAL + b"\r\n"))
    time.seconds = 10 * TIMEOUT
    assert HeadReader(data, TIMEOUT, lambda: time.seconds).head() == (
        b"HTTP/1.1 200 OK\r\n",
        [b"Content-Length: 0\r\n"],
    )


def test_bounds_are_those_of_the_whole_head() -> None:
    data = io.BufferedReader(io.BytesIO(EARLY * (MAX_HEADERS // 3 + 1)))
    with pytest.raises(HeadTooLarge):
        HeadReader(data, TIMEOUT).head()


@contextlib.contextmanager
def dripping(words: bytes) -> Iterator[str]:
    """A server that sends ``words``, and then a byte now and then that ends nothing. Yields its ``host:port``."""
    released = threading.Event()

    def handle(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.recv(65536)
            client.sendall(words)
            while not released.wait(STALL / 10):
                client.sendall(b"1")

    with accepting(handle) as host:
        yield host
        released.set()


def an_impatient_client() -> Client:
    return Client(tls=TLS(), policy=ONCE, listener=Ear(), timeouts=Timeouts(connect=STALL, stall=STALL, answer=STALL))


@pytest.mark.parametrize("line", [b"", b"1;extension=", b"3\r\nabc\r\n", b"0\r\nTrailer: "], ids=repr)
def test_the_lines_around_chunks_that_drip_have_an_end(line: bytes) -> None:
    with dripping(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + line) as host:
        request = Request(method="GET", url=f"http://{host}/x", what="ask it")
        with pytest.raises(TransportError, match=f"stalled: the lines of its answer had no end in {STALL:.3g} s"):
            an_impatient_client().fetch(request, 1000)


@pytest.mark.parametrize(
    "words", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 900, EARLY], ids=len
)
def test_a_proxys_answer_to_connect_that_drips_has_an_end(words: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with dripping(words) as host:
        monkeypatch.setenv("https_proxy", f"http://{host}")
        request = Request(method="GET", url="https://registry.example/x", what="ask it")
        with pytest.raises(TransportError, match=f"ask it: .*the proxy {host} failed: no connection in time"):
            an_impatient_client().fetch(request, 1000)


def test_a_proxys_answer_to_connect_has_the_bounds_of_any_head(monkeypatch: pytest.MonkeyPatch) -> None:
    with talker(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * (MAX_HEADERS + 1)) as host:
        monkeypatch.setenv("https_proxy", f"http://{host}")
        request = Request(method="GET", url="https://registry.example/x", what="ask it")
        with pytest.raises(TransportError, match="the headers are more than"):
            a_client(policy=ONCE).fetch(request, 1000)
