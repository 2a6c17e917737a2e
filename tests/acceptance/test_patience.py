"""check against registries that do not answer, as Concourse runs it: it ends soon, and says why."""

from __future__ import annotations

import threading
import time

import pytest

from tests.support import images, runner
from tests.support.fakehttp import Ask, Reply
from tests.support.fakeregistry import Answer, fake_registry, status
from tests.support.silent import closed_port, silent_host

IMAGE = images.image()
REQUEST_SECONDS = 15
"""How long a check waits for a manifest from a host that accepts connections and never answers."""


def source(host: str, **fields: object) -> dict[str, object]:
    return {"source": {"repository": f"{host}/some/name", **fields}}


def timed(request: dict[str, object]) -> tuple[runner.Outcome, float]:
    begin = time.monotonic()
    outcome = runner.check(request)
    return outcome, time.monotonic() - begin


def test_a_check_of_a_registry_that_is_down_makes_one_retry() -> None:
    with closed_port() as (address, port):
        message = runner.failed(runner.check(source(f"{address}:{port}", tag="latest")), "connection refused")
    assert message.count("trying again in") == 1
    assert "giving up after 2 tries" in message


def test_a_check_of_a_silent_registry_ends_soon_and_a_list_of_tags_has_more_time() -> None:
    outcomes: dict[str, tuple[runner.Outcome, float]] = {}

    def late(ask: Ask, answer: Answer) -> Reply:
        threading.Event().wait(REQUEST_SECONDS + 1)
        return answer()

    with fake_registry() as registry, silent_host(accepts=True) as silent, silent_host(accepts=False) as unreachable:
        registry.add("some/name", IMAGE, "1.0")
        registry.script("GET", "/tags/list", late)
        requests = {
            "silent": source(f"127.0.0.1:{silent[1]}", tag="latest"),
            "unreachable": source(f"127.0.0.1:{unreachable[1]}", tag="latest"),
            "list": source(registry.host),
            "next list": {**source(f"127.0.0.1:{silent[1]}"), "version": {"tag": "1.0", "digest": IMAGE.digest}},
        }

        def run(name: str) -> None:
            outcomes[name] = timed(requests[name])

        # Together, because each of them waits and does nothing else.
        threads = [threading.Thread(target=run, args=(name,)) for name in requests]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for name in ("silent", "next list"):
        message = runner.failed(outcomes[name][0], f"stalled: no byte came in {REQUEST_SECONDS:.3g} s")
        assert "trying again" not in message
        assert outcomes[name][1] >= REQUEST_SECONDS
    message = runner.failed(outcomes["unreachable"][0], "no connection in 3 s")
    assert message.count("trying again in") == 1
    assert outcomes["list"][0].versions == [{"tag": "1.0", "digest": IMAGE.digest}]


def test_a_check_waits_for_a_short_rate_limit() -> None:
    with fake_registry() as registry:
        digest = registry.add("some/name", IMAGE, "latest")
        registry.script("HEAD", "/manifests/", status(429, retry_after="1"))
        outcome = runner.check(source(registry.host, tag="latest"))
        assert outcome.versions == [{"tag": "latest", "digest": digest}]
        assert "trying again in 1 s" in outcome.stderr


@pytest.mark.parametrize("code", [429, 503])
def test_a_check_fails_at_once_at_a_long_rate_limit_and_says_when_it_ends(code: int) -> None:
    with fake_registry() as registry:
        registry.add("some/name", IMAGE, "latest")
        for method in ("HEAD", "GET"):
            registry.script(method, "/manifests/", status(code, retry_after="3600"), always=True)
        outcome = runner.check(source(registry.host, tag="latest"))
        runner.failed(outcome, str(code), "it may be asked again in 3600 s, at ", " UTC")
        assert len(registry.asked("HEAD")) == 1
        # A 503 to HEAD has no words, so one GET asks for them; a 429 must cost no further request.
        assert len(registry.asked("GET")) == (0 if code == 429 else 1)
