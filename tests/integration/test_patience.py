"""How long a check and a build try: each fault is met with the policy of the step, in time that only waits move."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from time import monotonic

import pytest

from registry_image.auth.credentials import Credentials
from registry_image.concourse.connect import BUILD_PATIENCE, CHECK_PATIENCE, LIST_PATIENCE, Patience
from registry_image.errors import RateLimited, ResourceError, TransportError
from registry_image.net.client import Client
from registry_image.net.http import Request
from registry_image.net.retry import ONCE, Timeouts
from registry_image.net.tls import TLS
from registry_image.oci.digest import Digest
from registry_image.oci.reference import RepositoryName
from registry_image.record import replace
from registry_image.registry.repository import Repository
from tests.support import images
from tests.support.clients import STALL, Time, a_client, a_repository
from tests.support.ear import Ear
from tests.support.fakehttp import Ask, Reply
from tests.support.fakeregistry import Action, Answer, FakeRegistry, body, drop, fake_registry, redirect, stall, status
from tests.support.silent import silent_host

NAME = "some/name"
BUSY = status(503)
IMAGE = images.image()


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as running:
        running.add(NAME, IMAGE, "latest")
        yield running


def waits(registry: FakeRegistry) -> list[float]:
    """The waits of a check until it succeeds. Raises what it raises; `Time` then has the waits."""
    time = Time()
    assert a_repository(registry, NAME, client=a_client(time=time, policy=CHECK_PATIENCE[0])).resolve("latest")
    return time.waits


@pytest.mark.parametrize("fault", [BUSY, status(500), status(429), drop], ids=["503", "500", "429", "dropped"])
def test_a_check_makes_one_short_retry(registry: FakeRegistry, fault: Action) -> None:
    registry.script("HEAD", "/manifests/", fault)
    assert waits(registry) == [0.5]


@pytest.mark.parametrize("fault", [BUSY, status(429), drop], ids=["503", "429", "dropped"])
def test_a_check_fails_at_the_second_failure(registry: FakeRegistry, fault: Action) -> None:
    registry.script("HEAD", "/manifests/", fault, always=True)
    registry.script("GET", "/manifests/", fault, always=True)  # which is asked once for the words of a refused HEAD
    with pytest.raises(ResourceError):
        waits(registry)
    assert len(registry.asked("GET", "/manifests/")) <= 1
    assert len(registry.asked("HEAD")) == 2


@pytest.mark.parametrize("fault", [BUSY, status(429, retry_after="7")], ids=["503", "429"])
def test_a_token_server_is_asked_again_once_or_when_it_says(registry: FakeRegistry, fault: Action) -> None:
    registry.auth = "token"
    registry.script("GET", "/token", fault)
    assert waits(registry) in ([0.5], [7.0])
    registry.expire_tokens()
    registry.script("GET", "/token", BUSY, always=True)
    with pytest.raises(ResourceError):
        waits(registry)


def test_a_check_waits_as_long_as_a_rate_limit_asks_for(registry: FakeRegistry) -> None:
    registry.script("HEAD", "/manifests/", status(429, retry_after="4"), status(429, retry_after="5"))
    assert waits(registry) == [4.0, 5.0]


def test_a_check_does_not_wait_for_a_rate_limit_of_more_than_ten_seconds(registry: FakeRegistry) -> None:
    registry.script("HEAD", "/manifests/", status(429, retry_after="11"))
    with pytest.raises(RateLimited, match="it may be asked again in 11 s"):
        waits(registry)
    assert len(registry.asked("HEAD")) == 1


def test_the_waits_for_rate_limits_of_a_check_are_ten_seconds_in_all(registry: FakeRegistry) -> None:
    registry.script("HEAD", "/manifests/", *[status(429, retry_after="4")] * 3)
    with pytest.raises(RateLimited):
        waits(registry)
    assert len(registry.asked("HEAD")) == 3


@pytest.mark.parametrize("asked", ["0", "0.000237", "Fri, 15 Jan 2016 08:00:30 GMT"])
def test_a_registry_that_always_asks_for_no_wait_is_not_asked_all_the_time(registry: FakeRegistry, asked: str) -> None:
    registry.script("HEAD", "/manifests/", status(429, retry_after=asked), always=True)
    with pytest.raises(RateLimited):
        waits(registry)
    assert 10 < len(registry.asked("HEAD")) < 20


def test_a_build_tries_for_three_minutes(registry: FakeRegistry) -> None:
    time = Time()
    registry.script("HEAD", "/manifests/", BUSY, always=True)
    registry.script("GET", "/manifests/", BUSY, always=True)
    client = a_client(time=time, policy=BUILD_PATIENCE[0])
    with pytest.raises(ResourceError):
        a_repository(registry, NAME, client=client).resolve("latest")
    assert 150 < sum(time.waits) <= 180


def test_a_list_of_tags_may_take_longer_to_begin_than_a_manifest(registry: FakeRegistry) -> None:
    released = threading.Event()

    def late(ask: Ask, answer: Answer) -> Reply:
        released.wait(0.6)
        return answer()

    repository = a_repository(registry, NAME, client=a_client(policy=ONCE, stall=0.2))
    registry.script("GET", "/tags/list", late)
    assert list(repository.tags()) == ["latest"]
    registry.script("HEAD", "/manifests/", late, always=True)
    with pytest.raises(TransportError, match="stalled"):
        repository.resolve("latest")
    # A list that only serves a hint is not worth the longer wait.
    registry.script("GET", "/tags/list", late)
    with pytest.raises(TransportError, match="stalled"):
        list(repository.first_tags())


def a_check(
    registry: FakeRegistry,
    time: Time,
    *,
    credentials: Credentials | None = None,
    patience: Patience = CHECK_PATIENCE,
    stall: float | None = None,
) -> Repository:
    """The time to ``stall`` passes in truth; an answer's time passes by ``time``."""
    policy, timeouts = patience
    timeouts = replace(timeouts, stall=stall or timeouts.stall)
    client = Client(tls=TLS(), policy=policy, listener=Ear(), clock=time.clock(), timeouts=timeouts)
    return a_repository(registry, NAME, client=client, credentials=credentials)


def test_a_registry_that_hangs_is_waited_for_once_also_with_credentials(registry: FakeRegistry) -> None:
    time = Time()

    def hang(ask: Ask, answer: Answer) -> Reply:
        time.seconds += 15.0
        return stall()(ask, answer)

    registry.script("GET", "/v2/$", hang, always=True)
    login = Credentials(username="me", password="secret")
    with pytest.raises(TransportError, match=r"ask .* how to log in: .*stalled"):
        a_check(registry, time, credentials=login, stall=STALL).resolve("latest")
    assert len(registry.log) == 1


def test_a_connection_that_breaks_at_the_question_how_to_log_in_is_retried(registry: FakeRegistry) -> None:
    registry.script("GET", "/v2/$", drop)
    time = Time()
    repository = a_check(registry, time, credentials=Credentials(username="me", password="secret"))
    assert repository.resolve("latest") is not None
    assert time.waits == [0.5]
    assert len(registry.asked("GET", "/v2/$")) == 2


@pytest.mark.parametrize(("path", "end"), [("/manifests/", 15), ("/tags/list", 300)])
def test_an_answer_to_a_check_that_drips_has_an_end(registry: FakeRegistry, path: str, end: int) -> None:
    time = Time()

    def drip() -> Iterator[bytes]:
        while True:
            time.seconds += 4.0
            yield b" "

    registry.script("GET", path, body(drip()))
    repository = a_check(registry, time)
    with pytest.raises(TransportError, match=f"no end after {end} s"):
        list(repository.tags()) if path == "/tags/list" else repository.manifest(Digest.parse(IMAGE.digest))


@pytest.mark.parametrize(
    "answer",
    [redirect("/v2/some/name/manifests/latest"), status(401, www_authenticate='Basic realm="x"')],
    ids=["redirect", "login"],
)
def test_redirects_and_logins_that_are_each_slow_have_an_end(registry: FakeRegistry, answer: Action) -> None:
    time = Time()

    def slow(ask: Ask, as_it_is: Answer) -> Reply:
        time.seconds += 14.0
        return answer(ask, as_it_is)

    registry.script("HEAD", "/manifests/", slow, always=True)
    login = Credentials(username="me", password="secret")
    with pytest.raises(TransportError, match=r"resolve .*: redirects or logins, and no answer in time"):
        a_check(registry, time, credentials=login).resolve("latest")
    assert len(registry.asked("HEAD")) == 2


def test_a_check_asks_nothing_after_a_minute_of_slow_answers(registry: FakeRegistry) -> None:
    time = Time()

    def slow(ask: Ask, answer: Answer) -> Reply:
        time.seconds += 14.0
        return answer()

    registry.script("HEAD", "/manifests/", slow, always=True)
    repository = a_check(registry, time)
    for _ in range(5):
        assert repository.resolve("latest") is not None
    with pytest.raises(TransportError, match=r"resolve .*: not asked any more: the answers so far took 60 s"):
        repository.resolve("latest")
    assert len(registry.asked("HEAD")) == 5


def test_a_check_of_many_tags_has_half_an_hour(registry: FakeRegistry) -> None:
    time = Time()

    def slow(ask: Ask, answer: Answer) -> Reply:
        time.seconds += 59.0
        return answer()

    registry.page_size = 1
    for number in range(40):
        registry.add(NAME, IMAGE, str(number))
    registry.script("GET", "/tags/list", slow, always=True)
    with pytest.raises(TransportError, match=r"list tags .*: not asked any more: the answers so far took 1800 s"):
        list(a_check(registry, time, patience=LIST_PATIENCE).tags())


def test_a_host_that_is_silent_in_the_handshake_is_told_with_the_time_that_was_waited() -> None:
    with silent_host(accepts=True) as (address, port):
        client = Client(tls=TLS(), policy=ONCE, listener=Ear(), timeouts=Timeouts(connect=STALL))
        request = Request(method="GET", url=f"https://{address}:{port}/v2/", what="ask it")
        with pytest.raises(TransportError, match=f"ask it: .*: no connection in {STALL:.3g} s$"):
            client.fetch(request, 1000)


def test_an_address_that_drops_packets_does_not_hold_up_a_request(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(registry.host.rpartition(":")[2])

    def resolve(*_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, port)) for address in ("127.0.0.2", "127.0.0.1")]

    begin = monotonic()
    with silent_host(accepts=False, address="127.0.0.2", port=port):
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        client = Client(tls=TLS(), policy=ONCE, listener=Ear(), timeouts=Timeouts(connect=20.0))
        name = RepositoryName.parse(f"registry.test:{port}/{NAME}")
        assert Repository(client, name, insecure=True).resolve("latest")
    assert monotonic() - begin < 15
