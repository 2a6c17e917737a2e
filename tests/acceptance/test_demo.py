"""`make demo` works as root or not, with or without Debian's docker-registry."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import parts

TOP = Path(__file__).parents[2]


@pytest.mark.parametrize("root", [True, False], ids=["root", "not-root"])
@pytest.mark.parametrize("real", [True, False], ids=["docker-registry", "fake"])
def test_the_demo_shows_that_git_is_right(root: bool, real: bool) -> None:
    if real:
        parts.need("docker-registry")
    wrapper = [] if root else [parts.need("unshare"), "--user", "--map-user=1000", "--map-group=1000"]
    environment = {"PATH": os.environ["PATH"] if real else "/nowhere"}
    command = [*wrapper, sys.executable, "-m", "benchmarks.demo"]
    shown = subprocess.run(command, cwd=TOP, env=environment, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert shown.stdout.endswith("git is right: two names of one file, and a symlink that leads to it.\n")
    assert ("docker-registry on" in shown.stdout) == real
    assert ("not root" in shown.stdout) == (not root or os.geteuid() != 0)
