"""Progress that is drawn, once the work has taken a while. Who works only counts, and goes on if drawing fails."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import TYPE_CHECKING

from registry_image.concourse.console.counter import Counting, Tally
from registry_image.concourse.console.log import write_line

if TYPE_CHECKING:
    from registry_image.concourse.console.bars import Bars

#: Work that is done sooner, in seconds, is not drawn: rich alone takes a tenth of a second to import.
DRAW_AFTER = 2.0


class Drawn(Counting):
    """Bars, from when the work has taken a while. A context manager: leaving it stops the drawing."""

    def __init__(self, tally: Tally) -> None:
        super().__init__(tally)
        self._bars: Bars | None = None
        self._starting = threading.Lock()
        self._over = False

    def __enter__(self) -> Drawn:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._starting:
            self._over = True
        if self._bars is not None:
            self._bars.stop()

    def advance(self, step: str, part: str, count: int) -> None:
        super().advance(step, part, count)
        tally = self.tally
        if self._bars is None and tally.since is not None and tally.clock() - tally.since > DRAW_AFTER:
            self._draw()

    def note(self, message: str) -> None:
        if self._bars is None:
            write_line(message)
        else:
            self._bars.print(message)

    def _draw(self) -> None:
        # Of several threads that come here at once, the others go on with their work.
        if self._starting.acquire(blocking=False):
            try:
                if self._bars is None and not self._over:
                    from registry_image.concourse.console.bars import Bars

                    self._bars = Bars(self.tally)
                    self._bars.start()
            finally:
                self._starting.release()
