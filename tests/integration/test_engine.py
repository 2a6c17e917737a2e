"""The Docker Engine that the tests start for themselves."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import parts
from tests.support.engine import Engine

pytestmark = pytest.mark.xdist_group("engine")


def test_the_engine_imports_a_tree_and_runs_a_program_in_it(engine: Engine, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for path in map(Path, ("/bin/sh", *libraries_of("/bin/sh"))):
        copy = tree / path.relative_to("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path.resolve(), copy)
    archive = subprocess.run([parts.need("tar"), "-C", str(tree), "-c", "."], check=True, capture_output=True).stdout
    engine.docker("import", "-", "shell:1", stdin=archive)
    run = engine.client.containers.run
    assert run("shell:1", ["/bin/sh", "-c", "echo $((6 * 7))"], network_mode="none", remove=True) == b"42\n"


def libraries_of(program: str) -> list[str]:
    """The shared libraries that ldd lists for ``program``, the loader among them."""
    listed = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    return [word for line in listed.splitlines() for word in line.split() if word.startswith("/")]
