"""in, stopped at many moments: it ends at once, removes what it wrote, and never leaves a partial image.

The registry sets the moment: it stalls its reply at a scripted place and notifies the test.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.support import filesystem, images, parts, runner, tar
from tests.support.fakehttp import Ask, Reply
from tests.support.fakeregistry import Answer, FakeRegistry, fake_registry

STOP_SECONDS = 10
"""From the signal to the end; then Concourse sends SIGKILL. A get needs a fraction of this, but CI may be busy."""
STAGING = ".registry-image-"
FILES, PER_DIRECTORY = 300, 10
ENTRIES = 3 * (FILES + FILES // PER_DIRECTORY + 1)

LAYERS = tuple(
    images.layer(
        tar.archive(*(tar.file(f"{name}/{n // PER_DIRECTORY}/{n}", bytes(20_000)) for n in range(FILES))), "none"
    )
    for name in ("first", "second", "third")
)
IMAGE = images.image(*LAYERS)
CONFIG = IMAGE.blobs[0]


@dataclass(frozen=True, slots=True)
class Moment:
    """The registry stalls its reply to the request for ``target`` after ``share`` of the body."""

    name: str
    target: str
    share: float = 0.0
    written: str | None = None
    """A file that must exist in the staging directory before the signal."""


MOMENTS = (
    Moment("manifest", f"/manifests/{IMAGE.digest}"),
    Moment("config", CONFIG.digest),
    Moment("first-layer-starts", LAYERS[0].blob.digest),
    Moment("first-layer-amid", LAYERS[0].blob.digest, 0.5, written="first/3/30"),
    Moment("first-layer-ends", LAYERS[0].blob.digest, 0.9999, written="first/25/250"),
    Moment("second-layer-amid", LAYERS[1].blob.digest, 0.3, written="first/29/299"),
    Moment("third-layer-amid", LAYERS[2].blob.digest, 0.7, written="third/5/50"),
    Moment("third-layer-ends", LAYERS[2].blob.digest, 0.9999, written="third/25/250"),
)
PUBLIC_KEY = """-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEvpipGzNjUHX27nsnv5gstAHUdED5
lhA9wG4uhZfhSB9n0KTvF1URtdUAkXfmEuOlsr3PSQ0nESG8NbiPfhMnOA==
-----END PUBLIC KEY-----
"""
each_moment = pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.name)


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as running:
        running.add("some/name", IMAGE, "latest")
        yield running


def start(registry: FakeRegistry, destination: Path) -> subprocess.Popen[bytes]:
    source = {"repository": f"{registry.host}/some/name", "tag": "latest", "insecure": True}
    return runner.start("in", {"source": source, "version": {"tag": "latest", "digest": IMAGE.digest}}, destination)


def stall(registry: FakeRegistry, moment: Moment) -> threading.Event:
    """Make ``registry`` stall at ``moment``; the event is set when it does."""
    reached = threading.Event()

    def hold(_ask: Ask, answer: Answer) -> Reply:
        reply = answer()
        assert isinstance(reply.body, bytes)
        reached.set()
        return replace(reply, stall_after=int(len(reply.body) * moment.share))

    registry.script("GET", moment.target, hold)
    return reached


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Poll: another process writes to disk without notifying us."""
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, runner.finish(process).stderr
        assert time.monotonic() < deadline
        threading.Event().wait(0.002)


def reach(moment: Moment, registry: FakeRegistry, destination: Path) -> subprocess.Popen[bytes]:
    """A get that is stalled at ``moment``."""
    reached = stall(registry, moment)
    process = start(registry, destination)
    wait_until(reached.is_set, process)
    if moment.written is not None:
        wait_until(lambda: staged(destination, str(moment.written)), process)
    return process


def staged(destination: Path, name: str) -> bool:
    """Whether the rootfs's file ``name`` is in the staging directory."""
    try:
        return any(any(destination.glob(f"{STAGING}*/{inner}{name}")) for inner in ("", "*/"))
    except FileNotFoundError:
        return False  # renamed or removed meanwhile


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@each_moment
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_ends_the_get_and_nothing_is_left(
    moment: Moment, number: signal.Signals, registry: FakeRegistry, tmp_path: Path
) -> None:
    (tmp_path / "mine").write_bytes(b"stays")
    process = reach(moment, registry, tmp_path)
    os.kill(process.pid, number)
    outcome = runner.finish(process, STOP_SECONDS)
    assert outcome.status == 128 + number, outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert contents(tmp_path) == {"mine": b"stays"}
    assert os.listdir(tmp_path) == ["mine"]


@each_moment
def test_a_kill_leaves_only_what_carries_the_staging_name(
    moment: Moment, registry: FakeRegistry, tmp_path: Path
) -> None:
    process = reach(moment, registry, tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    assert runner.finish(process, STOP_SECONDS).status == -signal.SIGKILL
    assert [name for name in os.listdir(tmp_path) if not name.startswith(STAGING)] == []


def test_the_next_get_works_after_a_kill(registry: FakeRegistry, tmp_path: Path) -> None:
    process = reach(MOMENTS[-1], registry, tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    runner.finish(process, STOP_SECONDS)
    outcome = runner.finish(start(registry, tmp_path))
    assert outcome.version["digest"] == IMAGE.digest
    assert len(list((tmp_path / "rootfs").rglob("*"))) == ENTRIES


def test_a_second_signal_changes_nothing(registry: FakeRegistry, tmp_path: Path) -> None:
    process = reach(MOMENTS[-1], registry, tmp_path)
    os.kill(process.pid, signal.SIGTERM)
    os.kill(process.pid, signal.SIGINT)
    os.kill(process.pid, signal.SIGTERM)
    outcome = runner.finish(process, STOP_SECONDS)
    assert outcome.status in {128 + signal.SIGTERM, 128 + signal.SIGINT}
    assert os.listdir(tmp_path) == []


def test_a_file_that_cannot_be_removed_is_reported_and_the_rest_is_removed(
    registry: FakeRegistry, tmp_path: Path
) -> None:
    parts.need_root()
    process = reach(MOMENTS[-1], registry, tmp_path)
    (stubborn,) = (found for inner in ("", "*/") for found in tmp_path.glob(f"{STAGING}*/{inner}first/3/30"))
    with filesystem.immutable(stubborn):
        os.kill(process.pid, signal.SIGTERM)
        outcome = runner.finish(process, STOP_SECONDS)
        assert outcome.status == 128 + signal.SIGTERM
        assert stubborn.name in outcome.stderr
        assert [name for name in os.listdir(tmp_path) if not name.startswith(STAGING)] == []
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == [stubborn]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.5, 0.75, 1.0])
def test_a_signal_while_it_works_leaves_all_or_nothing(share: float, registry: FakeRegistry, tmp_path: Path) -> None:
    """Here the state of the disk sets the moment: the get is busy, not waiting for the registry."""
    process = start(registry, tmp_path)
    reached = int((FILES - 1) * share)
    last = f"third/{reached // PER_DIRECTORY}/{reached}"
    wait_until(lambda: staged(tmp_path, last) or (tmp_path / "rootfs").exists(), process)
    os.kill(process.pid, signal.SIGTERM)
    outcome = runner.finish(process, STOP_SECONDS)
    if outcome.status == 0:
        assert len(list((tmp_path / "rootfs").rglob("*"))) == ENTRIES
    else:
        assert outcome.status == 128 + signal.SIGTERM, outcome.stderr
        assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("progress", ["bars", "plain", "none"])
@pytest.mark.parametrize(
    ("target", "doing"),
    [
        (f"/manifests/{IMAGE.digest}", f"reading the manifest of HOST/some/name@{IMAGE.digest}"),
        (CONFIG.digest, f"reading the manifest of HOST/some/name@{IMAGE.digest}"),
        (r"\.sig", "looking for signatures"),
    ],
)
def test_a_get_that_is_stopped_before_its_first_layer_says_what_it_was_at(
    target: str, doing: str, progress: str, registry: FakeRegistry, tmp_path: Path
) -> None:
    reached = threading.Event()

    def hold(_ask: Ask, answer: Answer) -> Reply:
        reached.set()
        reply = answer()
        if reply.status != 200:
            reply = replace(reply, status=200, body=bytes(8))
        return replace(reply, stall_after=0)

    registry.script("GET", target, hold)
    registry.script("HEAD", r"\.sig", lambda ask, answer: Reply(405))
    source: dict[str, object] = {"repository": f"{registry.host}/some/name", "insecure": True, "progress": progress}
    if ".sig" in target:
        source["verify"] = {"cosign": {"keys": [PUBLIC_KEY]}}
    process = runner.start("in", {"source": source, "version": {"digest": IMAGE.digest}}, tmp_path)
    wait_until(reached.is_set, process)
    os.kill(process.pid, signal.SIGTERM)
    log = runner.finish(process, STOP_SECONDS).stderr
    assert re.search(f" s, {re.escape(doing.replace('HOST', registry.host))}\nstopped by SIGTERM\n\\Z", log), log


def test_a_stopped_check_says_nothing_on_stdout(registry: FakeRegistry) -> None:
    reached = threading.Event()

    def hold(_ask: Ask, answer: Answer) -> Reply:
        reached.set()
        return replace(answer(), stall_after=0)

    registry.script("HEAD", "/manifests/", lambda ask, answer: Reply(405))
    registry.script("GET", "/manifests/latest", hold)
    source = {"repository": f"{registry.host}/some/name", "tag": "latest", "insecure": True}
    process = runner.start("check", {"source": source})
    wait_until(reached.is_set, process)
    os.kill(process.pid, signal.SIGTERM)
    assert runner.finish(process, STOP_SECONDS).status == 128 + signal.SIGTERM
