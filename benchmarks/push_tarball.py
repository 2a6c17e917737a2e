"""``python -m benchmarks.push_tarball TAR --rival CHECKOUT``: the cost of a put of plain layers.

``TAR`` becomes the one layer, not compressed. ``CHECKOUT`` is this project at another commit, with its own `.venv`.
Every run pushes to an empty repository, so every run compresses and uploads everything.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import itertools
import json
import tarfile
from pathlib import Path

from benchmarks.measure import Contender, Cost, in_turn, middle, ratio, run
from benchmarks.scratch import scratch
from tests.support.registry import Registry, docker_registry
from tests.support.runner import ASSETS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tar", type=Path)
    parser.add_argument("--rival", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    steps = {"ours": ASSETS / "out", "rival": arguments.rival.resolve() / "assets" / "out"}
    with scratch() as directory, docker_registry(directory / "registry") as registry:
        _save(arguments.tar, directory / "image.tar")
        rivals = {name: _put(step, directory, registry) for name, step in steps.items()}
        costs = in_turn(rivals, directory, arguments.rounds)
    for name, each in costs.items():
        cost = middle(each)
        print(f"{name:6}{cost.cpu:6.2f} s CPU {cost.wall:6.2f} s wall {cost.memory:5.0f} MiB")
    print(f"CPU, the median of the pairs: {ratio(costs['ours'], costs['rival'], lambda cost: cost.cpu):.2f}")


def _put(step: Path, directory: Path, registry: Registry) -> Contender:
    numbers = itertools.count()

    def put(_: Path) -> Cost:
        source = {"repository": f"{registry.host}/bench/{step.parents[1].name}-{next(numbers)}", "tag": "latest"}
        request = {"source": source, "params": {"image": "image.tar"}}
        return run([str(step), str(directory)], stdin=json.dumps(request).encode())

    return put


def _save(layer: Path, to: Path) -> None:
    """What `docker save` writes, for an image of one layer.

    The layer is never read whole: the kernel would count our peak memory as that of the programs that we start.
    """
    with open(layer, "rb") as tar, tarfile.open(to, "w") as archive:
        diff_id = f"sha256:{hashlib.file_digest(tar, 'sha256').hexdigest()}"
        tar.seek(0)
        archive.addfile(archive.gettarinfo(arcname="layer.tar", fileobj=tar), tar)
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        }
        manifest = [{"Config": "config.json", "RepoTags": ["bench:latest"], "Layers": ["layer.tar"]}]
        for name, document in (("config.json", config), ("manifest.json", manifest)):
            data = json.dumps(document).encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


if __name__ == "__main__":
    main()
