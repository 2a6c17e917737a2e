"""Trees are removed completely, at any depth, and nothing else is."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry_image.rootfs import removal
from registry_image.rootfs.removal import remove_tree
from tests.support import filesystem, jail
from tests.support.tree import snapshot

#: Deeper than Python's stack, than the limit of open files below, and than one path can be.
DEPTH = 2_500


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


def make_deep(parent: int, depth: int) -> None:
    """A chain of directories, longer than a path can be."""
    fd = os.dup(parent)
    for _ in range(depth):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)


@pytest.mark.rule(29)
def test_a_tree_is_removed_with_all_its_content_and_symlinks_are_not_followed(tmp_path: Path, parent: int) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_text("kept")
    tree = tmp_path / "tree"
    (tree / "a/b").mkdir(parents=True)
    (tree / "a/b/file").write_text("x")
    (tree / "empty").mkdir()
    (tree / "a/out").symlink_to(tmp_path / "outside")
    (tree / "a/b/up").symlink_to("../../../outside")
    os.mkfifo(tree / "fifo")
    before = snapshot(tmp_path / "outside")
    gone: list[bytes] = []
    remove_tree(parent, b"tree", removed=gone.append)
    assert sorted(gone) == [b"tree", b"tree/a", b"tree/a/b", b"tree/empty"]
    assert os.listdir(tmp_path) == ["outside"]
    assert snapshot(tmp_path / "outside") == before


def remove_the_link() -> None:
    remove_tree(os.open("/", os.O_RDONLY), b"link")


@pytest.mark.rule(29)
def test_a_symlink_in_place_of_the_tree_is_an_error_and_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_text("kept")
    (tmp_path / "link").symlink_to("outside")
    with pytest.raises(NotADirectoryError):
        jail.run(tmp_path, remove_the_link)
    assert (tmp_path / "outside/file").read_text() == "kept"
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("at_once", [1, 2, 3, 7, 100])
def test_a_directory_of_more_names_than_are_read_at_once_is_removed(
    tmp_path: Path, parent: int, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(removal, "NAMES_AT_ONCE", at_once)
    for way in ("a", "b", "b/c", "b/d", "b/d/e"):
        (tmp_path / "tree" / way).mkdir(parents=True)
        for number in range(6):
            (tmp_path / "tree" / way / str(number)).touch()
    gone: list[bytes] = []
    remove_tree(parent, b"tree", removed=gone.append)
    assert sorted(gone) == [b"tree", b"tree/a", b"tree/b", b"tree/b/c", b"tree/b/d", b"tree/b/d/e"]
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file immutable")
@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_names_that_cannot_be_removed_end_the_removal_of_their_directory_alone(
    tmp_path: Path, parent: int, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(removal, "NAMES_AT_ONCE", at_once)
    (tmp_path / "tree/a/b").mkdir(parents=True)
    (tmp_path / "tree/z").mkdir()
    kept = tmp_path / "tree/a/b/kept"
    kept.touch()
    failed: list[bytes] = []
    with filesystem.immutable(kept):
        remove_tree(parent, b"tree", failed=lambda error, path: failed.append(path))
        assert kept.exists()
    assert {b"tree/a/b/kept", b"tree/a/b", b"tree/a", b"tree"} == set(failed)


def test_depth_needs_neither_stack_nor_open_files(tmp_path: Path, parent: int) -> None:
    make_deep(parent, DEPTH)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 8, hard))
    count = 0

    def removed(path: bytes) -> None:
        nonlocal count
        count += 1

    try:
        remove_tree(parent, b"d", removed=removed)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (count, os.listdir(tmp_path)) == (DEPTH, [])


def test_modes_that_lock_their_owner_out_do_not_prevent_removal(tmp_path: Path, parent: int) -> None:
    (tmp_path / "tree/a/b").mkdir(parents=True)
    for mode, name in ((0o000, "tree/a/b"), (0o500, "tree/a"), (0o000, "tree")):
        (tmp_path / name).chmod(mode)
    remove_tree(parent, b"tree")
    assert os.listdir(tmp_path) == []


@pytest.mark.rule(36)
def test_a_failed_removal_is_an_error(tmp_path: Path, parent: int) -> None:
    (tmp_path / "tree/a").mkdir(parents=True)
    (tmp_path / "tree/a/stubborn").touch()
    with filesystem.immutable(tmp_path / "tree/a/stubborn"):
        with pytest.raises(PermissionError):
            remove_tree(parent, b"tree")
        assert (tmp_path / "tree/a/stubborn").exists()


def test_on_request_removal_continues_and_reports_errors(tmp_path: Path, parent: int) -> None:
    (tmp_path / "tree/a").mkdir(parents=True)
    (tmp_path / "tree/b").mkdir()
    for name in ("tree/a/stubborn", "tree/a/file", "tree/b/file"):
        (tmp_path / name).touch()
    told: list[bytes] = []
    with filesystem.immutable(tmp_path / "tree/a/stubborn"):
        remove_tree(parent, b"tree", failed=lambda error, path: told.append(path))
        assert sorted(snapshot(tmp_path / "tree")) == [b"", b"a", b"a/stubborn"]
    assert told == [b"tree/a/stubborn", b"tree/a", b"tree"]
