"""What every registry does, held against the real one and against the fake that other tests believe."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from registry_image.auth.credentials import Credentials
from registry_image.errors import AuthError, NotFound, Unauthorized
from registry_image.oci.digest import Digest
from registry_image.oci.manifest import Index, Manifest, parse_manifest
from registry_image.registry.repository import Repository
from tests.conftest import StartRegistry
from tests.support import images
from tests.support.clients import a_client, a_repository
from tests.support.fakeregistry import fake_registry
from tests.support.images import Content, image, index, on
from tests.support.registry import PASSWORD, USERNAME, Config

LAYER = bytes(range(256)) * 4096
BUILT = image(images.layer(LAYER, "none"))
BOTH = index(on(BUILT, "amd64"), on(image(b"other"), "arm64"))
NOWHERE = Digest.of(b"nowhere")


@dataclass(frozen=True, slots=True)
class Kind:
    """A registry with its ways to fill it and to see what it was asked."""

    host: str
    add: Callable[..., str]
    asked: Callable[[], list[str]]


@pytest.fixture(params=["docker-registry", "fake"])
def kind(request: pytest.FixtureRequest) -> Iterator[Kind]:
    if request.param == "fake":
        with fake_registry() as fake:
            fake.referrers_api = False  # as docker-registry 2.8
            yield Kind(fake.host, fake.add, lambda: [f"{ask.method} {ask.target}" for ask in fake.log])
    else:
        real = request.getfixturevalue("registry")
        start = real.mark()

        def add(name: str, content: Content, *tags: str) -> str:
            return images.push(real, name, content, *tags)

        yield Kind(real.host, add, lambda: [f"{ask.method} {ask.target}" for ask in real.requests(start)])


@pytest.fixture
def repository(kind: Kind, repository_name: str) -> Repository:
    return a_repository(kind, repository_name)


def read(repository: Repository, manifest: Manifest, layer: int = 0) -> bytes:
    with repository.blob(manifest.layers[layer]) as pieces:
        return b"".join(pieces)


def test_a_tag_resolves_to_its_digest_by_one_head(kind: Kind, repository: Repository, repository_name: str) -> None:
    digest = kind.add(repository_name, BUILT, "1")
    before = len(kind.asked())
    found = repository.resolve("1")
    assert found is not None
    assert str(found.digest) == digest
    assert found.size == len(BUILT.manifest.data)
    assert found.media_type == BUILT.manifest.media_type
    assert kind.asked()[before:] == [f"HEAD /v2/{repository_name}/manifests/1"]


def test_a_digest_resolves_to_itself(kind: Kind, repository: Repository, repository_name: str) -> None:
    digest = kind.add(repository_name, BUILT)
    found = repository.resolve(digest)
    assert found is not None
    assert str(found.digest) == digest


def test_a_missing_tag_digest_or_repository_resolves_to_none(
    kind: Kind, repository: Repository, repository_name: str
) -> None:
    assert repository.resolve("1") is None
    kind.add(repository_name, BUILT, "1")
    assert repository.resolve("2") is None
    assert repository.resolve(str(NOWHERE)) is None


def test_a_manifest_and_an_index_come_as_they_were_pushed(
    kind: Kind, repository: Repository, repository_name: str
) -> None:
    found = repository.manifest(Digest.parse(kind.add(repository_name, BOTH, "1")))
    assert isinstance(found, Index)
    assert found.raw == BOTH.manifest.data
    child = repository.manifest(found.manifests[0].digest)
    assert isinstance(child, Manifest)
    assert child.raw == BUILT.manifest.data


def test_a_docker_manifest_comes_too(kind: Kind, repository: Repository, repository_name: str) -> None:
    built = image(b"layer", docker=True)
    found = repository.manifest(Digest.parse(kind.add(repository_name, built)))
    assert found.raw == built.manifest.data
    assert found.media_type == "application/vnd.docker.distribution.manifest.v2+json"


def test_a_missing_manifest_is_not_found(kind: Kind, repository: Repository, repository_name: str) -> None:
    kind.add(repository_name, BUILT)
    with pytest.raises(NotFound, match=f"{repository_name}@{NOWHERE}.*404.*MANIFEST_UNKNOWN"):
        repository.manifest(NOWHERE)


def test_a_blob_comes_whole_or_from_an_offset(kind: Kind, repository: Repository, repository_name: str) -> None:
    manifest = repository.manifest(Digest.parse(kind.add(repository_name, BUILT)))
    assert isinstance(manifest, Manifest)
    assert read(repository, manifest) == LAYER
    assert b"".join(repository.download(manifest.layers[0], offset=70_001).pieces()) == LAYER[70_001:]


def test_a_missing_blob_is_not_found(kind: Kind, repository: Repository, repository_name: str) -> None:
    kind.add(repository_name, image(b"another"))
    (blob,) = (blob for blob in BUILT.blobs if blob.data == LAYER)
    manifest = json.loads(BUILT.manifest.data)
    assert manifest["layers"][0]["digest"] == blob.digest
    with pytest.raises(NotFound, match="BLOB_UNKNOWN"):
        read(repository, _parsed(BUILT))


def _parsed(content: Content) -> Manifest:
    found = parse_manifest(content.manifest.data)
    assert isinstance(found, Manifest)
    return found


def test_all_tags_are_listed(kind: Kind, repository: Repository, repository_name: str) -> None:
    kind.add(repository_name, BUILT, "2", "1", "latest")
    assert sorted(repository.tags()) == ["1", "2", "latest"]


def test_the_tags_of_a_missing_repository_are_not_found(repository: Repository) -> None:
    with pytest.raises(NotFound, match="NAME_UNKNOWN"):
        next(repository.tags())


def test_referrers_are_found_by_the_tag_where_there_is_no_api(
    kind: Kind, repository: Repository, repository_name: str
) -> None:
    digest = Digest.parse(kind.add(repository_name, BUILT))
    assert repository.referrers(digest) == ()
    kind.add(repository_name, BOTH, f"sha256-{digest.hex}")
    assert [str(found.digest) for found in repository.referrers(digest)] == [child.digest for child in BOTH.children]


def test_requests_go_over_one_connection_and_one_scheme(kind: Kind, repository_name: str) -> None:
    kind.add(repository_name, BUILT, "1")
    client = a_client()
    for _ in range(3):
        assert a_repository(kind, repository_name, client=client).resolve("1") is not None
    assert client.traffic.requests == 3


# Logging in.


@pytest.fixture(params=["docker-registry basic", "docker-registry token", "fake basic", "fake token"])
def guarded(request: pytest.FixtureRequest, start_registry: StartRegistry) -> Iterator[Kind]:
    """A registry where USERNAME may do everything and others, at most, pull."""
    which, auth = request.param.split()
    if which == "fake":
        with fake_registry() as fake:
            fake.auth = auth
            fake.accounts = {USERNAME: PASSWORD}
            yield Kind(fake.host, fake.add, list)
    else:
        real = start_registry(Config(auth="htpasswd" if auth == "basic" else "token"))

        def add(name: str, content: Content, *tags: str) -> str:
            return images.push(real, name, content, *tags)

        yield Kind(real.host, add, list)


def test_the_right_password_reads(guarded: Kind, repository_name: str) -> None:
    digest = Digest.parse(guarded.add(repository_name, BUILT, "1"))
    credentials = Credentials(username=USERNAME, password=PASSWORD)
    repository = a_repository(guarded, repository_name, credentials=credentials)
    found = repository.resolve("1")
    assert found is not None
    assert found.digest == digest
    manifest = repository.manifest(digest)
    assert isinstance(manifest, Manifest)
    assert read(repository, manifest) == LAYER
    assert list(repository.tags()) == ["1"]


def test_a_wrong_password_is_refused_and_never_shown(guarded: Kind, repository_name: str) -> None:
    guarded.add(repository_name, BUILT, "1")
    credentials = Credentials(username=USERNAME, password="wr0ng")
    with pytest.raises((AuthError, Unauthorized)) as caught:
        a_repository(guarded, repository_name, credentials=credentials).resolve("1")
    text = f"{caught.value.message} {caught.value.hint}"
    assert guarded.host in text
    assert "401" in text
    assert f"the credentials of '{USERNAME}'" in text
    assert "wr0ng" not in text
