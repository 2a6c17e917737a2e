"""How time and memory grow with ten and a hundred times the files, bytes and layers.

``python -m benchmarks.growth`` prints CPU and wall time per unit without start-up, and plots them to
docs/performance.svg. Only the plot needs matplotlib.
"""

from __future__ import annotations

import functools
import hashlib
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks import contenders, inputs
from benchmarks.measure import Contender, Cost, in_turn, middle
from benchmarks.scratch import apart, publish, scratch
from tests.support import images, tar
from tests.support.registry import Config, Registry, docker_registry

MB = 1_000_000
PLOT = Path(__file__).parents[1] / "docs" / "performance.svg"
FILES = (1_000, 10_000, 100_000, 1_000_000)
MEGABYTES = (40, 400, 4_000)
LAYERS = (1, 10, 100)
ROUNDS = 3


def gzipped(members: Iterable[bytes]) -> images.Layer:
    """A layer with one gzip member per tar member; equal ones are compressed once, so gigabytes take seconds."""
    compressed: dict[bytes, bytes] = {}
    diff_id, blob = hashlib.sha256(), bytearray()
    for member in (*members, tar.END):
        diff_id.update(member)
        key = hashlib.sha256(member).digest()
        if key not in compressed:
            compressed[key] = tar.gzip(member, level=1)
        blob += compressed[key]
    packed = images.blob(bytes(blob), "application/vnd.oci.image.layer.v1.tar+gzip")
    return images.Layer(blob=packed, diff_id=f"sha256:{diff_id.hexdigest()}")


def of_files(count: int) -> images.Content:
    """Files of 100 bytes, a hundred in a directory."""
    group = 10_000
    names = (b"".join(_small(first, min(group, count - first))) for first in range(0, count, group))
    return images.image(gzipped(names))


def _small(first: int, count: int) -> Iterable[bytes]:
    for number in range(first, first + count):
        if number % 100 == 0:
            yield tar.directory(f"d/{number // 100}")
        yield tar.file(f"d/{number // 100}/{number}", b"x" * 100)


def of_bytes(megabytes: int) -> images.Content:
    """Files of 20 MB in one layer."""
    data = tar.padded(inputs.words()[: 20 * MB])
    files = ((tar.header(f"f{number}", size=20 * MB), data) for number in range(megabytes // 20))
    return images.image(gzipped(part for pair in files for part in pair))


def of_layers(count: int) -> images.Content:
    """Layers of ten files of 10 kB."""
    return images.image(*(inputs.layer(inputs.files(10, 10_000, start=10 * number)) for number in range(count)))


def measured(registry: Registry, directory: Path, name: str, make: Callable[[], images.Content]) -> Cost:
    layout = directory / "layout"
    apart(lambda: images.write_layout(layout, make()))
    repository = f"growth/{name}"
    digest = publish(registry, repository, layout)
    shutil.rmtree(layout)
    contender: Contender = contenders.ours(registry.host, repository, digest)
    return middle(in_turn({"ours": contender}, directory, ROUNDS)["ours"])


def main() -> None:
    curves: dict[str, dict[int, Cost]] = {}
    with scratch() as directory, docker_registry(directory / "registry", Config(as_installed=True)) as registry:
        start = measured(registry, directory, "nothing", images.image)
        for name, sizes, make in (
            ("files", FILES, of_files),
            ("megabytes", MEGABYTES, of_bytes),
            ("layers", LAYERS, of_layers),
        ):
            curves[name] = {}
            for size in sizes:
                cost = measured(registry, directory, f"{name}-{size}", functools.partial(make, size))
                curves[name][size] = cost
                wall, cpu = (cost.wall - start.wall) / size * 1e6, (cost.cpu - start.cpu) / size * 1e6
                print(f"{size:9} {name:10}{wall:10.1f} µs{cpu:10.1f} µs CPU each{cost.memory:6.0f} MiB", flush=True)
    draw(curves, start)


def draw(curves: dict[str, dict[int, Cost]], start: Cost) -> None:
    """Time per unit against the number of units: a flat line is linear growth."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(curves), figsize=(11, 3.2))
    for axis, (name, costs) in zip(axes, curves.items(), strict=True):
        sizes = list(costs)
        axis.plot(sizes, [(cost.wall - start.wall) / size * 1e6 for size, cost in costs.items()], "o-", label="wall")
        axis.plot(sizes, [(cost.cpu - start.cpu) / size * 1e6 for size, cost in costs.items()], "s--", label="CPU")
        axis.set(xscale="log", xlabel=name, ylabel="µs for each", ylim=(0, None), title=name)
        axis.legend()
    figure.tight_layout()
    figure.savefig(PLOT, metadata={"Date": None})


if __name__ == "__main__":
    main()
