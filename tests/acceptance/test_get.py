"""in with format rootfs, as Concourse runs it, against real registries."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from tests.support import images, runner, tar
from tests.support.registry import Registry

COMPRESSIONS: tuple[images.Compression, ...] = ("gzip", "zstd", "none")

GIT, CORE = "usr/bin/git", "usr/libexec/git-core/git"
PROGRAM = b"#!/bin/true\n" * 1000


def version(content: images.Content, tag: str = "latest") -> dict[str, str]:
    return {"tag": tag, "digest": content.digest}


def get(registry: Registry, repository: str, content: images.Content, destination: Path) -> runner.Outcome:
    """Push ``content`` and get it by digest."""
    images.push(registry, repository, content, "latest")
    return runner.get({"source": registry.source(repository), "version": version(content)}, destination)


def names(directory: Path) -> set[str]:
    return {each.name for each in directory.iterdir()}


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize(("file", "link"), [(GIT, CORE), (CORE, GIT)], ids=["file-in-bin", "file-in-libexec"])
@pytest.mark.parametrize(("replaced", "kept"), [(GIT, CORE), (CORE, GIT)], ids=["bin-replaced", "libexec-replaced"])
def test_a_hard_linked_name_replaced_by_a_symlink_leaves_the_other_a_file(
    compression: images.Compression,
    file: str,
    link: str,
    replaced: str,
    kept: str,
    registry: Registry,
    repository_name: str,
    tmp_path: Path,
) -> None:
    """The case that started this project: docs/layers.md "Why order matters"."""
    lower = tar.archive(tar.file(file, PROGRAM, mode=0o755), tar.hardlink(link, to=file))
    upper = tar.archive(tar.symlink(replaced, to=f"/{kept}"))
    content = images.image(images.layer(lower, compression), images.layer(upper, compression))
    assert get(registry, repository_name, content, tmp_path).version == version(content)
    program = tmp_path / "rootfs" / kept
    status = program.lstat()
    assert stat.S_ISREG(status.st_mode)
    assert (status.st_nlink, program.read_bytes()) == (1, PROGRAM)
    assert os.readlink(tmp_path / "rootfs" / replaced) == f"/{kept}"


def test_an_image_is_got_from_every_kind_of_registry(
    any_registry: Registry, repository_name: str, tmp_path: Path
) -> None:
    content = images.image(tar.archive(tar.file("etc/motd", b"hello")))
    assert get(any_registry, repository_name, content, tmp_path).version == version(content)
    assert (tmp_path / "rootfs/etc/motd").read_bytes() == b"hello"


def test_the_files_beside_the_rootfs_describe_it(registry: Registry, repository_name: str, tmp_path: Path) -> None:
    inner = {
        "Env": ["PATH=/bin", "A=b=c"],
        "User": "1000:1000",
        "Entrypoint": ["/bin/sh", "-c"],
        "Cmd": ["true"],
        "Labels": {"org.example": "yes"},
    }
    content = images.image(tar.archive(tar.file("f")), config=inner)
    outcome = get(registry, repository_name, content, tmp_path)
    assert outcome.metadata["repository"] == f"{registry.host}/{repository_name}"
    assert outcome.metadata["tag"] == "latest"
    documents = {"metadata.json", "labels.json", "manifest.json", "config.json"}
    assert names(tmp_path) == {"repository", "tag", "digest", "rootfs"} | documents
    assert (tmp_path / "repository").read_text() == f"{registry.host}/{repository_name}"
    assert (tmp_path / "tag").read_text() == "latest"
    assert (tmp_path / "digest").read_text() == content.digest
    metadata = json.loads((tmp_path / "metadata.json").read_text())
    assert metadata["env"] == inner["Env"]
    assert metadata["user"] == "1000:1000"
    assert metadata["entrypoint"] == ["/bin/sh", "-c"]
    assert metadata["cmd"] == ["true"]
    assert json.loads((tmp_path / "labels.json").read_text()) == {"org.example": "yes"}


def test_an_image_with_docker_media_types_is_unpacked(registry: Registry, repository_name: str, tmp_path: Path) -> None:
    content = images.image(tar.archive(tar.file("f", b"docker")), docker=True)
    get(registry, repository_name, content, tmp_path)
    assert (tmp_path / "rootfs/f").read_bytes() == b"docker"


@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
def test_the_source_s_platform_is_selected_from_an_index(
    docker: bool, registry: Registry, repository_name: str, tmp_path: Path
) -> None:
    children = {
        name: images.image(tar.archive(tar.file("arch", name.encode())), architecture=name, docker=docker)
        for name in ("amd64", "arm64", "riscv64")
    }
    index = images.index(*(images.on(child, name) for name, child in children.items()), docker=docker)
    images.push(registry, repository_name, index, "latest")
    source = registry.source(repository_name, platform={"architecture": "riscv64", "os": "linux"})
    outcome = runner.get({"source": source, "version": version(index)}, tmp_path)
    assert outcome.version == version(index)
    assert (tmp_path / "rootfs/arch").read_bytes() == b"riscv64"
    assert (tmp_path / "digest").read_text() == index.digest


def test_a_missing_platform_is_an_error_that_lists_the_others(
    registry: Registry, repository_name: str, tmp_path: Path
) -> None:
    child = images.image(tar.archive(tar.file("f")), architecture="s390x")
    index = images.index(images.on(child, "s390x"))
    images.push(registry, repository_name, index, "latest")
    source = registry.source(repository_name, platform={"architecture": "riscv64", "os": "linux"})
    outcome = runner.get({"source": source, "version": version(index)}, tmp_path)
    runner.failed(outcome, "linux/riscv64", "linux/s390x")
    assert names(tmp_path) == set()


def test_the_digest_wins_over_the_tag(registry: Registry, repository_name: str, tmp_path: Path) -> None:
    old = images.image(tar.archive(tar.file("version", b"old")))
    new = images.image(tar.archive(tar.file("version", b"new")))
    images.push(registry, repository_name, old, "latest")
    images.push(registry, repository_name, new, "latest")
    runner.get({"source": registry.source(repository_name), "version": version(old)}, tmp_path)
    assert (tmp_path / "rootfs/version").read_bytes() == b"old"


def test_a_version_without_a_tag_is_enough(registry: Registry, repository_name: str, tmp_path: Path) -> None:
    content = images.image(tar.archive(tar.file("f")))
    images.push(registry, repository_name, content, "latest")
    outcome = runner.get({"source": registry.source(repository_name), "version": {"digest": content.digest}}, tmp_path)
    assert outcome.version["digest"] == content.digest
    assert (tmp_path / "tag").read_text() == ""


def test_an_image_without_layers_is_an_empty_rootfs(registry: Registry, repository_name: str, tmp_path: Path) -> None:
    assert get(registry, repository_name, images.image(), tmp_path).status == 0
    assert names(tmp_path / "rootfs") == set()


def test_skip_download_leaves_the_files_without_a_rootfs(
    registry: Registry, repository_name: str, tmp_path: Path
) -> None:
    content = images.image(tar.archive(tar.file("f")))
    images.push(registry, repository_name, content, "latest")
    request = {
        "source": registry.source(repository_name),
        "version": version(content),
        "params": {"skip_download": True},
    }
    before = registry.mark()
    assert runner.get(request, tmp_path).version == version(content)
    assert names(tmp_path) >= {"repository", "tag", "digest"}
    assert "rootfs" not in names(tmp_path)
    layer = content.blobs[1].digest
    assert not [asked.target for asked in registry.requests(before) if layer in asked.target]


def test_a_mirror_serves_the_blobs_and_the_metadata_names_the_origin(
    cache_registry: Registry, registry: Registry, repository_name: str, tmp_path: Path
) -> None:
    content = images.image(tar.archive(tar.file("f", b"mirrored")))
    images.push(registry, repository_name, content, "latest")
    source = registry.source(
        repository_name, registry_mirrors={registry.host: {"host": f"http://{cache_registry.host}"}}
    )
    before = cache_registry.mark()
    outcome = runner.get({"source": source, "version": version(content)}, tmp_path)
    assert outcome.metadata["repository"] == f"{registry.host}/{repository_name}"
    assert (tmp_path / "rootfs/f").read_bytes() == b"mirrored"
    assert [asked for asked in cache_registry.requests(before) if "/blobs/" in asked.target]


def test_unrelated_files_in_the_destination_stay(registry: Registry, repository_name: str, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/file").write_text("mine")
    (tmp_path / "note").write_text("mine too")
    content = images.image(tar.archive(tar.file("f")))
    assert get(registry, repository_name, content, tmp_path).status == 0
    assert (tmp_path / "cache/file").read_text() == "mine"
    assert (tmp_path / "note").read_text() == "mine too"


@pytest.mark.parametrize("kind", ["directory", "file", "dangling symlink"])
def test_an_existing_rootfs_is_an_error_and_stays(
    kind: str, registry: Registry, repository_name: str, tmp_path: Path
) -> None:
    rootfs = tmp_path / "rootfs"
    if kind == "directory":
        rootfs.mkdir()
        (rootfs / "mine").write_text("mine")
    elif kind == "file":
        rootfs.write_text("mine")
    else:
        rootfs.symlink_to("/nowhere")
    before = rootfs.lstat()
    content = images.image(tar.archive(tar.file("mine", b"theirs")))
    runner.failed(get(registry, repository_name, content, tmp_path), "rootfs")
    assert names(tmp_path) == {"rootfs"}
    assert (rootfs.lstat().st_ino, rootfs.lstat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    if kind == "directory":
        assert (rootfs / "mine").read_text() == "mine"


def test_a_corrupt_blob_in_the_registry_is_refused(registry: Registry, repository_name: str, tmp_path: Path) -> None:
    """docker-registry does not verify what it sends, so a flipped bit in its storage arrives."""
    lower, upper = (images.layer(tar.archive(tar.file(name, os.urandom(5000))), "none") for name in ("a", "b"))
    content = images.image(lower, upper)
    images.push(registry, repository_name, content, "latest")
    digest = upper.blob.digest.removeprefix("sha256:")
    stored = registry.storage / "docker/registry/v2/blobs/sha256" / digest[:2] / digest / "data"
    corrupt = bytearray(stored.read_bytes())
    corrupt[1000] ^= 1
    stored.write_bytes(corrupt)
    outcome = runner.get({"source": registry.source(repository_name), "version": version(content)}, tmp_path)
    runner.failed(outcome, upper.blob.digest)
    assert names(tmp_path) == set()
