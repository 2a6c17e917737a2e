"""The shipped image, built once a session by the Dockerfile on a base of the tests' own, in a real Docker Engine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.base import PYTHON, base_rootfs
from tests.support.engine import Engine

TOP = Path(__file__).parents[2]
BASE = "base:test"
IMAGE = "resource:test"


def make(context: Path, engine: Engine, *arguments: str) -> str:
    """Run make in ``context`` against ``engine``, with this session's interpreter; what it printed."""
    environment = os.environ | {"DOCKER_HOST": engine.url, "DOCKER_BUILDKIT": "0"}
    command = ["make", "--no-print-directory", f"PY={sys.executable}", f"IMAGE={IMAGE}", *arguments]
    done = subprocess.run(command, cwd=context, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def context(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `docker build` sees: the tracked files of this checkout and a wheelhouse for the base's Python."""
    context = tmp_path_factory.mktemp("context") / "checkout"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=TOP, capture_output=True, check=True
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (TOP / name).exists():
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(TOP / name, context / name, follow_symlinks=False)
    # `make` takes the revision from git, and this interpreter's environment for set up.
    subprocess.run(["git", "init", "-q"], cwd=context, check=True)
    commit = [
        "git",
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@example.invalid",
        "commit",
        "-q",
        "--allow-empty",
        "-m",
        "x",
    ]
    subprocess.run(commit, cwd=context, check=True)
    (context / ".venv").mkdir()
    (context / ".venv" / ".set-up").touch()
    make(context, engine, "wheelhouse", f"IMAGE_PYTHON={PYTHON}")
    return context


@pytest.fixture(scope="session")
def image(engine: Engine, context: Path) -> str:
    """The name of the built image."""
    engine.docker("import", str(base_rootfs()), BASE)
    make(context, engine, "image", f"BASE_IMAGE={BASE}", "ARGS=--network=host")
    return IMAGE
