"""File systems for a test, mounted in a directory of its own and unmounted with it."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support import parts


@contextlib.contextmanager
def mounted(kind: str, point: Path, options: str = "") -> Iterator[Path]:
    """An empty file system of ``kind`` (tmpfs, ramfs) mounted on ``point`` until the block is left. Needs root."""
    parts.need_root()
    point.mkdir(parents=True, exist_ok=True)
    flags = ["--options", options] if options else []
    subprocess.run([parts.need("mount"), "--types", kind, *flags, "none", str(point)], check=True)
    try:
        yield point
    finally:
        subprocess.run([parts.need("umount"), str(point)], check=True)


def remount(point: Path, options: str) -> None:
    """Change how ``point`` is mounted: ``ro``, ``rw``."""
    subprocess.run([parts.need("mount"), "--options", f"remount,{options}", str(point)], check=True)


@contextlib.contextmanager
def immutable(path: Path) -> Iterator[None]:
    """``path`` cannot be changed, not even by root, until the block is left."""
    parts.need_root()
    chattr = parts.need("chattr")
    done = subprocess.run([chattr, "+i", str(path)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        parts.lacking("a file system with chattr +i", f"run with --basetemp on ext4 ({done.stderr.strip()})")
    try:
        yield
    finally:
        subprocess.run([chattr, "-i", str(path)], check=True)
