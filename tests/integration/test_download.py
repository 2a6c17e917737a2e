"""A blob over connections that break: it is complete, and a server with ranges sends no byte twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from registry_image.auth.credentials import Credentials
from registry_image.errors import NotFound, RegistryError, SizeMismatch, TransportError, Unauthorized
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Digest
from registry_image.registry.repository import Repository
from tests.support import images
from tests.support.clients import STALL, Time, a_client, a_repository
from tests.support.ear import Ear
from tests.support.fakehttp import Reply
from tests.support.fakeregistry import (
    Action,
    FakeRegistry,
    body,
    cut,
    drop,
    fake_registry,
    header,
    redirect,
    stall,
    status,
    without_ranges,
)
from tests.support.faultproxy import fault_proxy

NAME = "some/image"
DATA = bytes(range(256)) * 8192
BLOB = Descriptor(media_type="application/octet-stream", digest=Digest.of(DATA), size=len(DATA))
HALF = len(DATA) // 2


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as registry:
        registry.add(NAME, images.image(images.layer(DATA, "none")))
        yield registry


@pytest.fixture
def repository(registry: FakeRegistry, ear: Ear, time: Time) -> Repository:
    return a_repository(registry, NAME, client=a_client(ear=ear, time=time))


def read(repository: Repository, blob: Descriptor = BLOB) -> bytes:
    with repository.blob(blob) as pieces:
        return b"".join(pieces)


def ranges(registry: FakeRegistry) -> list[str | None]:
    return [ask.headers.get("range") for ask in registry.asked("GET", "/blobs/")]


def test_a_cut_connection_goes_on_where_it_broke(registry: FakeRegistry, repository: Repository, ear: Ear) -> None:
    registry.script("GET", "/blobs/", cut(100), cut(HALF))
    assert read(repository) == DATA
    assert ranges(registry) == [None, "bytes=100-", f"bytes={100 + HALF}-"]
    assert len(ear.notes) == 2
    assert all("ended before the answer did: trying again in" in note for note in ear.notes)


def test_a_reset_connection_goes_on_and_loses_no_byte_it_had(registry: FakeRegistry, repository: Repository) -> None:
    registry.script("GET", "/blobs/", cut(HALF, reset=True))
    assert read(repository) == DATA


@pytest.mark.parametrize("action", [drop, status(500), status(502), status(503), status(504), status(429)])
def test_temporary_trouble_is_waited_out(registry: FakeRegistry, repository: Repository, action: Action) -> None:
    registry.script("GET", "/blobs/", action)
    assert read(repository) == DATA


def test_a_stall_counts_as_broken(registry: FakeRegistry, ear: Ear) -> None:
    registry.script("GET", "/blobs/", stall(HALF))
    assert read(a_repository(registry, NAME, client=a_client(ear=ear, stall=STALL))) == DATA
    assert ranges(registry) == [None, f"bytes={HALF}-"]
    assert "stalled" in ear.notes[0]


@pytest.mark.parametrize(
    ("code", "kind"), [(400, RegistryError), (403, Unauthorized), (404, NotFound), (410, RegistryError)]
)
def test_a_refusal_is_final(
    registry: FakeRegistry, repository: Repository, time: Time, code: int, kind: type[RegistryError]
) -> None:
    registry.script("GET", "/blobs/", status(code), always=True)
    with pytest.raises(kind):
        read(repository)
    assert len(ranges(registry)) == 1
    assert time.waits == []


def test_retry_after_is_honoured(registry: FakeRegistry, repository: Repository, time: Time) -> None:
    registry.script("GET", "/blobs/", status(429, retry_after="7"), status(503, retry_after="0.0002"))
    assert read(repository) == DATA
    assert time.waits == [7.0, 0.1]


def test_failures_without_progress_end(registry: FakeRegistry, repository: Repository, time: Time) -> None:
    registry.script("GET", "/blobs/", cut(0), always=True)
    with pytest.raises(TransportError):
        read(repository)
    assert sum(time.waits) <= 60.0


def test_a_server_that_cuts_after_every_few_bytes_makes_no_progress(
    registry: FakeRegistry, repository: Repository, time: Time
) -> None:
    registry.script("GET", "/blobs/", cut(10), always=True)
    with pytest.raises(TransportError):
        read(repository)
    assert sum(time.waits) <= 60.0


def test_progress_refills_the_budget(registry: FakeRegistry, repository: Repository, time: Time) -> None:
    registry.script("GET", "/blobs/", cut(70_000), always=True)
    assert read(repository) == DATA
    assert len(ranges(registry)) == -(-len(DATA) // 70_000)
    assert time.waits == [0.5] * (len(ranges(registry)) - 1)


def test_a_server_without_ranges_is_read_again_and_skipped_forward(
    registry: FakeRegistry, repository: Repository
) -> None:
    registry.script("GET", "/blobs/", cut(HALF), without_ranges)
    assert read(repository) == DATA
    assert ranges(registry) == [None, f"bytes={HALF}-"]


@pytest.mark.parametrize(
    "lie",
    [
        header("content-range", f"bytes 0-{len(DATA) - 1}/{len(DATA)}"),
        header("content-range", f"bytes {HALF + 1}-{len(DATA) - 1}/{len(DATA)}"),
        header("content-range", f"bytes {HALF}-{len(DATA) - 2}/{len(DATA)}"),
        header("content-range", f"bytes {HALF}-{len(DATA) - 1}/{len(DATA) + 1}"),
        header("content-range", None),
        header("content-range", "bytes"),
        *map(status, (400, 403, 405, 416, 501)),
    ],
)
def test_a_part_that_is_not_the_one_asked_for_is_never_joined(
    registry: FakeRegistry, repository: Repository, lie: Action
) -> None:
    registry.script("GET", "/blobs/", cut(HALF), lie)
    assert read(repository) == DATA
    assert ranges(registry) == [None, f"bytes={HALF}-", None]


def test_the_unit_of_a_part_is_read_in_any_case(registry: FakeRegistry, repository: Repository) -> None:
    rest = header("content-range", f"Bytes {HALF}-{len(DATA) - 1}/{len(DATA)}")
    registry.script("GET", "/blobs/", cut(HALF), rest)
    assert read(repository) == DATA
    assert ranges(registry) == [None, f"bytes={HALF}-"]


@pytest.mark.parametrize("code", [403, 501])
def test_a_refusal_of_a_part_and_of_the_whole_is_an_error(
    registry: FakeRegistry, repository: Repository, code: int
) -> None:
    registry.script("GET", "/blobs/", cut(HALF), status(code), status(code))
    with pytest.raises(RegistryError, match=str(code)):
        read(repository)
    assert ranges(registry) == [None, f"bytes={HALF}-", None]


def test_a_part_instead_of_the_whole_is_refused(registry: FakeRegistry, repository: Repository) -> None:
    registry.script("GET", "/blobs/", status(206, DATA[5:], content_range=f"bytes 5-{len(DATA) - 1}/{len(DATA)}"))
    with pytest.raises(TransportError, match="status 206"):
        read(repository)


@pytest.mark.parametrize("length", [0, len(DATA) - 1, len(DATA) + 1, 10**15])
def test_another_length_than_the_descriptors_is_an_error_at_once(
    registry: FakeRegistry, repository: Repository, length: int
) -> None:
    registry.script("GET", "/blobs/", header("content-length", str(length)))
    with pytest.raises(SizeMismatch, match=f"expected {len(DATA)} bytes, got {length}"):
        read(repository)
    assert len(ranges(registry)) == 1


@pytest.mark.parametrize("length", ["9" * 5000, "9" * 19, "x", "", "-1", "+5", "5.0", "\xb3", "5, 6"])
def test_an_invalid_length_is_an_error_at_once(registry: FakeRegistry, repository: Repository, length: str) -> None:
    registry.script("GET", "/blobs/", header("content-length", length))
    with pytest.raises(TransportError, match="the answer's Content-Length is not one number of at most 18 digits: '"):
        read(repository)
    assert len(ranges(registry)) == 1


def test_a_length_that_is_there_twice_counts_once(registry: FakeRegistry, repository: Repository) -> None:
    registry.script("GET", "/blobs/", header("content-length", f"{len(DATA)}, {len(DATA)}"))
    assert read(repository) == DATA
    assert len(ranges(registry)) == 1


def test_a_short_blob_without_a_length_ends_and_is_not_asked_for_again(
    registry: FakeRegistry, repository: Repository
) -> None:
    # The reader's verifier reports the missing bytes.
    registry.script("GET", "/blobs/", body([DATA[:HALF]]))
    assert read(repository) == DATA[:HALF]
    assert len(ranges(registry)) == 1


def test_a_body_that_ends_with_its_connection_may_have_been_cut(registry: FakeRegistry, repository: Repository) -> None:
    registry.script("GET", "/blobs/", _until_close(DATA[:HALF]))
    assert read(repository) == DATA
    assert ranges(registry) == [None, f"bytes={HALF}-"]


def _until_close(data: bytes) -> Action:
    reply = Reply(200, {"content-length": None, "connection": "close"}, data, cut_after=len(data))
    return lambda ask, answer: reply


def test_a_break_after_the_last_byte_is_no_failure(registry: FakeRegistry, repository: Repository, ear: Ear) -> None:
    registry.script("GET", "/blobs/", _chunked_without_end(DATA))
    assert read(repository) == DATA
    assert ear.notes == []


def _chunked_without_end(data: bytes) -> Action:
    return lambda ask, answer: replace(answer(), body=[data], cut_after=len(data) + 10)


def test_a_reader_that_stops_early_leaves_no_connection_behind(registry: FakeRegistry, repository: Repository) -> None:
    for _ in range(3):
        with repository.blob(BLOB) as pieces:
            next(pieces)
    assert read(repository) == DATA


# Redirects to object stores.


@pytest.mark.rule(4)
def test_a_blob_on_another_host_is_fetched_without_credentials(registry: FakeRegistry) -> None:
    registry.auth = "basic"
    registry.accounts = {"u": "p"}
    with fake_registry() as store:
        store.add(NAME, images.image(images.layer(DATA, "none")))
        registry.script(
            "GET",
            "/blobs/",
            redirect(f"{store.url}/v2/{NAME}/blobs/{BLOB.digest}?X-Signature=a%2Fb%20c~"),
        )
        repository = a_repository(registry, NAME, credentials=Credentials(username="u", password="p"))
        assert read(repository) == DATA
        (ask,) = store.asked("GET")
    assert "authorization" not in ask.headers
    assert ask.target.endswith("?X-Signature=a%2Fb%20c~")
    assert ask.headers["accept-encoding"] == "identity"


def test_each_new_connection_goes_through_the_registry_again(registry: FakeRegistry, repository: Repository) -> None:
    # The presigned address may have expired.
    with fake_registry() as store:
        store.add(NAME, images.image(images.layer(DATA, "none")))
        address = f"{store.url}/v2/{NAME}/blobs/{BLOB.digest}"
        registry.script("GET", "/blobs/", redirect(address), redirect(address))
        store.script("GET", "/blobs/", cut(HALF))
        assert read(repository) == DATA
        assert ranges(store) == [None, f"bytes={HALF}-"]
    assert len(ranges(registry)) == 2


def test_a_redirect_leaves_the_connection_to_the_registry_open(registry: FakeRegistry) -> None:
    with fault_proxy(registry.host) as counted, fake_registry() as store:
        store.add(NAME, images.image(images.layer(DATA, "none")))
        address = f"{store.url}/v2/{NAME}/blobs/{BLOB.digest}"
        registry.script(
            "GET", "/blobs/", status(307, "<a href=x>Temporary Redirect</a>", location=address), always=True
        )
        repository = a_repository(counted, NAME)
        for _ in range(3):
            assert read(repository) == DATA
        assert counted.connections == 2  # the first one tried TLS


def test_a_presigned_address_is_not_in_the_log(registry: FakeRegistry, repository: Repository, ear: Ear) -> None:
    with fake_registry() as store:
        registry.script("GET", "/blobs/", redirect(f"{store.url}/blob?X-Signature=5ecret"), always=True)
        store.script("GET", "/blob", status(503), drop, status(403, "<Error><Code>AccessDenied</Code></Error>"))
        with pytest.raises(Unauthorized) as caught:
            read(repository)
    for text in (*ear.notes, caught.value.message, caught.value.hint or ""):
        assert "5ecret" not in text
    assert store.host in caught.value.message


@pytest.mark.parametrize(
    "address",
    ["https://{}.example/x", "http://[::1/x", "http://ü.{}/x", "http://127.0.0.1:1/x", "ftp://h/x", "http://h:0x/"],
)
def test_an_invalid_presigned_address_is_not_shown_either(
    registry: FakeRegistry, repository: Repository, ear: Ear, address: str
) -> None:
    location = address.format("a" * 300) + "?X-Signature=5ecret"
    registry.script("GET", "/blobs/", redirect(location), always=True)
    with pytest.raises(TransportError) as caught:
        read(repository)
    for text in (*ear.notes, caught.value.message, caught.value.hint or ""):
        assert "5ecret" not in text


def test_a_loop_of_redirects_ends(registry: FakeRegistry, repository: Repository) -> None:
    registry.script("GET", "/blobs/", redirect(f"/v2/{NAME}/blobs/{BLOB.digest}"), always=True)
    with pytest.raises(TransportError, match="redirected more than 10 times"):
        read(repository)


# Layers that the registry may not distribute.


def test_a_foreign_layer_comes_from_its_own_address(registry: FakeRegistry, time: Time) -> None:
    data = b"foreign" * 1000
    with fake_registry() as elsewhere:
        elsewhere.add("x", images.image(images.layer(data, "none")))
        blob = Descriptor(
            media_type="application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            digest=Digest.of(data),
            size=len(data),
            urls=(f"{elsewhere.url}/nowhere", f"{elsewhere.url}/v2/x/blobs/{Digest.of(data)}"),
        )
        assert read(a_repository(registry, NAME), blob) == data


@pytest.mark.parametrize("url", ["https://169.254.169.254/x", "http://10.0.0.1/x"])
def test_insecure_does_not_let_an_image_send_us_inside_our_network(registry: FakeRegistry, url: str) -> None:
    blob = Descriptor(media_type="x", digest=Digest.of(b"gone"), size=4, urls=(url,))
    with pytest.raises(TransportError, match=r"refused to go to .*: it is an address inside this network"):
        read(a_repository(registry, NAME, insecure=True), blob)


@pytest.mark.parametrize(
    "url", ["http://example.com/x", "https://169.254.169.254/x", "https://10.0.0.1/x", "file:///etc/passwd"]
)
def test_a_foreign_layer_cannot_send_us_inside_our_network(registry: FakeRegistry, url: str) -> None:
    blob = Descriptor(media_type="x", digest=Digest.of(b"gone"), size=4, urls=(url,))
    with pytest.raises(TransportError, match=r"refused to go to|is not an http or https address"):
        read(a_repository(registry, NAME), blob)
