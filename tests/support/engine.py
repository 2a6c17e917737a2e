"""A Docker Engine of the tests' own: dockerd on a private socket, its data in a temporary directory.

It needs root, Debian's docker.io (dockerd, containerd, runc, docker) and a mounted cgroup hierarchy. It touches no
network of the machine: no bridge and no iptables, so a container gets ``network_mode="host"`` or none at all.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import docker

from tests.support import parts
from tests.support.process import server

COMMAND_SECONDS = 600
#: Of what a failed command printed, in bytes: the end of a build's log.
SHOWN = 6000
#: What the images of all tests take, in bytes, and as much again.
ROOM = 6_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A running engine: its socket, and a client of the docker SDK connected to it."""

    url: str
    client: docker.DockerClient

    def docker(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """Run the docker command against this engine; its standard output. Fails with what it said."""
        command = [parts.need("docker"), f"--host={self.url}", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=COMMAND_SECONDS, check=False)
        said = (done.stdout[-SHOWN:] + done.stderr).decode(errors="replace")
        assert done.returncode == 0, f"docker {arguments}: {said}"
        return done.stdout


@contextlib.contextmanager
def docker_engine() -> Iterator[Engine]:
    """Run dockerd until the block is left."""
    parts.need_root()
    program = parts.need("dockerd")
    # Not pytest's temporary directory: a socket's path has 108 bytes at most, and these files must not outlive the run.
    # In memory where there is some: images are unpacked file by file, and nothing of this is worth a disk's time.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) and shutil.disk_usage("/dev/shm").free > ROOM else None
    directory = Path(tempfile.mkdtemp(prefix="engine-", dir=memory))
    command = [
        program,
        f"--host=unix://{directory}/docker.sock",
        f"--data-root={directory}/data",
        f"--exec-root={directory}/exec",
        f"--pidfile={directory}/pid",
        "--iptables=false",
        "--ip6tables=false",
        "--bridge=none",
    ]
    try:
        with server(command) as running:
            running.wait_for("API listen on ")
            client = docker.DockerClient(base_url=f"unix://{directory}/docker.sock")
            try:
                yield Engine(url=f"unix://{directory}/docker.sock", client=client)
            finally:
                _remove_containers(client)
                client.close()
    finally:
        _unmount_below(directory)
        shutil.rmtree(directory)


def _remove_containers(client: docker.DockerClient) -> None:
    for container in client.containers.list(all=True):
        container.remove(force=True)


def _unmount_below(directory: Path) -> None:
    """Let go of what dockerd left mounted when it had to be killed."""
    prefix = f"{directory}{os.sep}"
    mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for point in reversed([each for each in mounted if each.startswith(prefix)]):
        subprocess.run([parts.need("umount"), "--lazy", point], check=True)
