"""A `map` over threads, for work that leaves the interpreter alone, such as compression."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

#: The most threads; beyond, one disk and one hash are what is waited for.
MOST = 8
_Work = TypeVar("_Work")
_Done = TypeVar("_Done")


def ordered_map(function: Callable[[_Work], _Done], works: Iterable[_Work]) -> Iterator[_Done]:
    """``function`` of each of ``works``, in order, on as many threads as there are processors for us.

    ``works`` are drawn in the caller's thread, and no more than twice as many as there are threads wait at once.
    """
    from concurrent.futures import Future, ThreadPoolExecutor

    threads = min(MOST, len(os.sched_getaffinity(0)))
    pool = ThreadPoolExecutor(threads, thread_name_prefix="ordered")
    running: deque[Future[_Done]] = deque()
    try:
        for work in works:
            running.append(pool.submit(function, work))
            if len(running) >= 2 * threads:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
