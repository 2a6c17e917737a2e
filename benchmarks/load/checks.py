"""Checks as Concourse runs them, many at once, and what they take.

Only the standard library is imported: programs that this process starts begin with its peak memory in their rusage.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.load.resources import Resource

OURS = str(Path(__file__).parents[2] / "assets" / "check")
#: Seconds after which a check that runs alone is killed.
LONGEST = 120
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A check that ran: times in seconds, peak memory in MiB. ``status`` is negative for a signal."""

    resource: Resource
    took: float
    cpu: float
    memory: float
    status: int


@dataclass(slots=True)
class _Running:
    process: subprocess.Popen[bytes]
    resource: Resource
    began: float


@dataclass(slots=True)
class Checks:
    """The checks that run at the moment. `close` kills them."""

    command: str
    spent: float = 0.0
    """CPU seconds of those that ended."""
    _running: dict[int, _Running] = field(default_factory=dict)
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)

    def __len__(self) -> int:
        return len(self._running)

    def start(self, resource: Resource) -> None:
        process = subprocess.Popen(
            [self.command],
            cwd="/",
            env={},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
            stdin.write(resource.request)
        handle = os.pidfd_open(process.pid)
        self._running[handle] = _Running(process, resource, time.monotonic())
        self._selector.register(handle, selectors.EVENT_READ)

    def wait(self, seconds: float) -> list[Ended]:
        """Those that end now, or the first ones within that time."""
        return [self._end(key.fd) for key, _ in self._selector.select(max(0.0, seconds))]

    def _end(self, handle: int) -> Ended:
        running = self._running.pop(handle)
        self._selector.unregister(handle)
        os.close(handle)
        process, resource = running.process, running.resource
        _, status, usage = os.wait4(process.pid, 0)
        took = time.monotonic() - running.began
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.stdout is not None
        with process.stdout as stdout:  # an answer is smaller than a pipe
            answer = stdout.read()
        if process.returncode == 0 and (versions := json.loads(answer)):
            resource.version = versions[-1]
        cpu = usage.ru_utime + usage.ru_stime
        self.spent += cpu
        return Ended(resource=resource, took=took, cpu=cpu, memory=usage.ru_maxrss / 1024, status=process.returncode)

    def memory(self) -> float:
        """MiB that all of them have at the moment: pages that several share count once (PSS)."""
        return sum(_proportional(running.process.pid) for running in self._running.values())

    def cpu(self) -> float:
        """CPU seconds of all so far."""
        return self.spent + sum(_cpu(running.process.pid) for running in self._running.values())

    def close(self) -> list[Ended]:
        """Kills those that still run, and returns them."""
        for running in self._running.values():
            os.killpg(running.process.pid, signal.SIGKILL)
        killed = [self._end(handle) for handle in list(self._running)]
        self._selector.close()
        return killed


def _proportional(pid: int) -> float:
    with contextlib.suppress(OSError):  # it has ended
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def _cpu(pid: int) -> float:
    """A process that has ended keeps its times until it is waited for."""
    times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, times)) / _TICK


def alone(command: str, resource: Resource) -> Ended:
    """One check, alone."""
    checks = Checks(command)
    try:
        checks.start(resource)
        return (checks.wait(LONGEST) or checks.close())[0]
    finally:
        checks.close()
