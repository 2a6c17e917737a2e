"""How long a check and a build try: each fault is met with the policy of the step, in time that only waits move."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from registry_image.concourse.connect import BUILD_PATIENCE, CHECK_PATIENCE
from registry_image.errors import RateLimited, ResourceError, TransportError
from registry_image.net.client import Client
from registry_image.net.retry import ONCE
from registry_image.net.tls import TLS
from tests.support import images
from tests.support.clients import Ear, Time, a_client, a_repository
from tests.support.fakehttp import Ask, Reply
from tests.support.fakeregistry import Action, Answer, FakeRegistry, drop, fake_registry, status

NAME = "some/name"
BUSY = status(503)


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as running:
        running.add(NAME, images.image(), "latest")
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

    client = Client(tls=TLS(), policy=ONCE, listener=Ear(), clock=Time().clock(), timeouts=(3.0, 0.2))
    repository = a_repository(registry, NAME, client=client)
    assert repository.resolve("latest") is not None
    registry.script("GET", "/tags/list", late)
    assert list(repository.tags()) == ["latest"]
    registry.script("HEAD", "/manifests/", late, always=True)
    with pytest.raises(TransportError, match="stalled"):
        repository.resolve("latest")
    # A list that only serves a hint is not worth the longer wait.
    registry.script("GET", "/tags/list", late)
    with pytest.raises(TransportError, match="stalled"):
        list(repository.first_tags())
