"""``make bench``: compares the whole get with other tools and with the machine's floor.

It prints medians, and the median of the ratios of each round. ``ARGS="--only=debian --rounds=9 --quick"`` narrows it.
Times depend on the machine; compare the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from benchmarks import contenders, inputs
from benchmarks.floor import Floor, floor
from benchmarks.measure import Contender, Cost, in_turn, middle, ratio
from benchmarks.scratch import publish, scratch
from tests.support import parts
from tests.support.engine import Engine, docker_engine
from tests.support.registry import Config, Registry, docker_registry

#: An image without layers: measures our start-up, which is subtracted.
NOTHING = "nothing"
RESULTS = Path(__file__).parents[1] / ".cache" / "bench" / "results.json"


def main() -> None:
    options = _options()
    names = [name for name in inputs.IMAGES if name != NOTHING and options.only in name]
    with ExitStack() as stack:
        directory = stack.enter_context(scratch())
        registry = stack.enter_context(docker_registry(directory / "registry", Config(as_installed=True)))
        has_engine = not options.quick and parts.find("dockerd") is not None and os.geteuid() == 0
        engine = stack.enter_context(docker_engine()) if has_engine else None
        digests = {name: _publish(registry, name) for name in [*names, NOTHING]}
        print(
            f"{'image':28}{'rival':15}{'ours: wall':>11}{'CPU s':>7}{'MiB':>5}{'rival: wall':>13}{'CPU s':>7}  ratios"
        )
        start = contenders.ours(registry.host, _repository(NOTHING), digests[NOTHING])
        results = {}
        for name in names:
            rivals = _rivals(registry, engine, name, digests) | {"start-up": start}
            if options.rival:
                program = options.rival.resolve()
                rivals["rival"] = contenders.other_in(program, registry.host, _repository(name), digests[name])
            costs = in_turn(rivals, directory, options.rounds)
            results[name] = {rival: middle(each).as_json() for rival, each in costs.items()}
            for rival in costs:
                if rival != "ours":
                    _print_row(name, rival, costs["ours"], costs[rival])
            lowest = floor(contenders.blobs(inputs.stored(name)), directory)
            results[name]["floor"] = asdict(lowest)
            _print_floor(name, lowest, costs)
    RESULTS.write_text(json.dumps(results, indent=1))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", default="", help="images whose name contains this")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rival", type=Path, help="another `in`, such as registry-image's")
    parser.add_argument("--quick", action="store_true", help="only the pipes, no other tools")
    return parser.parse_args()


def _publish(registry: Registry, name: str) -> str:
    return publish(registry, _repository(name), inputs.stored(name))


def _repository(name: str) -> str:
    return "bench/" + "".join(letter if letter.isalnum() else "-" for letter in name.lower().replace(", ", "-"))


def _rivals(registry: Registry, engine: Engine | None, name: str, digests: dict[str, str]) -> dict[str, Contender]:
    repository = _repository(name)
    rivals = {
        "ours": contenders.ours(registry.host, repository, digests[name]),
        "pipes": contenders.pipes(contenders.blobs(inputs.stored(name))),
    }
    # Debian's Docker and umoci cannot read zstd.
    if engine is not None and name != "debian" and "zstd" not in name:
        rivals["docker pull"] = contenders.docker_pull(engine, registry.host, repository)
        rivals["skopeo, umoci"] = contenders.skopeo_and_umoci(registry.host, repository, "latest")
    return rivals


def _print_row(name: str, rival: str, ours: list[Cost], theirs: list[Cost]) -> None:
    our, their = middle(ours), middle(theirs)
    wall, cpu = ratio(ours, theirs, lambda cost: cost.wall), ratio(ours, theirs, lambda cost: cost.cpu)
    print(
        f"{name:28}{rival:15}{our.wall:11.2f}{our.cpu:7.2f}{our.memory:5.0f}{their.wall:13.2f}{their.cpu:7.2f}"
        f"  {wall:.2f} wall, {cpu:.2f} CPU",
        flush=True,
    )


def _print_floor(name: str, lowest: Floor, costs: dict[str, list[Cost]]) -> None:
    """The floor plus our start-up, compared with us and with the pipes."""
    ours, pipes, start = middle(costs["ours"]), middle(costs["pipes"]), middle(costs["start-up"])
    wall, cpu = start.wall + lowest.wall(), start.cpu + lowest.all
    net = statistics.median(
        (our.wall - nothing.wall) / pipe.wall
        for our, nothing, pipe in zip(costs["ours"], costs["start-up"], costs["pipes"], strict=True)
    )
    print(
        f"{name:28}{'floor':15}{ours.wall:11.2f}{ours.cpu:7.2f}{ours.memory:5.0f}{wall:13.2f}{cpu:7.2f}"
        f"  {ours.wall / wall:.2f} wall, {ours.cpu / cpu:.2f} CPU;"
        f" pipes: floor {wall / pipes.wall:.2f}, ours without start-up {net:.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
