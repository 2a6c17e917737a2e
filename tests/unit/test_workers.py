"""Groups of threads: results in order, a bounded number of threads, an end by failure, by a signal, or by leaving."""

from __future__ import annotations

import _thread
import gc
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_image.errors import Cancelled, RateLimited
from registry_image.transfer.resolve import MAX_LOOKUPS
from registry_image.transfer.workers import WorkerGroup, map_on_processors, parallel_map

#: Seconds after which a test that waits has failed.
TIMEOUT = 60.0


def assert_all_end_but(before: set[threading.Thread]) -> None:
    """On a busy machine a thread may take longer to end than the group waits for it."""
    for thread in set(threading.enumerate()) - before:
        thread.join(TIMEOUT)
        assert not thread.is_alive(), thread


# Order and limit


def test_results_come_in_the_order_of_the_items() -> None:
    assert parallel_map(lambda number: number * 2, range(1000), MAX_LOOKUPS) == list(range(0, 2000, 2))
    assert parallel_map(str, [7], MAX_LOOKUPS) == ["7"]
    assert parallel_map(str, [], MAX_LOOKUPS) == []


@given(st.permutations(range(6)))
def test_results_come_in_the_order_of_the_items_whichever_is_done_first(ending: list[int]) -> None:
    done = [threading.Event() for _ in ending]

    def act(item: int) -> int:
        place = ending.index(item)
        assert place == 0 or done[ending[place - 1]].wait(TIMEOUT)
        done[item].set()
        return -item

    assert parallel_map(act, range(6), 6) == [0, -1, -2, -3, -4, -5]


@pytest.mark.parametrize("limit", [1, 3, MAX_LOOKUPS])
def test_as_many_as_allowed_run_at_once_and_no_more(limit: int) -> None:
    # Each waits for all the others: with fewer at once the barrier would break, with more a second round would start.
    barrier = threading.Barrier(limit, timeout=TIMEOUT)
    running = 0
    most = 0
    lock = threading.Lock()

    def act(_: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        barrier.wait()
        with lock:
            running -= 1
        barrier.wait()

    parallel_map(act, range(limit * 4), limit)
    assert most == limit


def test_a_slow_item_holds_no_other_back() -> None:
    others = threading.Semaphore(0)

    def act(number: int) -> int:
        if number == 0:
            for _ in range(99):
                assert others.acquire(timeout=TIMEOUT)
        else:
            others.release()
        return number

    assert parallel_map(act, range(100), 2) == list(range(100))


def test_no_more_blocks_wait_than_the_threads_can_take_up() -> None:
    drawn = 0

    def works() -> Iterator[int]:
        nonlocal drawn
        for number in range(1000):
            drawn += 1
            yield number

    results = map_on_processors(str, works())
    assert [next(results) for _ in range(3)] == ["0", "1", "2"]
    assert drawn < 30
    results.close()  # type: ignore[attr-defined]


def test_items_are_drawn_in_the_thread_of_the_caller() -> None:
    drawers = set()

    def works() -> Iterator[int]:
        for number in range(100):
            drawers.add(threading.current_thread())
            yield number

    assert list(map_on_processors(lambda number: number + 1, works())) == list(range(1, 101))
    assert drawers == {threading.current_thread()}


# Failures


def test_the_first_failure_ends_it_and_no_thread_stays() -> None:
    before = set(threading.enumerate())
    begun = []
    failing = threading.Event()

    def act(number: int) -> None:
        begun.append(number)
        if number == 20:
            failing.set()
            raise RateLimited("resolve", status=429)
        if number > 20:
            failing.wait(60)

    with pytest.raises(RateLimited):
        parallel_map(act, range(10_000), MAX_LOOKUPS)
    # Those under way when it failed may have taken one more each, before they saw it.
    assert len(begun) <= 21 + 2 * MAX_LOOKUPS
    assert_all_end_but(before)


def test_nothing_is_begun_after_a_failure() -> None:
    begun = []

    def act(number: int) -> None:
        begun.append(number)
        if number == 3:
            raise RateLimited("resolve", status=429)

    with pytest.raises(RateLimited):
        parallel_map(act, range(100), 1)
    assert begun == [0, 1, 2, 3]


def test_a_failure_is_raised_although_another_thread_hangs() -> None:
    release = threading.Event()
    hanging = threading.Event()

    def act(number: int) -> None:
        if number == 0:
            hanging.set()
            release.wait(TIMEOUT)
            raise ValueError("a consequence")
        assert hanging.wait(TIMEOUT)
        raise RateLimited("the cause", status=429)

    started = time.monotonic()
    with pytest.raises(RateLimited, match="the cause"):
        parallel_map(act, range(2), 2)
    assert time.monotonic() - started < TIMEOUT / 2
    release.set()


def test_a_bug_in_a_look_up_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        parallel_map(lambda number: 1 // number, [1, 0], MAX_LOOKUPS)


def test_an_item_that_is_cancelled_by_itself_does_not_hang_the_rest() -> None:
    def act(number: int) -> None:
        if number == 1:
            raise Cancelled

    with pytest.raises(Cancelled):
        parallel_map(act, range(3), 1)


def fails() -> None:
    int("x")


def test_a_failure_cancels_the_group_and_is_raised_by_check() -> None:
    with WorkerGroup() as group:
        group.check()
        group.start(fails, "fails")
        assert group.cancelled.wait(TIMEOUT)
        with pytest.raises(ValueError, match="'x'"):
            group.check()
    assert isinstance(group.failure, ValueError)


def test_the_first_failure_is_the_one_that_counts() -> None:
    with WorkerGroup() as group:
        second = threading.Event()

        def consequence() -> None:
            assert group.cancelled.wait(TIMEOUT)
            try:
                raise KeyError("second")
            finally:
                second.set()

        group.start(consequence, "second")
        group.start(fails, "first")
        assert second.wait(TIMEOUT)
    assert isinstance(group.failure, ValueError)


# The end


def test_leaving_a_group_cancels_its_threads_which_is_no_failure() -> None:
    ended = threading.Event()

    def work() -> None:
        group.cancelled.wait(TIMEOUT)
        ended.set()
        raise Cancelled

    with WorkerGroup() as group:
        group.start(work, "waits")
        assert not ended.is_set()
    assert ended.is_set()
    assert group.failure is None


def test_a_thread_that_does_not_end_does_not_hold_up_the_process() -> None:
    daemons = []
    release = threading.Event()

    def act(_: int) -> None:
        daemons.append(threading.current_thread().daemon)

    def hang() -> None:
        release.wait(TIMEOUT)

    parallel_map(act, range(3), 3)
    started = time.monotonic()
    with WorkerGroup() as group:
        group.start(hang, "hangs")
    assert time.monotonic() - started < TIMEOUT / 2
    assert daemons == [True] * 3
    release.set()


def test_a_signal_unwinds_the_caller_while_all_threads_hang_and_nothing_more_is_begun() -> None:
    begun = []
    release = threading.Event()
    together = threading.Barrier(3, timeout=TIMEOUT)

    def act(number: int) -> None:
        begun.append(number)
        if together.wait() == 0:
            _thread.interrupt_main()
        release.wait(TIMEOUT)

    before = set(threading.enumerate())
    gc.collect()  # an interrupt that comes while another test's garbage is finalized is lost
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        parallel_map(act, range(100), 3)
    assert time.monotonic() - started < TIMEOUT / 2
    assert len(set(threading.enumerate()) - before) == 3
    release.set()
    assert_all_end_but(before)
    assert sorted(begun) == [0, 1, 2]


@pytest.mark.parametrize("already", [True, False], ids=["after it has started", "before it starts"])
def test_a_signal_while_threads_are_started_unwinds_the_caller_and_no_thread_stays(
    monkeypatch: pytest.MonkeyPatch, *, already: bool
) -> None:
    start = threading.Thread.start
    calls = iter(range(3))

    def interrupted(thread: threading.Thread) -> None:
        last = next(calls) == 2
        if already or not last:
            start(thread)
        if last:
            raise KeyboardInterrupt  # as the handler of a signal does

    before = set(threading.enumerate())
    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        parallel_map(str, range(100), 3)
    assert_all_end_but(before)
