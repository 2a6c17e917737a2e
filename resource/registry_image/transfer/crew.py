"""Threads that work on one thing and end together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType

from registry_image.storage.spool import POLL, Stopped

#: Seconds that threads get to notice that work was called off. They are daemons: none can hold up the end.
STOP_WAIT = 1.0


class Crew:
    """A context manager. Leaving it, by an error or a signal too, calls all work off; the first failure does as well.

    ``stop`` is set once work is called off; ``failure`` is what did it, if a thread failed.
    """

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.failure: BaseException | None = None
        self._threads: list[threading.Thread] = []

    def start(self, work: Callable[[], None], name: str) -> None:
        """Runs ``work`` in a thread of its own."""
        thread = threading.Thread(target=self._run, args=(work,), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Stopped:
            pass
        except BaseException as error:  # noqa: BLE001  raised again by whoever leads the crew
            self.failure = self.failure or error
            self.stop.set()

    def check(self) -> None:
        """Raises the failure, if there is one."""
        if self.failure is not None:
            raise self.failure

    def join(self) -> None:
        """Waits until all work is done. Raises the first failure, as soon as there is one."""
        for thread in self._threads:
            while thread.is_alive() and not self.stop.is_set():
                thread.join(POLL)
        self.check()

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop.set()
        end = time.monotonic() + STOP_WAIT
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
