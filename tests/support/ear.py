"""A listener that keeps what it receives."""

from __future__ import annotations

from registry_image.progress import Listener


class Ear(Listener):
    """A listener that records ``notes``, and for each (step, part) what was begun, advanced and finished."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.totals: dict[tuple[str, str], int | None] = {}
        self.counts: dict[tuple[str, str], int] = {}
        self.finished: list[tuple[str, str]] = []

    def begin(self, step: str, part: str, total: int | None) -> None:
        self.totals[step, part] = total
        self.counts[step, part] = 0

    def advance(self, step: str, part: str, count: int) -> None:
        self.counts[step, part] = self.counts.get((step, part), 0) + count

    def finish(self, step: str, part: str) -> None:
        self.finished.append((step, part))

    def note(self, message: str) -> None:
        self.notes.append(message)
