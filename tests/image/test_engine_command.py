"""`make image` and `make bundle` use the engine whose command DOCKER names, and say what to do where none answers."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]


def make(
    target: str, *arguments: str, path: Path, checkout: Path = TOP, **variables: str
) -> subprocess.CompletedProcess[str]:
    environment = variables | {
        "PATH": f"{path}:{os.environ['PATH']}",
        "HOME": str(path),
        "GIT_CEILING_DIRECTORIES": str(path),
    }
    command = ["make", "--no-print-directory", target, "IMAGE=image:test", "VERSION=1.2.3", "ARCH=amd64", *arguments]
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)


def engine(directory: Path, script: str) -> None:
    """A command `engine` that notes how it was called."""
    program = directory / "engine"
    program.write_text(f'#!/bin/sh\necho "$@" >>{directory}/called\n{script}\n')
    program.chmod(0o755)


@pytest.mark.parametrize("target", ["image", "bundle"])
def test_a_command_that_is_not_there_is_named_and_what_to_do(target: str, tmp_path: Path) -> None:
    done = make(target, "DOCKER=no-such-engine", path=tmp_path)
    assert done.returncode != 0
    assert "There is no no-such-engine here. Install it, or name another engine" in done.stderr


@pytest.mark.parametrize("target", ["image", "bundle"])
def test_an_engine_that_does_not_answer_is_named_with_what_it_says(target: str, tmp_path: Path) -> None:
    engine(tmp_path, "echo 'cannot connect to the socket' >&2; exit 1")
    done = make(target, "DOCKER=engine", path=tmp_path)
    assert done.returncode != 0
    assert "engine is here, but no engine answers it: is it running, and may you use it?" in done.stderr
    assert "cannot connect to the socket" in done.stderr
    assert (tmp_path / "called").read_text() == "info\n"


def test_the_engine_that_docker_names_builds_the_image(tmp_path: Path) -> None:
    engine(tmp_path, "")
    assert make("image", "DOCKER=engine", path=tmp_path).returncode == 0
    called = (tmp_path / "called").read_text().splitlines()
    assert called[0] == "info"
    assert called[1].startswith("build --target resource --tag image:test ")


def test_the_image_has_the_commits_time_and_says_whether_the_checkout_was_changed(tmp_path: Path) -> None:
    engine(tmp_path, "")
    checkout = tmp_path / "checkout"
    for name in ("Makefile", ".ci/engine"):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(TOP / name, checkout / name)

    def built(**variables: str) -> tuple[str, str]:
        """The revision and the time that the engine was given."""
        (tmp_path / "called").unlink(missing_ok=True)
        assert make("image", "DOCKER=engine", path=tmp_path, checkout=checkout, **variables).returncode == 0
        given = dict(re.findall(r"--build-arg (\w+)=(\S*)", (tmp_path / "called").read_text()))
        return given["revision"], given["SOURCE_DATE_EPOCH"]

    def git(*arguments: str) -> str:
        who = ("-c", "user.name=t", "-c", "user.email=t@example.invalid")
        environment = os.environ | {"GIT_COMMITTER_DATE": "1600000000 +0000"}
        command = ["git", *who, *arguments]
        done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    assert built() == ("unknown", "0")  # an archive of the sources
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message=x")
    git("tag", "v1")
    commit = git("rev-parse", "HEAD")
    assert built() == (commit, "1600000000")
    assert built(SOURCE_DATE_EPOCH="5") == (commit, "5")
    with (checkout / "Makefile").open("a") as changed:
        changed.write("# changed\n")
    assert built() == (f"{commit}-dirty", "1600000000")
