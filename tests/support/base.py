"""A base image with a slim Debian and its Python, made by mmdebstrap because tests cannot pull images.

It replaces the published base image of the Dockerfile and has the same shape: merged /usr, python3, the system's CAs.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.support import parts

_RELEASE = "bookworm"
#: The Python of this release; the wheelhouse holds wheels for it.
PYTHON = "3.11"
_NAME = f"base-{_RELEASE}-1.tar"


def cache_directory() -> Path:
    """Where tests keep from one session to the next what takes minutes to make."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "registry-image-tests"
    cache.mkdir(parents=True, exist_ok=True)
    return cache


def base_rootfs() -> Path:
    """The path of the root filesystem as a tar, cached in the user's cache directory."""
    cached = cache_directory() / _NAME
    if not cached.exists():
        made = cached.with_name(f"{_NAME}.{os.getpid()}")
        command = [
            parts.need("mmdebstrap"),
            "--quiet",
            "--variant=minbase",
            "--format=tar",
            "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
            '--aptopt=APT::Install-Recommends "false"',
            "--include=python3,ca-certificates,usr-is-merged",
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            "--dpkgopt=path-exclude=/usr/share/man/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
            _RELEASE,
            str(made),
        ]
        done = subprocess.run(command, env=parts.with_network(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        made.rename(cached)
    return cached
