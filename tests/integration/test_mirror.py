"""A mirror is asked first, and its failures never fail the step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from registry_image.errors import NotFound
from registry_image.net.retry import ONCE
from registry_image.oci.digest import Digest
from registry_image.oci.manifest import Manifest
from registry_image.oci.reference import RepositoryName
from registry_image.registry.mirror import MirroredRepository
from registry_image.registry.repository import Repository
from tests.support import images
from tests.support.clients import Time, a_client
from tests.support.ear import Ear
from tests.support.fakehttp import Ask, Reply
from tests.support.fakeregistry import (
    Action,
    Answer,
    FakeRegistry,
    body,
    cut,
    drop,
    fake_registry,
    header,
    redirect,
    status,
)

NAME = "library/alpine"
DATA = bytes(range(256)) * 8192
BUILT = images.image(images.layer(DATA, "none"), images.layer(DATA[::-1], "none"))
DIGEST = Digest.parse(BUILT.digest)


class Both:
    """A mirror, its origin, and a reader over both."""

    def __init__(self, mirror: FakeRegistry, origin: FakeRegistry) -> None:
        self.mirror = mirror
        self.origin = origin
        self.ear = Ear()
        self.time = Time()
        client = a_client(ear=self.ear, time=self.time)
        self.reader = MirroredRepository(
            Repository(client, RepositoryName(mirror.host, NAME), policy=ONCE),
            Repository(client, RepositoryName(origin.host, NAME)),
            self.ear,
            tag="3",
        )

    def asked(self) -> tuple[int, int]:
        return len(self.mirror.log), len(self.origin.log)

    def read(self, manifest: Manifest, layer: int = 0) -> bytes:
        with self.reader.blob(manifest.layers[layer]) as pieces:
            return b"".join(pieces)

    def image(self) -> Manifest:
        manifest = self.reader.manifest(DIGEST)
        assert isinstance(manifest, Manifest)
        return manifest


@pytest.fixture
def both() -> Iterator[Both]:
    with fake_registry() as mirror, fake_registry() as origin:
        mirror.add(NAME, BUILT, "3")
        origin.add(NAME, BUILT, "3")
        yield Both(mirror, origin)


def test_a_mirror_that_has_everything_serves_everything(both: Both) -> None:
    manifest = both.image()
    assert both.read(manifest) == DATA
    assert both.asked() == (2, 0)
    assert both.ear.notes == []


@pytest.mark.parametrize(
    "action",
    [
        *(drop, status(401), status(403), status(404), status(429), status(429, retry_after="0"), status(503)),
        *(status(200), status(204), status(200, "<html>", content_type="text/html"), status(300), status(302)),
        *(redirect("?again"), redirect("http://169.254.169.254/"), redirect("//[")),
        *(header("content-length", length) for length in ("-1", "1", "9" * 15, "9" * 30, "x")),
        *(header("content-encoding", "br"), status(401, www_authenticate='Bearer realm="https://10.0.0.1/"')),
    ],
)
def test_the_origin_answers_after_one_warning_when_the_mirror_fails(both: Both, action: Action) -> None:
    for method in ("GET", "HEAD"):
        both.mirror.script(method, ".", action, always=True)
    manifest = both.image()
    assert [both.read(manifest, 0), both.read(manifest, 1)] == [DATA, DATA[::-1]]
    assert len(both.ear.notes) == 1
    assert both.ear.notes[0].startswith(f"warning: mirror {both.mirror.host}: ")
    assert both.time.waits == []


def test_a_manifest_that_neither_has_is_the_origins_error(both: Both) -> None:
    with pytest.raises(NotFound, match=both.origin.host):
        both.reader.manifest(Digest.of(b"nowhere"))


def test_a_mirror_that_does_not_answer_is_not_asked_again(both: Both) -> None:
    both.mirror.script("GET", ".", drop, always=True)
    manifest = both.image()
    asked = len(both.mirror.log)
    both.read(manifest)
    assert len(both.mirror.log) == asked


def test_a_mirror_that_lies_about_a_manifest_is_passed_over(both: Both) -> None:
    both.mirror.script("GET", "/manifests/", body(b"{}"))
    assert both.image().raw == BUILT.manifest.data
    assert "digest mismatch" in both.ear.notes[0]


@pytest.mark.parametrize("reset", [False, True])
def test_a_mirror_that_dies_in_the_middle_is_replaced_at_the_same_byte(both: Both, reset: bool) -> None:
    manifest = both.image()
    both.mirror.script("GET", "/blobs/", cut(70_001, reset=reset))
    assert both.read(manifest) == DATA
    assert both.read(manifest, 1) == DATA[::-1]
    first, second = both.origin.asked("GET", "/blobs/")
    if not reset:  # a reset may discard received bytes, which must then come again
        assert first.headers["range"] == "bytes=70001-"
    assert "range" not in second.headers
    assert len(both.ear.notes) == 1


def test_a_cache_learns_of_a_digest_by_being_asked_for_the_tag(both: Both) -> None:
    known = False

    def pull_through(ask: Ask, answer: Answer) -> Reply:
        nonlocal known
        known = known or ask.target.endswith("/3")
        return answer() if known else status(404)(ask, answer)

    for method in ("GET", "HEAD"):
        both.mirror.script(method, "/manifests/", pull_through, always=True)
    assert both.image().raw == BUILT.manifest.data
    assert [(ask.method, ask.target.rpartition("/")[2]) for ask in both.mirror.log] == [
        ("GET", str(DIGEST)),
        ("GET", "3"),
        ("GET", str(DIGEST)),
    ]
    assert both.origin.log == []
    assert both.ear.notes == []


def test_referrers_that_the_mirror_lacks_are_the_origins(both: Both) -> None:
    signature = images.image(b"signature")
    document = signature.manifest.data[:-1] + (
        b', "subject": {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "%s", "size": 1}}'
        % BUILT.digest.encode()
    )
    manifest = images.blob(document, signature.manifest.media_type)
    both.origin.add(NAME, replace(signature, manifest=manifest))
    assert [str(found.digest) for found in both.reader.referrers(DIGEST)] == [manifest.digest]
    assert both.ear.notes == []
