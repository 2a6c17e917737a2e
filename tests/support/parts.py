"""The programs that tests use, and the Debian package of each.

A test without its program is skipped and says what to install; with ``CI=true`` every skip is a failure (conftest.py),
because a gate that skips proves nothing. ``python -m tests.support.parts`` prints the missing packages; ``make test``
installs them if it can.
"""

from __future__ import annotations

import os
import re
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
"""PATH with the sbin directories, which not every login has."""
_NETWORK = re.compile(
    r"(?i:(?:https?|all|no)_proxy)|(?:AWS|AZURE|DOCKER|GCE|GOOGLE)_\w+|SSL_CERT_\w+|(?:CURL|REQUESTS)_CA_BUNDLE"
)
_of_caller: dict[str, str] = {}


def set_caller_aside() -> None:
    """From now on the environment has nothing that would change what is tested: no proxies, authorities and identities
    of the caller, no repository, which git has in the environment of a hook, no warnings as errors, which pip fails by.
    """
    for name in [*os.environ]:
        if _NETWORK.fullmatch(name):
            _of_caller[name] = os.environ.pop(name)
        elif name.startswith("GIT_") or name == "PYTHONWARNINGS":
            del os.environ[name]


def with_network() -> dict[str, str]:
    """The environment for programs that fetch packages: only the caller knows the way to them."""
    return os.environ | _of_caller


def find(program: str) -> str | None:
    """The absolute path of ``program``, None if it is not installed."""
    return shutil.which(program, path=SYSTEM_PATH)


def need(program: str) -> str:
    """The absolute path of ``program``; skips the calling test without it."""
    return find(program) or lacking(program, f"apt-get install {PACKAGES.get(program, program)}")


def need_root() -> None:
    """Skip the calling test unless it runs as root."""
    if os.geteuid() != 0:
        lacking("root", "run the tests as root")


def lacking(what: str, remedy: str) -> NoReturn:
    """Skip the calling test because ``what`` is missing; ``remedy`` says what to do."""
    pytest.skip(f"needs {what}: {remedy}")


def missing_packages() -> list[str]:
    """The Debian packages of all missing programs."""
    return sorted({package for program, package in PACKAGES.items() if find(program) is None})


if __name__ == "__main__":
    print(" ".join(missing_packages()))
