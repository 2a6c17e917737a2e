"""What a registry may send to do harm: each has a bound with a name and one clear error; nothing hangs, nothing grows.

Most single lies are in tests/integration, beside what they lie about; here are the floods.
"""

from __future__ import annotations

import io
import json
import tracemalloc
from collections import deque
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from urllib3 import HTTPResponse

from registry_image.errors import (
    ContentError,
    InvalidManifest,
    RegistryError,
    ResourceError,
    SizeMismatch,
    TransportError,
    Unauthorized,
)
from registry_image.net import http
from registry_image.net.http import MAX_ERROR_BODY, Headers, StreamingReply
from registry_image.net.retry import BUILD, ONCE
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Digest, Verifier
from registry_image.oci.manifest import MAX_CHILDREN
from registry_image.registry import tags
from registry_image.registry.repository import Repository
from tests.support import images
from tests.support.clients import Time, a_client, a_repository
from tests.support.fakehttp import Ask, Reply
from tests.support.fakeregistry import Answer as Usual
from tests.support.fakeregistry import FakeRegistry, body, fake_registry, status

NAME = "some/image"
BUILT = images.image(b"layer")
DIGEST = Digest.parse(BUILT.digest)
MIB = 1024 * 1024


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as registry:
        registry.add(NAME, BUILT, "1")
        yield registry


@pytest.fixture
def repository(registry: FakeRegistry, time: Time) -> Repository:
    return a_repository(registry, NAME, client=a_client(time=time, policy=ONCE))


def endless(piece: bytes = b" " * 65536) -> Iterator[bytes]:
    while True:
        yield piece


@pytest.mark.parametrize("path", ["/manifests/", "/tags/", "/referrers/"])
def test_an_answer_without_an_end_is_cut_off(registry: FakeRegistry, repository: Repository, path: str) -> None:
    registry.script("GET", path, body(endless()))
    asks: dict[str, Callable[[], object]] = {
        "/manifests/": lambda: repository.manifest(DIGEST),
        "/tags/": lambda: list(repository.tags()),
        "/referrers/": lambda: repository.referrers(DIGEST),
    }
    tracemalloc.start()
    try:
        with pytest.raises(ContentError, match="larger than"):
            asks[path]()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * tags.MAX_PAGE_SIZE


def test_an_error_without_an_end_is_read_a_little(registry: FakeRegistry, repository: Repository) -> None:
    sent = 0

    def flood() -> Iterator[bytes]:
        nonlocal sent
        for piece in endless(b"x" * 65536):
            sent += len(piece)
            yield piece

    registry.script("GET", "/manifests/", lambda ask, answer: Reply(500, {}, flood()))
    with pytest.raises(RegistryError) as caught:
        repository.manifest(DIGEST)
    assert len(caught.value.message) < 1000
    assert sent < MAX_ERROR_BODY + 16 * MIB  # what loopback sockets buffer


def test_a_body_on_head_is_not_read(registry: FakeRegistry, repository: Repository) -> None:
    registry.script("HEAD", ".", body(b"x" * MIB))
    assert repository.resolve("1") is not None


def test_an_answer_that_drips_has_an_end(registry: FakeRegistry, repository: Repository, time: Time) -> None:
    def drip() -> Iterator[bytes]:
        while True:
            time.seconds += 30.0
            yield b" "

    registry.script("GET", "/manifests/", body(drip()))
    with pytest.raises(TransportError, match=f"no end after {BUILD.answer:.0f} s"):
        repository.manifest(DIGEST)


def test_a_blob_that_drips_counts_as_stalled(registry: FakeRegistry, repository: Repository, time: Time) -> None:
    def drip() -> Iterator[bytes]:
        while True:
            time.seconds += 1.0
            yield b"x" * 900

    registry.script("GET", "/blobs/", lambda ask, answer: Reply(200, {}, drip()), always=True)
    blob = Descriptor(media_type="x", digest=Digest.of(b"x"), size=10**9)
    with (
        repository.blob(blob) as received,
        pytest.raises(TransportError, match=r"get blob .*: stalled: less than 1000 bytes/s for a minute"),
    ):
        deque(received, maxlen=0)


def test_a_slow_reader_is_no_stall(registry: FakeRegistry, repository: Repository, time: Time) -> None:
    data = b"x" * 2000
    registry.script("GET", "/blobs/", lambda ask, answer: Reply(200, {}, [b"x"] * 2000))
    with repository.blob(Descriptor(media_type="x", digest=Digest.of(data), size=2000)) as received:
        count = 0
        for piece in received:
            time.seconds += 30.0
            count += len(piece)
    assert count == 2000


def test_an_error_body_that_drips_has_an_end(time: Time) -> None:
    class Drip(io.BytesIO):
        def read1(self, size: int | None = -1, /) -> bytes:
            time.seconds += 50.0
            return b"x"

    raw = HTTPResponse(Drip(), status=500, preload_content=False)
    response = StreamingReply(raw, "https://ghcr.io/v2/", "get it", time.clock().monotonic)
    assert len(response.finish()) == BUILD.answer / 50.0 + 1


def test_a_blob_without_an_end_is_stopped_by_its_reader(registry: FakeRegistry, repository: Repository) -> None:
    blob = Descriptor(media_type="x", digest=Digest.of(b"x"), size=100_000)
    registry.repositories[NAME].blobs[str(blob.digest)] = b""
    registry.script("GET", "/blobs/", body(endless()))
    verifier = Verifier(blob.digest, blob.size, "layer")

    def read() -> None:
        with repository.blob(blob) as pieces:
            for piece in pieces:
                verifier.update(piece)

    with pytest.raises(SizeMismatch):
        read()
    assert verifier.seen < 2 * MIB


@pytest.mark.parametrize("depth", [100, 100_000])
@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_deep_json_is_refused(registry: FakeRegistry, repository: Repository, opening: bytes, depth: int) -> None:
    registry.script("GET", "/tags/", body(opening * depth))
    with pytest.raises(InvalidManifest, match="nested"):
        list(repository.tags())
    for method in ("HEAD", "GET"):
        registry.script(method, "/manifests/", status(200, opening * depth))
    with pytest.raises(InvalidManifest, match="nested"):
        repository.resolve("1")


def test_pages_without_an_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    def get(url: str) -> http.Reply:
        nonlocal asked
        asked += 1
        link = f'</v2/x/tags/list?page={asked}>; rel="next"'
        return http.Reply(status=200, headers=Headers([("Link", link)]), body=b'{"tags": []}', url=url)

    with pytest.raises(InvalidManifest, match="no end"):
        list(tags.read_tags(tags.pages("https://h/v2/x/tags/list", get, "list"), "list"))
    assert asked == tags.MAX_PAGES


def test_tags_without_an_end_are_refused() -> None:
    page = json.dumps({"tags": ["tag"] * 100_000}).encode()

    def get(url: str) -> http.Reply:
        link = f'<https://h/{int(url.rpartition("/")[2]) + 1}>; rel="next"'
        return http.Reply(status=200, headers=Headers([("Link", link)]), body=page, url=url)

    with pytest.raises(InvalidManifest, match=f"more than {tags.MAX_TAGS} tags"):
        list(tags.read_tags(tags.pages("https://h/0", get, "list"), "list"))


def test_two_hundred_thousand_tags_take_the_memory_of_one_page() -> None:
    total, size = 200_000, 1000

    def get(url: str) -> http.Reply:
        page = int(url.rpartition("=")[2])
        names = [f"v1.{number}.0-some-variant" for number in range(page * size, (page + 1) * size)]
        more = [("Link", f'</v2/x/tags/list?page={page + 1}>; rel="next"')] if (page + 1) * size < total else []
        return http.Reply(status=200, headers=Headers(more), body=json.dumps({"tags": names}).encode(), url=url)

    tracemalloc.start()
    try:
        count = sum(1 for _ in tags.read_tags(tags.pages("https://h/v2/x/tags/list?page=0", get, "list"), "list"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == total
    assert peak < 4 * MIB


def test_more_referrers_than_an_index_may_hold_are_refused(registry: FakeRegistry, repository: Repository) -> None:
    entry = {"mediaType": "m", "digest": str(DIGEST), "size": 1}
    page = json.dumps({"manifests": [entry] * (MAX_CHILDREN // 2 + 1)}).encode()
    registry.script("GET", "/referrers/", status(200, page, link='<?2>; rel="next"'), body(page))
    with pytest.raises(InvalidManifest, match="referrers"):
        repository.referrers(DIGEST)


def test_challenges_without_an_end_are_given_up(registry: FakeRegistry, repository: Repository) -> None:
    challenge = f'Bearer realm="{registry.realm}",service="x"'
    registry.script("HEAD", ".", status(401, www_authenticate=challenge), always=True)
    with pytest.raises(Unauthorized):
        repository.resolve("1")
    assert len(registry.log) <= 5


@pytest.mark.parametrize(
    "wrong",
    [
        {"location": "x" * 60_000},
        {"location": "https://" + "a" * 300 + ".example/"},
        {"location": "http://[::1"},
        {"location": "//"},
        {"location": "gopher://x/"},
        {"location": "http://ex ample/"},
        {"location": "\xff\xfe"},
    ],
)
def test_a_redirect_to_nowhere_is_an_error_of_ours(
    registry: FakeRegistry, repository: Repository, wrong: dict[str, str]
) -> None:
    registry.script("GET", ".", lambda ask, answer: Reply(307, wrong), always=True)
    with pytest.raises(ResourceError):
        repository.manifest(DIGEST)


HEADER = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    code=st.sampled_from([200, 201, 204, 206, 301, 302, 307, 400, 401, 403, 404, 405, 416, 418, 429, 500, 503, 599]),
    headers=st.dictionaries(
        st.sampled_from(
            [
                "content-type",
                "docker-content-digest",
                "content-range",
                "link",
                "www-authenticate",
                "retry-after",
                "vary",
            ]
        ),
        HEADER,
        max_size=4,
    ),
    data=st.binary(max_size=200) | st.sampled_from([b"{}", b"[]", b'{"errors":[{}]}', BUILT.manifest.data]),
)
def test_whatever_a_registry_answers_only_our_errors_come_out(
    registry: FakeRegistry, code: int, headers: dict[str, str], data: bytes
) -> None:
    def act(ask: Ask, answer: Usual) -> Reply:
        return Reply(code, headers, data)

    registry._rules.clear()
    for method in ("HEAD", "GET"):
        registry.script(method, ".", act, always=True)
    repository = a_repository(registry, NAME, client=a_client(policy=ONCE))
    blob = Descriptor(media_type="x", digest=DIGEST, size=len(data))
    for ask in (
        lambda: repository.resolve("1"),
        lambda: repository.manifest(DIGEST),
        lambda: repository.referrers(DIGEST),
        lambda: list(repository.tags()),
        lambda: list(repository.download(blob, offset=len(data) // 2).pieces()),
    ):
        message = failure_of(ask)
        assert message.isprintable()
        assert len(message) < 2000


def failure_of(ask: Callable[[], object]) -> str:
    """The text of our error, or "" without one; catches no other error."""
    try:
        ask()
    except ResourceError as error:
        return error.message
    return ""


def test_the_pages_of_a_list_have_a_sum(registry: FakeRegistry, repository: Repository) -> None:
    page = b"{" + b" " * (3 * MIB) + b"}"
    registry.script("GET", "/referrers/", *(status(200, page, link=f'<?{at}>; rel="next"') for at in range(20)))
    with pytest.raises(InvalidManifest, match=f"the pages of the list have more than {16 * MIB} bytes"):
        repository.referrers(DIGEST)
    assert len(registry.asked("GET", "/referrers/")) == 6

    def get(url: str) -> http.Reply:
        link = f'<https://h/{int(url.rpartition("/")[2]) + 1}>; rel="next"'
        return http.Reply(status=200, headers=Headers([("Link", link)]), body=page, url=url)

    with pytest.raises(InvalidManifest, match=f"the pages of the list have more than {288 * MIB} bytes"):
        for _ in tags.pages("https://h/0", get, "list"):
            pass
