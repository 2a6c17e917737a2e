"""The shipped image, built once a session by the Dockerfile on a base of the tests' own, in a real Docker Engine."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support import parts
from tests.support.base import PYTHON, base_rootfs, cache_directory
from tests.support.engine import Engine

TOP = Path(__file__).parents[2]
BASE = "base:test"
IMAGE = "resource:test"


def make(context: Path, engine: Engine, *arguments: str) -> str:
    """Run make in ``context`` against ``engine``, with this session's interpreter; what it printed."""
    environment = parts.with_network() | {"DOCKER_HOST": engine.url, "DOCKER_BUILDKIT": "0"}
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
    with ThreadPoolExecutor(1) as other:
        base = other.submit(base_rootfs)  # minutes as well, and both wait for the network most of the time
        wheelhouse(context, engine)
        base.result()
    return context


def wheelhouse(context: Path, engine: Engine) -> None:
    """Gather the packages, or take those of an earlier session with the same pins: it takes minutes."""
    pins = [*sorted(context.glob("requirements*.txt")), context / ".ci/requirements-sbom.txt"]
    key = hashlib.sha256(b"".join(each.read_bytes() for each in pins)).hexdigest()[:16]
    kept = cache_directory() / f"wheelhouse-{PYTHON}-{key}"
    if not kept.exists():
        make(context, engine, "wheelhouse", f"IMAGE_PYTHON={PYTHON}")
        for old in cache_directory().glob("wheelhouse-*"):
            shutil.rmtree(old)
        made = kept.with_name(f"made-{kept.name}.{os.getpid()}")
        shutil.copytree(context / "wheelhouse", made)
        made.rename(kept)
    else:
        shutil.copytree(kept, context / "wheelhouse")


@pytest.fixture(scope="session")
def image(engine: Engine, context: Path) -> str:
    """The name of the built image."""
    engine.docker("import", str(base_rootfs()), BASE)
    make(context, engine, "image", f"BASE_IMAGE={BASE}", "ARGS=--network=host")
    return IMAGE
