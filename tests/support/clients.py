"""Clients and repositories as tests want them: time that passes only when somebody waits, and notes kept."""

from __future__ import annotations

from typing import Protocol

from registry_image.auth.credentials import Credentials
from registry_image.net.attempts import Clock
from registry_image.net.client import Client
from registry_image.net.retry import BUILD, RetryPolicy, Timeouts
from registry_image.net.tls import TLS
from registry_image.oci.reference import RepositoryName
from registry_image.registry.repository import Repository
from tests.support.ear import Ear

STALL = 1.0
"""Seconds for a test that waits for a stall: as short as a busy machine allows. All others have a build's patience."""


class Time:
    """Stands still until somebody waits; ``waits`` are the waits, in seconds."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.waits: list[float] = []

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.seconds += seconds

    def clock(self) -> Clock:
        return Clock(
            monotonic=lambda: self.seconds,
            now=lambda: 1_800_000_000.0 + self.seconds,
            sleep=self.wait,
            jitter=lambda: 0.5,
        )


def a_client(
    *,
    ear: Ear | None = None,
    time: Time | None = None,
    tls: TLS | None = None,
    policy: RetryPolicy | None = None,
    stall: float = BUILD.stall,
) -> Client:
    return Client(
        tls=tls or TLS(),
        policy=policy or RetryPolicy(budget=60.0),
        listener=ear or Ear(),
        clock=(time or Time()).clock(),
        timeouts=Timeouts(stall=stall),
    )


class Hosted(Protocol):
    """A registry of either kind."""

    @property
    def host(self) -> str: ...


def a_repository(
    registry: Hosted,
    name: str,
    *,
    client: Client | None = None,
    credentials: Credentials | None = None,
    insecure: bool = False,
) -> Repository:
    provider = None if credentials is None else lambda: credentials
    parsed = RepositoryName.parse(f"{registry.host}/{name}")
    return Repository(client or a_client(), parsed, provider, insecure=insecure)
