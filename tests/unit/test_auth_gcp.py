"""Logins to Google's registries: google-auth itself, against endpoints on loopback under Google's names."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from registry_image.auth.gcp import GCPLogin
from registry_image.auth.settings import GCPSettings
from registry_image.errors import AuthError, RequestError
from registry_image.net.attempts import Clock
from registry_image.net.client import Client
from registry_image.net.retry import RetryPolicy
from registry_image.net.tls import TLS
from registry_image.progress import Listener
from tests.support.clouds import GOOGLE_TOKEN, OIDC_TOKEN, PROVIDER, SERVICE_ACCOUNT, Google, on
from tests.support.internet import SOON, Internet, black_hole, internet, reply, serving

TRADE = GCPSettings(workload_identity_provider=PROVIDER)


@pytest.fixture
def google() -> Google:
    return Google()


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, google: Google) -> Iterator[Internet]:
    with internet(tmp_path) as running, serving(google.metadata) as machine:
        on(running, google=google)
        monkeypatch.setenv("https_proxy", running.url)
        monkeypatch.setenv("http_proxy", running.url)
        at(monkeypatch, machine.removeprefix("http://"))
        yield running


def at(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """Sets GCE_METADATA_HOST, which google-auth reads when it is imported."""
    monkeypatch.setattr("google.auth.compute_engine._metadata._GCE_METADATA_HOST", host)


@pytest.fixture(scope="module")
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def pasted(private_key: str, **changes: str) -> str:
    key = {
        "type": "service_account",
        "client_email": SERVICE_ACCOUNT,
        "private_key": private_key,
        "private_key_id": "1",
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    return json.dumps({**key, **changes})


def test_the_machine_s_service_account_logs_in(client: Client, web: Internet, google: Google) -> None:
    credentials = GCPLogin(client, GCPSettings())()
    assert (credentials.username, credentials.password) == ("oauth2accesstoken", GOOGLE_TOKEN)
    assert google.asked[-1] == "metadata /computeMetadata/v1/instance/service-accounts/default/token"
    assert web.calls == []  # nothing went through the proxy


def test_a_pasted_key_logs_in(client: Client, google: Google, private_key: str) -> None:
    assert GCPLogin(client, GCPSettings(service_account_json=pasted(private_key)))().password == GOOGLE_TOKEN
    assert google.asked == [f"oauth2 {SERVICE_ACCOUNT} https://oauth2.googleapis.com/token"]


def test_an_identity_token_is_traded(client: Client, google: Google) -> None:
    assert GCPLogin(client, TRADE, OIDC_TOKEN)().password == GOOGLE_TOKEN
    assert google.asked == [f"sts {PROVIDER}"]


def test_an_identity_token_is_traded_for_that_of_a_service_account(client: Client, google: Google) -> None:
    settings = GCPSettings(workload_identity_provider=PROVIDER, service_account=SERVICE_ACCOUNT)
    assert GCPLogin(client, settings, OIDC_TOKEN)().password == GOOGLE_TOKEN
    assert google.asked == [f"sts {PROVIDER}", f"iamcredentials {SERVICE_ACCOUNT}"]


def test_the_token_is_kept_until_shortly_before_its_end(client: Client, google: Google) -> None:
    later = 0.0
    client.clock = Clock(now=lambda: time.time() + later)
    login = GCPLogin(client, TRADE, OIDC_TOKEN)
    assert login().password == GOOGLE_TOKEN
    later = 3599 - 330
    login()
    assert len(google.asked) == 1
    later = 3599 - 270
    login()
    assert len(google.asked) == 2


# -- failures ---------------------------------------------------------------------------------------------------------


def failing(client: Client, settings: GCPSettings, oidc_token: str = "") -> tuple[str, str]:
    """The message and the hint."""
    with pytest.raises(AuthError) as failure:
        GCPLogin(client, settings, oidc_token)()
    assert OIDC_TOKEN not in failure.value.message
    return failure.value.message, failure.value.hint or ""


def test_a_machine_without_metadata_server_says_so_soon(web: Internet, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    patient = Client(tls=TLS(), policy=RetryPolicy(), listener=Listener(), clock=Clock(sleep=waits.append))
    with black_hole() as nowhere:
        at(monkeypatch, nowhere[7:])
        began = time.monotonic()
        message, hint = failing(patient, GCPSettings())
        assert time.monotonic() - began < SOON
    assert message == (
        f"Google login: asking the metadata server for its service account's token: {nowhere[7:]}: no connection in 1 s"
    )
    assert "only on Google Cloud" in hint
    assert waits == []


def test_a_metadata_server_elsewhere_is_never_asked_through_the_proxy(
    client: Client, web: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, "192.0.2.1")  # an address for documentation (RFC 5737), routed nowhere
    failing(client, GCPSettings())
    assert web.calls == []


def test_a_machine_without_service_account_says_so(client: Client, google: Google) -> None:
    google.service_account = None
    message, hint = failing(client, GCPSettings())
    assert "404" in message
    assert "with a service account attached" in hint


def test_a_key_of_an_account_that_is_gone_is_named(client: Client, private_key: str) -> None:
    key = pasted(private_key, client_email="gone@project.iam.gserviceaccount.com")
    message, hint = failing(client, GCPSettings(service_account_json=key))
    assert "as 'gone@project.iam.gserviceaccount.com'" in message
    assert "account not found" in message
    assert "make a new key" in hint


def test_an_expired_identity_token_is_named(client: Client) -> None:
    message, hint = failing(client, TRADE, "expired")
    assert f"trading the identity token at '{PROVIDER}'" in message
    assert "stale" in message
    assert "newer than the step" in hint


def test_a_provider_that_does_not_trust_the_token_says_so(client: Client, web: Internet) -> None:
    said = "The audience in ID Token [x] does not match the expected audience."
    web.routes[".*sts.*"] = lambda _: reply({"error": "invalid_grant", "error_description": said}, 400)
    web.routes = dict(reversed(web.routes.items()))
    message, hint = failing(client, TRADE, OIDC_TOKEN)
    assert said in message
    assert "issuer and audience" in hint


def test_an_account_that_may_not_be_impersonated_names_the_role(client: Client) -> None:
    settings = GCPSettings(workload_identity_provider=PROVIDER, service_account="other@p.iam.gserviceaccount.com")
    message, hint = failing(client, settings, OIDC_TOKEN)
    assert "for 'other@p.iam.gserviceaccount.com'" in message
    assert "iam.workloadIdentityUser" in hint


@pytest.mark.parametrize(
    "token_uri",
    [
        "https://evil.example/token",
        "https://googleapis.com.evil.example/token",
        "https://evilgoogleapis.com/token",
        "http://oauth2.googleapis.com/token",
        "https://oauth2.googleapis.com@evil.example/token",
        "https://evil.example\\@oauth2.googleapis.com/token",
    ],
)
def test_a_pasted_key_cannot_send_its_statement_elsewhere(
    client: Client, web: Internet, private_key: str, token_uri: str
) -> None:
    with pytest.raises(RequestError, match=re.escape("expected https on googleapis.com")):
        GCPLogin(client, GCPSettings(service_account_json=pasted(private_key, token_uri=token_uri)))
    assert web.calls == []


@pytest.mark.parametrize(
    ("settings", "oidc_token", "said"),
    [
        (GCPSettings(), OIDC_TOKEN, "go together: `gcp.workload_identity_provider` is missing"),
        (GCPSettings(workload_identity_provider=PROVIDER), "", "go together: `oidc_token` is missing"),
        (GCPSettings(service_account=SERVICE_ACCOUNT), "", "`gcp.service_account` needs"),
        (GCPSettings(service_account_json="{secret"), "", "not a JSON object"),
        (GCPSettings(service_account_json='{"type": "external_account"}'), "", "got 'external_account'"),
        (
            GCPSettings(service_account_json='{"type": "service_account"}'),
            "",
            "client_email, private_key, token_uri missing",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_is_asked(
    client: Client, web: Internet, settings: GCPSettings, oidc_token: str, said: str
) -> None:
    with pytest.raises(RequestError, match=re.escape(said)) as failure:
        GCPLogin(client, settings, oidc_token)
    assert "secret" not in failure.value.message
    assert web.calls == []


def test_a_key_that_cannot_be_read_is_not_repeated(client: Client) -> None:
    message, _ = failing(client, GCPSettings(service_account_json=pasted("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n")))
    assert "c2VjcmV0" not in message
