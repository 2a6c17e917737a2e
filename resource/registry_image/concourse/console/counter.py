"""How far long work is, counted, and told in a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from registry_image.concourse.console.log import Console, size_text, write_line

#: Seconds between the lines of `progress: plain`.
PLAIN_INTERVAL = 5.0


@dataclass(slots=True)
class Part:
    """Bytes of one step on one part; ``total`` is None where nobody knows it. Counted by one thread at a time."""

    total: int | None = None
    done: int = 0
    started: bool = False
    finished: bool = False


@dataclass(slots=True)
class Tally:
    """How far every step is, and since when (monotonic seconds)."""

    clock: Callable[[], float] = time.monotonic
    steps: dict[str, dict[str, Part]] = field(default_factory=dict)
    since: float | None = None

    def part(self, step: str, name: str) -> Part:
        return self.steps.setdefault(step, {}).setdefault(name, Part())

    def summary(self, step: str) -> str:
        """Such as ``download 12.0 of 34.1 MB, 2 of 5 done, 6.0 MB/s, 4 s left``; "" before anything was begun."""
        parts = list(self.steps.get(step, {}).values())
        if not parts or self.since is None:
            return ""
        done = sum(part.done for part in parts)
        known = [part.total for part in parts if part.total is not None]
        rate = done / max(self.clock() - self.since, 0.001)
        words = [f"{step} {size_text(done)}"]
        if len(known) == len(parts):
            words[0] += f" of {size_text(sum(known))}"
        words.append(f"{sum(part.finished for part in parts)} of {len(parts)} done")
        words.append(f"{size_text(rate)}/s")
        if len(known) == len(parts) and rate and done < sum(known):
            words.append(f"{(sum(known) - done) / rate:.0f} s left")
        return ", ".join(words)


class Counting(Console):
    """Counts into ``tally``; whoever draws reads that."""

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self.tally = tally

    def expect(self, step: str, parts: Mapping[str, int]) -> None:
        for name, total in parts.items():
            self.tally.part(step, name).total = total

    def begin(self, step: str, part: str, total: int | None) -> None:
        if self.tally.since is None:
            self.tally.since = self.tally.clock()
        begun = self.tally.part(step, part)
        begun.started = True
        begun.total = total if total is not None else begun.total

    def advance(self, step: str, part: str, count: int) -> None:
        super().advance(step, part, count)
        self.tally.part(step, part).done += count

    def finish(self, step: str, part: str) -> None:
        self.tally.part(step, part).finished = True


class Plain(Counting):
    """A line every few seconds."""

    def __init__(self, tally: Tally) -> None:
        super().__init__(tally)
        self._next = tally.clock() + PLAIN_INTERVAL

    def advance(self, step: str, part: str, count: int) -> None:
        super().advance(step, part, count)
        if self.tally.clock() >= self._next:
            self._next = self.tally.clock() + PLAIN_INTERVAL
            write_line("; ".join(filter(None, map(self.tally.summary, list(self.tally.steps)))))
