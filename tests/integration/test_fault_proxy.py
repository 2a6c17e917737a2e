"""The real registry behind a proxy that breaks connections at scripted bytes."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import pytest

from registry_image.net.client import Client
from registry_image.net.retry import ONCE
from registry_image.net.tls import TLS
from registry_image.oci.digest import Digest
from registry_image.oci.manifest import Manifest
from registry_image.oci.reference import RepositoryName
from registry_image.registry.mirror import MirroredRepository
from registry_image.registry.repository import Repository
from tests.support import images
from tests.support.clients import STALL, a_client
from tests.support.ear import Ear
from tests.support.faultproxy import FaultProxy, How, fault_proxy
from tests.support.registry import Registry

DATA = random.Random(3).randbytes(3_000_000)
BUILT = images.image(images.layer(DATA, "none"))
DIGEST = Digest.parse(BUILT.digest)


def before(registry: Registry, repository_name: str) -> Iterator[FaultProxy]:
    images.push(registry, repository_name, BUILT, "1")
    with fault_proxy(registry.host) as proxy:
        yield proxy


@pytest.fixture
def proxy(registry: Registry, repository_name: str) -> Iterator[FaultProxy]:
    yield from before(registry, repository_name)


@pytest.fixture
def tls_proxy(tls_registry: Registry, repository_name: str) -> Iterator[FaultProxy]:
    yield from before(tls_registry, repository_name)


def through(proxy: FaultProxy, repository_name: str, client: Client) -> Repository:
    return Repository(client, RepositoryName.parse(f"{proxy.host}/{repository_name}"))


def read(repository: Repository) -> bytes:
    manifest = repository.manifest(DIGEST)
    assert isinstance(manifest, Manifest)
    with repository.blob(manifest.layers[0]) as pieces:
        return b"".join(pieces)


@pytest.mark.parametrize("how", ["close", "reset", "stall"])
def test_a_download_survives_faults_at_many_places(proxy: FaultProxy, repository_name: str, how: How) -> None:
    ear = Ear()
    repository = through(proxy, repository_name, a_client(ear=ear, stall=STALL))
    assert repository.resolve("1") is not None  # finds the scheme before the first fault
    places = [1, 200, 5_000, 300_000] if how == "stall" else [0, 1, 100, 1000, 4096, 65_536, 100_000, 1_000_000]
    for place in places:
        proxy.break_next(after=place, how=how)
    assert read(repository) == DATA
    assert len(ear.notes) >= len(places) - 1
    if how == "close":  # a reset discards the kernel's buffers
        assert proxy.sent < len(DATA) * 1.02 + 30_000


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_download_over_tls_survives_faults_too(
    tls_proxy: FaultProxy, tls_registry: Registry, repository_name: str, how: How
) -> None:
    assert tls_registry.ca is not None
    repository = through(tls_proxy, repository_name, a_client(tls=TLS(ca_certs=(tls_registry.ca.read_text(),))))
    assert repository.resolve("1") is not None
    for place in (100, 4_000, 70_000, 1_000_000):
        tls_proxy.break_next(after=place, how=how)
    assert read(repository) == DATA


def test_a_mirror_killed_in_the_middle_of_a_layer_costs_one_warning_and_no_byte_twice(
    proxy: FaultProxy, registry: Registry, repository_name: str
) -> None:
    ear = Ear()
    client = a_client(ear=ear)
    mirror = Repository(client, RepositoryName.parse(f"{proxy.host}/{repository_name}"), policy=ONCE)
    with fault_proxy(registry.host) as counted:
        reader = MirroredRepository(mirror, through(counted, repository_name, client), ear)
        manifest = reader.manifest(DIGEST)
        assert isinstance(manifest, Manifest)
        received = bytearray()
        proxy.break_next(after=2_000_000, how="stall")  # else a fast machine has the rest in socket buffers already
        with reader.blob(manifest.layers[0]) as pieces:
            for piece in pieces:
                received += piece
                with contextlib.suppress(IndexError):
                    if len(received) > 100_000 and not proxy.dead:
                        proxy.kill()
        assert received == DATA
        assert len(ear.notes) == 1
        assert ear.notes[0].startswith("warning: mirror")
        assert counted.sent < len(DATA) - 100_000 + 5_000
