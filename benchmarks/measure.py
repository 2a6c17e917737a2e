"""Measures programs. They run in turn, so that other load on the machine affects all of them."""

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
    """``wall`` and ``cpu`` (user, system, children) in seconds; ``memory`` is the largest process's peak in MiB."""

    wall: float
    cpu: float
    memory: float

    def as_json(self) -> dict[str, float]:
        return {name: round(value, 3) for name, value in asdict(self).items()}


#: Fills the new directory that it gets.
Contender = Callable[[Path], Cost]


def run(command: Sequence[str], *, stdin: bytes = b"", cwd: Path = Path("/")) -> Cost:
    """Raises CalledProcessError."""
    environment = {"PATH": os.environ["PATH"]}
    started = time.monotonic()
    # stdin and stderr are small, so that no pipe fills up.
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
    wall = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, stderr=text)
    return Cost(wall=wall, cpu=used.ru_utime + used.ru_stime, memory=used.ru_maxrss / 1024)


def in_turn(contenders: Mapping[str, Contender], scratch: Path, rounds: int) -> dict[str, list[Cost]]:
    """Runs each contender once per round in a new directory below ``scratch``; removing it is not timed.

    Each round starts with another contender, because the one after the removal of a large tree gets warm pages.
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
    """The median of each field."""
    return Cost(
        wall=statistics.median(cost.wall for cost in costs),
        cpu=statistics.median(cost.cpu for cost in costs),
        memory=statistics.median(cost.memory for cost in costs),
    )


def ratio(ours: Sequence[Cost], theirs: Sequence[Cost], of: Callable[[Cost], float]) -> float:
    """The median of the rounds' ratios."""
    pairs = zip(ours, theirs, strict=True)
    return statistics.median(of(our) / of(their) for our, their in pairs)
