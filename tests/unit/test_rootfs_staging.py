"""Work in progress beside its final place: published whole, or removed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from registry_image.errors import StorageError
from registry_image.progress import Listener
from registry_image.rootfs.staging import CLEANING_SECONDS, STAGING_PREFIX, Staging
from tests.support import filesystem
from tests.support.ear import Ear
from tests.support.tree import snapshot

pytestmark = pytest.mark.rule(49)


def test_published_files_appear_under_their_names_and_the_rest_is_removed(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("stays")
    with Staging(tmp_path, Listener()) as staging:
        staged = Path(staging.path)
        assert (staged.parent, staged.name.startswith(STAGING_PREFIX)) == (tmp_path, True)
        assert staged.stat().st_mode & 0o777 == 0o700
        (staged / "rootfs/a").mkdir(parents=True)
        (staged / "rest/b").mkdir(parents=True)
        assert sorted(os.listdir(tmp_path)) == [staging.name, "mine"]
        staging.publish("rootfs")
        assert (tmp_path / "rootfs/a").is_dir()
    assert sorted(os.listdir(tmp_path)) == ["mine", "rootfs"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_however_it_ends_nothing_is_left(error: type[BaseException], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").write_text("stays")
    before = snapshot(tmp_path / "mine")

    def work() -> None:
        with Staging(tmp_path, Listener()) as staging:
            (Path(staging.path) / "rootfs/a/b").mkdir(parents=True)
            (Path(staging.path) / "rootfs/a/out").symlink_to(tmp_path / "mine")
            raise error

    with pytest.raises(error):
        work()
    assert os.listdir(tmp_path) == ["mine"]
    assert snapshot(tmp_path / "mine") == before


def test_a_final_name_that_is_taken_is_never_written_over(tmp_path: Path) -> None:
    makers: list[Callable[[Path], None]] = [Path.mkdir, Path.touch, lambda path: path.symlink_to("nowhere")]
    for number, make in enumerate(makers):
        make(tmp_path / "rootfs")
        with Staging(tmp_path, Listener()) as staging:
            (Path(staging.path) / "rootfs").mkdir()
            with pytest.raises(StorageError, match="already"):
                staging.require_absent("rootfs")
            with pytest.raises(StorageError, match="already"):
                staging.publish("rootfs")
        assert os.listdir(tmp_path) == ["rootfs"]
        os.rename(tmp_path / "rootfs", tmp_path.parent / f"{tmp_path.name}-{number}")


def test_modes_and_times_survive_publication(tmp_path: Path) -> None:
    with Staging(tmp_path, Listener()) as staging:
        source = Path(staging.path) / "rootfs"
        source.mkdir()
        source.chmod(0o555)
        os.utime(source, ns=(5, 5))
        staging.publish("rootfs")
    status = (tmp_path / "rootfs").stat()
    assert (status.st_mode & 0o7777, status.st_mtime_ns) == (0o555, 5)


def test_a_destination_that_does_not_exist_is_made(tmp_path: Path) -> None:
    with Staging(tmp_path / "a/b", Listener()):
        pass
    assert os.listdir(tmp_path / "a/b") == []


def test_a_destination_that_is_not_a_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="staging directory"), Staging(tmp_path / "file", Listener()):
        pass


def test_a_failed_removal_is_reported_and_hides_no_error(tmp_path: Path) -> None:
    ear = Ear()
    staging = Staging(tmp_path, ear)
    stubborn = Path(staging.path) / "rootfs/stubborn"

    def work(guards: contextlib.ExitStack) -> None:
        with staging:
            stubborn.parent.mkdir()
            stubborn.touch()
            (stubborn.parent / "other").touch()
            guards.enter_context(filesystem.immutable(stubborn))
            raise ZeroDivisionError

    with contextlib.ExitStack() as guards:
        with pytest.raises(ZeroDivisionError):
            work(guards)
        assert os.listdir(tmp_path) == [staging.name]
        assert os.listdir(stubborn.parent) == ["stubborn"]
        assert len(ear.notes) == 1
        assert "stubborn" in ear.notes[0]


def test_cleaning_up_ends_in_time(tmp_path: Path) -> None:
    times = iter([0.0, 0.0, CLEANING_SECONDS - 1, CLEANING_SECONDS + 1])
    ear = Ear()
    with Staging(tmp_path, ear, clock=lambda: next(times)) as staging:
        for number in range(9):
            (Path(staging.path) / str(number)).mkdir()
    assert len(os.listdir(staging.path)) == 6
    assert os.listdir(tmp_path) == [staging.name]
    assert "8 s" in ear.notes[0]
