"""What `benchmarks.outage` measured: figures for each phase, tables of them, and the picture."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from benchmarks.load import picture
from benchmarks.load.checks import Ended
from benchmarks.load.table import markdown

#: Ten thousand resources a minute, in checks a second.
SCALE = 10_000 / 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The checks ``at`` that second, and what they took in the ``seconds`` before it."""

    at: float
    seconds: float
    phase: int
    running: int
    memory: float
    """MiB of all of them."""
    cpu: float
    requests: Counter[str]
    """By status, "none" without an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Checks that started in it, and samples that were taken in it. Seconds, MiB."""

    label: str
    end: float
    started: int
    succeeded: int
    failed: int
    killed: int
    lasts: tuple[float, float, float]
    """Median, 95 %, longest."""
    cpu: float
    """The mean of a check."""
    running: tuple[float, int]
    """Median, most."""
    memory: tuple[float, float]
    cores: float
    requests: Mapping[str, float]
    """Each second, by status."""

    @classmethod
    def of(cls, label: str, end: float, ended: Sequence[Ended], samples: Sequence[Sample]) -> Phase:
        took = sorted(one.took for one in ended) or [0.0]
        seconds = sum(one.seconds for one in samples) or 1.0
        requests = sum((one.requests for one in samples), Counter[str]())
        running = [one.running for one in samples] or [0]
        memory = [one.memory for one in samples] or [0.0]
        return cls(
            label=label,
            end=end,
            started=len(ended),
            succeeded=sum(one.status == 0 for one in ended),
            failed=sum(one.status > 0 for one in ended),
            killed=sum(one.status < 0 for one in ended),
            lasts=(round(statistics.median(took), 2), round(took[int(0.95 * len(took))], 2), round(took[-1], 2)),
            cpu=round(sum(one.cpu for one in ended) / max(1, len(ended)), 4),
            running=(statistics.median(running), max(running)),
            memory=(round(statistics.median(memory), 1), round(max(memory), 1)),
            cores=round(sum(one.cpu for one in samples) / seconds, 2),
            requests={status: round(count / seconds, 2) for status, count in sorted(requests.items())},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """``at``, ``running``, ``memory``, ``cores`` and ``requests`` (each second) are columns of the samples."""

    name: str
    at: Sequence[float]
    running: Sequence[int]
    memory: Sequence[float]
    cores: Sequence[float]
    requests: Sequence[float]
    phases: Sequence[Phase]

    @classmethod
    def of(cls, name: str, samples: Sequence[Sample], phases: Sequence[Phase]) -> Run:
        return cls(
            name=name,
            at=[round(one.at, 1) for one in samples],
            running=[one.running for one in samples],
            memory=[round(one.memory) for one in samples],
            cores=[round(max(0.0, one.cpu) / one.seconds, 2) for one in samples],
            requests=[round(one.requests.total() / one.seconds, 1) for one in samples],
            phases=phases,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Each resource is checked every ``interval`` seconds."""

    resources: int
    interval: float
    runs: Sequence[Run]

    @property
    def factor(self) -> float:
        """How many times as many checks 10,000 resources a minute are."""
        return SCALE / (self.resources / self.interval)

    def as_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":")) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Report:
        document = json.loads(text)
        runs = [Run(**{**run, "phases": [Phase(**phase) for phase in run["phases"]]}) for run in document["runs"]]
        return cls(**{**document, "runs": runs})

    def svg(self) -> str:
        runs = self.runs
        phases = runs[0].phases
        return picture.svg(
            f"{self.resources} resources, each checked every {self.interval:g} s, while their registry fails",
            {run.name: run.at for run in runs},
            [
                picture.Panel(title="checks that run", lines={run.name: run.running for run in runs}),
                picture.Panel(title="memory of them, MiB", lines={run.name: run.memory for run in runs}),
                picture.Panel(title="cores that they keep busy", lines={run.name: run.cores for run in runs}),
                picture.Panel(title="requests a second", lines={run.name: run.requests for run in runs}),
            ],
            [
                picture.Band(label=phase.label, start=start, end=phase.end)
                for start, phase in zip([0.0, *(phase.end for phase in phases)], phases, strict=False)
            ],
        )

    def tables(self) -> str:
        """Markdown: ten thousand resources a minute by multiplication, then what was measured."""
        parts = [_scaled(run, self.factor) for run in self.runs] + [_measured(run) for run in self.runs]
        return "\n\n".join(parts) + "\n"


def _measured(run: Run) -> str:
    rows = [
        (
            phase.label,
            f"{phase.succeeded} of {phase.started}",
            " / ".join(f"{seconds:.1f}" for seconds in phase.lasts),
            f"{phase.cpu * 1000:.0f}",
            f"{phase.running[0]:g} / {phase.running[1]}",
            f"{phase.memory[0]:.0f} / {phase.memory[1]:.0f}",
            ", ".join(f"{status}: {count:.1f}" for status, count in phase.requests.items()) or "none",
        )
        for phase in run.phases
    ]
    headings = ("succeed", "last, s", "CPU, ms", "run at once", "memory, MiB", "requests a second, by answer")
    return markdown([(run.name, *headings), *rows])


def _scaled(run: Run, factor: float) -> str:
    rows = [
        (
            phase.label,
            f"{phase.running[1] * factor:,.0f}",
            f"{phase.memory[1] * factor / 1024:.1f}",
            f"{phase.cores * factor:.0f}",
            f"{sum(phase.requests.values()) * factor:,.0f}",
        )
        for phase in run.phases
    ]
    headings = ("run at once", "memory, GiB", "cores", "requests a second")
    return markdown([(f"{run.name}, {factor:.1f} times as many", *headings), *rows])
