"""The benchmarks of many checks: they run, end what they start, and the page shows what they measured."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import modes, outage
from benchmarks.load import resources
from benchmarks.load.checks import OURS, Checks, Ended
from benchmarks.load.process import registry_process
from benchmarks.load.report import Phase, Report, Sample
from benchmarks.load.resources import TAG, Resource
from benchmarks.load.table import paste

DOCS = Path(__file__).parents[2] / "docs"
#: Requests of a first check and of each later one, in order, by the name of the mode, as docs/operators.md says.
LOGIN = "1 GET of `/v2/` (401), 1 GET of a token, 1 HEAD"
EVERY = "1 GET of tags, 50 HEAD"
CREATED = "1 GET of tags, 50 GET, 50 GET of a config"
REQUESTS = {
    "`digest`": ("none", "none"),
    "`tag`": ("1 HEAD", "1 HEAD"),
    "`tag`, with a login": (LOGIN, LOGIN),
    "semver mode": ("1 GET of tags, 51 HEAD", "2 HEAD, 1 GET of tags"),
    "`sort: semver`": (EVERY, "1 HEAD, 1 GET of tags"),
    "`sort: numeric`": (EVERY, "1 HEAD, 1 GET of tags"),
    "`sort: registry`": (EVERY, "50 HEAD, 1 GET of tags"),
    "`sort: lexical`": (EVERY, "50 HEAD, 1 GET of tags"),
    "`sort: created`": (CREATED, "50 GET, 1 GET of tags, 50 GET of a config"),
}


def sample(at: float, running: int, **requests: int) -> Sample:
    return Sample(
        at=at, seconds=1.0, phase=0, running=running, memory=running * 10.0, cpu=0.5, requests=Counter(requests)
    )


def test_the_shortest_simulation_measures_every_phase_and_draws_it(tmp_path: Path) -> None:
    picture = tmp_path / "load.svg"
    command = [sys.executable, "-m", "benchmarks.outage", f"--picture={picture}"]
    plan = ["--seconds=0.3", "--interval=0.5", "--resources=2"]
    shown = subprocess.run([*command, *plan], cwd=DOCS.parent, capture_output=True, text=True, check=False, timeout=240)
    assert shown.returncode == 0, shown.stderr
    root = ElementTree.fromstring(picture.read_text())  # noqa: S314 (our own picture)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    report = Report.from_json(picture.with_suffix(".json").read_text())
    (run,) = report.runs
    assert [phase.label for phase in run.phases] == [label for label, _, _ in outage.PHASES]
    assert sum(phase.started for phase in run.phases) >= 2
    assert sum(phase.killed for phase in run.phases) == 0
    assert shown.stdout == report.tables()


def test_figures_of_a_phase_count_checks_by_their_end_and_requests_by_the_second() -> None:
    resource = Resource(mode=TAG, source={})
    ended = [
        Ended(resource=resource, took=took, cpu=0.1, memory=20.0, status=status)
        for took, status in ((1.0, 0), (2.0, 1), (3.0, -9))
    ]
    phase = Phase.of("silent", 60.0, ended, [sample(1, 2, none=4), sample(2, 5, none=2, **{"200": 1})])
    assert (phase.started, phase.succeeded, phase.failed, phase.killed) == (3, 1, 1, 1)
    assert phase.lasts == (2.0, 3.0, 3.0)
    assert phase.running == (3.5, 5)
    assert phase.memory == (35.0, 50.0)
    assert phase.cores == 0.5
    assert phase.requests == {"200": 0.5, "none": 3.0}


def test_checks_that_still_run_at_the_end_are_killed(tmp_path: Path) -> None:
    command = tmp_path / "check"
    command.write_text("#!/bin/sh\nexec sleep 600\n")
    command.chmod(0o755)
    checks = Checks(str(command))
    checks.start(Resource(mode=TAG, source={}))
    assert checks.wait(0) == []
    assert [one.status for one in checks.close()] == [-9]
    assert len(checks) == 0


@pytest.mark.parametrize("state", ["normal", "refused", "dropped", "silent"])
def test_the_registry_ends_in_every_state(state: str) -> None:
    with registry_process() as registry:
        registry.enter(state)
    assert registry.process.poll() == 0


def test_the_registry_saw_the_requests_of_each_kind_of_source_that_the_page_states() -> None:
    seen = {}
    with registry_process() as registry:
        for mode in resources.MODES:
            one = modes.Measured(OURS, Resource(mode=mode, source=mode.complete(registry.places)), registry)
            assert one.prepare()
            one.measure()
            seen[mode.name] = (modes.named(one.first), modes.named(one.later))
    assert seen == REQUESTS
    page = (DOCS / "operators.md").read_text()
    for name, (first, later) in REQUESTS.items():
        assert f"| {name} | {first} | {later} |" in page


def test_the_page_shows_the_figures_that_its_picture_draws() -> None:
    figures = (DOCS / "outage.json").read_text()
    report = Report.from_json(figures)
    assert (DOCS / "outage.svg").read_text() == report.svg()
    assert report.tables() in (DOCS / "operators.md").read_text()
    assert json.loads(report.as_json()) == json.loads(figures)


def test_tables_replace_only_their_own_block_of_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- load -->\nold\n<!-- end of load -->\nb\n<!-- other -->\nkept\n<!-- end of other -->\n")
    paste("| \\1 |\n", page, "load")
    assert page.read_text() == (
        "a\n<!-- load -->\n| \\1 |\n<!-- end of load -->\nb\n<!-- other -->\nkept\n<!-- end of other -->\n"
    )
