"""The programs to compare: this resource, and others that make the same tree from the same image."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import Contender, Cost, run
from tests.support.engine import Engine

IN = Path(__file__).parents[1] / "assets" / "in"


def blobs(layout: Path) -> list[Path]:
    """The layers' blobs in an OCI layout of one image, base layer first."""

    def path(descriptor: dict[str, str]) -> Path:
        return layout / "blobs" / "sha256" / descriptor["digest"].removeprefix("sha256:")

    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads(path(index["manifests"][0]).read_text())
    return [path(layer) for layer in manifest["layers"]]


def ours(host: str, repository: str, digest: str, **source: object) -> Contender:
    """A whole verified get from a registry."""
    return other_in(IN, host, repository, digest, **source)


def other_in(program: Path, host: str, repository: str, digest: str, **source: object) -> Contender:
    """The same get by another `in`: of another checkout, or registry-image's."""
    request = {
        "source": {"repository": f"{host}/{repository}", "insecure": True, **source},
        "version": {"tag": "latest", "digest": digest},
    }

    def get(directory: Path) -> Cost:
        return run([str(program), str(directory)], stdin=json.dumps(request).encode())

    return get


def pipes(layers: Sequence[Path]) -> Contender:
    """``igzip -dc | tar x`` or ``zstd -dc | tar x`` for each blob on disk, without verification and whiteouts."""
    lines = ["set -e"]
    for layer in layers:
        with layer.open("rb") as blob:
            magic = blob.read(4)
        program = {b"\x1f\x8b": "igzip -dc", b"\x28\xb5": "zstd -qdc"}.get(magic[:2], "cat")
        # tar fails where the real image replaces a directory by a symlink, so ignore its errors.
        lines.append(f"{program} {layer} | tar x --numeric-owner 2>/dev/null || true")
    script = "\n".join(lines)
    return lambda directory: run(["bash", "-c", script], cwd=directory)


def skopeo_and_umoci(host: str, repository: str, tag: str) -> Contender:
    script = (
        f"set -e; skopeo copy --quiet --src-tls-verify=false docker://{host}/{repository}:{tag} oci:layout:it; "
        "umoci --log error unpack --image layout:it bundle"
    )
    return lambda directory: run(["bash", "-c", script], cwd=directory)


def docker_pull(engine: Engine, host: str, repository: str) -> Contender:
    """Only wall time: the work happens in the engine's process."""
    image = f"{host}/{repository}:latest"

    def pull(_directory: Path) -> Cost:
        cost = run(["docker", f"--host={engine.url}", "pull", "--quiet", image])
        engine.docker("rmi", image)
        return Cost(wall=cost.wall, cpu=math.nan, memory=math.nan)

    return pull
