"""in on disks that are full, read-only, immutable or lack features: a clear error and nothing left, or the image."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import filesystem, images, runner, tar
from tests.support.registry import Registry

MEBIBYTE = 1 << 20
LARGE = images.image(tar.archive(tar.file("small", b"x")), tar.archive(tar.file("large", os.urandom(8 * MEBIBYTE))))
MANY = images.image(tar.archive(*(tar.file(f"{n}", b"") for n in range(3000))))
SMALL = images.image(tar.archive(tar.file("etc/motd", b"hello", xattrs={"user.colour": b"blue"})))


@pytest.fixture
def destination(tmp_path: Path) -> Iterator[Path]:
    """Asserts afterwards that nothing appeared beside the destination."""
    inner = tmp_path / "outside" / "destination"
    inner.mkdir(parents=True)
    yield inner
    assert os.listdir(tmp_path / "outside") == ["destination"]


def get(
    registry: Registry, repository: str, content: images.Content, destination: Path, **params: object
) -> runner.Outcome:
    digest = images.push(registry, repository, content, "latest")
    request = {"source": registry.source(repository), "version": {"tag": "latest", "digest": digest}, "params": params}
    return runner.get(request, destination)


@pytest.mark.parametrize(
    ("options", "content"),
    [("size=4m", LARGE), ("nr_inodes=1000", MANY)],
    ids=["bytes", "inodes"],
)
def test_a_full_disk_is_an_error_and_nothing_is_left(
    options: str, content: images.Content, registry: Registry, repository_name: str, destination: Path
) -> None:
    with filesystem.mounted("tmpfs", destination, options):
        (destination / "mine").write_text("stays")
        runner.failed(get(registry, repository_name, content, destination), "No space left on device")
        assert os.listdir(destination) == ["mine"]


@pytest.mark.parametrize("form", ["rootfs", "oci", "oci-layout"])
def test_a_full_disk_gets_a_hint_in_every_format(
    form: str, registry: Registry, repository_name: str, destination: Path
) -> None:
    with filesystem.mounted("tmpfs", destination, "size=4m"):
        outcome = get(registry, repository_name, LARGE, destination, format=form)
        runner.failed(outcome, "No space left on device", "hint: free space")
        assert os.listdir(destination) == []


def test_a_read_only_destination_is_an_error(registry: Registry, repository_name: str, destination: Path) -> None:
    with filesystem.mounted("tmpfs", destination):
        filesystem.remount(destination, "ro")
        runner.failed(get(registry, repository_name, SMALL, destination), "Read-only file system")
        assert os.listdir(destination) == []


def test_an_immutable_destination_is_an_error(registry: Registry, repository_name: str, destination: Path) -> None:
    with filesystem.immutable(destination):
        runner.failed(get(registry, repository_name, SMALL, destination), "Operation not permitted")
        assert os.listdir(destination) == []


def test_a_destination_on_another_file_system_gets_the_image(
    registry: Registry, repository_name: str, destination: Path
) -> None:
    with filesystem.mounted("tmpfs", destination, "size=64m"):
        assert get(registry, repository_name, LARGE, destination).status == 0
        assert (destination / "rootfs/large").stat().st_size == 8 * MEBIBYTE


def test_a_file_system_without_xattrs_gives_one_warning(
    registry: Registry, repository_name: str, destination: Path
) -> None:
    files = [tar.file(str(n), b"x", xattrs={"user.colour": b"blue"}) for n in range(7)]
    with filesystem.mounted("ramfs", destination):
        outcome = get(registry, repository_name, images.image(tar.archive(*files)), destination)
        assert outcome.status == 0, outcome.stderr
        assert [(destination / "rootfs" / str(n)).read_bytes() for n in range(7)] == [b"x"] * 7
    warnings = [line for line in outcome.stderr.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1, outcome.stderr
    assert "7" in warnings[0]


def test_a_missing_destination_is_an_error(registry: Registry, repository_name: str, tmp_path: Path) -> None:
    digest = images.push(registry, repository_name, SMALL, "latest")
    request = {"source": registry.source(repository_name), "version": {"tag": "latest", "digest": digest}}
    runner.failed(runner.run("in", request, tmp_path / "missing"), "directory")
    assert os.listdir(tmp_path) == []
