"""Runs a program and says what it took; runs rivals in turn, so that whatever else the machine does falls on all."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """``wall`` and ``cpu`` (user and system, children too) in seconds, ``memory`` the largest process's peak in MiB."""

    wall: float
    cpu: float
    memory: float

    def as_json(self) -> dict[str, float]:
        return {name: round(value, 3) for name, value in asdict(self).items()}


#: Makes something in the fresh directory it is given.
Contender = Callable[[Path], Cost]


def run(command: Sequence[str], *, stdin: bytes = b"", cwd: Path = Path("/")) -> Cost:
    """Raises CalledProcessError if it fails."""
    environment = {"PATH": os.environ["PATH"]}
    begun = time.monotonic()
    # Both streams of the program are small, and files never block it.
    with open(os.devnull, "wb") as nowhere:
        process = subprocess.Popen(
            command, cwd=cwd, env=environment, stdin=subprocess.PIPE, stdout=nowhere, stderr=subprocess.PIPE
        )
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(stdin)
        process.stdin.close()
        text = process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
    wall = time.monotonic() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, stderr=text)
    return Cost(wall=wall, cpu=used.ru_utime + used.ru_stime, memory=used.ru_maxrss / 1024)


def in_turn(contenders: Mapping[str, Contender], scratch: Path, rounds: int) -> dict[str, list[Cost]]:
    """Each contender once a round, in a fresh directory below ``scratch`` that is removed untimed.

    Each round begins with another one: who comes after a large tree was removed writes to pages that are warm.
    """
    costs: dict[str, list[Cost]] = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            directory = scratch / "target"
            directory.mkdir()
            try:
                costs[name].append(contenders[name](directory))
            finally:
                shutil.rmtree(directory)
    return costs


def middle(costs: Sequence[Cost]) -> Cost:
    """The median of each."""
    return Cost(
        wall=statistics.median(cost.wall for cost in costs),
        cpu=statistics.median(cost.cpu for cost in costs),
        memory=statistics.median(cost.memory for cost in costs),
    )


def ratio(ours: Sequence[Cost], theirs: Sequence[Cost], of: Callable[[Cost], float]) -> float:
    """The median over the rounds of ours divided by theirs."""
    pairs = zip(ours, theirs, strict=True)
    return statistics.median(of(our) / of(their) for our, their in pairs)
