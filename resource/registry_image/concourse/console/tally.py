"""Counts how far the work is. The working threads write it, and the display thread reads it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping

from registry_image.progress import STEPS

#: A part with fewer bytes than this left to unpack waits for its download.
_STARVED = 1_000_000
#: Seconds over which a speed is averaged.
_SMOOTHING = 3.0


class Part:
    """Bytes of one step on one part; ``total`` is None if it is unknown. One thread at a time counts."""

    __slots__ = ("done", "finished", "started", "total")

    def __init__(
        self, *, total: int | None = None, done: int = 0, started: bool = False, finished: bool = False
    ) -> None:
        self.total = total
        self.done = done
        self.started = started
        self.finished = finished

    @property
    def reached(self) -> int:
        """The bytes done, including those that did not have to be moved."""
        if self.total is None:
            return self.done
        return self.total if self.finished else min(self.done, self.total)


#: The parts of every step, in the order in which they were expected.
Steps = Mapping[str, Mapping[str, Part]]


def summed(parts: Iterable[Part]) -> Part:
    """The sum of ``parts``."""
    each = list(parts)
    totals = [part.total for part in each if part.total is not None]
    return Part(
        total=sum(totals) if len(totals) == len(each) else None,
        done=sum(part.reached for part in each),
        started=any(part.started for part in each),
        finished=all(part.finished for part in each),
    )


class Tally:
    """The work that each step has done, and its speed."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._steps: dict[str, dict[str, Part]] = {}
        self._paces: dict[str, _Pace] = {}
        self._opened = clock()

    def steps(self) -> Steps:
        # Other threads add to the dictionaries; nothing can interrupt a copy.
        return {step: dict(self._steps[step]) for step in STEPS if step in self._steps}

    @property
    def elapsed(self) -> float:
        """Seconds since the tally was made."""
        return self._clock() - self._opened

    def expect(self, step: str, parts: Mapping[str, int]) -> None:
        """Announces ``parts``, with their sizes in bytes. A part that starts over is announced again."""
        self._steps.setdefault(step, {}).update({name: Part(total=total) for name, total in parts.items()})

    def begin(self, step: str, name: str, total: int | None) -> None:
        """Starts a part. After a broken attempt, the part starts again from its first byte."""
        part = self._part(step, name)
        self._paces.setdefault(step, _Pace(self._clock()))
        if not part.finished:
            part.started = True
            part.done = 0
            part.total = total if total is not None else part.total

    def advance(self, step: str, name: str, count: int) -> None:
        self._part(step, name).done += count

    def finish(self, step: str, name: str) -> None:
        """Ends a part. Without `begin`, there was nothing to do for it."""
        part = self._part(step, name)
        part.finished = True
        if part.started:
            self._paces[step].end = self._clock()

    def _part(self, step: str, name: str) -> Part:
        return self._steps.setdefault(step, {}).setdefault(name, Part())

    def sample(self) -> None:
        """Measures the current speeds. The display calls it before each frame."""
        now = self._clock()
        before: Mapping[str, Part] = {}
        for step, parts in self.steps().items():
            if step in self._paces:
                moved = sum(part.done for part in parts.values())
                self._paces[step].sample(now, moved, limited=_waits_for(before, parts))
            before = parts

    def speed(self, step: str) -> float:
        """The current speed in bytes per second, 0.0 if unknown."""
        return self._paces[step].speed if step in self._paces else 0.0

    def average(self, step: str) -> float:
        """The average speed in bytes per second, from the step's first byte to its last, or until now."""
        pace = self._paces.get(step)
        if pace is None:
            return 0.0
        parts = dict(self._steps[step]).values()
        # A step that is stopped has waited for its unfinished parts since the last one ended.
        end = pace.end if pace.end is not None and all(part.finished for part in parts) else self._clock()
        return sum(part.done for part in parts) / max(end - pace.begin, 0.001)

    def seconds_left(self) -> float | None:
        """Seconds until all steps are done with all parts; None if unknown."""
        longest: float | None = None
        for step, parts in self.steps().items():
            whole = summed(parts.values())
            if whole.finished:
                continue
            pace = self._paces.get(step)
            if pace is None or whole.total is None:
                return None
            if longest is not None and not pace.measured:
                continue  # this step only waits for the one before it, so it ends soon after that one
            if not pace.speed:
                return None
            longest = max(longest or 0.0, (whole.total - whole.done) / pace.speed)
        return longest or None


def _waits_for(before: Mapping[str, Part], parts: Mapping[str, Part]) -> bool:
    """Whether the part that ``parts`` are at has no bytes yet but those of the step ``before`` it."""
    for name, part in parts.items():
        if not part.finished:
            source = before.get(name)
            return source is not None and not source.finished and part.done + _STARVED > source.done
    return False


class _Pace:
    """The speed of a step. ``measured`` says that it is the step's own, not that of what it waits for."""

    def __init__(self, begin: float) -> None:
        self.begin = begin
        self.end: float | None = None
        self.speed = 0.0
        self.measured = False
        self._last = begin
        self._moved = 0
        self._limited = True

    def sample(self, now: float, moved: int, *, limited: bool) -> None:
        window = now - self._last
        if window <= 0:
            return
        speed = max(0, moved - self._moved) / window
        # The interval between two waits counts as waiting too.
        waited = limited or self._limited
        self._last, self._moved, self._limited = now, moved, limited
        if not waited and self.measured:
            self.speed += (speed - self.speed) * -math.expm1(-window / _SMOOTHING)
        elif not waited or not self.measured:
            self.speed, self.measured = speed, not waited
