"""``make demo``: runs check and in on a small image.

The image is the case that started this project. One layer has git under three hard-linked names; the next replaces one
name by a symlink to another. Unpackers that write the newest layer first make a symlink loop, and git is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support import images, parts, runner, tar
from tests.support.fakeregistry import fake_registry
from tests.support.registry import docker_registry

REPOSITORY = "demo/git"
GIT, CORE, STATUS = "usr/bin/git", "usr/libexec/git-core/git", "usr/libexec/git-core/git-status"
SYMLINK = f"/{CORE}"
PROGRAM = b"#!/bin/sh\necho git version 2.39.5, from inside the image\n"
FILES = 2000
FILE_SIZE = 4096


def main() -> int:
    directory = Path(tempfile.mkdtemp(prefix="demo-"))
    try:
        return demonstrate(directory)
    finally:
        shutil.rmtree(directory)


def demonstrate(directory: Path) -> int:
    image = demo_image()
    destination = directory / "get"
    with registry(directory, image) as (host, kind):
        source = {"repository": f"{host}/{REPOSITORY}", "tag": "latest", "insecure": True, "progress": "plain"}
        say(f"registry  {kind} on {host}")
        say(f"image     {REPOSITORY}:latest, {len(image.blobs) - 1} layers (gzip, zstd, none), {FILES} files and git")
        say(f"          layer 2: {GIT}, and hard links to it: {CORE}, {STATUS}")
        say(f"          layer 3: {GIT} becomes a symlink to {SYMLINK}")

        started = time.monotonic()
        checked = runner.check({"source": source})
        say(f"\ncheck     {time.monotonic() - started:.2f} s   {json.dumps(checked.versions[0])}")

        started = time.monotonic()
        got = runner.get({"source": source, "version": checked.versions[0]}, destination)
        assert got.version == checked.versions[0]
        took = time.monotonic() - started
    megabytes = sum(blob.size for blob in image.blobs) / 1e6
    say(f"in        {took:.2f} s   {megabytes:.1f} MB, every digest verified\n")
    for line in got.stderr.splitlines():
        say(f"          | {line}")
    if os.geteuid() != 0:
        say("          not root: you own the files; everything else is as in the image")
    say("")
    return verdict(destination / "rootfs")


def verdict(rootfs: Path) -> int:
    """List git's names; returns 0 if they are as in the image."""
    for name in (GIT, CORE, STATUS):
        status = (rootfs / name).lstat()
        arrow = f" -> {os.readlink(rootfs / name)}" if stat.S_ISLNK(status.st_mode) else ""
        say(f"  {stat.filemode(status.st_mode)}  inode {status.st_ino}  links {status.st_nlink}  {name}{arrow}")
    core = (rootfs / CORE).lstat()
    one_file = stat.S_ISREG(core.st_mode) and os.path.samestat(core, (rootfs / STATUS).lstat())
    link = (rootfs / GIT).is_symlink() and os.readlink(rootfs / GIT) == SYMLINK
    ran = subprocess.run([str(rootfs / CORE)], capture_output=True, text=True, check=False)
    say(f"\n  $ {CORE}\n  {ran.stdout.strip() or ran.stderr.strip()}\n")
    if one_file and link and ran.returncode == 0:
        say("git is right: two names of one file, and a symlink that leads to it.")
        return 0
    say("git is WRONG.")
    return 1


def demo_image() -> images.Content:
    """Three layers: gzip, zstd and uncompressed; the same bytes every time."""
    numbers = random.Random(0)  # noqa: S311 (filler, no secret)
    filler = tar.archive(
        *(tar.file(f"usr/share/{n % 40}/{n}", numbers.randbytes(FILE_SIZE // 2).hex().encode()) for n in range(FILES))
    )
    git = tar.archive(tar.file(GIT, PROGRAM, mode=0o755), tar.hardlink(CORE, to=GIT), tar.hardlink(STATUS, to=GIT))
    link = tar.archive(tar.symlink(GIT, to=SYMLINK))
    return images.image(images.layer(filler), images.layer(git, "zstd"), images.layer(link, "none"))


@contextlib.contextmanager
def registry(directory: Path, image: images.Content) -> Iterator[tuple[str, str]]:
    """Host and kind of a registry with the image: docker-registry if installed, else the tests' fake."""
    if parts.find("docker-registry"):
        with docker_registry(directory / "registry") as real:
            images.push(real, REPOSITORY, image, "latest")
            yield real.host, "docker-registry"
    else:
        with fake_registry() as fake:
            fake.add(REPOSITORY, image, "latest")
            yield fake.host, "the tests' own (docker-registry is not installed)"


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
