"""A get limited by the network: 8 layers of 40 MB, 50 ms latency, 20 MB/s per connection.

``python -m benchmarks.network`` compares its time with the best possible schedule.
"""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections.abc import Iterator

from benchmarks import contenders
from benchmarks.measure import in_turn, middle
from benchmarks.scratch import publish, scratch
from tests.support import images, tar
from tests.support.registry import Config, docker_registry

LAYERS = 8
LAYER_SIZE = 40_000_000
LATENCY = 0.05
RATE = 20_000_000
PARALLEL = 4
_CHUNK = 100_000
#: Seconds that the relay may make up after it woke too late.
_SLACK = 0.1


def image() -> images.Content:
    """Incompressible layers, so that their size on the wire is known."""
    chance = random.Random(5)  # noqa: S311  (filler, no secret)
    return images.image(
        *(
            images.layer(tar.archive(tar.file(f"{number}", chance.randbytes(LAYER_SIZE))), "none")
            for number in range(LAYERS)
        )
    )


@contextlib.contextmanager
def slow_link(target: str, *, rate: int = RATE, latency: float = LATENCY) -> Iterator[str]:
    """Host and port of a relay to ``target``. Per connection it takes ``latency`` seconds for each 64 kB upwards, and
    sends ``rate`` bytes a second downwards."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=64)
    # A small buffer: a larger one would hold megabytes that a real link would not.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    host, _, port = target.rpartition(":")

    def relay(client: socket.socket) -> None:
        with client, socket.create_connection((host, int(port))) as server, contextlib.suppress(OSError):
            back = threading.Thread(target=downwards, args=(server, client), daemon=True)
            back.start()
            while data := client.recv(1 << 16):
                time.sleep(latency)
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)
            back.join()

    def downwards(server: socket.socket, client: socket.socket) -> None:
        due = time.monotonic()
        with contextlib.suppress(OSError):
            while data := server.recv(_CHUNK):
                due = max(due, time.monotonic() - _SLACK) + len(data) / rate
                time.sleep(max(0.0, due - time.monotonic()))
                client.sendall(data)
            client.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listening.accept()
                threading.Thread(target=relay, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"127.0.0.1:{listening.getsockname()[1]}"
    finally:
        listening.close()


def main() -> None:
    ideal = LAYERS * LAYER_SIZE / (RATE * PARALLEL) + 3 * LATENCY
    with scratch() as directory, docker_registry(directory / "registry", Config(as_installed=True)) as registry:
        layout = directory / "layout"
        images.write_layout(layout, image())
        digest = publish(registry, "bench/network", layout)
        with slow_link(registry.host) as host:
            rivals = {"ours": contenders.ours(host, "bench/network", digest, max_concurrent_downloads=PARALLEL)}
            costs = in_turn(rivals, directory, rounds=3)
        ours = middle(costs["ours"])
        print(f"network-bound: {ours.wall:.2f} s, fastest possible {ideal:.2f} s: {ours.wall / ideal:.2f}")


if __name__ == "__main__":
    main()
