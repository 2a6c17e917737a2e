"""Builds the console, HTTP client and repositories of a source. No other module constructs them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from registry_image.auth.credentials import CredentialProvider, Credentials
from registry_image.concourse.request.credentials import find_credentials
from registry_image.concourse.request.source import Source
from registry_image.net.attempts import Clock
from registry_image.net.client import Client
from registry_image.net.retry import BUILD, ONCE, RetryPolicy, Timeouts
from registry_image.net.tls import TLS
from registry_image.oci.reference import RepositoryName
from registry_image.progress import Listener
from registry_image.record import record, replace
from registry_image.registry.repository import Repository

if TYPE_CHECKING:
    from registry_image.auth.clouds import Clouds
    from registry_image.registry.mirror import MirroredRepository

#: How a step retries, and how long it waits.
Patience: TypeAlias = tuple[RetryPolicy, Timeouts]
#: Concourse repeats a check within a minute. In an outage, thousands of checks that hold on would fill the worker's
#: memory: a mirror, the origin and its one retry (3 s each to connect, and the wait) end within 10 s.
CHECK_PATIENCE: Patience = (
    RetryPolicy(budget=10.0, retries=1),
    Timeouts(connect=3.0, stall=15.0, answer=15.0, step=60.0),
)
#: A list may have thousands of pages, and each of its tags is looked up.
LIST_PATIENCE: Patience = CHECK_PATIENCE[0], replace(CHECK_PATIENCE[1], step=1800.0)
#: A get and a put are parts of a build, which fails with them.
BUILD_PATIENCE: Patience = RetryPolicy(), BUILD
#: For the acceptance tests only: multiplies each pause before a retry; "0" means no pause.
WAIT_SCALE_VARIABLE = "REGISTRY_IMAGE_WAIT_SCALE"


@record(kw_only=True)
class Connection:
    """A source's repository, its mirror if it has one, and the client that both share.

    ``name`` is the repository as shown to users: the source's spelling, for ECR with the host.
    ``create`` creates the repository, False if it exists; None unless the registry is ECR.
    """

    name: str
    client: Client
    origin: Repository
    mirror: Repository | None
    listener: Listener
    create: Callable[[], bool] | None = None

    def reader(self, tag: str) -> Repository | MirroredRepository:
        """Reads the mirror first, then the origin. A pull-through cache that lacks a digest fetches it by ``tag``."""
        if self.mirror is None:
            return self.origin
        from registry_image.registry.mirror import MirroredRepository

        return MirroredRepository(self.mirror, self.origin, self.listener, tag=tag or None)


def connect(source: Source, listener: Listener, patience: Patience = BUILD_PATIENCE) -> Connection:
    """Sends nothing, except for a bare ECR name: only AWS knows the account and so the host."""
    policy, timeouts = patience
    client = Client(
        tls=TLS(ca_certs=source.ca_certs, client_certs=source.client_certs),
        policy=policy,
        timeouts=timeouts,
        listener=listener,
        clock=_clock(),
    )
    client.trace = listener.note if source.debug else None
    name = source.repository
    clouds, credentials = _clouds(client, source, name.host), _credentials(source, name)
    login = clouds.own(source.name, anonymous=credentials is None) if clouds else None
    if login is not None:
        name = login.repository
    provider = login.credentials if login else _provider(credentials)
    mirror = _mirror(client, source, name)
    if client.trace is not None and mirror is not None:
        client.mirrors = (mirror.name.api_host,)
        client.trace(f"the mirror {mirror.name} is asked before {name}")
    return Connection(
        name=str(name) if login else source.name,
        client=client,
        origin=Repository(client, name, provider, insecure=source.insecure),
        mirror=mirror,
        listener=listener,
        create=login.create if login else None,
    )


def repository(client: Client, source: Source, name: RepositoryName) -> Repository:
    """Another repository, with the source's credentials for its registry."""
    provider = _provider(_credentials(source, name))
    if provider is None and (clouds := _clouds(client, source, name.host)):
        login = clouds.elsewhere(name)
        provider = login.credentials if login else None
    return Repository(client, name, provider, insecure=source.insecure)


def _clouds(client: Client, source: Source, host: str) -> Clouds | None:
    """None if neither ``source`` nor ``host`` names a cloud; most checks save the import."""
    if source.clouds is None and "ecr" not in host:
        return None
    from registry_image.auth.clouds import Clouds

    return Clouds(client, source.clouds, source.repository)


def _credentials(source: Source, name: RepositoryName) -> Credentials | None:
    """`username` and `password` belong to the source's own registry, `auths` to any other."""
    if source.credentials is not None and name.host == source.repository.host:
        return source.credentials
    return find_credentials(source.auths, name)


def _mirror(client: Client, source: Source, origin: RepositoryName) -> Repository | None:
    mirror = source.registry_mirrors.get(origin.host)
    if mirror is None:
        return None
    name = mirror.name_of(origin)
    credentials = mirror.credentials or find_credentials(source.auths, name)
    insecure = source.insecure or mirror.insecure
    # No retries: the origin is the second attempt.
    return Repository(client, name, _provider(credentials), insecure=insecure, policy=ONCE)


def _provider(credentials: Credentials | None) -> CredentialProvider | None:
    return None if credentials is None else lambda: credentials


def _clock() -> Clock:
    scale = os.environ.get(WAIT_SCALE_VARIABLE)
    return Clock() if scale is None else Clock(sleep=lambda seconds: time.sleep(seconds * float(scale)))
