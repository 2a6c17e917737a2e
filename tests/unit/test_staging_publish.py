"""Several names are published together: a failure between two of them takes all of them back."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from registry_image.errors import StorageError
from registry_image.progress import Listener
from registry_image.rootfs.staging import Staging
from tests.support import filesystem, parts
from tests.support.ear import Ear


def make(staging: Staging, *names: str) -> None:
    for name in names:
        (Path(staging.path) / name).mkdir()


def test_what_was_published_stays(tmp_path: Path) -> None:
    with Staging(tmp_path, Listener()) as staging:
        make(staging, "a", "b")
        staging.publish("a")
        staging.publish("b")
    assert {each.name for each in tmp_path.iterdir()} == {"a", "b"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, StorageError])
def test_a_failure_takes_back_what_was_published(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), Staging(tmp_path, Listener()) as staging:  # noqa: PT012 - the order is what matters
        make(staging, "a")
        staging.publish("a")
        raise error("between two names")
    assert list(tmp_path.iterdir()) == []


def test_what_somebody_else_put_there_is_not_ours_to_take(tmp_path: Path) -> None:
    with pytest.raises(StorageError), Staging(tmp_path, Listener()) as staging:  # noqa: PT012
        make(staging, "a", "b")
        staging.publish("a")
        (tmp_path / "b").write_text("theirs")
        staging.publish("b")
    assert {each.name for each in tmp_path.iterdir()} == {"b"}
    assert (tmp_path / "b").read_text() == "theirs"


def publish_and_fail(destination: str, mode: str) -> None:
    """Runs in a process without root: a root filesystem whose image gives its top ``mode``, then an error."""
    try:
        with Staging(destination, Listener()) as staging:
            (Path(staging.path) / "rootfs/etc").mkdir(parents=True)
            os.chmod(os.path.join(staging.path, "rootfs"), int(mode, 8))
            staging.publish("rootfs")
            assert os.lstat(os.path.join(destination, "rootfs")).st_mode & 0o777 == int(mode, 8)
            raise ZeroDivisionError
    except ZeroDivisionError:
        return


@pytest.mark.rule(49)
@pytest.mark.parametrize("mode", ["0555", "0000"])
def test_without_capabilities_a_directory_that_may_not_be_written_is_taken_back_too(tmp_path: Path, mode: str) -> None:
    call = (
        f"from tests.unit.test_staging_publish import publish_and_fail; publish_and_fail({str(tmp_path)!r}, {mode!r})"
    )
    # Root without capabilities: a container in which tests run may have no user namespaces.
    powerless = [parts.need("setpriv"), "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*powerless, sys.executable, "-c", call],
        env={"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_taken_back_is_reported(tmp_path: Path) -> None:
    ear = Ear()

    def work(guards: contextlib.ExitStack) -> None:
        with Staging(tmp_path, ear) as staging:
            make(staging, "a")
            staging.publish("a")
            guards.enter_context(filesystem.immutable(tmp_path / "a"))
            raise ZeroDivisionError

    with contextlib.ExitStack() as guards, pytest.raises(ZeroDivisionError):
        work(guards)
    assert [name.name for name in tmp_path.iterdir()] == ["a"]
    assert len(ear.notes) == 1
    assert f"{tmp_path / 'a'}" in ear.notes[0]
