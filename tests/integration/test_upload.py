"""Pushes into real registries, and into one that breaks."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from registry_image.auth.credentials import Credentials
from registry_image.errors import DigestMismatch, NotFound, RegistryError, ResourceError, TransportError, Unauthorized
from registry_image.net.tls import TLS
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Buffer, Digest
from registry_image.oci.manifest import Index, Manifest, parse_manifest
from registry_image.oci.reference import RepositoryName
from registry_image.registry.referrers import fallback_tag
from registry_image.registry.upload import RepositoryWriter
from registry_image.storage.files import Directory
from registry_image.storage.layout import LayoutReader
from registry_image.transfer.copy import Copied, copy_graph, graph_of, put_tags
from tests.conftest import StartRegistry
from tests.support import fakeregistry, parts, tar
from tests.support.certificates import Authority
from tests.support.clients import Time, a_client, a_repository
from tests.support.cutproxy import cut_proxy
from tests.support.ear import Ear
from tests.support.fakehttp import Ask, Reply
from tests.support.fakeregistry import Answer, FakeRegistry, fake_registry
from tests.support.images import Content, blob, image, index, manifest_of, on, write_layout
from tests.support.registry import Config, Registry

NOISE = random.Random(6).randbytes(700_000)
ONE = image(tar.archive(tar.file("hello", b"world")), tar.archive(tar.file("noise", NOISE)))
TWO = image(tar.archive(tar.file("hello", b"world")), architecture="arm64")
BOTH = index(on(ONE, "amd64"), on(TWO, "arm64"))


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with fake_registry() as registry:
        yield registry


def credentials_of(registry: Registry) -> Credentials | None:
    if registry.username is None or registry.password is None:
        return None
    return Credentials(username=registry.username, password=registry.password)


def writer_to(
    registry: Registry | FakeRegistry, name: str, *mount_from: str, ear: Ear | None = None
) -> RepositoryWriter:
    credentials = credentials_of(registry) if isinstance(registry, Registry) else None
    repository = a_repository(registry, name, client=a_client(ear=ear), credentials=credentials)
    mounts = [RepositoryName.parse(f"{registry.host}/{each}") for each in mount_from]
    return RepositoryWriter(repository, ear or Ear(), mounts)


def push(directory: Path, content: Content, writer: RepositoryWriter, *tags: str) -> Copied:
    if not directory.exists():
        write_layout(directory, content)
    reader = LayoutReader(Directory(str(directory), "layout"))
    root = reader.manifest(Digest.parse(content.digest))
    copied = copy_graph(reader, writer, graph_of(reader, root))
    put_tags(writer, root, tags)
    return copied


def skopeo(*arguments: str, registry: Registry) -> str:
    credentials = [f"--creds={registry.username}:{registry.password}"] if registry.username else []
    command = [parts.need("skopeo"), arguments[0], *credentials, *arguments[1:]]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


KINDS = {
    "open": Config(),
    "htpasswd": Config(auth="htpasswd"),
    "token": Config(auth="token"),
    "relative": Config(relative_urls=True),
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_arrives_byte_for_byte_and_others_read_it(
    start_registry: StartRegistry, tmp_path: Path, repository_name: str, kind: str
) -> None:
    registry = start_registry(KINDS[kind])
    push(tmp_path / "layout", BOTH, writer_to(registry, repository_name), "latest", "v1")
    reference = f"docker://{registry.host}/{repository_name}"
    insecure = ("--tls-verify=false",)
    for tag in ("latest", "v1"):
        raw = skopeo("inspect", *insecure, "--raw", f"{reference}:{tag}", registry=registry)
        assert raw.encode() == BOTH.manifest.data
    if registry.username is None:
        skopeo(
            "copy",
            "--src-tls-verify=false",
            "--all",
            f"{reference}:latest",
            f"oci:{tmp_path}/copy:x",
            registry=registry,
        )
        for each in (ONE, TWO):
            assert (tmp_path / "copy" / "blobs" / "sha256" / each.digest[7:]).read_bytes() == each.manifest.data


def test_what_is_there_already_is_not_sent_again(registry: Registry, tmp_path: Path, repository_name: str) -> None:
    writer = writer_to(registry, repository_name)
    first = push(tmp_path / "layout", BOTH, writer, "latest")
    before = registry.mark()
    again = push(tmp_path / "layout", BOTH, writer, "latest")
    assert (first.blobs_uploaded, first.blobs_reused) == (4, 0)
    assert again == Copied(bytes_uploaded=0, blobs_uploaded=0, blobs_reused=4)
    assert {request.method for request in registry.requests(before) if "/blobs/" in request.target} == {"HEAD"}


@pytest.mark.parametrize("kind", ["open", "token"])
def test_blobs_are_mounted_from_a_repository_that_has_them(
    start_registry: StartRegistry, tmp_path: Path, repository_name: str, kind: str
) -> None:
    registry = start_registry(KINDS[kind])
    push(tmp_path / "layout", BOTH, writer_to(registry, f"{repository_name}/from"))
    before = registry.mark()
    writer = writer_to(registry, f"{repository_name}/to", f"{repository_name}/nothing-here", f"{repository_name}/from")
    copied = push(tmp_path / "layout", BOTH, writer, "latest")
    assert copied == Copied(bytes_uploaded=0, blobs_uploaded=0, blobs_reused=4)
    assert not [
        request for request in registry.requests(before) if request.method == "PUT" and "/blobs/" in request.target
    ]


def test_a_mount_that_fails_becomes_an_upload(registry: Registry, tmp_path: Path, repository_name: str) -> None:
    before = registry.mark()
    writer = writer_to(registry, repository_name, f"{repository_name}/nothing-here")
    assert push(tmp_path / "layout", ONE, writer, "latest").blobs_uploaded == 3
    # The upload used the session that the registry opened instead of mounting.
    posts = [request for request in registry.requests(before) if request.method == "POST"]
    assert len(posts) == 3
    assert all("mount=" in request.target for request in posts)


def test_no_blob_is_mounted_from_another_registry(fake: FakeRegistry, tmp_path: Path) -> None:
    repository = a_repository(fake, "some/name")
    elsewhere = RepositoryName.parse("registry.example/some/other")
    push(tmp_path / "layout", ONE, RepositoryWriter(repository, Ear(), [elsewhere, repository.name]))
    assert not fake.asked("POST", "mount=")


def test_a_token_for_a_mount_is_one_of_its_own(token_registry: Registry, tmp_path: Path, repository_name: str) -> None:
    assert token_registry.tokens is not None
    asked = len(token_registry.tokens.asked)
    push(tmp_path / "layout", ONE, writer_to(token_registry, repository_name, f"{repository_name}/other"), "latest")
    scopes = token_registry.tokens.asked[asked:]
    own, other = f"repository:{repository_name}:pull,push", f"repository:{repository_name}/other:pull"
    assert f"GET concourse {own}" in scopes
    assert f"GET concourse {own} {other}" in scopes


def test_a_token_that_ends_in_the_middle_is_renewed(fake: FakeRegistry, tmp_path: Path) -> None:
    fake.auth = "token"

    def expire(ask: Ask, answer: Answer) -> Reply:
        fake.expire_tokens()
        return answer()

    fake.script("PUT", "/blobs/uploads/", expire)
    fake.script("PUT", "/manifests/", expire)
    push(tmp_path / "layout", BOTH, writer_to(fake, "some/name"), "latest")
    assert fake.repositories["some/name"].tags == {"latest": BOTH.digest}
    assert len(fake.asked("GET", "/token")) >= 2


def test_without_the_right_to_push_nothing_is_sent(
    token_registry: Registry, tmp_path: Path, repository_name: str
) -> None:
    writer = RepositoryWriter(a_repository(token_registry, repository_name), Ear())
    before = token_registry.mark()
    with pytest.raises(Unauthorized, match=r"start to upload blob .* 401 Unauthorized"):
        push(tmp_path / "layout", ONE, writer, "latest")
    assert not [request for request in token_registry.requests(before) if request.method == "PUT"]


def location(change: str) -> fakeregistry.Action:
    """The session's address, rewritten; ``{}`` stands for what it would have been."""

    def act(ask: Ask, answer: Answer) -> Reply:
        reply = answer()
        return replace(reply, headers={**reply.headers, "location": change.format(reply.headers["location"])})

    return act


def test_credentials_do_not_go_to_another_host_with_an_upload(fake: FakeRegistry, tmp_path: Path) -> None:
    fake.auth, fake.accounts = "basic", {"me": "secret"}
    repository = a_repository(fake, "some/name", credentials=Credentials(username="me", password="secret"))
    with fake_registry() as store:
        store.repositories = fake.repositories
        store._uploads = fake._uploads
        fake.script("POST", "/uploads/", location(store.url + "{}"), always=True)
        push(tmp_path / "layout", ONE, RepositoryWriter(repository, Ear()), "latest")
        sent = store.asked("PUT")
    assert len(sent) == 3
    assert all("authorization" not in ask.headers for ask in sent)
    assert all("_state=opaque%3D&digest=sha256%3A" in ask.target for ask in sent)
    assert fake.repositories["some/name"].tags == {"latest": ONE.digest}


@pytest.mark.parametrize("mount_from", [(), ("other/name",)], ids=["start", "mount"])
@pytest.mark.parametrize("inward", ["localhost", "127.1", "2130706433", "[::ffff:127.0.0.1]"])
def test_an_upload_is_not_sent_to_another_host_inside_the_network(
    fake: FakeRegistry, tmp_path: Path, inward: str, mount_from: tuple[str, ...]
) -> None:
    with fake_registry() as canary:
        port = canary.host.rpartition(":")[2]
        fake.script("POST", "/uploads/", location(f"http://{inward}:{port}{{}}"), always=True)
        with pytest.raises(TransportError, match=r"refused to upload to .*: it is an address inside this") as caught:
            push(tmp_path / "layout", ONE, writer_to(fake, "some/name", *mount_from), "latest")
        assert canary.log == []
    assert "insecure" in (caught.value.hint or "")
    assert len(fake.asked("POST")) <= 3  # one for each blob: no retries
    assert fake.asked("PUT") == []


def test_insecure_lets_an_upload_go_inside_the_network(fake: FakeRegistry, tmp_path: Path) -> None:
    writer = RepositoryWriter(a_repository(fake, "some/name", insecure=True), Ear())
    with fake_registry() as store:
        store.repositories, store._uploads = fake.repositories, fake._uploads
        port = store.host.rpartition(":")[2]
        fake.script("POST", "/uploads/", location(f"http://localhost:{port}{{}}"), always=True)
        push(tmp_path / "layout", ONE, writer, "latest")
        assert len(store.asked("PUT")) == 3
    assert fake.repositories["some/name"].tags == {"latest": ONE.digest}


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (404, "BLOB_UPLOAD_UNKNOWN"),
        (416, "BLOB_UPLOAD_INVALID"),
        (400, "BLOB_UPLOAD_INVALID"),
        (400, "BLOB_UPLOAD_UNKNOWN"),
    ],
)
def test_a_lost_session_is_started_again(fake: FakeRegistry, tmp_path: Path, status: int, code: str) -> None:
    lost = fakeregistry.status(status, json.dumps({"errors": [{"code": code}]}))
    fake.script("PUT", "/uploads/", lost, lost)
    copied = push(tmp_path / "layout", ONE, writer_to(fake, "some/name"), "latest")
    assert copied.blobs_uploaded == 3
    assert len(fake.asked("POST", "/uploads/")) == 5


def test_a_session_that_is_always_lost_ends_in_an_error(fake: FakeRegistry, tmp_path: Path) -> None:
    fake.script("PUT", "/uploads/", fakeregistry.status(404, "no such upload"), always=True)
    with pytest.raises(ResourceError, match=r"upload blob .*: 404 Not Found: 'no such upload'"):
        push(tmp_path / "layout", ONE, writer_to(fake, "some/name"), "latest")
    assert fake.repositories["some/name"].tags == {}


def test_an_answer_that_gets_lost_does_not_cost_a_second_upload(fake: FakeRegistry, tmp_path: Path) -> None:
    def lose(ask: Ask, answer: Answer) -> Reply:
        answer()
        return Reply(0)

    fake.script("PUT", "/uploads/", lose, lose, lose)
    assert push(tmp_path / "layout", ONE, writer_to(fake, "some/name"), "latest").blobs_uploaded == 3
    assert len(fake.asked("PUT", "/uploads/")) == 3


def test_a_busy_registry_is_waited_for(fake: FakeRegistry, tmp_path: Path) -> None:
    busy = fakeregistry.status(429, retry_after="7")
    fake.script("POST", "/uploads/", busy)
    fake.script("PUT", "/uploads/", busy)
    fake.script("PUT", "/manifests/", fakeregistry.status(503), busy)
    ear = Ear()
    push(tmp_path / "layout", ONE, writer_to(fake, "some/name", ear=ear), "latest")
    assert fake.repositories["some/name"].tags == {"latest": ONE.digest}
    assert len([note for note in ear.notes if "trying again in 7 s" in note]) == 3


@pytest.mark.parametrize("code", [201, 202, 204])
def test_every_status_that_means_done_is_accepted(fake: FakeRegistry, tmp_path: Path, code: int) -> None:
    def done(ask: Ask, answer: Answer) -> Reply:
        return replace(answer(), status=code, body=b"")

    fake.script("PUT", "/uploads/", done, always=True)
    push(tmp_path / "layout", ONE, writer_to(fake, "some/name"), "latest")
    assert fake.repositories["some/name"].tags == {"latest": ONE.digest}


@pytest.mark.parametrize("error", [NotFound("get blob x: 404", status=404), TransportError("get blob x: no answer")])
def test_a_source_that_fails_is_not_a_session_that_is_lost(
    fake: FakeRegistry, error: ResourceError, time: Time
) -> None:
    """The other registry of a promotion has been tried again already, as often as its own failure deserves."""
    opened = []

    class Source:
        def blob(self, descriptor: Descriptor) -> AbstractContextManager[Iterator[Buffer]]:
            opened.append(descriptor)
            raise error

    writer = RepositoryWriter(a_repository(fake, "some/image", client=a_client(time=time)), Ear())
    with pytest.raises(type(error)):
        writer.put_blob(Descriptor(media_type="x", digest=Digest.of(b"a"), size=1), Source())
    assert len(opened) == 1
    assert time.waits == []


def test_a_registry_that_keeps_something_else_is_an_error(fake: FakeRegistry, tmp_path: Path) -> None:
    other = f"sha256:{'0' * 64}"
    fake.script("PUT", "/manifests/", fakeregistry.header("docker-content-digest", other), always=True)
    with pytest.raises(DigestMismatch, match=f"push .*: digest mismatch: expected {ONE.digest}, got {other}"):
        push(tmp_path / "layout", ONE, writer_to(fake, "some/name"), "latest")


def test_a_missing_location_is_an_error(fake: FakeRegistry, tmp_path: Path) -> None:
    fake.script("POST", "/uploads/", fakeregistry.header("location", None), always=True)
    with pytest.raises(TransportError, match="gave no Location"):
        push(tmp_path / "layout", ONE, writer_to(fake, "some/name"), "latest")


def test_a_kind_of_manifest_that_is_refused_is_named(fake: FakeRegistry, tmp_path: Path) -> None:
    fake.script("PUT", "/manifests/", fakeregistry.status(415), always=True)
    docker = image(tar.archive(tar.file("hello")), docker=True)
    with pytest.raises(RegistryError, match="415 Unsupported Media Type") as caught:
        push(tmp_path / "layout", docker, writer_to(fake, "some/name"), "latest")
    assert "application/vnd.docker.distribution.manifest.v2+json" in (caught.value.hint or "")


def test_a_wrong_blob_is_never_complete(fake: FakeRegistry, tmp_path: Path) -> None:
    write_layout(tmp_path / "layout", ONE)
    spoiled = ONE.blobs[2]
    path = tmp_path / "layout" / "blobs" / "sha256" / spoiled.digest[7:]
    path.write_bytes(spoiled.data[:-1] + b"?")
    with pytest.raises(DigestMismatch, match=spoiled.digest):
        push(tmp_path / "layout", ONE, writer_to(fake, "some/name"), "latest")
    repository = fake.repositories["some/name"]
    assert (repository.tags, repository.manifests) == ({}, {})
    assert spoiled.digest not in repository.blobs
    assert not [ask for ask in fake.asked("PUT") if len(ask.body) >= spoiled.size]


SIGNATURE = manifest_of(
    blob(b"{}", "application/vnd.oci.empty.v1+json"),
    [blob(b"signature")],
    annotations={"who": "me"},
    subject=ONE.manifest.descriptor,
    artifactType="application/vnd.example.signature",
)


def test_referrers_are_listed_under_a_tag_where_there_is_no_api(
    registry: Registry, tmp_path: Path, repository_name: str
) -> None:
    writer = writer_to(registry, repository_name)
    push(tmp_path / "one", ONE, writer, "latest")
    other = replace(SIGNATURE, manifest=blob(SIGNATURE.manifest.data + b"\n", SIGNATURE.manifest.media_type))
    push(tmp_path / "signature", SIGNATURE, writer)
    push(tmp_path / "other", other, writer)
    push(tmp_path / "signature", SIGNATURE, writer)
    listed = a_repository(registry, repository_name).referrers(Digest.parse(ONE.digest))
    assert [str(each.digest) for each in listed] == [SIGNATURE.digest, other.digest]
    assert {each.artifact_type for each in listed} == {"application/vnd.example.signature"}
    assert listed[0].annotations == {"who": "me"}
    assert listed[0].size == len(SIGNATURE.manifest.data)


def test_a_registry_that_knows_subjects_keeps_its_own_list(fake: FakeRegistry, tmp_path: Path) -> None:
    fake.script("PUT", "/manifests/", fakeregistry.header("oci-subject", ONE.digest), always=True)
    push(tmp_path / "signature", SIGNATURE, writer_to(fake, "some/name"))
    assert fake.repositories["some/name"].tags == {}


def test_a_tag_that_is_no_list_of_referrers_is_left_alone(
    registry: Registry, tmp_path: Path, repository_name: str
) -> None:
    writer = writer_to(registry, repository_name)
    tag = fallback_tag(Digest.parse(ONE.digest))
    push(tmp_path / "one", ONE, writer, tag)
    with pytest.raises(ResourceError, match=f"tag {tag} should be an index"):
        push(tmp_path / "signature", SIGNATURE, writer)
    found = a_repository(registry, repository_name).resolve(tag)
    assert found is not None
    assert str(found.digest) == ONE.digest


def test_a_push_that_is_cut_anywhere_ends_right(registry: Registry, tmp_path: Path, repository_name: str) -> None:
    with cut_proxy(registry.host) as proxy:
        push(tmp_path / "layout", BOTH, writer_to(proxy, f"{repository_name}/whole"), "latest")  # type: ignore[arg-type]
        total = proxy.sent
    for number in range(1, 12):
        name = f"{repository_name}/{number}"
        with cut_proxy(registry.host, total * number // 12) as proxy:
            push(tmp_path / "layout", BOTH, writer_to(proxy, name), "latest", "v1")  # type: ignore[arg-type]
            assert proxy.cuts == []
        found = a_repository(registry, name).resolve("v1")
        assert found is not None
        assert str(found.digest) == BOTH.digest


def test_a_push_that_breaks_off_for_good_moves_no_tag(registry: Registry, tmp_path: Path, repository_name: str) -> None:
    with cut_proxy(registry.host) as proxy:
        push(tmp_path / "layout", BOTH, writer_to(proxy, f"{repository_name}/whole"))  # type: ignore[arg-type]
        total = proxy.sent
    for number in range(1, 8):
        name = f"{repository_name}/{number}"
        with cut_proxy(registry.host, total * number // 8, dead=True) as proxy, pytest.raises(TransportError):
            push(tmp_path / "layout", BOTH, writer_to(proxy, name), "latest")  # type: ignore[arg-type]
        assert a_repository(registry, name).resolve("latest") is None


def test_manifests_are_parsed_as_what_they_are(registry: Registry, tmp_path: Path, repository_name: str) -> None:
    docker = index(on(image(tar.archive(tar.file("hello")), docker=True), "amd64"), docker=True)
    push(tmp_path / "layout", docker, writer_to(registry, repository_name), "latest")
    found = a_repository(registry, repository_name).resolve("latest")
    assert found == _described(docker)


def _described(content: Content) -> Descriptor:
    parsed: Manifest | Index = parse_manifest(content.manifest.data)
    return parsed.descriptor


def test_an_upload_that_breaks_late_is_started_again(fake: FakeRegistry, tmp_path: Path) -> None:
    time = Time()

    def break_late(ask: Ask, answer: Answer) -> Reply:
        time.seconds += 3600
        return Reply(0)

    fake.script("PUT", "/uploads/", break_late, break_late)
    repository = a_repository(fake, "some/name", client=a_client(time=time))
    push(tmp_path / "layout", image(), RepositoryWriter(repository, Ear()), "latest")
    assert fake.repositories["some/name"].tags == {"latest": image().digest}


@pytest.mark.parametrize("with_port", [True, False])
def test_an_upload_behind_a_proxy_that_ends_tls_goes_on_by_https(tmp_path: Path, *, with_port: bool) -> None:
    authority = Authority(tmp_path)
    with fake_registry(authority.issue()) as fake:
        host = fake.host if with_port else "127.0.0.1"
        fake.script("POST", "/uploads/", location(f"http://{host}{{}}"), always=True)
        client = a_client(tls=TLS(ca_certs=(authority.pem,)))
        push(
            tmp_path / "layout", ONE, RepositoryWriter(a_repository(fake, "some/name", client=client), Ear()), "latest"
        )
        assert fake.repositories["some/name"].tags == {"latest": ONE.digest}


def test_a_push_is_not_redirected_inside_the_network(fake: FakeRegistry, tmp_path: Path) -> None:
    fake.script("PUT", "/manifests/", fakeregistry.redirect("http://169.254.169.254/x"), always=True)
    with pytest.raises(ResourceError):
        push(tmp_path / "layout", ONE, writer_to(fake, "some/name"), "latest")
    fake.script("POST", "/uploads/", fakeregistry.redirect("http://169.254.169.254/x"), always=True)
    with pytest.raises(ResourceError):
        push(tmp_path / "layout", ONE, writer_to(fake, "other/name"), "latest")
    assert fake.repositories["some/name"].tags == {}
