"""From a source to what reads and writes its repository. The only place that builds these; it only constructs."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_image.auth.credentials import CredentialProvider, Credentials
from registry_image.concourse.source import Mirror, Source
from registry_image.net.attempts import Clock
from registry_image.net.client import Client
from registry_image.net.retry import RetryPolicy
from registry_image.net.tls import TLS
from registry_image.oci.reference import RepositoryName
from registry_image.progress import Listener
from registry_image.registry.repository import Repository

if TYPE_CHECKING:
    from registry_image.oci.content import ContentReader

#: A check is asked again within minutes: it gives up sooner than a build's get and put.
CHECK_PATIENCE = RetryPolicy(budget=45.0)
BUILD_PATIENCE = RetryPolicy()
#: A factor for every wait before another try, for acceptance tests: "0" does not wait. No other use is meant.
WAIT_SCALE_VARIABLE = "REGISTRY_IMAGE_WAIT_SCALE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A source's repository, its mirror if it has one, and the client that both share."""

    client: Client
    origin: Repository
    mirror: Repository | None
    listener: Listener

    def reader(self) -> ContentReader:
        """Reads the mirror first, then the origin."""
        if self.mirror is None:
            return self.origin
        from registry_image.registry.mirror import MirroredRepository

        return MirroredRepository(self.mirror, self.origin, self.listener)


def connect(source: Source, listener: Listener, patience: RetryPolicy = BUILD_PATIENCE) -> Connection:
    """Sends nothing yet."""
    client = Client(
        tls=TLS(ca_certs=source.ca_certs, client_certs=source.client_certs),
        policy=patience,
        listener=listener,
        clock=_clock(),
    )
    mirror = source.registry_mirrors.get(source.repository.host)
    return Connection(
        client=client,
        origin=repository(client, source, source.repository),
        mirror=_mirror(client, source, mirror) if mirror else None,
        listener=listener,
    )


def repository(client: Client, source: Source, name: RepositoryName) -> Repository:
    """Any repository, with the credentials that the source has for its registry."""
    return Repository(client, name, _provider(_credentials(source, name)), insecure=source.insecure)


def _credentials(source: Source, name: RepositoryName) -> Credentials | None:
    """`username` and `password` are the source's own registry's; all others' are in `auths`."""
    if source.credentials is not None and name.host == source.repository.host:
        return source.credentials
    return source.auths.get(name.host)


def _mirror(client: Client, source: Source, mirror: Mirror) -> Repository:
    name = mirror.name_of(source.repository)
    credentials = mirror.credentials or source.auths.get(mirror.host)
    return Repository(client, name, _provider(credentials), insecure=source.insecure or mirror.insecure)


def _provider(credentials: Credentials | None) -> CredentialProvider | None:
    return None if credentials is None else lambda: credentials


def _clock() -> Clock:
    scale = os.environ.get(WAIT_SCALE_VARIABLE)
    return Clock() if scale is None else Clock(sleep=lambda seconds: time.sleep(seconds * float(scale)))
