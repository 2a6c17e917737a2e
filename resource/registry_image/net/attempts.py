"""The attempts at one piece of work: RetryPolicy with a clock."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from registry_image.errors import RegistryError, ResourceError
from registry_image.net.retry import RetryPolicy
from registry_image.progress import Listener
from registry_image.record import record


@record(kw_only=True)
class Clock:
    """Time as a parameter, in seconds. ``now`` is Unix time; ``jitter``, a random number in [0, 1), spreads waits."""

    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random


class Attempts:
    """One thread's attempts."""

    def __init__(self, policy: RetryPolicy, listener: Listener, clock: Clock) -> None:
        self._policy = policy
        self._listener = listener
        self._clock = clock
        self._failures = 0
        self._waited = 0.0
        self._since = clock.monotonic()

    def failed(self, error: ResourceError) -> None:
        """Waits before the next attempt and tells the listener; raises ``error`` if another attempt is pointless."""
        self._failures += 1
        # Waits count at their nominal length: a test that shortens them must still reach the budget.
        elapsed = max(self._clock.monotonic() - self._since, self._waited)
        retry_after = error.retry_after if isinstance(error, RegistryError) else None
        jitter = self._clock.jitter()
        pause = self._policy.wait(self._failures, elapsed, retry_after, jitter) if error.retryable else None
        if pause is None:
            if self._failures > 1:
                self._listener.note(f"giving up after {self._failures} tries in {elapsed:.1f} s")
            raise error
        self._listener.note(f"{error.message}: trying again in {pause:.2g} s")
        self._waited += pause
        self._clock.sleep(pause)

    def progressed(self) -> None:
        """Restores the whole budget, because the work has advanced since the last failure."""
        self._failures = 0
        self._waited = 0.0
        self._since = self._clock.monotonic()
