"""A private Docker Engine for tests: dockerd on its own socket, with its data in a temporary directory.

It needs root, Debian's docker.io (dockerd, containerd, runc, docker) and a mounted cgroup hierarchy. It has no bridge
and no iptables and so leaves the machine's network alone; a container gets ``network_mode="host"`` or none.
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
#: How many bytes of a failed command's output are shown: the end of a build's log.
SHOWN = 6000
#: Bytes: twice the size of all tests' images.
ROOM = 6_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A running engine: its socket, and a client of the docker SDK connected to it."""

    url: str
    client: docker.DockerClient

    def docker(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """Run the docker command against this engine and return its stdout. Fails with its output."""
        command = [parts.need("docker"), f"--host={self.url}", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=COMMAND_SECONDS, check=False)
        output = (done.stdout[-SHOWN:] + done.stderr).decode(errors="replace")
        assert done.returncode == 0, f"docker {arguments}: {output}"
        return done.stdout


@contextlib.contextmanager
def docker_engine() -> Iterator[Engine]:
    """Run dockerd until the block is left."""
    parts.need_root()
    program = parts.need("dockerd")
    # Not pytest's temporary directory: a socket's path has at most 108 bytes, and these files must not outlive the run.
    # In memory if there is enough: the engine unpacks images file by file, which is slow on disk.
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
    """Unmount what dockerd leaves mounted if it is killed."""
    prefix = f"{directory}{os.sep}"
    mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for point in reversed([each for each in mounted if each.startswith(prefix)]):
        subprocess.run([parts.need("umount"), "--lazy", point], check=True)
