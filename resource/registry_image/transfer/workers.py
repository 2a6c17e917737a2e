"""Threads that work together and end together, like Go's errgroup and trio's nursery."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import TypeVar

from registry_image.errors import Cancelled

#: Seconds that threads get to notice a cancellation. They are daemons, so none delays the end of the process.
GRACE = 1.0
#: Poll interval, in seconds: a signal that comes just before a wait does not interrupt it.
POLL = 0.1
#: The most threads of `map_on_processors`: with more, the disk and the hash are the bottleneck.
MAX_PROCESSORS = 8
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class WorkerGroup:
    """A context manager. The first failure cancels all work, and so does leaving the group, by a signal too.

    ``cancelled`` is then set; ``failure`` is the first failure, if there is one.
    """

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self.failure: BaseException | None = None
        self._threads: list[threading.Thread] = []

    def start(self, work: Callable[[], None], name: str, ended: Callable[[], None] = lambda: None) -> None:
        """Runs ``work`` in a thread of its own, then ``ended``, however the work ended."""
        thread = threading.Thread(target=self._run, args=(work, ended), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self, work: Callable[[], None], ended: Callable[[], None]) -> None:
        try:
            work()
        except Cancelled:
            pass
        except BaseException as error:  # noqa: BLE001  raised again in the group's own thread
            self.failure = self.failure or error
            self.cancelled.set()
        ended()

    def check(self) -> None:
        """Raises the failure, if there is one."""
        if self.failure is not None:
            raise self.failure

    def map(self, act: Callable[[_Item], _Result], items: Iterable[_Item], limit: int, ahead: int) -> Iterator[_Result]:
        """``act`` on each item, in at most ``limit`` threads, the results in the items' order.

        Items are taken in the caller's thread, at most ``ahead`` of them before the first of their results is used.
        Raises the first failure at once, and begins no further item then.
        """
        tasks: SimpleQueue[tuple[int, _Item] | None] = SimpleQueue()
        finished: SimpleQueue[tuple[int, _Result] | None] = SimpleQueue()
        results: dict[int, _Result] = {}

        def work() -> None:
            while (task := tasks.get()) is not None and not self.cancelled.is_set():
                finished.put((task[0], act(task[1])))

        def result(position: int) -> _Result:
            while position not in results:
                try:
                    done = finished.get(timeout=POLL)
                except Empty:
                    continue
                self.check()
                if done is None:
                    raise Cancelled
                results[done[0]] = done[1]
            return results.pop(position)

        begun = taken = 0
        try:
            for item in items:
                tasks.put((begun, item))
                if begun < limit:
                    self.start(work, f"map-{begun}", lambda: finished.put(None))
                begun += 1
                if begun - taken >= ahead:
                    yield result(taken)
                    taken += 1
            for position in range(taken, begun):
                yield result(position)
        finally:
            # Wakes the threads that wait for an item: one more than counted where a signal came while it was started.
            for _ in range(limit):
                tasks.put(None)

    def __enter__(self) -> WorkerGroup:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancelled.set()
        end = time.monotonic() + GRACE
        for thread in self._threads:
            if thread.is_alive():  # not where a signal came before it was started
                thread.join(max(0.0, end - time.monotonic()))


def parallel_map(act: Callable[[_Item], _Result], items: Sequence[_Item], limit: int) -> list[_Result]:
    """``act`` on each item, ``limit`` at once, the results in the items' order. Raises the first failure.

    A signal gets a note of what was waited for."""
    results: list[_Result] = []
    with WorkerGroup() as group:
        try:
            results.extend(group.map(act, items, limit, ahead=len(items)))
        except BaseException as error:
            if not isinstance(error, Exception) and len(results) < len(items):
                error.add_note(f"waiting for {items[len(results)]}, {len(results) + 1} of {len(items)}")
            raise
    return results


def map_on_processors(act: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
    """A `map` with one thread for each processor, for work that releases the interpreter lock, as compression does.

    Items are taken in the caller's thread, at most two for each thread in advance.
    """
    threads = min(MAX_PROCESSORS, len(os.sched_getaffinity(0)))
    with WorkerGroup() as group:
        yield from group.map(act, items, threads, ahead=2 * threads)
