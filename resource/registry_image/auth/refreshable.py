"""Credentials that expire, and are renewed shortly before."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from registry_image.auth.credentials import Credentials
from registry_image.errors import ResourceError

#: Credentials are renewed this many seconds before their end, which is longer than any one request takes.
RENEW_BEFORE = 300.0
#: Credentials are kept at least this many seconds: with a wrong clock (ours, or the cloud's), a get of a hundred layers
#: would log in a hundred times.
MIN_LIFE = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiring:
    """``expires_at`` is in Unix time."""

    credentials: Credentials
    expires_at: float


class RefreshableCredentials(ABC):
    """A CredentialProvider that calls `issue` no more often than needed. Threads share the credentials.

    A failure to renew is raised only after the old credentials have expired: a short failure of a metadata server must
    not fail a long push.
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
