"""in without root's privileges: it skips what it may not do, warns once with a count, and does the rest."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from tests.support import images, parts, runner, tar
from tests.support.registry import Registry

CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
"""cap_net_raw=ep, as the kernel stores it."""

IMAGE = images.image(
    tar.archive(
        tar.directory("bin", uid=7, gid=8),
        *(tar.file(f"bin/{n}", b"#!", mode=0o755, uid=1000 + n, gid=2000) for n in range(5)),
        tar.file("bin/su", b"su", mode=0o4755, uid=0),
        tar.file("bin/stranger-s", b"uid", mode=0o6755, uid=4242, gid=4242),
        tar.file("bin/ping", b"ping", mode=0o755, xattrs={"security.capability": CAPABILITY}),
        *(tar.device(f"dev/{n}", 1, n) for n in range(3)),
        tar.symlink("bin/sh", to="0", uid=5),
        tar.fifo("run/queue", mode=0o600),
    )
)

USER_NAMESPACE = ("unshare", "--user", "--map-root-user")
NOT_ROOT = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
"""A user namespace without privileges, whose user can still read the tests' interpreter."""
OBEYS_MODES = ("capsh", "--drop=cap_dac_override,cap_dac_read_search", "--", "-c", 'exec "$@"', "sh")
NO_MKNOD = ("capsh", "--drop=cap_mknod", "--", "-c", 'exec "$@"', "sh")


def get(registry: Registry, repository: str, destination: Path, wrapper: tuple[str, ...]) -> runner.Outcome:
    digest = images.push(registry, repository, IMAGE, "latest")
    request = {"source": registry.source(repository), "version": {"tag": "latest", "digest": digest}}
    program, *arguments = wrapper
    outcome = runner.run("in", request, destination, wrapper=[parts.need(program), *arguments])
    assert outcome.status == 0, outcome.stderr
    return outcome


def warning_about(pattern: str, outcome: runner.Outcome) -> str:
    """The one warning on stderr that matches ``pattern``."""
    warnings = [line for line in outcome.stderr.splitlines() if line.startswith("warning: ")]
    lines = [line for line in warnings if re.search(pattern, line, re.IGNORECASE)]
    assert len(lines) == 1, outcome.stderr
    return lines[0]


def assert_all_but_privileges(rootfs: Path) -> None:
    assert [(rootfs / f"bin/{n}").read_bytes() for n in range(5)] == [b"#!"] * 5
    assert stat.S_IMODE((rootfs / "bin/0").stat().st_mode) == 0o755
    assert (rootfs / "bin/0").stat().st_mtime == tar.MTIME
    assert (rootfs / "bin/ping").read_bytes() == b"ping"
    assert os.readlink(rootfs / "bin/sh") == "0"
    assert stat.S_ISFIFO((rootfs / "run/queue").stat().st_mode)


def test_a_user_namespace_skips_owners_that_it_does_not_map(
    registry: Registry, repository_name: str, tmp_path: Path
) -> None:
    outcome = get(registry, repository_name, tmp_path, USER_NAMESPACE)
    rootfs = tmp_path / "rootfs"
    assert_all_but_privileges(rootfs)
    assert (rootfs / "bin/0").stat().st_uid == os.geteuid()
    warning_about(r"owner", outcome)
    assert not (rootfs / "dev/0").exists()
    assert "3" in warning_about(r"device", outcome)


def test_a_user_that_is_not_root_gets_everything_but_owners_and_devices(
    registry: Registry, repository_name: str, tmp_path: Path
) -> None:
    outcome = get(registry, repository_name, tmp_path, NOT_ROOT)
    rootfs = tmp_path / "rootfs"
    assert_all_but_privileges(rootfs)
    assert {path.lstat().st_uid for path in rootfs.rglob("*")} == {os.geteuid()}
    warning_about(r"owner", outcome)
    assert not (rootfs / "dev/0").exists()
    assert "3" in warning_about(r"device", outcome)


def test_a_setuid_file_belongs_to_the_user_that_runs_the_get(
    registry: Registry, repository_name: str, tmp_path: Path
) -> None:
    """bin/su keeps its mode but belongs to the user that ran the get, so setuid gives no privilege."""
    get(registry, repository_name, tmp_path, NOT_ROOT)
    status = (tmp_path / "rootfs/bin/su").stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (os.geteuid(), 0o4755)


def test_a_setuid_file_with_an_unknown_owner_loses_setuid(
    registry: Registry, repository_name: str, tmp_path: Path
) -> None:
    get(registry, repository_name, tmp_path, USER_NAMESPACE)
    status = (tmp_path / "rootfs/bin/stranger-s").stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (os.geteuid(), 0o755)
    assert stat.S_IMODE((tmp_path / "rootfs/bin/su").stat().st_mode) == 0o4755


def test_devices_are_skipped_without_cap_mknod(registry: Registry, repository_name: str, tmp_path: Path) -> None:
    parts.need_root()
    outcome = get(registry, repository_name, tmp_path, NO_MKNOD)
    rootfs = tmp_path / "rootfs"
    assert_all_but_privileges(rootfs)
    assert (rootfs / "bin/3").stat().st_uid == 1003
    assert os.getxattr(rootfs / "bin/ping", "security.capability") == CAPABILITY
    assert not (rootfs / "dev/0").exists()
    assert "3" in warning_about(r"device", outcome)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_the_umask_changes_nothing(umask: int, registry: Registry, repository_name: str, tmp_path: Path) -> None:
    parts.need_root()
    get(registry, repository_name, tmp_path, ("sh", "-c", f'umask {umask:o}; exec "$@"', "sh"))
    rootfs = tmp_path / "rootfs"
    modes = {str(path.relative_to(rootfs)): stat.S_IMODE(path.lstat().st_mode) for path in rootfs.rglob("*")}
    assert modes["bin"] == 0o755
    assert modes["bin/su"] == 0o4755
    assert modes["dev"] == 0o755  # implied: layers.md 26
    assert modes["run/queue"] == 0o600


def test_a_certificate_store_that_may_not_be_listed_is_passed_over(
    tls_registry: Registry, repository_name: str, tmp_path: Path
) -> None:
    parts.need_root()
    images.push(tls_registry, repository_name, IMAGE, "latest")
    assert tls_registry.ca is not None
    store = tmp_path / "certs"
    store.mkdir(mode=0o700)
    os.chown(store, 1000, 1000)
    environment = {"SSL_CERT_DIR": str(store), "SSL_CERT_FILE": str(tls_registry.ca)}
    source = {"repository": f"{tls_registry.host}/{repository_name}", "tag": "latest"}
    program, *arguments = OBEYS_MODES
    wrapper = [parts.need(program), *arguments]
    outcome = runner.run("check", {"source": source}, environment=environment, wrapper=wrapper)
    assert outcome.status == 0, outcome.stderr
    assert outcome.answer == [{"tag": "latest", "digest": IMAGE.digest}]
