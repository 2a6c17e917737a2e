"""How long work reports its progress. Nothing here draws: `concourse.console` does."""

from __future__ import annotations

from typing import Protocol


class Listener(Protocol):
    """Hears of steps ("download", "unpack", "upload") on parts, each named by a short id such as a layer's digest.

    Calls come from several threads, in the middle of the data path: a listener must be quick and must never raise.
    """

    def begin(self, step: str, part: str, total: int | None) -> None:
        """Work on ``part`` starts; ``total`` is its size in bytes, where known."""

    def advance(self, step: str, part: str, count: int) -> None:
        """``count`` more bytes of it are done."""

    def finish(self, step: str, part: str) -> None:
        """It is done and verified."""

    def note(self, message: str) -> None:
        """A line for the reader of the log: a wait, a warning, a fallback."""


class Silence:
    """The listener that does nothing."""

    def begin(self, step: str, part: str, total: int | None) -> None:
        pass

    def advance(self, step: str, part: str, count: int) -> None:
        pass

    def finish(self, step: str, part: str) -> None:
        pass

    def note(self, message: str) -> None:
        pass
