"""The progress of long work. Nothing here draws: `concourse.console` does."""

from __future__ import annotations

from collections.abc import Mapping

#: Every step, in the order in which a part goes through those that it needs.
STEPS = ("download", "verify", "unpack", "upload")


class Listener:
    """Receives the progress of STEPS on parts, each named by a short id such as a layer's digest. This one ignores it.

    Calls come from several threads, in the middle of the data path: a listener must be quick and must never raise.
    """

    def expect(self, step: str, parts: Mapping[str, int]) -> None:
        """``parts`` are to come, each with its size in bytes, so that a total can be shown from the start."""

    def begin(self, step: str, part: str, total: int | None) -> None:
        """Work on ``part`` starts, or starts over; ``total`` is its size in bytes, where known."""

    def advance(self, step: str, part: str, count: int) -> None:
        """``count`` more bytes of it are done."""

    def finish(self, step: str, part: str) -> None:
        """It is done and verified; if it was not begun, there was nothing to do."""

    def note(self, message: str) -> None:
        """A line for the reader of the log: a wait, a warning, a fallback."""
