"""How long to wait for an answer, whether to retry a failed request, and after how long: rules without a clock."""

from __future__ import annotations

import math

from registry_image.record import record

#: The longest wait in seconds that a registry may ask for; for a user, an error is better than a longer wait.
MAX_ASKED_WAIT = 120.0
#: The shortest wait in seconds after the first failure, and how far it doubles with each further one: a registry that
#: always asks for none would be asked without a pause. Whole seconds are never lengthened.
MIN_WAIT = 0.05
MAX_MIN_WAIT = 1.0


@record(kw_only=True)
class Timeouts:
    """Seconds to reach a host; without a byte, and for the whole head of an answer; for the whole of a small answer;
    and of a step, after which it asks nothing more.

    ``answer`` is for servers that send a byte now and then. The defaults are a build's. A listening host answers within
    a round trip, and TCP retransmits after 1, 3 and 7 seconds.
    """

    connect: float = 15.0
    stall: float = 60.0
    answer: float = 300.0
    step: float = math.inf


BUILD = Timeouts()


@record(kw_only=True)
class RetryPolicy:
    """``budget`` bounds the time since a piece of work last made progress; 0 means one attempt. ``first`` is the mean
    of the first wait, which doubles up to ``longest``. All in seconds.

    ``retries`` bounds the number of retries that the registry did not ask for, if it is not None. Then the budget is
    for the retries too: each may take as long as all before it.
    """

    budget: float = 180.0
    first: float = 0.5
    longest: float = 20.0
    retries: int | None = None

    def wait(self, failures: int, elapsed: float, retry_after: float | None, jitter: float) -> float | None:
        """Seconds to wait after that many ``failures`` in ``elapsed`` seconds, or None to give up.

        ``retry_after`` is honoured exactly, but for a shortest wait; ``jitter`` in [0, 1) spreads the other waits (AWS,
        "Exponential backoff and jitter": half fixed, half random).
        """
        doublings = min(failures - 1, 16)
        if retry_after is not None:
            pause = max(retry_after, min(MAX_MIN_WAIT, MIN_WAIT * 2.0**doublings))
            if pause > MAX_ASKED_WAIT:
                return None
        elif self.retries is not None and (failures > self.retries or 2 * elapsed > self.budget):
            return None
        else:
            pause = min(self.longest, self.first * 2.0**doublings) * (0.5 + jitter)
        return pause if elapsed + pause <= self.budget else None


ONCE = RetryPolicy(budget=0.0)


def parse_retry_after(value: str, now: float) -> float | None:
    """Retry-After, in seconds or as an HTTP date, as seconds from ``now`` (Unix time); None if it is neither.

    Never negative: GitHub and Docker Hub have sent fractions of a millisecond and times long past.
    """
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        from email.utils import parsedate_to_datetime  # rarely needed: not at start-up

        try:
            seconds = parsedate_to_datetime(value).timestamp() - now
        except (ValueError, OverflowError):  # a date with a time zone of twenty digits
            return None
    return max(0.0, seconds) if seconds < float("inf") else None
