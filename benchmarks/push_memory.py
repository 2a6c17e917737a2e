"""``python -m benchmarks.push_memory``: the peak memory of a push with a small and with a large layer.

It must stay under 128 MiB for any size of layer.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from benchmarks.measure import Cost, run
from benchmarks.scratch import scratch
from tests.support import images
from tests.support.registry import docker_registry
from tests.support.runner import ASSETS

MIB = 1024 * 1024
SIZES = {"1 MiB": MIB, "2 GiB": 2048 * MIB}


def main() -> None:
    with scratch() as directory, docker_registry(directory / "registry") as registry:
        print(f"{'layer':8}{'MiB':>6}{'wall s':>8}{'CPU s':>7}")
        for name, size in SIZES.items():
            layout = directory / f"layout-{size}"
            _write_layout(layout, size)
            source = {"repository": f"{registry.host}/bench/push", "tag": "large"}
            request = {"source": source, "params": {"image": layout.name}}
            cost: Cost = run([str(ASSETS / "out"), str(directory)], stdin=json.dumps(request).encode())
            print(f"{name:8}{cost.memory:6.0f}{cost.wall:8.2f}{cost.cpu:7.2f}", flush=True)


def _write_layout(directory: Path, size: int) -> None:
    """An image with one layer of ``size`` random bytes, not a tar: put does not parse layers."""
    noise = os.urandom(MIB)
    digest = hashlib.sha256()
    for _ in range(size // MIB):
        digest.update(noise)
    layer = images.Layer(
        blob=images.Blob(
            media_type="application/vnd.oci.image.layer.v1.tar",
            data=b"",
            digest=f"sha256:{digest.hexdigest()}",
            size=size,
        ),
        diff_id=f"sha256:{digest.hexdigest()}",
    )
    images.write_layout(directory, images.image(layer))
    with open(directory / "blobs" / "sha256" / digest.hexdigest(), "wb") as blob:
        for _ in range(size // MIB):
            blob.write(noise)


if __name__ == "__main__":
    main()
