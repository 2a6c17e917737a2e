"""Runs the executables as Concourse does: empty environment, cwd ``/``, JSON on stdin, a fresh destination."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ASSETS = Path(__file__).parents[2] / "assets"
TIMEOUT_SECONDS = 240
Step = Literal["check", "in", "out"]
Json = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a step ended. `finish` has checked stdout: one JSON value on success, else nothing."""

    status: int
    """Exit status; negative if a signal ended the step."""
    answer: object
    """The JSON value on stdout, None after a failure."""
    stderr: str

    @property
    def versions(self) -> list[dict[str, str]]:
        """What check answered."""
        assert self.status == 0, self.stderr
        assert isinstance(self.answer, list)
        return self.answer

    @property
    def version(self) -> dict[str, str]:
        """The version that in or out answered."""
        assert self.status == 0, self.stderr
        assert isinstance(self.answer, dict)
        version: dict[str, str] = self.answer["version"]
        return version

    @property
    def metadata(self) -> dict[str, str]:
        """The metadata that in or out answered, in order; names are unique."""
        assert self.status == 0, self.stderr
        assert isinstance(self.answer, dict)
        pairs = {pair["name"]: pair["value"] for pair in self.answer["metadata"]}
        assert len(pairs) == len(self.answer["metadata"]), self.answer
        return pairs


def start(
    step: Step,
    request: Json | bytes,
    *arguments: Path,
    environment: Mapping[str, str] | None = None,
    wrapper: Sequence[str] = (),
) -> subprocess.Popen[bytes]:
    """Start ``step``; `finish` waits for it. ``wrapper`` is a command that runs it: ``unshare -r``, ``setpriv …``."""
    process = subprocess.Popen(
        [*wrapper, str(ASSETS / step), *map(str, arguments)],
        cwd="/",
        env=dict(environment or {}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # a signal meant for the step does not reach the tests
    )
    assert process.stdin is not None
    data = request if isinstance(request, bytes) else json.dumps(request).encode()
    try:
        process.stdin.write(data)
        process.stdin.close()
    except BrokenPipeError:  # the step ended without reading; `finish` reports how
        pass
    process.stdin = None  # or communicate() would flush it
    return process


def finish(process: subprocess.Popen[bytes], timeout: float = TIMEOUT_SECONDS) -> Outcome:
    """Wait for a started step to end; check that stdout follows the contract."""
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        stdout, stderr = process.communicate()
        raise AssertionError(f"still running after {timeout} s; it wrote:\n{stderr.decode(errors='replace')}") from None
    text = stderr.decode(errors="backslashreplace")
    if process.returncode != 0:
        assert stdout == b"", f"text on stdout after a failure: {stdout!r}"
        return Outcome(status=process.returncode, answer=None, stderr=text)
    return Outcome(status=0, answer=json.loads(stdout), stderr=text)


def run(
    step: Step,
    request: Json | bytes,
    *arguments: Path,
    environment: Mapping[str, str] | None = None,
    wrapper: Sequence[str] = (),
) -> Outcome:
    """Run ``step`` to its end."""
    return finish(start(step, request, *arguments, environment=environment, wrapper=wrapper))


def check(request: Json, environment: Mapping[str, str] | None = None) -> Outcome:
    return run("check", request, environment=environment)


def get(request: Json, destination: Path, *, environment: Mapping[str, str] | None = None) -> Outcome:
    """Create ``destination``, as Concourse does, and run in."""
    destination.mkdir(parents=True, exist_ok=True)
    return run("in", request, destination, environment=environment)


def put(request: Json, sources: Path, *, environment: Mapping[str, str] | None = None) -> Outcome:
    """Run out; ``sources`` holds the artifacts of the build."""
    return run("out", request, sources, environment=environment)


def failed(outcome: Outcome, *words: str) -> str:
    """Assert a clean failure: exit 1, no traceback, all ``words`` on stderr. Returns stderr."""
    assert outcome.status == 1, f"exit {outcome.status}: {outcome.stderr}"
    assert "Traceback" not in outcome.stderr, outcome.stderr
    for word in words:
        assert word in outcome.stderr, f"no {word!r} in: {outcome.stderr}"
    return outcome.stderr
