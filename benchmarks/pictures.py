"""Pictures of build logs for the pages: ``make pictures`` draws them of the bytes in ``docs/pictures``.

``python -m benchmarks.pictures --record`` runs the steps that they show once more, against a registry on loopback that
is called ghcr.io and lies behind a slow link, and keeps the bytes that they write on stderr.
"""

from __future__ import annotations

import contextlib
import functools
import random
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.network import slow_link
from tests.support import images, picture, runner, tar
from tests.support.certificates import Authority
from tests.support.fakeregistry import FakeRegistry, fake_registry
from tests.support.proxy import tunnelling_proxy

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
HOST, NAME = "ghcr.io", "org/app"
#: Bytes in each layer: one that takes long, some that are there before it is their turn.
LAYERS = (3_000_000, 14_000_000, 2_000_000, 5_200_000, 1_600_000, 400_000)
#: The bytes in the layers that the pushed image has of its own.
NEW_LAYERS = (19_000_000, 7_400_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The registry, and what a step needs to reach it as ``ghcr.io/org/app``."""

    registry: FakeRegistry
    source: Mapping[str, object]
    environment: Mapping[str, str]
    directory: Path


@contextlib.contextmanager
def stage(*, rate: int) -> Iterator[Stage]:
    """``rate`` is bytes a second on each connection; upwards it is about that, too."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        authority = Authority(directory / "certificates")
        pair = authority.issue(HOST, names=(HOST,))
        with (
            fake_registry(pair) as registry,
            tunnelling_proxy({f"{HOST}:443": registry.host}) as proxy,
            slow_link(proxy.url.removeprefix("http://"), rate=rate, latency=(1 << 15) / rate) as link,
        ):
            registry.add(NAME, image(), "1.1", "latest")
            yield Stage(
                registry=registry,
                source={"repository": f"{HOST}/{NAME}", "ca_certs": [authority.pem]},
                environment={"https_proxy": f"http://{link}"},
                directory=directory,
            )


@functools.cache
def layer(number: int, size: int) -> images.Layer:
    chance = random.Random(number)  # noqa: S311  (filler, no secret)
    return images.layer(tar.archive(tar.file(f"usr/share/{number}", chance.randbytes(size))))


def image() -> images.Content:
    return images.image(*map(layer, range(len(LAYERS)), LAYERS), architecture="amd64")


def pushed_image() -> images.Content:
    """The layers of `image`, and two more."""
    layers = [*LAYERS, *NEW_LAYERS]
    return images.image(*map(layer, range(len(layers)), layers), architecture="amd64")


def get(place: Stage) -> runner.Outcome:
    source = {**place.source, "platform": "linux/amd64"}
    request = {"source": source, "version": {"tag": "1.1", "digest": image().digest}}
    return runner.get(request, place.directory / "get", environment=place.environment)


def put(place: Stage) -> runner.Outcome:
    images.write_layout(place.directory / "artifacts" / "image", pushed_image())
    params = {"image": "image", "version": "1.2.0", "bump_aliases": True}
    request = {"source": place.source, "params": params}
    return runner.put(request, place.directory / "artifacts", environment=place.environment)


def failure(place: Stage) -> runner.Outcome:
    """A get for a platform that the image does not have."""
    index = images.index(images.on(image(), "amd64"), images.on(images.image(b""), "arm", variant="v7"))
    place.registry.add(NAME, index, "1.1")
    source = {**place.source, "platform": "linux/arm64"}
    request = {"source": source, "version": {"tag": "1.1", "digest": index.digest}}
    return runner.get(request, place.directory / "failure", environment=place.environment)


STEPS: dict[str, Callable[[Stage], runner.Outcome]] = {"get": get, "put": put, "failure": failure}
TITLES = {
    "get": "The build log of a get, at its end",
    "get-midway": "The build log of a get, midway",
    "put": "The build log of a put, at its end",
    "put-midway": "The build log of a put, midway",
    "failure": "The build log of a get that fails",
}


def log_of(name: str, *, rate: int) -> bytes:
    """What the step writes to the build log, but for a warning that only this machine gives."""
    with stage(rate=rate) as place:
        outcome = STEPS[name](place)
    return re.sub(r"warning: not root.*\n", "", outcome.stderr).encode()


def midway(log: bytes) -> bytes:
    """``log`` up to the end of a frame of its first half, in which every kind of row is seen."""
    starts = [found.start() for found in re.finditer(rb"\x1b\[\d+A", log)]
    return log[: starts[len(starts) // 4]]


def drawn() -> dict[str, str]:
    """Every picture, by the name of its file."""
    pictures = {}
    for name, title in TITLES.items():
        log = (PICTURES / f"{name.removesuffix('-midway')}.ansi").read_bytes()
        pictures[f"{name}.svg"] = picture.svg(midway(log) if name.endswith("-midway") else log, title)
    return pictures


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    if "--record" in sys.argv:
        for name in STEPS:
            (PICTURES / f"{name}.ansi").write_bytes(log_of(name, rate=2_500_000))
    for name, text in drawn().items():
        (PICTURES / name).write_text(text)


if __name__ == "__main__":
    main()
