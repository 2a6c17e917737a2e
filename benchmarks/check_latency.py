"""How much faster `check` looks up many tags than one request at a time: ``python -m benchmarks.check_latency``.

A registry on loopback delays each reply by 40 ms, like one on another continent. Compares the executable on 400
versions with the same look-ups one by one, by the same client.
"""

from __future__ import annotations

import time

from registry_image.oci.reference import RepositoryName
from tests.support import images, runner
from tests.support.clients import a_repository
from tests.support.fakeregistry import fake_registry

TAGS = 400
#: Seconds before each reply.
LATENCY = 0.040
#: How many times faster check must be.
PROMISED = 8


def main() -> None:
    with fake_registry() as registry:
        tags = [f"1.{number}" for number in range(TAGS)]
        registry.add("some/name", images.image(), *tags)
        registry.latency = LATENCY
        source = {"repository": str(RepositoryName(registry.host, "some/name"))}

        started = time.perf_counter()
        outcome = runner.check({"source": source})
        at_once = time.perf_counter() - started
        assert len(outcome.versions) == 1
        assert len(registry.asked("HEAD")) == TAGS

        repository = a_repository(registry, "some/name")
        started = time.perf_counter()
        for tag in repository.tags():
            repository.resolve(tag)
        one_by_one = time.perf_counter() - started

    print(f"{TAGS} tags, {LATENCY * 1000:.0f} ms each")
    print(f"one by one  {one_by_one:6.2f} s")
    print(f"check       {at_once:6.2f} s, {one_by_one / at_once:.1f} times as fast (promised: {PROMISED})")
    if one_by_one < PROMISED * at_once:
        raise SystemExit("slower than promised")


if __name__ == "__main__":
    main()
