"""Who listens to a step: counts what is done, and writes the lines that stay."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

from registry_image.concourse.console.frame import standing
from registry_image.concourse.console.log import Lines, size_text, write_line
from registry_image.concourse.console.tally import Tally


class Console(Lines):
    """Counts, and writes lines as they come: what `progress: none` shows. A context manager.

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
        """What the step is going to do, or did: a line that `progress: none` leaves out."""

    def at(self, doing: str) -> None:
        """What the step is at while no part is worked on, such as ``pushing tags``: only told if it ends there."""
        self._doing = doing

    def done(self, message: str) -> None:
        """The last line; nothing that moves is below or above it any more."""
        self.close()
        write_line(f"done in {self.tally.elapsed:.1f} s: {message}")

    def __enter__(self) -> Console:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        doing, far = standing(self.tally)
        # What failed before anything was begun says itself what it was.
        if error is not None and (far or not isinstance(error, Exception)):
            what = "failed" if isinstance(error, Exception) else "stopped"
            where = ": ".join(filter(None, (doing or self._doing or "at the beginning", far)))
            write_line(f"{what} after {self.tally.elapsed:.1f} s, {where}")

    def close(self) -> None:
        """Nothing of what moves is shown any more: it stays as it is, and lines come below it."""


class Debug(Console):
    """Each step on each part as a line."""

    def begin(self, step: str, part: str, total: int | None) -> None:
        super().begin(step, part, total)
        self.note(f"{step} {part}" if total is None else f"{step} {part}: {size_text(total)}")

    def finish(self, step: str, part: str) -> None:
        super().finish(step, part)
        self.note(f"{step} {part}: {'done' if self.tally.steps()[step][part].started else 'was there'}")

    def announce(self, message: str) -> None:
        self.note(message)
