"""What one check costs, for each kind of source: ``python -m benchmarks.modes [NAME=CHECK ...]``.

A registry on loopback answers after 50 ms. Each source is checked once without a version and then with the newest, all
in turn, so that other load on the machine affects all of them. Each CHECK is another one to compare with: of another
checkout, or registry-image's. Prints a Markdown table of medians for docs/operators.md.
"""

from __future__ import annotations

import argparse
import statistics
from collections import Counter
from pathlib import Path

from benchmarks.load.checks import OURS, Ended, alone
from benchmarks.load.process import RegistryProcess, registry_process
from benchmarks.load.resources import MODES, Resource
from benchmarks.load.table import markdown, paste

ROUNDS = 15
HEADINGS = ("First check", "Each later check", "CPU, ms", "memory, MiB", "lasts, s")


class Measured:
    """One check of one source, again and again. ``first`` and ``later`` are its requests."""

    def __init__(self, command: str, resource: Resource, registry: RegistryProcess) -> None:
        self._command, self._resource, self._registry = command, resource, registry
        self.first = Counter[str]()
        self.later = Counter[str]()
        self._costs: list[Ended] = []

    def prepare(self) -> bool:
        """The first check; False if it fails, as with a field that it does not know."""
        self._registry.enter("")
        ended = alone(self._command, self._resource)
        self.first = self._registry.enter("")
        return ended.status == 0

    def measure(self) -> None:
        ended = alone(self._command, self._resource)
        assert ended.status == 0, self._resource.source
        self.later = self._registry.enter("")
        self._costs.append(ended)

    def cells(self) -> list[str]:
        cpu = statistics.median(cost.cpu for cost in self._costs)
        memory = statistics.median(cost.memory for cost in self._costs)
        took = statistics.median(cost.took for cost in self._costs)
        return [named(self.first), named(self.later), f"{cpu * 1000:.0f}", f"{memory:.1f}", f"{took:.2f}"]


#: What the server calls the kinds of requests, and what a table does. A HEAD or GET of a manifest needs no name.
KINDS = {"manifests": "", "tags": " of tags", "blobs": " of a config", "token": " of a token", "ping": " of `/v2/`"}


def named(requests: Counter[str]) -> str:
    """Such as "1 GET of tags, 50 HEAD"."""
    counts = Counter[str]()
    for request, count in requests.items():
        method, kind, status = request.split()
        counts[method + KINDS[kind] + (f" ({status})" if status != "200" else "")] += count
    return ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "none"


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.modes")
    parser.add_argument("checks", nargs="*", metavar="NAME=CHECK")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--page", type=Path, help="Markdown whose tables to replace")
    options = parser.parse_args()
    commands = {"This resource": OURS, **dict(check.split("=", 1) for check in options.checks)}
    with registry_process() as registry:
        measured: dict[tuple[str, str], Measured] = {}
        for name, command in commands.items():
            for mode in MODES:
                one = Measured(command, Resource(mode=mode, source=mode.complete(registry.places)), registry)
                if one.prepare():
                    measured[name, mode.name] = one
        for _ in range(options.rounds):
            for one in measured.values():
                one.measure()
    tables = [
        markdown(
            [(name, *HEADINGS), *((mode, *one.cells()) for (whose, mode), one in measured.items() if whose == name)]
        )
        for name in commands
    ]
    text = "\n\n".join(tables) + "\n"
    print(text, end="")
    if options.page:
        paste(text, options.page, "modes")


if __name__ == "__main__":
    main()
