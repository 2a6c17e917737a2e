"""The token flow, and the servers that get credentials."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Literal
from urllib.parse import parse_qs, urlsplit

import pytest

from registry_image.auth.bearer import MAX_TOKEN_ANSWER
from registry_image.auth.credentials import Credentials
from registry_image.errors import AuthError, ContentError, TransportError, Unauthorized, Unavailable
from registry_image.net.http import Request
from registry_image.net.retry import ONCE
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Digest
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
    unless_logged_in,
)

NAME = "some/image"
DATA = b"layer" * 50_000
BUILT = images.image(images.layer(DATA, "none"))
BLOB = Descriptor(media_type="x", digest=Digest.of(DATA), size=len(DATA))
USER = Credentials(username="robot", password="pa55")
IDENTITY = Credentials(username="robot", identity_token="1dentity")
SCOPE = f"repository:{NAME}:pull"


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as registry:
        registry.add(NAME, BUILT, "1")
        registry.auth = "token"
        registry.accounts = {"robot": "pa55"}
        registry.identity_tokens = {"1dentity"}
        yield registry


def a_reader(registry: FakeRegistry, time: Time, credentials: Credentials | None = None) -> Repository:
    return a_repository(registry, NAME, client=a_client(time=time), credentials=credentials)


def resolves(repository: Repository) -> bool:
    found = repository.resolve("1")
    return found is not None and str(found.digest) == BUILT.digest


def query(ask: Ask) -> dict[str, list[str]]:
    return parse_qs(ask.body.decode() if ask.method == "POST" else urlsplit(ask.target).query)


def test_a_token_is_asked_for_once_and_used_again(registry: FakeRegistry, time: Time) -> None:
    repository = a_reader(registry, time)
    assert resolves(repository)
    assert resolves(repository)
    assert [ask.target.partition("?")[0].rpartition("/")[2] for ask in registry.log] == ["1", "token", "1", "1"]
    (ask,) = registry.asked("GET", "/token")
    assert query(ask) == {"service": ["fake"], "scope": [SCOPE]}
    assert "authorization" not in ask.headers


def test_credentials_go_to_the_token_server_as_basic(registry: FakeRegistry, time: Time) -> None:
    assert resolves(a_reader(registry, time, USER))
    (ask,) = registry.asked("GET", "/token")
    assert base64.b64decode(ask.headers["authorization"].removeprefix("Basic ")) == b"robot:pa55"
    assert all("Basic" not in ask.headers.get("authorization", "") for ask in registry.asked("HEAD"))


def test_an_identity_token_is_posted_as_a_form(registry: FakeRegistry, time: Time) -> None:
    assert resolves(a_reader(registry, time, IDENTITY))
    (ask,) = registry.asked("", "/token")
    assert ask.method == "POST"
    assert ask.headers["content-type"] == "application/x-www-form-urlencoded"
    assert query(ask) == {
        "grant_type": ["refresh_token"],
        "refresh_token": ["1dentity"],
        "client_id": ["registry-image-resource"],
        "service": ["fake"],
        "scope": [SCOPE],
    }


@pytest.mark.parametrize("code", [404, 405])
def test_a_server_without_post_gets_a_get(registry: FakeRegistry, time: Time, code: int) -> None:
    registry.script("POST", "/token", status(code))
    assert resolves(a_reader(registry, time, IDENTITY))
    post, get = registry.asked("", "/token")
    assert (post.method, get.method) == ("POST", "GET")
    assert base64.b64decode(get.headers["authorization"].removeprefix("Basic ")) == b"robot:1dentity"


def test_an_access_token_is_a_token(registry: FakeRegistry, time: Time) -> None:
    def rename(ask: Ask, answer: Answer) -> Reply:
        reply = answer()
        assert isinstance(reply.body, bytes)
        return replace(reply, body=reply.body.replace(b'"token"', b'"access_token"'))

    registry.script("GET", "/token", rename)
    assert resolves(a_reader(registry, time))


def test_a_mount_has_a_token_of_its_own(registry: FakeRegistry, time: Time) -> None:
    repository = a_reader(registry, time, USER)
    client = repository.client
    for auth in (repository.auth("pull", "push"), repository.auth("pull", "push", mount_from="other/image")):
        url = repository.url("blobs/uploads/")
        client.fetch(Request(method="POST", url=url, what="start an upload", auth=auth), 1000)
    first, second = (query(ask)["scope"] for ask in registry.asked("GET", "/token"))
    assert first == [f"repository:{NAME}:pull,push"]
    assert second == [f"repository:{NAME}:pull,push", "repository:other/image:pull"]
    assert repository.auth("pull", "push") is repository.auth("pull", "push")


def test_a_challenge_that_names_more_scopes_is_followed(registry: FakeRegistry, time: Time) -> None:
    value = f'Bearer realm="{registry.realm}",scope="{SCOPE} repository:base/image:pull"'
    registry.script("HEAD", ".", status(401, www_authenticate=value))
    assert resolves(a_reader(registry, time))
    assert query(registry.asked("GET", "/token")[0]) == {"scope": [SCOPE, "repository:base/image:pull"]}


@pytest.mark.parametrize("end", ["", "#there", " "])
def test_a_realm_that_has_a_query_keeps_it(registry: FakeRegistry, time: Time, end: str) -> None:
    registry.realm += f"?tenant=a%20b{end}"
    assert resolves(a_reader(registry, time))
    assert registry.asked("GET", "/token")[0].target.startswith("/token?tenant=a%20b&service=fake&scope=")


def test_bearer_is_chosen_where_basic_is_offered_too(registry: FakeRegistry, time: Time) -> None:
    value = f'Basic realm="x", Bearer realm="{registry.realm}",service="fake"'
    registry.script("HEAD", ".", status(401, www_authenticate=value))
    assert resolves(a_reader(registry, time, USER))


@pytest.mark.parametrize(
    ("life", "good_for"),
    [(None, 45.0), (0, 45.0), (-1, 45.0), (100, 75.0), (3600, 3570.0), (10**400, 86_370.0),
     ("3600", 3570.0), (3600.5, 3570.5), ("100.0", 75.0), ("soon", 45.0), ("", 45.0), ("nan", 45.0), (True, 45.0)],
)  # fmt: skip
def test_a_token_is_renewed_before_it_expires(
    registry: FakeRegistry, time: Time, life: float | str | None, good_for: float
) -> None:
    registry.token_life = life
    repository = a_reader(registry, time)
    assert resolves(repository)
    time.seconds += good_for - 0.5
    assert resolves(repository)
    assert len(registry.asked("GET", "/token")) == 1
    time.seconds += 1.0
    assert resolves(repository)
    assert len(registry.asked("GET", "/token")) == 2
    assert len(registry.asked("HEAD")) == 4  # with one 401


def test_a_token_that_expires_in_the_middle_of_a_download_is_replaced(registry: FakeRegistry, time: Time) -> None:
    repository = a_reader(registry, time, USER)
    registry.script("GET", "/blobs/", cut(1000))
    received = bytearray()
    with repository.blob(BLOB) as pieces:
        for piece in pieces:
            received += piece
            registry.expire_tokens()
    assert received == DATA
    assert registry.asked("GET", "/blobs/")[-1].headers["range"] == "bytes=1000-"
    assert len(registry.asked("GET", "/token")) == 2


def test_a_token_that_grants_too_little_is_replaced_once_and_then_it_is_denied(
    registry: FakeRegistry, time: Time
) -> None:
    registry.script("GET", "/token", body(b'{"token": "grants-nothing"}'), body(b'{"token": "nothing-either"}'))
    with pytest.raises(Unauthorized, match=f"{NAME}:1.*401"):
        resolves(a_reader(registry, time, USER))
    assert len(registry.asked("GET", "/token")) == 2
    assert len(registry.asked("HEAD")) == 2
    assert time.waits == []


def test_many_threads_ask_for_one_token(registry: FakeRegistry, time: Time) -> None:
    repository = a_reader(registry, time, USER)
    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(lambda _: resolves(repository), range(64)))
    assert len(registry.asked("GET", "/token")) == 1


def test_a_wrong_password_is_said_once_and_not_repeated(registry: FakeRegistry, time: Time) -> None:
    wrong = Credentials(username="robot", password="wr0ng")
    with pytest.raises(AuthError) as caught:
        resolves(a_reader(registry, time, wrong))
    assert caught.value.message.startswith(f"resolve {registry.host}/{NAME}:1: log in to {registry.host}: token server")
    assert "401 Unauthorized: 'incorrect username or password'" in caught.value.message
    assert "credentials of 'robot'" in (caught.value.hint or "")
    assert "wr0ng" not in f"{caught.value.message}{caught.value.hint}{wrong!r}"
    assert len(registry.asked("GET", "/token")) == 1
    assert time.waits == []


@pytest.mark.parametrize("missing", [{"username": "robot"}, {"password": "pa55"}, {}])
def test_a_username_without_a_password_or_the_reverse_is_an_error(missing: dict[str, str]) -> None:
    with pytest.raises(AuthError, match="is missing") as caught:
        Credentials(**missing)
    assert "pa55" not in caught.value.message


def test_secrets_are_not_in_a_repr() -> None:
    text = f"{USER!r}{IDENTITY!r}"
    assert "robot" in text
    assert "pa55" not in text
    assert "1dentity" not in text


@pytest.mark.parametrize("action", [status(503), status(429), status(500)])
def test_trouble_of_the_token_server_is_waited_out(registry: FakeRegistry, time: Time, action: Action) -> None:
    registry.script("GET", "/token", action)
    assert resolves(a_reader(registry, time))
    assert len(time.waits) == 1


def test_lasting_trouble_of_the_token_server_is_no_failed_login(registry: FakeRegistry, time: Time) -> None:
    registry.script("GET", "/token", status(503), always=True)
    client = a_client(time=time, policy=ONCE)
    with pytest.raises(Unavailable, match=r"token server.*503"):
        resolves(a_repository(registry, NAME, client=client))


@pytest.mark.parametrize(
    "answer",
    [b"", b"{}", b"[]", b"secret-but-not-json", b'{"token": ""}', b'{"token": 5}', b'{"token": "a\\r\\nX: y"}',
     b'{"token": "s3cret \xc3\xa9"}',
     json.dumps({"token": "s3cret" * 20_000}).encode(), b"[" * 10_000],
)  # fmt: skip
def test_an_answer_without_a_usable_token_is_an_error_that_repeats_none_of_it(
    registry: FakeRegistry, time: Time, answer: bytes
) -> None:
    registry.script("GET", "/token", body(answer))
    with pytest.raises(AuthError, match=f"token server: {registry.host}: the answer of the token server ") as caught:
        resolves(a_reader(registry, time))
    assert "secret" not in caught.value.message
    assert "s3cret" not in caught.value.message


def test_a_token_answer_has_a_limit(registry: FakeRegistry, time: Time) -> None:
    registry.script("GET", "/token", body(iter(lambda: b" " * 10_000, None)))
    with pytest.raises(ContentError, match=f"larger than {MAX_TOKEN_ANSWER}"):
        resolves(a_reader(registry, time))


@pytest.mark.parametrize(
    "realm",
    [
        "http://auth.example.com/token",
        "http://169.254.169.254/latest/meta-data/iam",
        "https://169.254.169.254/",
        "https://10.0.0.1/token",
        "https://[::ffff:10.0.0.1]/token",
        "https://2852039166/",
        "https://[fe80::1]/",
    ],
)
def test_a_token_server_where_none_belongs_is_refused(registry: FakeRegistry, time: Time, realm: str) -> None:
    registry.realm = realm
    with pytest.raises(AuthError, match="refused to ask the token server"):
        resolves(a_reader(registry, time, USER))


@pytest.mark.parametrize(
    "realm",
    ["/token", "//auth.example.com/token", "file:///etc/passwd", "not a url", "https://", "https://%3169.254.169.254/"],
)
def test_a_token_server_with_an_invalid_address_is_refused(registry: FakeRegistry, time: Time, realm: str) -> None:
    registry.realm = realm
    with pytest.raises(TransportError) as caught:
        resolves(a_reader(registry, time, USER))
    assert caught.value.message == (
        f"resolve {registry.host}/{NAME}:1: log in to {registry.host}: the realm of its WWW-Authenticate, {realm!r}, "
        "is not an http or https address"
    )
    assert time.waits == []


def test_a_token_server_cannot_redirect_to_a_forbidden_address(registry: FakeRegistry, time: Time) -> None:
    registry.script("GET", "/token", redirect("http://169.254.169.254/latest"))
    with pytest.raises(AuthError, match=r"169\.254\.169\.254/latest: it is an address inside"):
        resolves(a_reader(registry, time, USER))


def test_credentials_do_not_follow_a_token_servers_redirect(registry: FakeRegistry, time: Time) -> None:
    with fake_registry() as other:
        registry.script("GET", "/token", redirect(f"{other.url}/token"))
        with pytest.raises(Unauthorized):
            resolves(a_reader(registry, time, USER))
        assert len(other.asked("GET", "/token")) == 1
        assert all("authorization" not in ask.headers for ask in other.log)


def test_credentials_do_not_follow_a_registrys_redirect(registry: FakeRegistry, time: Time) -> None:
    with fake_registry() as other:
        other.add(NAME, BUILT, "1")
        registry.auth = "basic"
        repository = a_reader(registry, time, USER)
        assert resolves(repository)
        registry.script("HEAD", ".", redirect(f"{other.url}/v2/{NAME}/manifests/1"))
        assert resolves(repository)
        (ask,) = other.log
    assert "authorization" not in ask.headers


def test_no_body_and_no_header_that_may_be_a_secret_follows_a_redirect(registry: FakeRegistry, time: Time) -> None:
    with fake_registry() as other:
        registry.script("POST", "/token", redirect(f"{other.url}/token"))
        with pytest.raises(AuthError, match="307"):
            resolves(a_reader(registry, time, IDENTITY))
        assert other.log == []

        registry.script("GET", "/metadata", redirect(f"{other.url}/metadata"))
        headers = {"X-aws-ec2-metadata-token": "secret", "Accept": "text/plain"}
        request = Request(method="GET", url=f"{registry.url}/metadata", what="ask", headers=headers, accept=(404,))
        a_client(time=time).fetch(request, 1000)
        (ask,) = other.log
    assert ask.headers["accept"] == "text/plain"
    assert "x-aws-ec2-metadata-token" not in ask.headers


def test_a_body_follows_a_redirect_within_its_own_host(registry: FakeRegistry, time: Time) -> None:
    registry.script("POST", "/token", redirect("/token?again"))
    assert resolves(a_reader(registry, time, IDENTITY))
    assert query(registry.asked("POST", "again")[0])["refresh_token"] == ["1dentity"]


def test_a_challenge_from_another_host_is_not_answered(registry: FakeRegistry, time: Time) -> None:
    with fake_registry() as other:
        other.add(NAME, BUILT, "1")
        other.auth = "basic"
        registry.auth = "none"
        registry.script("HEAD", ".", redirect(f"{other.url}/v2/{NAME}/manifests/1"))
        with pytest.raises(Unauthorized, match=other.host):
            resolves(a_reader(registry, time, USER))
        assert len(other.log) == 1


def test_a_401_without_a_challenge_is_final(registry: FakeRegistry, time: Time) -> None:
    registry.script("HEAD", ".", header("www-authenticate", None), always=True)
    with pytest.raises(Unauthorized) as caught:
        resolves(a_reader(registry, time))
    assert len(registry.log) == 1
    assert (caught.value.hint or "").startswith("no credentials are set")

    registry.script("GET", "/v2/$", header("www-authenticate", None))
    with pytest.raises(Unauthorized) as caught:
        resolves(a_reader(registry, time, USER))
    assert [ask.target for ask in registry.log[1:]] == ["/v2/", f"/v2/{NAME}/manifests/1"]
    assert "'robot'" in (caught.value.hint or "")
    assert "were not sent: the registry asked for no login that we know" in (caught.value.hint or "")


def test_a_netrc_never_interferes(
    registry: FakeRegistry, time: Time, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path_factory.mktemp("home")
    (home / ".netrc").write_text("machine 127.0.0.1 login thief password n3trc\ndefault login thief password n3trc\n")
    (home / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("NETRC", str(home / ".netrc"))
    assert resolves(a_reader(registry, time, USER))
    assert resolves(a_reader(registry, time))
    stolen = base64.b64encode(b"thief:n3trc").decode()
    assert all(stolen not in ask.headers.get("authorization", "") for ask in registry.log)


def test_waits_and_errors_never_show_a_token(registry: FakeRegistry) -> None:
    ear = Ear()
    registry.script("GET", "/blobs/", cut(10), cut(20))
    repository = a_repository(registry, NAME, client=a_client(ear=ear), credentials=USER)
    with repository.blob(BLOB) as pieces:
        assert b"".join(pieces) == DATA
    assert ear.notes
    assert all("secret-" not in note and "pa55" not in note for note in ear.notes)


# Registries that challenge at /v2/ only.

WITHOUT_LOGIN = [
    pytest.param(status(404), id="404"),
    pytest.param(status(403), id="403"),
    pytest.param(status(401), id="a bare 401"),
    pytest.param(status(429), id="429"),
    pytest.param(body(b'{"tags": []}'), id="an empty list"),
]


@pytest.mark.parametrize("action", WITHOUT_LOGIN)
@pytest.mark.parametrize("scheme", ["basic", "token"])
def test_credentials_are_sent_where_only_the_base_of_the_api_challenges(
    registry: FakeRegistry, time: Time, scheme: Literal["basic", "token"], action: Action
) -> None:
    registry.auth = scheme
    for method in ("HEAD", "GET", "POST", "PUT"):
        registry.script(method, "/some/image/", unless_logged_in(action), always=True)
    repository = a_reader(registry, time, USER)
    assert resolves(repository)
    assert list(repository.tags()) == ["1"]
    assert repository.manifest(Digest.parse(BUILT.digest)).digest == Digest.parse(BUILT.digest)
    with repository.blob(BLOB) as pieces:
        assert b"".join(pieces) == DATA
    client = repository.client
    push = Request(
        method="POST", url=repository.url("blobs/uploads/"), what="start", auth=repository.auth("pull", "push")
    )
    assert client.fetch(push, 1000).status == 202
    assert len(registry.asked("GET", "/v2/$")) == 1
    assert time.waits == []


def test_an_expired_token_is_replaced_where_only_the_base_of_the_api_challenges(
    registry: FakeRegistry, time: Time
) -> None:
    repository = a_reader(registry, time, USER)
    assert resolves(repository)
    registry.expire_tokens()
    registry.script("HEAD", ".", header("www-authenticate", None))
    assert resolves(repository)
    assert len(registry.asked("GET", "/token")) == 2


def test_nothing_is_asked_first_without_credentials(registry: FakeRegistry, time: Time) -> None:
    assert resolves(a_reader(registry, time))
    assert registry.asked("GET", "/v2/$") == []


def test_a_login_takes_as_many_requests_as_an_anonymous_one(registry: FakeRegistry, time: Time) -> None:
    assert resolves(a_reader(registry, time))
    anonymous = len(registry.log)
    assert resolves(a_reader(registry, time, USER))
    assert len(registry.log) == 2 * anonymous


@pytest.mark.parametrize("trouble", [status(429), status(429, retry_after="1"), status(500), status(503), drop])
@pytest.mark.parametrize("action", WITHOUT_LOGIN)
def test_trouble_of_the_base_of_the_api_is_waited_out(
    registry: FakeRegistry, time: Time, trouble: Action, action: Action
) -> None:
    """Without a login the next answer would be that there is nothing."""
    registry.script("GET", "/v2/$", trouble)
    registry.script("HEAD", "/some/image/", unless_logged_in(action), always=True)
    assert resolves(a_reader(registry, time, USER))
    assert len(registry.asked("GET", "/v2/$")) == 2
    assert len(registry.asked("HEAD")) == 1
    assert len(time.waits) == 1


def test_a_base_of_the_api_that_stays_in_trouble_is_named(registry: FakeRegistry, time: Time) -> None:
    registry.script("GET", "/v2/$", status(503), always=True)
    with pytest.raises(Unavailable, match=r"^resolve .*: ask 127\.0\.0\.1:\d+ how to log in: .*503"):
        a_reader(registry, time, USER).resolve("1")
    assert registry.asked("HEAD") == []


@pytest.mark.parametrize(
    "action",
    [status(200), status(404),
     lambda ask, answer: Reply(200, {}, [b" " * 100_000]),
     status(401), status(401, www_authenticate="Negotiate"), status(401, www_authenticate="Bearer")],
)  # fmt: skip
def test_another_answer_to_the_first_question_changes_nothing(
    registry: FakeRegistry, time: Time, action: Action
) -> None:
    registry.script("GET", "/v2/$", action)
    assert resolves(a_reader(registry, time, USER))
    assert len(registry.asked("GET", "/v2/$")) == 1
    assert len(registry.asked("HEAD")) == 2


def test_the_scope_of_the_first_challenge_is_not_asked_for(registry: FakeRegistry, time: Time) -> None:
    value = f'Bearer realm="{registry.realm}",service="fake",scope="repository:user/image:pull"'
    registry.script("GET", "/v2/$", status(401, www_authenticate=value))
    assert resolves(a_reader(registry, time, USER))
    assert query(registry.asked("GET", "/token")[0])["scope"] == [SCOPE]


def test_the_first_challenge_of_another_host_is_not_answered(registry: FakeRegistry, time: Time) -> None:
    with fake_registry() as other:
        other.auth = "basic"
        registry.auth = "none"
        registry.script("GET", "/v2/$", redirect(f"{other.url}/v2/"))
        assert resolves(a_reader(registry, time, USER))
        assert [ask.target for ask in other.log] == ["/v2/"]
    assert all("authorization" not in ask.headers for ask in [*registry.log, *other.log])


def test_the_question_how_to_log_in_does_not_follow_a_redirect_into_this_network(
    registry: FakeRegistry, time: Time
) -> None:
    with fake_registry() as other:
        registry.script("GET", "/v2/$", redirect(f"{other.url.replace('127.0.0.1', '127.0.0.2')}/v2/"))
        a_reader(registry, time, USER).resolve("1")
        assert len(registry.asked("GET", "/v2/$")) == 1
        assert other.log == []


def test_trouble_of_the_token_server_after_the_first_challenge_is_waited_out(
    registry: FakeRegistry, time: Time
) -> None:
    registry.script("GET", "/token", status(503))
    assert resolves(a_reader(registry, time, USER))
    assert len(time.waits) == 1
    assert len(registry.asked("GET", "/v2/$")) == 1


@pytest.mark.parametrize("scheme", ["basic", "token"])
def test_a_password_that_ends_in_white_space_is_sent_as_it_is(
    registry: FakeRegistry, time: Time, scheme: Literal["basic", "token"]
) -> None:
    registry.auth = scheme
    registry.accounts = {"robot": "pa55\n"}
    assert resolves(a_reader(registry, time, Credentials(username="robot", password="pa55\n")))
    registry.accounts = {"robot": "pa55"}
    with pytest.raises((AuthError, Unauthorized)) as caught:
        resolves(a_reader(registry, time, Credentials(username="robot", password="pa55\n")))
    assert (caught.value.hint or "").endswith("; the password ends in white space")
