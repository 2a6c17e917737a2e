"""The three executables as programs: environment, streams, signals and exit statuses."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from registry_image import version
from registry_image.concourse.request.check import parse_check
from registry_image.concourse.request.get import parse_get
from registry_image.concourse.request.put import parse_put
from tests.support import images, runner, tar
from tests.support.fakehttp import Ask, Reply
from tests.support.fakeregistry import Answer, fake_registry
from tests.support.registry import Registry
from tests.support.runner import Step, failed

NOWHERE = {"repository": "127.0.0.1:1/x", "tag": "a"}
VERSION = {"tag": "a", "digest": "sha256:" + "0" * 64}
STEPS: tuple[Step, ...] = ("check", "in", "out")


@pytest.fixture(scope="module")
def pushed(registry: Registry) -> dict[str, object]:
    """A source with an existing tag, in the open registry."""
    images.push(registry, "executables/image", images.image(images.layer(tar.archive(tar.file("a", "b")))), "latest")
    return registry.source("executables/image")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    ("request_bytes", "words"),
    [
        (b"", "expected a JSON object"),
        (b"{", "not valid JSON"),
        (b"\xff", "not UTF-8"),
        (b"[]", "expected an object"),
        (b'{"source": {"repository": "alpine", "tagg": "x"}}', "did you mean tag?"),
    ],
)
def test_an_invalid_request_is_one_clear_line_and_exit_1(
    step: Step, request_bytes: bytes, words: str, tmp_path: Path
) -> None:
    arguments = () if step == "check" else (tmp_path,)
    assert failed(runner.run(step, request_bytes, *arguments), words).startswith("error: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", ["in", "out"])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "expected one argument, a directory: got 0"),
        ((Path("/"), Path("/")), "expected one argument, a directory: got 2"),
        ((Path("/no/such"),), "'/no/such' is not a directory"),
    ],
)
def test_a_step_needs_its_directory(step: Step, arguments: tuple[Path, ...], words: str) -> None:
    failed(runner.run(step, {"source": NOWHERE, "version": VERSION}, *arguments), words)


def test_check_runs_from_anywhere_with_an_empty_environment(pushed: dict[str, object], tmp_path: Path) -> None:
    assert len(runner.check({"source": pushed}).versions) == 1
    link = tmp_path / "link"
    link.symlink_to(runner.ASSETS / "check")
    for command, directory in (
        ([str(link)], "/"),
        (["sh", "check"], str(runner.ASSETS)),
        (["./assets/check"], str(runner.ASSETS.parent)),
    ):
        done = subprocess.run(
            command,
            cwd=directory,
            env={"PATH": "/usr/bin:/bin"},
            input=json.dumps({"source": pushed}).encode(),
            capture_output=True,
            check=True,
        )
        assert len(json.loads(done.stdout)) == 1


def test_nothing_in_the_environment_or_the_directory_reaches_the_interpreter(
    pushed: dict[str, object], tmp_path: Path
) -> None:
    trap = "raise SystemExit('trapped')\n"
    for name in ("requests.py", "json.py", "sitecustomize.py", "usercustomize.py", "registry_image.py"):
        (tmp_path / name).write_text(trap)
    environment = {
        "PYTHONPATH": str(tmp_path),
        "PYTHONHOME": str(tmp_path),
        "PYTHONSTARTUP": str(tmp_path / "json.py"),
        "HOME": str(tmp_path),
        "PYTHONWARNINGS": "error",
        "LANG": "C",
    }
    done = subprocess.run(
        [str(runner.ASSETS / "check")],
        cwd=tmp_path,
        env=environment,
        input=json.dumps({"source": pushed}).encode(),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(json.loads(done.stdout)) == 1


def a_check_that(does: str) -> subprocess.CompletedProcess[bytes]:
    """Runs a check with the body ``does``, on one line, in place of its own."""
    program = (
        "import os, sys; sys.path[:0] = [sys.argv[1]]\n"
        "from registry_image.concourse import check, main\n"
        f"def replaced(request, listener): {does}\n"
        "check.check = replaced\n"
        "main.main('check', [])\n"
    )
    root = runner.ASSETS.parent
    return subprocess.run(
        [str(root / ".venv" / "bin" / "python"), "-c", program, str(root / "resource")],
        input=json.dumps({"source": NOWHERE}).encode(),
        capture_output=True,
        check=False,
    )


def test_what_a_library_prints_goes_to_stderr() -> None:
    done = a_check_that("print('printed'); os.write(1, b'written'); os.system('echo from a child'); return []")
    assert done.returncode == 0
    assert json.loads(done.stdout) == []
    for words in (b"written", b"from a child"):
        assert words in done.stderr


@pytest.mark.parametrize("step", STEPS)
def test_closed_streams_are_an_error_and_not_a_crash(step: Step, tmp_path: Path) -> None:
    program = str(runner.ASSETS / step)
    request = json.dumps({"source": NOWHERE, "version": VERSION} if step == "in" else {"source": NOWHERE})
    for redirections in ("<&-", ">&-", "<&- >&- 2>&-"):
        shell = f'printf %s "$2" | "$0" "$1" {redirections}'
        done = subprocess.run(["sh", "-c", shell, program, str(tmp_path), request], capture_output=True, check=False)
        assert (done.returncode, done.stdout) == (1, b""), redirections
        assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("fields", [{}, {"progress": "plain"}, {"debug": True}])
@pytest.mark.parametrize("step", ["check", "in"])
def test_without_stderr_only_the_answer_goes_to_stdout(step: Step, fields: dict[str, object], tmp_path: Path) -> None:
    content = images.image(tar.archive(tar.file("a", b"1")))
    with fake_registry() as registry:
        registry.add("some/name", content, "v1")
        source = {"repository": f"{registry.host}/some/name", "tag": "v1", "insecure": True, **fields}
        version = {"tag": "v1", "digest": content.digest}
        request: dict[str, object] = {"source": source} if step == "check" else {"source": source, "version": version}
        where = () if step == "check" else (tmp_path,)
        outcome = runner.run(step, request, *where, wrapper=("sh", "-c", 'exec "$@" 2>&-', "sh"))
    assert (outcome.versions[0] if step == "check" else outcome.version) == version
    assert outcome.stderr == ""


def test_an_answer_that_nobody_reads_is_an_error(pushed: dict[str, object]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [str(runner.ASSETS / "check")],
        input=json.dumps({"source": pushed}).encode(),
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)
    assert done.returncode == 1
    assert b"cannot be written to stdout" in done.stderr


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_step_that_waits_for_a_silent_registry(number: signal.Signals, status: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host, port = silent.getsockname()
        process = runner.start("check", {"source": {"repository": f"{host}:{port}/x", "tag": "a"}})
        connection, _ = silent.accept()
        with connection:
            process.send_signal(number)
            outcome = runner.finish(process, timeout=10)
    assert outcome.status == status
    where = f"{host}:{port}"
    assert outcome.stderr.splitlines() == [
        f"stopped by {number.name}: check: resolve {where}/x:a: waiting for {where}",
    ]


def test_a_check_of_many_tags_that_is_stopped_names_its_repository_and_a_tag() -> None:
    reached, over = threading.Event(), threading.Event()

    def hold(ask: Ask, answer: Answer) -> Reply:
        reached.set()
        over.wait(120)
        return answer()

    with fake_registry() as registry:
        registry.add("some/name", images.image(), "1.0.0", "1.0.1")
        registry.script("HEAD", "/manifests/", hold, always=True)
        process = runner.start("check", {"source": {"repository": f"{registry.host}/some/name"}})
        assert reached.wait(120)
        process.send_signal(signal.SIGTERM)
        outcome = runner.finish(process, timeout=20)
        over.set()
    assert outcome.status == 143
    doing = f"looking at {registry.host}/some/name: waiting for 1.0.0, 1 of 2"
    assert f"stopped by SIGTERM: check: {doing}\n" in outcome.stderr


def test_a_signal_that_comes_in_a_finalizer_ends_the_step() -> None:
    """Python ignores what a finalizer raises, also what the handler of a signal raises there."""
    finalizer = "'__del__': lambda self: os.kill(os.getpid(), 15)"
    done = a_check_that(f"type('X', (), {{{finalizer}}})(); __import__('threading').Event().wait(60); return []")
    assert (done.returncode, done.stdout) == (143, b"")
    assert done.stderr.splitlines() == [b"stopped by SIGTERM: check: looking at 127.0.0.1:1/x"]


def test_a_failure_of_our_own_is_a_traceback_and_exit_70() -> None:
    done = a_check_that("raise KeyError('nobody thought of this')")
    assert (done.returncode, done.stdout) == (70, b"")
    assert b"Traceback" in done.stderr
    assert b"nobody thought of this" in done.stderr
    assert b"a bug in the resource, not in your pipeline: please report" in done.stderr
    assert f"version: check {version.VERSION}, Python 3.".encode() in done.stderr


# The front door


def _said(step: Step, option: str) -> subprocess.CompletedProcess[str]:
    command = [str(runner.ASSETS / step), option]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("step", STEPS)
def test_help_says_what_is_read_and_its_example_is_a_valid_request(step: Step) -> None:
    done = _said(step, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: {step}")
    example = re.search(r"echo '(.*)' \|", done.stdout)
    assert example is not None
    raw = example[1].replace("sha256:…", VERSION["digest"]).encode()
    if step == "check":
        assert parse_check(raw).source.name
    elif step == "in":
        assert parse_get(raw, "/").source.name
    else:
        assert parse_put(raw, "/").source.name


@pytest.mark.parametrize("step", STEPS)
def test_the_version_is_the_package_s(step: Step) -> None:
    done = _said(step, "--version")
    assert (done.returncode, done.stdout) == (0, f"{step} (registry-image-resource) {version.VERSION}\n")


def test_a_person_at_a_terminal_reads_what_is_waited_for() -> None:
    leader, terminal = pty.openpty()
    with subprocess.Popen(
        [runner.ASSETS / "check"], stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as step:
        os.close(terminal)
        assert step.stderr is not None
        assert b"waiting for a request on stdin: a JSON object, then Ctrl-D" in step.stderr.readline()
        os.write(leader, b"\x04")
        assert b"expected a JSON object" in step.stderr.read()
    os.close(leader)
