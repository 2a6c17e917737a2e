"""Credentials that end: kept until shortly before they do, then asked for anew."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from registry_image.auth.credentials import Credentials
from registry_image.errors import ResourceError

#: Renewed this many seconds before the end: longer than any one request takes to be sent and judged.
RENEW_BEFORE = 300.0
#: Kept this many seconds whatever end they say they have: a clock that is wrong (ours, or a cloud's) must not make a
#: get with a hundred layers log in a hundred times.
MIN_LIFE = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiring:
    """Credentials and when they end, in Unix time."""

    credentials: Credentials
    expires_at: float


class RefreshableCredentials(ABC):
    """A CredentialProvider that asks `issue` no more often than needed. Threads share one answer.

    A failure to renew is raised only once the old credentials have ended: a metadata server that is away for a moment
    must not fail a long push.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._current: Expiring | None = None
        self._renew_at = 0.0

    @abstractmethod
    def issue(self) -> Expiring:
        """New credentials. May raise AuthError."""

    def __call__(self) -> Credentials:
        """Raises whatever `issue` raises."""
        with self._lock:
            if self._current is None or self._now() >= self._renew_at:
                self._current = self._renewed(self._current)
                self._renew_at = max(self._current.expires_at - RENEW_BEFORE, self._now() + MIN_LIFE)
            return self._current.credentials

    def _renewed(self, old: Expiring | None) -> Expiring:
        try:
            return self.issue()
        except ResourceError:
            if old is None or self._now() >= old.expires_at:
                raise
            return old
