"""The registries of `benchmarks.outage` and `benchmarks.modes`, in a process of their own.

``python -m benchmarks.load.server`` serves two on loopback, one open and one that wants a login. Its first line on
stdout says where. It enters each state that a line on stdin names, and answers with the requests since the last line,
counted by their kind and answer. An empty line only asks for them. At the end of stdin it ends.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.load import resources
from tests.support import images
from tests.support.fakehttp import Ask, Reply, serve
from tests.support.fakeregistry import FakeRegistry
from tests.support.silent import silent_host

#: Seconds before each answer.
LATENCY = 0.05
#: Seconds that the states "short limit" and "long limit" ask to wait.
RETRY_AFTER = {"short limit": 2, "long limit": 600}
#: Below the ports that systems give to clients, as none may take a port while nobody listens there.
_PORTS = range(20_000, 32_000)


@dataclass(slots=True)
class Counted:
    """Requests by ``METHOD kind status``; the status is 0 for a request that gets no answer."""

    lock: threading.Lock
    requests: Counter[str]

    def add(self, ask: Ask, status: int) -> None:
        parts = ask.target.partition("?")[0].split("/")
        kind = next((part for part in ("manifests", "tags", "blobs", "token") if part in parts), "ping")
        with self.lock:
            self.requests[f"{ask.method} {kind} {status}"] += 1

    def taken(self) -> Counter[str]:
        """Those since the last call."""
        with self.lock:
            counted, self.requests = self.requests, Counter()
        return counted


class Place:
    """Both registries, on ports that stay the same while they are down."""

    def __init__(self) -> None:
        self.counted = Counted(threading.Lock(), Counter())
        self.registries = {"open": _registry(), "login": _registry()}
        self.ports = {name: _free_port() for name in self.registries}
        for name, registry in self.registries.items():
            registry.realm = f"http://{self.host(name)}/token"
        self.registries["login"].auth = "token"
        self.registries["login"].accounts = dict([resources.ACCOUNT])
        self._state = "normal"
        self._left = threading.Event()
        self._listening = contextlib.ExitStack()
        self._listen()

    def host(self, name: str) -> str:
        return f"127.0.0.1:{self.ports[name]}"

    def enter(self, state: str) -> None:
        """``state`` is "normal", "short limit", "long limit", "refused", "dropped" or "silent"."""
        before, self._state = self._state, state
        left, self._left = self._left, threading.Event()
        left.set()
        if {before, state} & {"refused", "dropped"}:
            self._listen()

    def close(self) -> None:
        self._left.set()
        self._listening.close()

    def _listen(self) -> None:
        self._listening.close()
        for name, port in self.ports.items():
            if self._state == "dropped":
                self._listening.enter_context(silent_host(accepts=False, port=port))
            elif self._state != "refused":
                self._listening.enter_context(serve(self._answering(self.registries[name]), port=port))

    def _answering(self, registry: FakeRegistry) -> Callable[[Ask], Reply]:
        def handle(ask: Ask) -> Reply:
            left = self._left  # read first: if the state changes in between, nobody waits for its end
            if self._state == "silent":
                self.counted.add(ask, 0)
                left.wait()
                return Reply(0)
            time.sleep(LATENCY)
            seconds = RETRY_AFTER.get(self._state)
            reply = registry.handle(ask) if seconds is None else Reply(429, {"retry-after": str(seconds)})
            self.counted.add(ask, reply.status)
            return reply

        return handle


def _registry() -> FakeRegistry:
    """A repository of one image under each version; the last is ``latest``, too."""
    registry = FakeRegistry()
    for number, tag in enumerate(resources.TAGS):
        image = images.image(created=f"2026-01-02T03:{number:02}:00Z")
        registry.add(resources.REPOSITORY, image, tag, "latest")
    return registry


def _free_port() -> int:
    while True:
        port = random.choice(_PORTS)  # noqa: S311 (no secret)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def main() -> None:
    place = Place()
    try:
        digest = place.registries["open"].repositories[resources.REPOSITORY].tags["latest"]
        print(json.dumps({**{name: place.host(name) for name in place.ports}, "digest": digest}), flush=True)
        for line in sys.stdin:
            if line.strip():
                place.enter(line.strip())
            print(json.dumps(place.counted.taken()), flush=True)
    finally:
        place.close()


if __name__ == "__main__":
    main()
