"""The real parts that tests use, which Debian package brings each, and what to do when one is missing.

A test without its part is skipped and says what to install; with ``CI=true`` every skip is a failure (conftest.py),
because a gate that skips proves nothing. ``python -m tests.support.parts`` prints the packages that are missing
(``make test`` installs them where it can).
"""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

PACKAGES = {
    "docker": "docker.io",
    "docker-registry": "docker-registry",
    "dockerd": "docker.io",
    "iptables": "iptables",
    "skopeo": "skopeo",
    "umoci": "umoci",
    "mmdebstrap": "mmdebstrap",
    "zstd": "zstd",
    "igzip": "isal",
    "pigz": "pigz",
    "openssl": "openssl",
    "tar": "tar",
    "capsh": "libcap2-bin",
    "setpriv": "util-linux",
    "unshare": "util-linux",
    "chattr": "e2fsprogs",
    "chroot": "coreutils",
    "gzip": "gzip",
    "mount": "mount",
    "umount": "mount",
    "git": "git",
    "shellcheck": "shellcheck",
}
SYSTEM_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"))
"""Where programs are looked for: not every login has the sbin directories on its PATH."""


def find(program: str) -> str | None:
    """The absolute path of ``program``, None when it is not installed."""
    return shutil.which(program, path=SYSTEM_PATH)


def need(program: str) -> str:
    """The absolute path of ``program``; without it the calling test is skipped."""
    return find(program) or lacking(program, f"apt-get install {PACKAGES.get(program, program)}")


def need_root() -> None:
    """Skip the calling test unless it runs as root."""
    if os.geteuid() != 0:
        lacking("root", "run the tests as root")


def lacking(what: str, remedy: str) -> NoReturn:
    """Skip the calling test because ``what`` is not there. ``remedy`` says what to do about it."""
    pytest.skip(f"needs {what}: {remedy}")


def missing_packages() -> list[str]:
    """The Debian packages that would bring every part which is not there."""
    return sorted({package for program, package in PACKAGES.items() if find(program) is None})


if __name__ == "__main__":
    print(" ".join(missing_packages()))
