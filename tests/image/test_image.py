"""The image as it is built and runs: twice the same, what it does in a container, and what its bundle holds."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image import container
from tests.image.conftest import BASE, make
from tests.support import images, parts
from tests.support.engine import Engine
from tests.support.registry import Registry
from tests.support.tar import archive, device, directory, file

pytestmark = [pytest.mark.xdist_group("engine"), pytest.mark.timeout(900)]

#: cap_net_raw=ep, as the kernel stores it (revision 2: no namespace's root).
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")

#: Enters a user namespace, waits for its maps, and runs a command there by chroot. No program is run before that: it
#: would lose the namespace's capabilities, its user not being mapped yet.
ENTER = """
import ctypes, os, sys
assert ctypes.CDLL(None).unshare(0x10000000) == 0  # CLONE_NEWUSER
os.read(0, 3)
os.setgroups([])
os.setgid(0)
os.setuid(0)
os.chroot(sys.argv[1])
os.chdir("/")
os.execve(sys.argv[2], sys.argv[2:], {})
"""


def layers_of(engine: Engine, name: str) -> list[str]:
    layers: list[str] = engine.client.images.get(name).attrs["RootFS"]["Layers"]
    return layers


def step(engine: Engine, image: str, request: object, *command: str, mount: Path | None = None) -> object:
    """What one of the executables answers."""
    return container.step(engine, image, request, *command, mount=mount).answer


def userland() -> bytes:
    """A layer with just enough to run a task: this machine's shell, `id`, and their libraries."""
    programs = ["/bin/sh", "/usr/bin/id"]
    linked = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=True).stdout
    names = [*programs, *sorted(set(re.findall(r"/\S+\.so\S*", linked)))]
    return subprocess.run(
        ["tar", "-c", "-h", "-C", "/", *(name[1:] for name in names)], capture_output=True, check=True
    ).stdout


def test_two_builds_have_the_same_layers(engine: Engine, image: str, context: Path, tmp_path: Path) -> None:
    # Who made the second checkout has another umask.
    again = tmp_path / "checkout"
    shutil.copytree(context, again, symlinks=True)
    for path in again.rglob("*"):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & 0o700)
    make(again, engine, "image", f"BASE_IMAGE={BASE}", "IMAGE=resource:again", "ARGS=--network=host --no-cache")
    assert layers_of(engine, "resource:again") == layers_of(engine, image)


def test_the_unit_tests_pass_inside_what_ships(engine: Engine, image: str, context: Path) -> None:
    # With the arguments of the image's own build, so that its stages are not built again.
    make(context, engine, "image", f"BASE_IMAGE={BASE}", "IMAGE=resource:tests", "ARGS=--network=host --target=tests")
    assert layers_of(engine, "resource:tests")[:1] == layers_of(engine, image)
    # BuildKit, which builds it in pipeline.yml, cannot export what the tests write there: paths over 4096 bytes.
    assert engine.docker("run", "--rm", "--network=none", "resource:tests", "sh", "-c", "ls /tmp/*") == b""


def test_check_and_in_run_in_a_container_and_their_result_runs_a_task(
    engine: Engine, image: str, registry: Registry, repository_name: str, tmp_path: Path
) -> None:
    config = {"Env": ["GREETING=hello", "PATH=/usr/bin:/bin"], "User": "1234:5678"}
    layer = archive(directory("tmp", mode=0o1777), file("greeting", b"x"))
    built = images.image(images.layer(userland()), images.layer(layer, "zstd"), config=config)
    digest = images.push(registry, repository_name, built, "latest")
    source = {"repository": f"{registry.host}/{repository_name}", "tag": "latest"}

    versions = step(engine, image, {"source": source}, "/opt/resource/check")
    assert versions == [{"tag": "latest", "digest": digest}]

    got = tmp_path / "got"
    got.mkdir()
    request = {"source": source, "version": {"tag": "latest", "digest": digest}}
    answer = step(engine, image, request, "/opt/resource/in", "/tmp/build", mount=got)
    assert isinstance(answer, dict)
    assert answer["version"] == {"tag": "latest", "digest": digest}

    metadata = json.loads((got / "metadata.json").read_text())
    rootfs = subprocess.run(["tar", "-c", "-C", got / "rootfs", "."], capture_output=True, check=True).stdout
    engine.docker("import", "-", "task:test", stdin=rootfs)
    environment = [f"--env={pair}" for pair in metadata["env"]]
    run = ["run", "--rm", "--network=none", *environment, f"--user={metadata['user']}", "task:test"]
    assert engine.docker(*run, "/bin/sh", "-c", "echo $GREETING; id -u; id -g").split() == [b"hello", b"1234", b"5678"]


def test_a_step_by_hand_needs_the_option_i_and_says_so(
    engine: Engine, image: str, registry: Registry, repository_name: str
) -> None:
    content = images.image(archive(file("hello")))
    images.push(registry, repository_name, content, "latest")
    request = json.dumps({"source": registry.source(repository_name)}).encode()
    start, command = (parts.need("docker"), f"--host={engine.url}", "run", "--rm"), (image, "/opt/resource/check")
    with_it, without = (
        subprocess.run([*start, *option, "--network=host", *command], input=request, capture_output=True, check=False)
        for option in (["-i"], [])
    )
    assert json.loads(with_it.stdout) == [{"tag": "latest", "digest": content.digest}]
    assert (without.returncode, without.stdout) == (1, b"")
    assert b"hint: with `docker run`, add -i" in without.stderr


def test_out_runs_in_a_container(
    engine: Engine, image: str, registry: Registry, repository_name: str, tmp_path: Path
) -> None:
    built = images.image(archive(file("a", b"b")))
    images.write_layout(tmp_path / "image", built)
    source = {"repository": f"{registry.host}/{repository_name}", "tag": "pushed"}
    answer = step(
        engine,
        image,
        {"source": source, "params": {"image": "image"}},
        "/opt/resource/out",
        "/tmp/build",
        mount=tmp_path,
    )
    assert isinstance(answer, dict)
    assert answer["version"]["tag"] == "pushed"
    assert step(engine, image, {"source": source}, "/opt/resource/check") == [answer["version"]]


def test_the_resource_gets_its_own_image_by_digest_and_runs_it(
    engine: Engine, image: str, registry: Registry, repository_name: str, tmp_path: Path
) -> None:
    own = f"{registry.host}/{repository_name}:own"
    engine.docker("tag", image, own)
    engine.docker("push", own)
    source = {"repository": f"{registry.host}/{repository_name}", "tag": "own"}
    versions = step(engine, image, {"source": source}, "/opt/resource/check")
    assert isinstance(versions, list)

    request = {"source": source, "version": versions[0]}
    step(engine, image, request, "/opt/resource/in", "/tmp/build", mount=tmp_path)
    rootfs = subprocess.run(["tar", "-c", "-C", tmp_path / "rootfs", "."], capture_output=True, check=True).stdout
    engine.docker("import", "-", "itself:test", stdin=rootfs)
    assert step(engine, "itself:test", {"source": source}, "/opt/resource/check") == versions


@pytest.fixture
def bundled(engine: Engine, image: str, context: Path) -> Iterator[Path]:
    """The root filesystem that a worker unpacks from the bundle."""
    path = Path(make(context, engine, "bundle", "VERSION=1.2.3", "ARCH=amd64").strip())
    assert path.name == "registry-image-resource-1.2.3-amd64.tgz"
    beside = json.loads((context / path).with_suffix(".cdx.json").read_text())
    assert (beside["bomFormat"], beside["metadata"]["component"]["name"]) == ("CycloneDX", "registry-image-resource")
    with tempfile.TemporaryDirectory() as directory, tarfile.open(context / path) as bundle:
        # Not pytest's temporary directory: a user namespace's root must be able to reach it.
        Path(directory).chmod(0o755)
        assert sorted(bundle.getnames()) == ["resource_metadata.json", "rootfs.tgz"]
        metadata = bundle.extractfile("resource_metadata.json")
        rootfs = bundle.extractfile("rootfs.tgz")
        assert metadata is not None
        assert rootfs is not None
        assert json.load(metadata) == {
            "type": "registry-image",
            "version": "1.2.3",
            "privileged": False,
            "unique_version_history": False,
        }
        subprocess.run(["tar", "-xz", "-C", directory], input=rootfs.read(), check=True)
        yield Path(directory)


def test_the_bundle_runs_by_chroot_in_an_empty_environment(
    bundled: Path, registry: Registry, repository_name: str
) -> None:
    digest = images.push(registry, repository_name, images.image(archive(file("a", b"b"))), "latest")
    request = {"source": {"repository": f"{registry.host}/{repository_name}", "tag": "latest"}}
    command = [parts.need("chroot"), str(bundled), "/opt/resource/check"]
    done = subprocess.run(
        command, input=json.dumps(request).encode(), env={}, cwd="/", capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [{"tag": "latest", "digest": digest}]


def test_the_bundle_runs_in_a_user_namespace_as_an_unprivileged_worker_has_it(
    bundled: Path, registry: Registry, repository_name: str
) -> None:
    first = 100_000
    layer = archive(
        file("owned", b"x", uid=1000, gid=1001, mode=0o4755),
        file("capable", b"x", xattrs={"security.capability": CAPABILITY}),
        device("null", 1, 3),
    )
    digest = images.push(registry, repository_name, images.image(layer))
    destination = bundled / "tmp" / "get"
    destination.mkdir()
    os.chown(destination, first, first)
    request = {"source": {"repository": f"{registry.host}/{repository_name}"}, "version": {"digest": digest}}

    command = [sys.executable, "-c", ENTER, str(bundled), "/opt/resource/in", "/tmp/get"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    # The maps can only be written once the process is in its new namespace.
    while os.readlink(f"/proc/{process.pid}/ns/user") == os.readlink("/proc/self/ns/user"):
        assert process.poll() is None
    for kind in ("uid_map", "gid_map"):
        Path(f"/proc/{process.pid}/{kind}").write_text(f"0 {first} 65536")
    stdout, stderr = process.communicate(b"go\n" + json.dumps(request).encode(), timeout=60)

    assert process.returncode == 0, stderr
    assert json.loads(stdout)["version"] == {"digest": digest}
    owned = (destination / "rootfs" / "owned").stat()
    assert (owned.st_uid, owned.st_gid, owned.st_mode & 0o7777) == (first + 1000, first + 1001, 0o4755)
    assert os.getxattr(destination / "rootfs" / "capable", "security.capability")
    assert not (destination / "rootfs" / "null").exists()
    assert b"device" in stderr
