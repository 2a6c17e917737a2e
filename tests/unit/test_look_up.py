"""Many look-ups at once: in order, bounded, ended by the first failure."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_image.errors import InvalidManifest, RateLimited
from registry_image.transfer.created import NEVER, parse_moment
from registry_image.transfer.resolve import MAX_LOOKUPS, look_up


def test_results_come_in_the_order_of_the_items() -> None:
    assert look_up(lambda number: number * 2, range(1000)) == list(range(0, 2000, 2))
    assert look_up(str, [7]) == ["7"]
    assert look_up(str, []) == []


def test_as_many_as_allowed_run_at_once_and_no_more() -> None:
    # Each waits for fifteen others: with fewer at once the barrier would break, with more a second round would start.
    barrier = threading.Barrier(MAX_LOOKUPS, timeout=60)
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

    look_up(act, range(MAX_LOOKUPS * 4))
    assert most == MAX_LOOKUPS


def test_the_first_failure_ends_it_and_no_thread_stays() -> None:
    before = threading.active_count()
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
        look_up(act, range(10_000))
    # Those under way when it failed may have taken one more each, before they saw it.
    assert len(begun) <= 21 + 2 * MAX_LOOKUPS
    assert threading.active_count() == before


def test_a_bug_in_a_look_up_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        look_up(lambda number: 1 // number, [1, 0])


moments = st.datetimes(
    timezones=st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(
        lambda d: timezone(d - d % timedelta(minutes=1))
    )
)


@given(moments, moments)
def test_times_compare_as_moments_whatever_their_offset(one: datetime, other: datetime) -> None:
    first, second = parse_moment(one.isoformat(), "created"), parse_moment(other.isoformat(), "created")
    assert (first < second, first == second) == (one < other, one == other)


def test_nine_decimals_count() -> None:
    texts = ["0.123456788Z", "0.1234567889Z", "0.123456789Z", "0.12345679Z", "0.2Z", "1Z"]
    parsed = [parse_moment(f"2024-02-29T23:59:5{text}", "created") for text in texts]
    assert parsed == sorted(parsed)
    assert parsed[0] == parsed[1]


def test_no_time_is_the_first_of_all() -> None:
    assert parse_moment("0001-01-01T00:00:00Z", "created") == NEVER
    assert (
        parse_moment("1970-01-01T00:00:00Z", "created")[0]
        == datetime(1970, 1, 1, tzinfo=UTC).toordinal() * 86400 - 86400
    )


@pytest.mark.parametrize(
    "text",
    [
        *("yesterday", "2024-01-01", "2024-01-01 00:00:00Z", "2024-01-01T00:00:00", "2024-02-30T00:00:00Z"),
        *("2024-01-01T24:00:00Z", "2024-01-01T00:00:60Z", "2024-01-01T00:00:00+24:00", "2024-01-01T00:00:00Z\n"),
        *("0000-01-01T00:00:00Z", "2024-01-01T00:00:00.Z", "2024-01-01t00:00:00z"),
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidManifest, match="created"):
        parse_moment(text, "created")
