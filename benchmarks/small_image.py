"""``python -m benchmarks.small_image [IN ...]``: the cost of a whole get of 3 MB in 80 files.

Each IN is another `in` to compare with: of another checkout, or registry-image's. All run in turn. Ratios are of ours
to each of them, the medians of the rounds.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

from benchmarks.measure import Contender, Cost, in_turn, middle, ratio, run
from benchmarks.scratch import apart, scratch
from tests.support import images, tar
from tests.support.registry import docker_registry
from tests.support.runner import ASSETS

ROUNDS = 15
NAME = "bench/small"


def main() -> None:
    with scratch() as directory, docker_registry(directory / "registry") as registry:
        content = _image()
        apart(lambda: images.push(registry, NAME, content, "latest"))
        version = {"tag": "latest", "digest": content.digest}
        request: dict[str, object] = {"source": registry.source(NAME, insecure=True), "version": version}
        contenders = {"ours": _get(str(ASSETS / "in"), request)}
        # Without the layer: the start-up, and the requests for the manifest and the config.
        contenders["start-up"] = _get(str(ASSETS / "in"), {**request, "params": {"skip_download": True}})
        contenders |= {rival: _get(rival, request) for rival in sys.argv[1:]}
        costs = in_turn(contenders, directory, ROUNDS)
    for name, each in costs.items():
        cost = middle(each)
        cpu = ratio(costs["ours"], each, lambda one: one.cpu)
        wall = ratio(costs["ours"], each, lambda one: one.wall)
        print(f"{name}: {cost.cpu:.3f} s CPU ({cpu:.2f}), {cost.wall:.3f} s wall ({wall:.2f})")


def _image() -> images.Content:
    dice = random.Random(80)  # noqa: S311 - the same files in each run
    files = [tar.file(f"file-{number}", bytes(dice.choices(range(64), k=38_000))) for number in range(80)]
    return images.image(images.layer(tar.archive(*files)), os="linux", architecture="amd64")


def _get(step: str, request: dict[str, object]) -> Contender:
    def get(destination: Path) -> Cost:
        return run([step, str(destination)], stdin=json.dumps(request).encode())

    return get


if __name__ == "__main__":
    main()
