"""The tries of one piece of work: where RetryPolicy's rules meet a clock."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from registry_image.errors import RegistryError, ResourceError
from registry_image.net.retry import RetryPolicy
from registry_image.progress import Listener


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Time as a parameter, in seconds: ``monotonic`` for spans, ``now`` for dates (Unix time), ``sleep`` to wait;
    ``dice`` in [0, 1) spreads waits."""

    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    dice: Callable[[], float] = random.random


class Attempts:
    """One thread's tries: ``failed`` waits or raises, ``progressed`` starts afresh."""

    def __init__(self, policy: RetryPolicy, listener: Listener, clock: Clock) -> None:
        self._policy = policy
        self._listener = listener
        self._clock = clock
        self._failures = 0
        self._waited = 0.0
        self._since = clock.monotonic()

    def failed(self, error: ResourceError) -> None:
        """Waits before the next try, and says so to the listener; raises ``error`` if no further try makes sense."""
        self._failures += 1
        # Waits count at their nominal length, so that a test which shortens them does not try for ever.
        elapsed = max(self._clock.monotonic() - self._since, self._waited)
        asked = error.retry_after if isinstance(error, RegistryError) else None
        pause = self._policy.wait(self._failures, elapsed, asked, self._clock.dice()) if error.retryable else None
        if pause is None:
            if self._failures > 1:
                self._listener.note(f"giving up after {self._failures} tries in {elapsed:.0f} s")
            raise error
        self._listener.note(f"{error.message}: trying again in {pause:.2g} s")
        self._waited += pause
        self._clock.sleep(pause)

    def progressed(self) -> None:
        """Something was achieved since the last failure: the budget is whole again."""
        self._failures = 0
        self._waited = 0.0
        self._since = self._clock.monotonic()
