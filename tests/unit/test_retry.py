"""Whether to retry, and after how long."""

from __future__ import annotations

import pytest

from registry_image.errors import NotFound, RateLimited, TransportError
from registry_image.net.attempts import Attempts
from registry_image.net.retry import MAX_ASKED_WAIT, ONCE, RetryPolicy, parse_retry_after
from tests.support.clients import Time
from tests.support.ear import Ear

POLICY = RetryPolicy(budget=60.0, first=0.5, longest=20.0)
NOW = 1_800_000_000.0


def test_waits_double_up_to_the_longest() -> None:
    waits = [POLICY.wait(failures, 0.0, None, 0.5) for failures in range(1, 9)]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 20.0, 20.0]


def test_the_dice_spread_a_wait_between_half_and_one_and_a_half() -> None:
    assert POLICY.wait(1, 0.0, None, 0.0) == 0.25
    assert POLICY.wait(1, 0.0, None, 1.0) == 0.75


def test_a_wait_that_would_end_beyond_the_budget_is_not_begun() -> None:
    assert POLICY.wait(1, 59.4, None, 0.5) == 0.5
    assert POLICY.wait(1, 59.6, None, 0.5) is None


def test_a_budget_of_zero_is_one_attempt() -> None:
    assert ONCE.wait(1, 0.0, None, 0.0) is None
    assert ONCE.wait(1, 0.0, 0.0, 0.0) is None


def test_retry_after_is_honoured_exactly() -> None:
    assert POLICY.wait(1, 0.0, 30.0, 0.9) == 30.0


def test_the_shortest_wait_is_50_ms_and_doubles_up_to_a_second() -> None:
    assert [POLICY.wait(failures, 0.0, 0.0001, 0.0) for failures in range(1, 8)] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert POLICY.wait(100_000, 0.0, 0.0, 0.0) == 1.0


@pytest.mark.parametrize("asked", [1.0, 1.5, 2.0])
def test_a_retry_after_of_a_second_or_more_is_honoured_exactly_however_often_it_comes(asked: float) -> None:
    assert {POLICY.wait(failures, 0.0, asked, 0.9) for failures in range(1, 50)} == {asked}


def test_a_retry_after_that_is_too_long_gives_up() -> None:
    assert RetryPolicy(budget=1e9).wait(1, 0.0, MAX_ASKED_WAIT + 1, 0.0) is None


def test_a_policy_may_bound_the_number_of_retries() -> None:
    impatient = RetryPolicy(budget=10.0, retries=1)
    assert impatient.wait(1, 0.0, None, 0.5) == 0.5
    assert impatient.wait(2, 0.5, None, 0.5) is None


def test_a_bounded_number_of_retries_leaves_each_the_time_that_was_taken_before() -> None:
    impatient = RetryPolicy(budget=10.0, retries=1)
    assert impatient.wait(1, 4.9, None, 0.5) == 0.5
    assert impatient.wait(1, 5.1, None, 0.5) is None


def test_a_wait_that_the_registry_asks_for_is_bounded_by_the_budget_alone() -> None:
    impatient = RetryPolicy(budget=10.0, retries=1)
    assert impatient.wait(2, 4.0, 4.0, 0.5) == 4.0
    assert impatient.wait(3, 8.0, 4.0, 0.5) is None
    assert impatient.wait(1, 0.0, 10.5, 0.5) is None


def test_a_huge_number_of_failures_does_not_overflow() -> None:
    assert POLICY.wait(100_000, 0.0, None, 0.5) == 20.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3.0),
        (" 3 ", 3.0),
        ("0.5", 0.5),
        ("0.000237", 0.000237),
        ("-4", 0.0),
        ("Fri, 15 Jan 2027 08:00:30 GMT", 30.0),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0.0),
        ("soon", None),
        ("inf", None),
        ("nan", None),
        ("", None),
        ("Fri, 99 Jan 99999 08:00:30 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


def test_every_wait_is_logged_with_its_reason() -> None:
    ear, time = Ear(), Time()
    Attempts(POLICY, ear, time.clock()).failed(TransportError("get blob x: connection refused"))
    assert time.waits == [0.5]
    assert ear.notes == ["get blob x: connection refused: trying again in 0.5 s"]


def test_a_permanent_error_is_raised_at_once() -> None:
    ear, time = Ear(), Time()
    with pytest.raises(NotFound):
        Attempts(POLICY, ear, time.clock()).failed(NotFound("no", status=404))
    assert (time.waits, ear.notes) == ([], [])


def test_failures_without_progress_end_within_the_budget() -> None:
    ear, time = Ear(), Time()
    attempts = Attempts(POLICY, ear, time.clock())

    def fail_for_ever() -> None:
        while True:
            attempts.failed(TransportError("no"))

    with pytest.raises(TransportError):
        fail_for_ever()
    assert 30.0 < sum(time.waits) <= 60.0
    assert ear.notes[-1].startswith("giving up after 8 tries")


def test_shortened_waits_count_at_their_full_length() -> None:
    time = Time()
    clock = time.clock()
    attempts = Attempts(POLICY, Ear(), type(clock)(monotonic=lambda: 0.0, sleep=time.waits.append, jitter=lambda: 0.5))

    def fail_for_ever() -> None:
        while True:
            attempts.failed(TransportError("no"))

    with pytest.raises(TransportError):
        fail_for_ever()
    assert sum(time.waits) <= 60.0


def test_progress_makes_the_budget_whole() -> None:
    time = Time()
    attempts = Attempts(POLICY, Ear(), time.clock())
    for _ in range(200):
        attempts.failed(TransportError("no"))
        attempts.progressed()
    assert time.waits == [0.5] * 200


def test_the_registrys_own_wait_is_honoured() -> None:
    time = Time()
    Attempts(POLICY, Ear(), time.clock()).failed(RateLimited("slow", status=429, retry_after=7.0))
    assert time.waits == [7.0]
