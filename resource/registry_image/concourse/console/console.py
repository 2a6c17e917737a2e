"""The listener of a get or put: counts the work done, and writes the lines that stay."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

from registry_image.concourse.console.frame import standing
from registry_image.concourse.console.log import Lines, size_text, write_line
from registry_image.concourse.console.tally import Tally


class Console(Lines):
    """Counts the work and writes only lines, as `progress: none` does. A context manager.

    Leaving it by an exception writes how far the work was.
    """

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self._doing = ""

    def expect(self, step: str, parts: Mapping[str, int]) -> None:
        self.tally.expect(step, parts)

    def begin(self, step: str, part: str, total: int | None) -> None:
        self.tally.begin(step, part, total)

    def advance(self, step: str, part: str, count: int) -> None:
        self.tally.advance(step, part, count)

    def finish(self, step: str, part: str) -> None:
        self.tally.finish(step, part)

    def announce(self, message: str) -> None:
        """A line about what the step will do or has done; `progress: none` leaves it out."""

    def at(self, doing: str) -> None:
        """Remembers what the step does between parts, such as ``pushing tags``, in case it ends there."""
        self._doing = doing

    def done(self, message: str) -> None:
        """Writes the last line, after the display has stopped."""
        self.close()
        write_line(f"done in {self.tally.elapsed:.1f} s: {message}")

    def __enter__(self) -> Console:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        doing, far = standing(self.tally)
        # A failure before any work began has an error text that says enough.
        if error is not None and (far or not isinstance(error, Exception)):
            what = "failed" if isinstance(error, Exception) else "stopped"
            where = ": ".join(filter(None, (doing or self._doing or "at the beginning", far)))
            write_line(f"{what} after {self.tally.elapsed:.1f} s, {where}")

    def close(self) -> None:
        """Stops the display. The last frame stays, and further lines come below it."""


class Debug(Console):
    """Writes a line for each step of each part."""

    def begin(self, step: str, part: str, total: int | None) -> None:
        super().begin(step, part, total)
        self.note(f"{step} {part}" if total is None else f"{step} {part}: {size_text(total)}")

    def finish(self, step: str, part: str) -> None:
        super().finish(step, part)
        self.note(f"{step} {part}: {'done' if self.tally.steps()[step][part].started else 'was there'}")

    def announce(self, message: str) -> None:
        self.note(message)
