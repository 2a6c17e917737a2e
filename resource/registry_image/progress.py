"""The words in which long work tells how far it is: whoever works says them, whoever draws hears them.

Nothing here draws. A listener must be quick and must never raise: it sits beside the data path, not in it.
"""

from __future__ import annotations

from typing import Protocol


class Listener(Protocol):
    """Hears of steps ("download", "unpack", "upload") on parts, each named by a short id such as a layer's digest.

    Calls come from several threads.
    """

    def begin(self, step: str, part: str, total: int | None) -> None:
        """Work on ``part`` starts; ``total`` is its size in bytes, where known."""

    def advance(self, step: str, part: str, count: int) -> None:
        """``count`` more bytes of it are done."""

    def finish(self, step: str, part: str) -> None:
        """It is done, and was verified."""

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
