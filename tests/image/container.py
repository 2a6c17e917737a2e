"""Runs the steps of an image as Concourse does: in a container never used before, with an empty environment."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support import parts
from tests.support.engine import Engine

BUILD = "/tmp/build"
"""Where a step's directory is mounted."""
STEP_SECONDS = 240


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What a step answered and said."""

    answer: object
    stderr: str
    changes: tuple[str, ...]
    """How the container's files differ from the image's: ``A /added``, ``C /changed``, ``D /deleted``."""


def step(
    engine: Engine,
    image: str,
    request: object,
    *command: str,
    mount: Path | None = None,
    environment: Mapping[str, str] | None = None,
    options: tuple[str, ...] = (),
    status: int = 0,
) -> Ran:
    """Run one of the executables: no TTY, cwd ``/``, the default capabilities. ``mount`` is its directory at `BUILD`,
    ``options`` are docker's. Fails unless it ends with ``status``; the answer of what failed is None."""
    volume = [f"--volume={mount}:{BUILD}"] if mount else []
    create = [
        "create",
        "--interactive",
        "--network=host",
        "--workdir=/",
        "--entrypoint=/usr/bin/env",
        *volume,
        *options,
    ]
    around = [f"{name}={value}" for name, value in (environment or {}).items()]
    container = engine.docker(*create, image, "-i", *around, *command).decode().strip()
    try:
        start = [parts.need("docker"), f"--host={engine.url}", "start", "--attach", "--interactive", container]
        data = json.dumps(request).encode()
        done = subprocess.run(start, input=data, capture_output=True, timeout=STEP_SECONDS, check=False)
        said = done.stderr.decode()
        assert done.returncode == status, said
        changes = engine.docker("diff", container).decode().splitlines()
    finally:
        engine.docker("rm", "--force", container)
    return Ran(answer=json.loads(done.stdout) if status == 0 else None, stderr=said, changes=tuple(sorted(changes)))


def files(engine: Engine, image: str) -> dict[str, tarfile.TarInfo]:
    """Every entry of the image's root filesystem by its absolute path."""
    container = engine.docker("create", image, "none").decode().strip()
    try:
        exported = engine.docker("export", container)
    finally:
        engine.docker("rm", container)
    with tarfile.open(fileobj=io.BytesIO(exported)) as archive:
        return {f"/{member.name.rstrip('/')}": member for member in archive}


def content(engine: Engine, image: str, path: str) -> bytes:
    """What a file of the image holds."""
    return engine.docker("run", "--rm", "--network=none", "--entrypoint=/bin/cat", image, path)
