"""Progress bars, drawn by rich, which is imported here alone and takes longer to import than a small get to run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from io import TextIOBase
from typing import IO, cast

import rich.console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from registry_image.concourse.console.counter import Part, Tally
from registry_image.concourse.console.log import one_line, size_text, write_line, write_text

#: The CI server stores every frame for as long as it keeps the build.
FRAMES_PER_SECOND = 2
#: There is no terminal to ask; a build log shows at least this many columns.
WIDTH = 100
BAR_WIDTH = 24
#: Layers that are drawn at once; of an image with more, those that are being worked on come first.
MAX_ROWS = 24


class _Stream(TextIOBase):
    """The file that rich wants. Its failures are nobody's: rich writes from a thread of its own, too."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._write(text)
        return len(text)


class Bars:
    """A row for each part with a bar for each step on it, and a line with the totals. Redrawn in place."""

    def __init__(self, tally: Tally, write: Callable[[str], object] = write_text) -> None:
        self._tally = tally
        self._console = rich.console.Console(
            file=cast(IO[str], _Stream(write)),
            force_terminal=True,
            color_system="standard",
            width=WIDTH,
            height=2 * MAX_ROWS,
            _environ={},
        )
        self._live = Live(
            self,
            console=self._console,
            refresh_per_second=FRAMES_PER_SECOND,
            redirect_stdout=False,
            redirect_stderr=False,
            transient=True,
        )

    def start(self) -> None:
        with suppress(Exception):
            self._live.start(refresh=False)

    def stop(self) -> None:
        """Erases the bars."""
        with suppress(Exception):
            self._live.stop()

    def print(self, message: str) -> None:
        """A line above the bars."""
        try:
            self._console.print(Text(one_line(message)), soft_wrap=True)
        except Exception:  # noqa: BLE001 - a line that cannot be drawn is still to be read
            write_line(message)

    def __rich__(self) -> Table:
        try:
            return self._frame()
        except Exception:  # noqa: BLE001 - in rich's thread, which would die of it with a traceback
            return Table.grid()

    def _frame(self) -> Table:
        # The dictionaries grow while this reads them: so they are copied first, which nothing can interrupt.
        steps = {step: dict(parts) for step, parts in dict(self._tally.steps).items()}
        table = Table.grid(padding=(0, 1))
        names = [name for parts in steps.values() for name in parts]
        rows = sorted(dict.fromkeys(names), key=lambda name: not _is_busy(steps, name))[:MAX_ROWS]
        for name in (name for name in dict.fromkeys(names) if name in rows):
            cells: list[Text | ProgressBar] = [Text(name)]
            for step, parts in steps.items():
                cells += _cells(step, parts.get(name, Part()))
            table.add_row(*cells)
        frame = Table.grid()
        frame.add_row(table)
        for step in steps:
            frame.add_row(Text(self._tally.summary(step)))
        return frame


def _is_busy(steps: dict[str, dict[str, Part]], name: str) -> bool:
    parts = [parts[name] for parts in steps.values() if name in parts]
    return any(part.started for part in parts) and not all(part.finished for part in parts)


def _cells(step: str, part: Part) -> list[Text | ProgressBar]:
    total = float(part.total) if part.total else None
    bar = ProgressBar(
        total=total or 1.0,
        completed=(total or 1.0) if part.finished else part.done if total else 0.0,
        width=BAR_WIDTH,
        style="bright_black",
        complete_style="cyan",
        finished_style="green",
        pulse_style="cyan",
        pulse=part.started and not part.finished and total is None,
    )
    return [Text(step), bar, Text(size_text(part.done) if part.started else "", justify="right")]
