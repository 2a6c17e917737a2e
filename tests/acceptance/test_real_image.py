"""get of a real image: every entry equals the one that skopeo and umoci make, and its programs run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support import debian, images, parts, runner, tree
from tests.support.registry import Registry

pytestmark = pytest.mark.xdist_group("real-image")

REPOSITORY = "real/debian"
CAP_NET_RAW = bytes.fromhex("0100000200200000000000000000000000000000")


@pytest.fixture(scope="module")
def image(registry: Registry) -> images.Content:
    content = debian.real_image()
    images.push(registry, REPOSITORY, content, "latest")
    return content


@pytest.fixture(scope="module")
def rootfs(image: images.Content, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rootfs of `in`."""
    destination = tmp_path_factory.mktemp("get")
    version = {"tag": "latest", "digest": image.digest}
    outcome = runner.get({"source": registry.source(REPOSITORY), "version": version}, destination)
    assert outcome.version == version, outcome.stderr
    return destination / "rootfs"


@pytest.fixture(scope="module")
def umoci_rootfs(image: images.Content, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rootfs of `skopeo copy` and `umoci unpack` for the same image."""
    work = tmp_path_factory.mktemp("umoci")
    # umoci 0.4.7 cannot read zstd, so skopeo converts these layers to gzip.
    copy = [parts.need("skopeo"), "copy", "--quiet", "--src-tls-verify=false", "--dest-compress-format=gzip"]
    origin = f"docker://{registry.host}/{REPOSITORY}@{image.digest}"
    subprocess.run([*copy, "--dest-compress", origin, f"oci:{work}/layout:it"], check=True)
    unpack = [parts.need("umoci"), "unpack", "--image", f"{work}/layout:it", str(work / "bundle")]
    subprocess.run(unpack, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    return work / "bundle" / "rootfs"


def inside(rootfs: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run ``command`` with ``rootfs`` as its root."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
    chroot = [parts.need("chroot"), str(rootfs), *command]
    return subprocess.run(chroot, env=environment, capture_output=True, text=True, check=False)


def test_git_runs_in_it(rootfs: Path) -> None:
    ran = inside(rootfs, "git", "--version")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("git version 2.")


def test_dpkg_finds_every_file_of_every_package_but_those_that_a_layer_deleted(rootfs: Path) -> None:
    verified = inside(rootfs, "dpkg", "--verify")
    assert verified.stderr == ""
    changed = {line.split(maxsplit=1)[1].lstrip("c ") for line in verified.stdout.splitlines()}
    deleted = [f"/{os.fsdecode(each)}" for each in (debian.OPAQUE, debian.DELETED, debian.DELETED_DIRECTORY)]
    by_cause = {top: {path for path in changed if path == top or path.startswith(f"{top}/")} for top in deleted}
    assert changed - set().union(*by_cause.values()) == {"/usr/bin/git"}  # a symlink now
    assert all(by_cause.values())
    assert not any((rootfs / path.lstrip("/")).exists() for path in by_cause[deleted[1]] | by_cause[deleted[2]])


def test_every_entry_is_as_umoci_makes_it(rootfs: Path, umoci_rootfs: Path) -> None:
    ours, theirs = tree.snapshot(rootfs), tree.snapshot(umoci_rootfs)
    assert len(ours) > 5000
    assert tree.differences(ours, theirs) == []


def test_the_hard_cases_are_in_the_image_and_kept(rootfs: Path) -> None:
    """Otherwise the comparison could pass because the image lost these cases."""
    ours = tree.snapshot(rootfs)
    assert ours[b"usr/bin/git"].content == b"/usr/lib/git-core/git"
    assert ours[b"usr/lib/git-core/git"].kind == "file"
    assert ours[b"usr/share/git-core"].content == b"../lib/git-share"
    assert ours[b"usr/bin/ping"].xattrs == {b"security.capability": CAP_NET_RAW}
    assert ours[b"usr/bin/passwd"].mode == 0o4755
    assert len(ours[b"usr/bin/perl"].names) == 2
    assert ours[b"lib"].kind == "symlink"
    written = ours[b"usr/lib/written-through/note"]
    assert (written.mode, written.uid, written.gid) == (0o640, 12345, 2**31)
    assert written.mtime_ns == -1_500_000_000_123_456_789
    assert written.xattrs == {b"user.origin": b"lib\0bytes\xff"}
    assert ours[b"usr/lib/written-through"].mode == 0o2750
    assert ours[b"usr/lib/written-through/queue"].kind == "fifo"
    odd = ours[b"usr/lib/written-through/caf\xe9 \n"]
    assert odd.content == tree.content_of(b"a name that is no UTF-8\n")
    assert [name for name in ours if name.rpartition(b"/")[2].startswith(b".wh.")] == []
    assert sorted(name for name in ours if name.startswith(debian.OPAQUE + b"/")) == [debian.OPAQUE + b"/README.local"]
