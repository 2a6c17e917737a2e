"""A Concourse whose registry fails, in a few minutes: ``python -m benchmarks.outage [NAME=CHECK ...]``.

Runs thousands of real checks against a registry on loopback that limits their rate, is down, drops packets and says
nothing, for up to a minute each. Draws the load over time beside what it measured: .cache/bench/outage.svg and .json,
or where ``--picture`` says. Each CHECK is another one to compare with, in a run of its own: of another checkout, or
registry-image's. Prints Markdown tables; ``--page docs/operators.md`` replaces those of the page. ``--draw`` runs
nothing: it draws and prints the figures of the last run again.

As in Concourse, a resource is checked once its interval has passed since its last check ended, so never twice at once,
with the newest version of the last check that succeeded. Failed checks are repeated no sooner. Its scanner, which looks
every ten seconds, is left out: starts are spread evenly by chance. Dice and resources are the same in every run.
"""

from __future__ import annotations

import argparse
import heapq
import random
import time
from bisect import bisect
from collections import Counter
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

from benchmarks.load.checks import OURS, Checks, Ended, alone
from benchmarks.load.process import RegistryProcess, registry_process
from benchmarks.load.report import Phase, Report, Run, Sample
from benchmarks.load.resources import DIGEST, LOGIN, SEMVER, SORTED, TAG, Mode, Resource
from benchmarks.load.table import paste

PICTURE = Path(__file__).parents[1] / ".cache" / "bench" / "outage.svg"
#: What ten resources are; most of Concourse's follow a tag.
MIX = (TAG, SEMVER, TAG, LOGIN, TAG, SORTED, TAG, SEMVER, DIGEST, TAG)
#: Each phase, the state of the registry, and how long it lasts, in the plan's ``seconds``. The registry answers between
#: failures of which checks do not end at once, so that no phase inherits them.
PHASES = (
    ("first checks", "normal", 1.0),
    ("normal", "normal", 1.0),
    ("429 long", "long limit", 0.5),
    ("429 short", "short limit", 0.5),
    ("after 429", "normal", 0.5),
    ("refused", "refused", 1.0),
    ("dropped", "dropped", 1.0),
    ("reachable", "normal", 0.5),
    ("silent", "silent", 1.0),
    ("recovery", "normal", 1.0),
)
#: Seconds after the last phase, when checks that still run are killed.
GRACE = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Five checks a second keep half of two cores busy."""

    resources: int = 300
    interval: float = 60.0
    seconds: float = 60.0
    """Of a phase."""

    @property
    def ends(self) -> list[float]:
        """Of the phases, in seconds."""
        return [self.seconds * ends for ends in accumulate(length for _, _, length in PHASES)]

    @property
    def end(self) -> float:
        return self.ends[-1]

    @property
    def sampling(self) -> float:
        """Seconds between samples: a second, less only in very short runs."""
        return min(1.0, self.seconds / 5)

    def phase(self, now: float) -> int:
        """The number of the phase; that of the last one after its end, too."""
        return min(bisect(self.ends, now), len(PHASES) - 1)


@dataclass(slots=True, kw_only=True)
class Simulation:
    """One run of all phases, with one executable."""

    plan: Plan
    registry: RegistryProcess
    checks: Checks
    resources: list[Resource]
    samples: list[Sample] = field(default_factory=list)
    ended: list[list[Ended]] = field(default_factory=lambda: [[] for _ in PHASES])
    """By the phase in which they started."""
    _due: list[tuple[float, int]] = field(default_factory=list)
    _phase: int = -1
    _started: dict[int, int] = field(default_factory=dict)
    """The phase in which each resource's check started, by the resource's number."""
    _requests: Counter[str] = field(default_factory=Counter)
    _spent: float = 0.0
    _sampled: float = 0.0
    _begin: float = 0.0

    def run(self) -> None:
        chance = random.Random(1)  # noqa: S311 (no secret)
        self._due = [(chance.uniform(0.0, self.plan.interval), number) for number in range(len(self.resources))]
        heapq.heapify(self._due)
        self.registry.enter("")  # what was asked until now is not part of it
        self._begin = time.monotonic()
        while (now := self._now()) < self.plan.end or (len(self.checks) and now < self.plan.end + GRACE):
            if self._phase != self.plan.phase(now):
                self._phase = self.plan.phase(now)
                self._ask(PHASES[self._phase][1])
            while self._due and self._due[0][0] <= now < self.plan.end:
                number = heapq.heappop(self._due)[1]
                self._started[number] = self._phase
                self.checks.start(self.resources[number])
            if now >= self._sampled + self.plan.sampling:
                self._sample(now)
            for one in self.checks.wait(self._pause()):
                self._keep(one)
                heapq.heappush(self._due, (self._now() + self.plan.interval, one.resource.number))
        for one in self.checks.close():
            self._keep(one)

    def _now(self) -> float:
        return time.monotonic() - self._begin

    def _pause(self) -> float:
        """Seconds until a start, a sample or a phase is due."""
        start = self._due[0][0] if self._due else self.plan.end
        return min(start, self._sampled + self.plan.sampling, self.plan.ends[self._phase]) - self._now()

    def _keep(self, one: Ended) -> None:
        self.ended[self._started[one.resource.number]].append(one)

    def _ask(self, state: str) -> None:
        for request, count in self.registry.enter(state).items():
            status = request.split()[-1]
            self._requests["none" if status == "0" else status] += count

    def _sample(self, now: float) -> None:
        self._ask("")
        spent = self.checks.cpu()
        self.samples.append(
            Sample(
                at=now,
                seconds=now - self._sampled,
                phase=self.plan.phase((self._sampled + now) / 2),
                running=len(self.checks),
                memory=self.checks.memory(),
                cpu=spent - self._spent,
                requests=self._requests,
            )
        )
        self._requests = Counter()
        self._sampled, self._spent = now, spent

    def result(self, name: str) -> Run:
        ends = self.plan.ends
        phases = [
            Phase.of(
                label,
                end,
                self.ended[number],
                [one for one in self.samples if one.phase == number and one.at <= ends[-1]],
            )
            for number, ((label, _, _), end) in enumerate(zip(PHASES, ends, strict=True))
        ]
        return Run.of(name, self.samples, phases)


def simulated(name: str, command: str, plan: Plan) -> Run:
    with registry_process() as registry:
        doubtful = {mode.name: mode for mode in MIX if mode.instead is not None} if command != OURS else {}
        common = {
            known for known, mode in doubtful.items() if alone(command, _resource(0, mode, registry, set())).status != 0
        }
        if common:
            print(f"{name} does not know {', '.join(sorted(common))}: its resources do without\n")
        mix = [MIX[number % len(MIX)] for number in range(plan.resources)]
        resources = [_resource(number, mode, registry, common) for number, mode in enumerate(mix)]
        checks = Checks(command)
        simulation = Simulation(plan=plan, registry=registry, checks=checks, resources=resources)
        try:
            simulation.run()
        finally:
            checks.close()
    return simulation.result(name)


def _resource(number: int, mode: Mode, registry: RegistryProcess, common: set[str]) -> Resource:
    source = mode.complete(registry.places, common=mode.name in common)
    return Resource(number=number, mode=mode, source=source)


def arguments() -> argparse.Namespace:
    plan = Plan()
    parser = argparse.ArgumentParser(prog="benchmarks.outage")
    parser.add_argument("checks", nargs="*", metavar="NAME=CHECK")
    parser.add_argument("--resources", type=int, default=plan.resources)
    parser.add_argument("--interval", type=float, default=plan.interval, help="seconds between checks of a resource")
    parser.add_argument("--seconds", type=float, default=plan.seconds, help="of a phase; some last half as long")
    parser.add_argument("--picture", type=Path, default=PICTURE, help="SVG to write; the figures go beside it as JSON")
    parser.add_argument("--draw", action="store_true", help="run nothing: draw and print the JSON beside PICTURE")
    parser.add_argument("--page", type=Path, help="Markdown whose tables to replace")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    figures = options.picture.with_suffix(".json")
    if options.draw:
        report = Report.from_json(figures.read_text())
    else:
        plan = Plan(resources=options.resources, interval=options.interval, seconds=options.seconds)
        commands = {"This resource": OURS, **dict(check.split("=", 1) for check in options.checks)}
        runs = [simulated(name, command, plan) for name, command in commands.items()]
        report = Report(resources=plan.resources, interval=plan.interval, runs=runs)
        figures.parent.mkdir(parents=True, exist_ok=True)
        figures.write_text(report.as_json())
    options.picture.write_text(report.svg())
    print(report.tables(), end="")
    if options.page:
        paste(report.tables(), options.page, "outage")


if __name__ == "__main__":
    main()
