"""stderr: log lines, and how far long work is, for a build log that interprets ANSI but is no terminal.

Who works calls `Tally`'s methods, which only count; drawing happens beside that, and when it fails the work goes on.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from registry_image.progress import Silence

if TYPE_CHECKING:
    from registry_image.concourse.source import Source

#: Seconds between the lines of `progress: plain`.
PLAIN_INTERVAL = 5.0


def write_line(text: str) -> None:
    """A line on stderr."""
    write_text(f"{text}\n")


def write_text(text: str) -> None:
    """On stderr, unbuffered. That nobody listens any more is no reason to stop."""
    with suppress(OSError):
        os.write(2, text.encode("utf-8", "backslashreplace"))


def size_text(size: float) -> str:
    """Bytes for people, in powers of ten as registries show them.

    >>> size_text(34_100_000)
    '34.1 MB'
    """
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


class Console(Silence):
    """Lines as they come, and nothing of what lies between them. ``downloaded`` counts bytes."""

    def __init__(self) -> None:
        self.downloaded = 0
        self._lock = threading.Lock()

    def advance(self, step: str, part: str, count: int) -> None:
        if step == "download":
            with self._lock:
                self.downloaded += count

    def expect(self, step: str, parts: Mapping[str, int]) -> None:
        """What is to come, each part with its size in bytes, so that a total can be shown from the start."""

    def note(self, message: str) -> None:
        write_line(message)


class UnpackOnly(Silence):
    """Passes on what is told of unpacking, for an image that is read from this disk: nothing is downloaded then."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def begin(self, step: str, part: str, total: int | None) -> None:
        if step == "unpack":
            self._console.begin(step, part, total)

    def advance(self, step: str, part: str, count: int) -> None:
        if step == "unpack":
            self._console.advance(step, part, count)

    def finish(self, step: str, part: str) -> None:
        if step == "unpack":
            self._console.finish(step, part)

    def note(self, message: str) -> None:
        self._console.note(message)


class Debug(Console):
    """Each step on each part as a line."""

    def begin(self, step: str, part: str, total: int | None) -> None:
        write_line(f"{step} {part}" if total is None else f"{step} {part}: {size_text(total)}")

    def finish(self, step: str, part: str) -> None:
        write_line(f"{step} {part}: done")


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


@contextmanager
def open_console(source: Source, *, draws: bool = True) -> Iterator[Console]:
    """What the source asks for; a check is too short to draw anything."""
    for warning in source.warnings:
        write_line(f"warning: {warning}")
    if source.debug:
        yield Debug()
    elif not draws or source.progress == "none":
        yield Console()
    elif source.progress == "plain":
        yield Plain(Tally())
    else:
        from registry_image.concourse.bars import Bars

        with Bars(Tally()) as bars:
            yield bars
