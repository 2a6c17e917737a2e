"""When a failed request is worth another, and after how long: rules without a clock, without sleep."""

from __future__ import annotations

from dataclasses import dataclass

#: Longest single wait, in seconds, that a registry may ask for and get; beyond it, failing tells the user more.
MAX_ASKED_WAIT = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How long to keep trying. All in seconds.

    ``budget`` bounds the time spent on one piece of work since it last made progress; ``first`` is the mean of the
    first wait, which doubles up to ``longest``. A budget of 0 means one attempt.
    """

    budget: float = 180.0
    first: float = 0.5
    longest: float = 20.0

    def wait(self, failures: int, elapsed: float, asked: float | None, dice: float) -> float | None:
        """Seconds to wait after that many ``failures`` in ``elapsed`` seconds, or None to give up.

        ``asked`` is what the registry asked for (Retry-After), which is honoured exactly, at least a moment;
        ``dice`` in [0, 1) spreads the others (AWS, "Exponential backoff and jitter": half fixed, half random).
        """
        if asked is not None:
            pause = max(asked, 0.05)
            if pause > MAX_ASKED_WAIT:
                return None
        else:
            pause = min(self.longest, self.first * 2.0 ** min(failures - 1, 16)) * (0.5 + dice)
        return pause if elapsed + pause <= self.budget else None


#: One attempt, no second.
ONCE = RetryPolicy(budget=0.0)


def parse_retry_after(value: str, now: float) -> float | None:
    """Retry-After as seconds from ``now`` (Unix time): seconds, fractions too, or an HTTP date; None if it is neither.

    GitHub and Docker Hub have been seen to send fractions below a millisecond and times long past: never negative.
    """
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        from email.utils import parsedate_to_datetime  # the date form is rare: not at start-up

        try:
            seconds = parsedate_to_datetime(value).timestamp() - now
        except (ValueError, OverflowError):  # a date with a time zone of twenty digits
            return None
    return max(0.0, seconds) if seconds < float("inf") else None
