"""Tags, digests and lists, where registries differ from the specification or from one another."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

import pytest

from registry_image.auth.credentials import Credentials
from registry_image.errors import (
    ContentError,
    DigestMismatch,
    InvalidManifest,
    RateLimited,
    RegistryError,
    ResourceError,
    TransportError,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
)
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Digest
from registry_image.oci.manifest import MAX_MANIFEST_SIZE, Manifest
from registry_image.oci.mediatype import OCI_CONFIG
from registry_image.oci.reference import RepositoryName
from registry_image.registry.repository import Repository
from tests.support import images
from tests.support.clients import Time, a_client, a_repository
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
from tests.support.faultproxy import talker

NAME = "some/image"
BUILT = images.image(b"layer")
DIGEST = Digest.parse(BUILT.digest)


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as registry:
        registry.add(NAME, BUILT, "1")
        yield registry


@pytest.fixture
def repository(registry: FakeRegistry, time: Time) -> Repository:
    return a_repository(registry, NAME, client=a_client(time=time))


def methods(registry: FakeRegistry) -> list[str]:
    return [ask.method for ask in registry.log]


def digest_of(repository: Repository, tag: str = "1") -> str:
    found = repository.resolve(tag)
    assert found is not None
    return str(found.digest)


# Tags.


def test_every_manifest_type_is_accepted_and_no_encoding(registry: FakeRegistry, repository: Repository) -> None:
    repository.resolve("1")
    (ask,) = registry.log
    assert ask.headers["accept-encoding"] == "identity"
    for kind in (
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    ):
        assert kind in ask.headers["accept"]


@pytest.mark.parametrize("action", [status(403), status(404), status(405), header("docker-content-digest", None)])
def test_a_head_without_a_digest_is_followed_by_a_get(
    registry: FakeRegistry, repository: Repository, action: Action
) -> None:
    registry.script("HEAD", ".", action)
    assert digest_of(repository) == BUILT.digest
    assert methods(registry) == ["HEAD", "GET"]


def test_without_a_header_the_digest_is_that_of_the_bytes(registry: FakeRegistry, repository: Repository) -> None:
    for method in ("HEAD", "GET"):
        registry.script(method, ".", header("docker-content-digest", None))
    assert digest_of(repository) == BUILT.digest


@pytest.mark.parametrize(
    "value", ["", "sha256:short", "md5:d41d8cd98f00b204e9800998ecf8427e", "sha256:" + "A" * 64, "../x"]
)
def test_an_invalid_digest_is_not_used(registry: FakeRegistry, repository: Repository, value: str) -> None:
    for method in ("HEAD", "GET"):
        registry.script(method, ".", header("docker-content-digest", value))
    assert digest_of(repository) == BUILT.digest


@pytest.mark.parametrize(
    ("code", "kind"),
    [(400, ContentError), (401, Unauthorized), (429, RateLimited), (500, Unavailable), (503, Unavailable)],
)
def test_at_most_one_get_follows_a_head_that_was_refused_to_learn_the_reason(
    registry: FakeRegistry, repository: Repository, time: Time, code: int, kind: type[Exception]
) -> None:
    registry.script("HEAD", ".", status(code), always=True)
    registry.script("GET", ".", status(code, "this is why"), always=True)
    asks = code in (400, 500, 503)
    with pytest.raises(Exception, match=rf"{code}.*{'this is why' if asks else ''}") as caught:
        repository.resolve("1")
    assert isinstance(caught.value, kind) or code == 400
    assert methods(registry).count("GET") == asks
    assert bool(time.waits) == (code >= 429)


def test_a_missing_tag_at_docker_hub_costs_one_head(registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    name = RepositoryName.parse("alpine")
    assert name.is_docker_hub
    monkeypatch.setattr(RepositoryName, "api_host", property(lambda self: registry.host))
    assert Repository(a_client(), name).resolve("nope") is None
    assert methods(registry) == ["HEAD"]


def test_a_forbidden_get_is_an_error(registry: FakeRegistry, repository: Repository) -> None:
    registry.script("HEAD", ".", status(403))
    registry.script("GET", ".", status(403, '{"errors":[{"code":"DENIED","message":"not for you"}]}'))
    with pytest.raises(Unauthorized, match="not for you"):
        repository.resolve("1")


def test_a_digest_that_resolves_to_another_is_an_error(registry: FakeRegistry, repository: Repository) -> None:
    registry.script("HEAD", ".", header("docker-content-digest", str(Digest.of(b"other"))))
    with pytest.raises(DigestMismatch):
        repository.resolve(str(DIGEST))


@pytest.mark.parametrize("length", ["-1", "1, 2", "9" * 30, "x"])
def test_an_invalid_length_of_an_answer_without_a_body_is_passed_over(
    registry: FakeRegistry, repository: Repository, length: str
) -> None:
    registry.script("HEAD", ".", header("content-length", length))
    descriptor = repository.resolve("1")
    assert descriptor is not None
    assert descriptor.size == 0
    assert len(registry.log) == 1


def test_a_missing_size_is_zero(registry: FakeRegistry, repository: Repository) -> None:
    registry.script("HEAD", ".", header("content-length", None))
    found = repository.resolve("1")
    assert found is not None
    assert found.size == 0


def test_the_quota_left_is_remembered(registry: FakeRegistry, repository: Repository) -> None:
    assert repository.client.traffic.quota is None
    for value, quota in (("20;w=21600", 20), ("19", 19), ("nonsense", 19), ("", 19), ("9" * 5000, 19)):
        registry.quota = value
        repository.resolve("1")
        assert repository.client.traffic.quota == quota


# Manifests.


@pytest.mark.parametrize(
    "lie",
    [
        body(BUILT.manifest.data[:-1] + b" "),
        body(BUILT.manifest.data + b" "),
        body(b""),
        body(b"{}"),
        body(BUILT.manifest.data[:50]),
    ],
)
def test_a_manifest_that_is_not_what_was_asked_for_is_refused(
    registry: FakeRegistry, repository: Repository, time: Time, lie: Action
) -> None:
    registry.script("GET", ".", lie, always=True)
    with pytest.raises(DigestMismatch, match=f"manifest .*{NAME}@{DIGEST}"):
        repository.manifest(DIGEST)
    assert time.waits == []


def test_a_manifest_has_a_limit(registry: FakeRegistry, repository: Repository) -> None:
    registry.script("GET", ".", body(iter(lambda: b" " * 65536, None)))
    with pytest.raises(ContentError, match=f"larger than {MAX_MANIFEST_SIZE} bytes"):
        repository.manifest(DIGEST)


def test_an_announced_length_beyond_the_limit_is_an_error_at_once(
    registry: FakeRegistry, repository: Repository, time: Time
) -> None:
    registry.script("GET", ".", header("content-length", str(MAX_MANIFEST_SIZE + 1)))
    with pytest.raises(ContentError, match=f"larger than {MAX_MANIFEST_SIZE} bytes"):
        repository.manifest(DIGEST)
    assert len(registry.log) == 1
    assert time.waits == []


def test_a_manifest_served_as_something_else_is_refused(registry: FakeRegistry, repository: Repository) -> None:
    media_type = "application/vnd.oci.image.index.v1+json"
    registry.script("GET", ".", header("content-type", media_type))
    with pytest.raises(InvalidManifest, match="served as"):
        repository.manifest(DIGEST)


def test_schema_1_is_refused_by_name(registry: FakeRegistry, repository: Repository) -> None:
    old = images.blob(b'{"schemaVersion": 1, "name": "x"}', "application/vnd.docker.distribution.manifest.v1+json")
    registry.repositories[NAME].manifests[old.digest] = (old.media_type, old.data)
    registry.script("GET", ".", status(200, old.data, content_type=old.media_type))
    with pytest.raises(UnsupportedMediaType) as caught:
        repository.manifest(Digest.parse(old.digest))
    assert "schema 1" in (caught.value.hint or "")


def test_a_manifest_cut_in_the_middle_is_asked_for_again(registry: FakeRegistry, repository: Repository) -> None:
    registry.script("GET", ".", cut(10), drop)
    assert repository.manifest(DIGEST).raw == BUILT.manifest.data


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_web_page_is_no_registry(registry: FakeRegistry, repository: Repository, method: str) -> None:
    page = status(200, "<!doctype html><title>Welcome to nginx!</title>", content_type="text/html; charset=utf-8")
    registry.script("HEAD", ".", page)
    registry.script("GET", ".", page)
    with pytest.raises(ContentError) as caught:
        repository.resolve("1")
    assert "web page" in (caught.value.hint or "")
    assert registry.host in caught.value.message


def test_a_web_page_that_says_not_found_is_warned_of(registry: FakeRegistry) -> None:
    ear = Ear()
    for method in ("HEAD", "GET"):
        registry.script(method, ".", status(404, "<html>nginx</html>", content_type="text/html"))
    assert a_repository(registry, NAME, client=a_client(ear=ear)).resolve("1") is None
    assert len(ear.notes) == 1
    assert "web page" in ear.notes[0]


# Lists of tags.


def test_pages_are_followed_and_asked_for_one_by_one(registry: FakeRegistry, repository: Repository) -> None:
    names = sorted(f"v{number}" for number in range(100))
    registry.add(NAME, BUILT, *names)
    registry.page_size = 7
    assert list(repository.tags()) == ["1", *names]
    assert len(registry.log) == -(-101 // 7)
    assert list(islice(repository.tags(), 7)) == ["1", *names[:6]]
    assert len(registry.log) == -(-101 // 7) + 1


@pytest.mark.parametrize(
    "link",
    [
        '</v2/some/image/tags/list?n=1000&last=1&opaque=a%2Fb+c%3D>; rel="next"',
        "<{url}/v2/some/image/tags/list?n=1000&last=1&opaque=a%2Fb+c%3D>;rel=next",
        '<list?n=1000&last=1&opaque=a%2Fb+c%3D>; title="x"; rel="prev next"',
        '</first>; rel="first", </v2/some/image/tags/list?n=1000&last=1&opaque=a%2Fb+c%3D>; REL="next"',
        "</v2/some/image/tags/list?n=1000&last=1&opaque=a%2Fb+c%3D>",
    ],
)
def test_a_link_is_followed_verbatim(registry: FakeRegistry, repository: Repository, link: str) -> None:
    registry.script("GET", "/tags/", header("link", link.replace("{url}", registry.url)))
    list(repository.tags())
    assert registry.log[-1].target == "/v2/some/image/tags/list?n=1000&last=1&opaque=a%2Fb+c%3D"


@pytest.mark.parametrize(
    "link", ['<x>; rel="prev"', "<>", '<>; rel="next"', "<x>; rel=", "nonsense", '<x; rel="next"', ""]
)
def test_a_link_that_is_not_the_next_page_is_not_followed(
    registry: FakeRegistry, repository: Repository, link: str
) -> None:
    registry.script("GET", "/tags/", header("link", link))
    assert list(repository.tags()) == ["1"]


def test_a_link_to_another_host_gets_no_credentials(registry: FakeRegistry) -> None:
    registry.auth = "basic"
    registry.accounts = {"u": "p"}
    with fake_registry() as other:
        other.add(NAME, BUILT, "2")
        link = f'<{other.url}/v2/{NAME}/tags/list>; rel="next"'
        registry.script("GET", "/tags/", header("link", link))
        repository = a_repository(registry, NAME, credentials=Credentials(username="u", password="p"))
        assert list(repository.tags()) == ["1", "2"]
        assert "authorization" not in other.log[0].headers


def test_a_loop_of_pages_ends(registry: FakeRegistry, repository: Repository) -> None:
    registry.script("GET", "/tags/", header("link", f'</v2/{NAME}/tags/list?x>; rel="next"'), always=True)
    with pytest.raises(InvalidManifest, match="no end"):
        list(repository.tags())
    assert len(registry.log) == 2


def test_names_that_are_no_tags_are_left_out(registry: FakeRegistry, repository: Repository) -> None:
    registry.script("GET", "/tags/", body(json.dumps({"tags": ["1", "", "../../x", "a b", "x" * 129, "2"]}).encode()))
    assert list(repository.tags()) == ["1", "2"]


@pytest.mark.parametrize("document", [b"{}", b'{"tags": null}', b'{"tags": []}'])
def test_no_tags_are_an_empty_list(registry: FakeRegistry, repository: Repository, document: bytes) -> None:
    registry.script("GET", "/tags/", body(document))
    assert list(repository.tags()) == []


@pytest.mark.parametrize("document", [b"", b"[]", b'{"tags": "1"}', b'{"tags": [1]}', b"<html>", b'{"tags": [["1"]]}'])
def test_an_invalid_list_is_an_error(registry: FakeRegistry, repository: Repository, document: bytes) -> None:
    registry.script("GET", "/tags/", body(document))
    with pytest.raises(InvalidManifest, match=f"list tags of {registry.host}/{NAME}"):
        list(repository.tags())


# Referrers.


def test_the_referrers_api_is_asked_first(registry: FakeRegistry, repository: Repository) -> None:
    assert repository.referrers(DIGEST) == ()
    assert [ask.target for ask in registry.log] == [f"/v2/{NAME}/referrers/{DIGEST}"]


def test_a_list_of_tags_without_its_second_page_is_not_taken_for_a_missing_repository(
    registry: FakeRegistry, repository: Repository
) -> None:
    """A put would move aliases back, and a check would hide versions."""
    registry.script("GET", "/tags/", _linked(b'{"tags": ["1"]}', "?last=1"), status(404))
    with pytest.raises(InvalidManifest, match="a further page is missing"):
        list(repository.tags())


def test_referrers_come_in_pages(registry: FakeRegistry, repository: Repository) -> None:
    def page(number: int) -> bytes:
        entry = {"mediaType": "m", "digest": str(Digest.of(b"%d" % number)), "size": number}
        return json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()

    registry.script("GET", "/referrers/", _linked(page(1), "?page=2"), body(page(2)))
    assert [found.size for found in repository.referrers(DIGEST)] == [1, 2]


@pytest.mark.parametrize("code", [400, 404, 406])
def test_registries_without_the_referrers_api_say_so_in_their_ways(
    registry: FakeRegistry, repository: Repository, code: int
) -> None:
    registry.script("GET", "/referrers/", status(code))
    assert repository.referrers(DIGEST) == ()
    assert [ask.target.rpartition("/")[2] for ask in registry.log][1:] == [str(DIGEST).replace(":", "-")]


@pytest.mark.parametrize("second", [status(404), status(200, b"<html></html>", content_type="text/html")])
def test_a_list_of_referrers_without_its_second_page_is_an_error(
    registry: FakeRegistry, repository: Repository, second: Action
) -> None:
    """Taken for a registry without the API, it would hide the referrers of the first page."""
    registry.script("GET", "/referrers/", _linked(b'{"manifests": []}', "?page=2"), second)
    with pytest.raises(ResourceError):
        repository.referrers(DIGEST)


def test_a_page_for_browsers_is_no_list_of_referrers(registry: FakeRegistry, repository: Repository) -> None:
    registry.script("GET", "/referrers/", status(200, b"<html></html>", content_type="text/html"))
    assert repository.referrers(DIGEST) == ()
    assert len(registry.log) == 2


def test_a_referrers_api_that_fails_is_an_error(registry: FakeRegistry, repository: Repository) -> None:
    registry.script("GET", "/referrers/", status(403), always=True)
    with pytest.raises(Unauthorized):
        repository.referrers(DIGEST)


def _linked(data: bytes, link: str) -> Action:
    return status(200, data, link=f'<{link}>; rel="next"')


# No registry at all.


def test_a_refused_connection_names_the_host(time: Time) -> None:
    with fake_registry() as registry:
        host = registry.host
    ear = Ear()
    client = a_client(ear=ear, time=time)
    with pytest.raises(TransportError, match=f"resolve {host}/a/b:1: {host}: connection refused"):
        Repository(client, RepositoryName.parse(f"{host}/a/b")).resolve("1")
    assert ear.notes
    assert sum(time.waits) <= 60.0


@pytest.mark.parametrize("number", [socket.EAI_NONAME, socket.EAI_AGAIN])
def test_a_host_that_does_not_resolve_says_dns(time: Time, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fail(*rest: object, **more: object) -> None:
        raise socket.gaierror(number, "the resolver's words")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    repository = Repository(a_client(time=time), RepositoryName.parse("registry.invalid/a/b"))
    with pytest.raises(TransportError, match=r"registry\.invalid: DNS: the resolver's words") as caught:
        repository.resolve("1")
    assert ("spelled right" in str(caught.value.hint)) == (number == socket.EAI_NONAME)
    assert ("/etc/resolv.conf" in str(caught.value.hint)) == (number == socket.EAI_AGAIN)
    assert bool(time.waits) == (number == socket.EAI_AGAIN)  # only one of them may pass


@pytest.mark.parametrize(
    ("garbage", "words"),
    [
        (b"\x00" * 100, r"is not HTTP/1: '\\x00"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "is not HTTP/1: 'SSH-2.0-OpenSSH_9.2'$"),
        (b"HTTP/1.1 abc\r\n\r\n", "is not HTTP/1: 'HTTP/1.1 abc'$"),
        (b"HTTP/2.0 200 OK\r\n\r\n", "is not HTTP/1: 'HTTP/2.0'$"),
        (b"HTTP/1.1 200 OK\r\n" + b"a" * 70_000, "the connection ended before the answer did$"),
    ],
)
def test_a_server_that_speaks_something_else_is_an_error_of_ours(garbage: bytes, words: str, time: Time) -> None:
    with talker(garbage) as host, pytest.raises(TransportError, match=words):
        Repository(a_client(time=time), RepositoryName.parse(f"{host}/a/b")).resolve("1")


# Where a registry sends us.

METADATA = "169.254.169.254"
INWARD = ["http://10.0.0.1/x", "https://169.254.169.254/x", "http://localhost:1/x", "https://[64:ff9b::a00:1]/x"]


@pytest.mark.parametrize("url", [f"https://%3{METADATA}/x", f"https://{METADATA.replace('.', '%2E')}/x"])
def test_a_host_with_escapes_is_no_way_inside_our_network(
    registry: FakeRegistry, repository: Repository, url: str
) -> None:
    """urllib3 undoes them when it connects."""
    registry.script("HEAD", ".", redirect(url))
    with pytest.raises(TransportError, match="is not an http or https address"):
        repository.resolve("1")
    assert len(registry.log) == 1


@pytest.mark.parametrize("url", INWARD)
def test_a_registry_cannot_redirect_us_inside_our_network(
    registry: FakeRegistry, repository: Repository, url: str
) -> None:
    for method in ("HEAD", "GET"):
        registry.script(method, ".", redirect(url), always=True)
    blob = Descriptor(media_type="x", digest=Digest.of(b"x"), size=1)

    def read_blob() -> object:
        with repository.blob(blob) as pieces:
            return next(pieces)

    asks: list[Callable[[], object]] = [
        lambda: repository.resolve("1"),
        lambda: repository.manifest(DIGEST),
        lambda: list(repository.tags()),
        lambda: repository.referrers(DIGEST),
        read_blob,
    ]
    for ask in asks:
        with pytest.raises(TransportError, match=r"some/image.*: refused to follow a redirect to .*inside") as caught:
            ask()
        assert not caught.value.retryable
        assert "insecure" in (caught.value.hint or "")


@pytest.mark.parametrize("url", INWARD)
def test_a_link_cannot_send_us_inside_our_network(registry: FakeRegistry, repository: Repository, url: str) -> None:
    registry.script("GET", "/tags/", header("link", f'<{url}>; rel="next"'))
    with pytest.raises(TransportError, match=r"list tags of .*: refused to follow a Link to .*inside this network"):
        list(repository.tags())


def test_insecure_lets_a_registry_redirect_inside_the_network(registry: FakeRegistry) -> None:
    with fake_registry() as other:
        other.add(NAME, BUILT, "1")
        url = other.url.replace("127.0.0.1", "localhost")
        registry.script("HEAD", ".", redirect(f"{url}/v2/{NAME}/manifests/1"), always=True)
        assert a_repository(registry, NAME, insecure=True).resolve("1") is not None
        assert len(other.log) == 1


def test_raw_characters_of_a_redirect_arrive_as_they_were_sent(registry: FakeRegistry, repository: Repository) -> None:
    registry.script("HEAD", "/manifests/1$", redirect("/caf\u00e9 au lait?\u00fc".encode().decode("latin-1")))
    repository.resolve("1")
    assert registry.log[1].target == "/caf%C3%A9%20au%20lait?%C3%BC"


@pytest.mark.parametrize("action", [status(500), status(503), status(403), drop])
def test_a_404_to_head_stands_without_the_get_where_nothing_hangs_on_it(
    registry: FakeRegistry, repository: Repository, time: Time, action: Action
) -> None:
    registry.script("HEAD", ".", status(404), always=True)
    registry.script("GET", ".", action, always=True)
    assert repository.resolve("1", sure=False) is None
    assert len(registry.asked("GET")) == 1
    assert time.waits == []
    with pytest.raises(ResourceError):
        repository.resolve("1")


def test_a_404_to_head_is_still_made_sure_of_where_get_answers(registry: FakeRegistry, repository: Repository) -> None:
    registry.script("HEAD", ".", status(404), always=True)
    assert repository.resolve("1", sure=False) is not None


@pytest.mark.parametrize("code", [400, 404, 405, 406])
def test_the_referrers_api_is_absent_for_each_status_that_says_so(
    registry: FakeRegistry, repository: Repository, code: int
) -> None:
    registry.script("GET", "/referrers/", status(code))
    assert repository.referrers(DIGEST) == ()
    assert len(registry.asked("GET", "/manifests/sha256-")) == 1


# A Content-Encoding that was not asked for.


def encoded(encoding: str, encode: Callable[[bytes], bytes] = gzip.compress) -> Action:
    def act(ask: Ask, answer: Answer) -> Reply:
        reply = answer()
        assert isinstance(reply.body, bytes)
        return replace(reply, body=encode(reply.body), headers={**reply.headers, "content-encoding": encoding})

    return act


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP"])
def test_an_answer_that_was_compressed_on_the_way_is_decoded(
    registry: FakeRegistry, repository: Repository, encoding: str
) -> None:
    for method in ("HEAD", "GET"):
        registry.script(method, ".", encoded(encoding), always=True)
    descriptor = repository.resolve("1")
    assert descriptor is not None
    assert (descriptor.digest, descriptor.size) == (DIGEST, 0)
    manifest = repository.manifest(DIGEST)
    assert isinstance(manifest, Manifest)
    assert list(repository.tags()) == ["1"]
    with repository.blob(manifest.config) as pieces:
        assert Digest.of(b"".join(bytes(piece) for piece in pieces)) == manifest.config.digest


def test_an_encoding_that_only_the_header_has_is_ignored(registry: FakeRegistry, repository: Repository) -> None:
    registry.script("GET", ".", header("content-encoding", "gzip"))
    assert repository.manifest(DIGEST).digest == DIGEST


def test_an_unknown_encoding_is_named(registry: FakeRegistry, repository: Repository, time: Time) -> None:
    registry.script("GET", ".", encoded("br"), encoded("br"), always=True)
    config = Descriptor(media_type=OCI_CONFIG, digest=Digest.of(BUILT.blobs[0].data), size=len(BUILT.blobs[0].data))
    with pytest.raises(ContentError, match=r"get manifest .*the Content-Encoding 'br', which was not asked for"):
        repository.manifest(DIGEST)
    with repository.blob(config) as pieces, pytest.raises(ContentError, match="Content-Encoding 'br'"):
        next(pieces)
    assert time.waits == []


@pytest.mark.parametrize(
    ("encode", "said"),
    [
        (lambda data: gzip.compress(bytes(MAX_MANIFEST_SIZE + 1)), "larger than 4194304 bytes when"),
        (lambda data: gzip.compress(data)[:-12], "ends early"),
        (lambda data: gzip.compress(data)[:10] + b"\xff" * 50, "broken"),
    ],
)
def test_a_compressed_answer_is_bounded_and_whole(
    registry: FakeRegistry, repository: Repository, encode: Callable[[bytes], bytes], said: str
) -> None:
    registry.script("GET", ".", encoded("gzip", encode))
    with pytest.raises(ContentError, match=said):
        repository.manifest(DIGEST)


def test_the_digest_is_that_of_the_decoded_bytes(registry: FakeRegistry, repository: Repository) -> None:
    registry.script("GET", ".", encoded("gzip", lambda data: gzip.compress(data + b" ")))
    with pytest.raises(DigestMismatch):
        repository.manifest(DIGEST)


def test_an_error_that_was_compressed_is_told(registry: FakeRegistry, repository: Repository) -> None:
    error = b'{"errors": [{"code": "DENIED", "message": "not today"}]}'
    refusal = status(400, gzip.compress(error), content_encoding="gzip")
    registry.script("GET", ".", refusal)
    with pytest.raises(RegistryError, match=r"'not today' \(DENIED\)"):
        repository.manifest(DIGEST)
