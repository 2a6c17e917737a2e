"""Shows progress while a step works: a frame that is redrawn in place, or a line every few seconds."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from registry_image.concourse.console.console import Console
from registry_image.concourse.console.frame import DONE, HALF_DONE, TO_COME, frame, line
from registry_image.concourse.console.log import one_line, write_line, write_text
from registry_image.concourse.console.tally import Tally

#: Seconds of work after which drawing begins.
DRAW_AFTER = 2.0
#: Seconds between frames. The CI server stores every frame for as long as it keeps the build.
FRAME_INTERVAL = 0.5
#: Seconds between the lines of `progress: plain`.
PLAIN_INTERVAL = 5.0

_COLOURS = {DONE: "32", HALF_DONE: "36", TO_COME: "90"}


class Display(Protocol):
    """How a `Live` console shows a tally: from ``after`` seconds on, every ``interval`` seconds."""

    after: float
    interval: float

    def show(self, tally: Tally) -> None: ...

    def note(self, message: str) -> None: ...

    def close(self, tally: Tally) -> None:
        """Ends the display."""


class Live(Console):
    """Shows progress from its own thread. The working threads only count, and continue if the display fails."""

    def __init__(self, tally: Tally, display: Display) -> None:
        super().__init__(tally)
        self._display = display
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._closed = False

    def __enter__(self) -> Live:
        threading.Thread(target=self._run, name="progress", daemon=True).start()
        return self

    def tick(self) -> None:
        with self._lock, suppress(Exception):
            if not self._closed:
                self.tally.sample()
                if self.tally.elapsed >= self._display.after:
                    self._display.show(self.tally)

    def note(self, message: str) -> None:
        with self._lock:
            self._display.note(message)

    def announce(self, message: str) -> None:
        self.note(message)

    def _run(self) -> None:
        while not self._over.wait(self._display.interval):
            self.tick()

    def close(self) -> None:
        self._over.set()
        with self._lock, suppress(Exception):
            if not self._closed:
                self._closed = True
                self._display.close(self.tally)


class Plain:
    """A line every few seconds."""

    after = interval = PLAIN_INTERVAL

    def show(self, tally: Tally) -> None:
        text = line(tally)
        if text:
            write_line(text)

    def note(self, message: str) -> None:
        write_line(message)

    def close(self, tally: Tally) -> None:
        pass


class Bars:
    """A frame that is redrawn in place, with new lines above it. The last frame stays.

    Only what both a build's page (elm-ansi) and a terminal understand is used: colours, cursor up and down, and the
    erasing of a line's end. The page keeps every row that ever was, so no frame has fewer rows than the one before.
    """

    after = DRAW_AFTER
    interval = FRAME_INTERVAL

    def __init__(self, write: Callable[[str], object] = write_text) -> None:
        self._write = write
        self._rows: list[str] = []

    def show(self, tally: Tally) -> None:
        self._draw(frame(tally))

    def close(self, tally: Tally) -> None:
        if self._rows:
            self._draw(frame(tally, final=True))
        self._rows = []

    def note(self, message: str) -> None:
        text = f"{one_line(message)}\n"
        if self._rows:
            height = len(self._rows)
            # The line may wrap over the rows below it, so these are erased first and drawn again.
            empty = f"\x1b[{height}A" + "\x1b[K\x1b[B" * height + f"\x1b[{height}A"
            text = empty + text + "".join(f"{_coloured(row)}\n" for row in self._rows)
        self._write(text)

    def _draw(self, rows: list[str]) -> None:
        """Writes the changed rows at once."""
        before, self._rows = self._rows, rows
        same = next((n for n, (old, new) in enumerate(zip(before, rows, strict=False)) if old != new), len(before))
        if same == len(rows):
            return
        text = f"\x1b[{len(before) - same}A" if len(before) > same else ""
        for number, row in enumerate(rows[same:], start=same):
            unchanged = number < len(before) and before[number] == row
            text += "\n" if unchanged else f"{_coloured(row)}\x1b[K\n"
        self._write(text)


def _coloured(row: str) -> str:
    return re.sub(f"{DONE}+|{HALF_DONE}+|{TO_COME}+", lambda run: f"\x1b[{_COLOURS[run[0][0]]}m{run[0]}\x1b[0m", row)
