"""Logins to Azure Container Registry: azure-identity itself, against endpoints on loopback under Azure's names."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry_image.auth.acr import ACRLogin
from registry_image.auth.settings import AzureSettings
from registry_image.errors import AuthError, RequestError
from registry_image.net.attempts import Clock
from registry_image.net.client import Client
from tests.support.clouds import (
    CLIENT_ID,
    CLIENT_SECRET,
    OIDC_TOKEN,
    REFRESH_TOKEN,
    REGISTRY_AUDIENCE,
    TENANT,
    Azure,
    on,
)
from tests.support.internet import SOON, Internet, Reply, black_hole, internet, reply, serving

HOST = "contoso.azurecr.io"
SERVICE_PRINCIPAL = AzureSettings(client_id=CLIENT_ID, client_secret=CLIENT_SECRET)
APPLICATION = AzureSettings(client_id=CLIENT_ID)


@pytest.fixture
def azure() -> Azure:
    return Azure()


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, azure: Azure) -> Iterator[Internet]:
    with internet(tmp_path) as running, serving(azure.metadata) as machine:
        on(running, azure=azure)
        running.routes[r".*\.azurecr\.(io|us|cn)"] = azure.registry()
        monkeypatch.setenv("https_proxy", running.url)
        monkeypatch.setenv("http_proxy", running.url)
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", machine)
        yield running


def test_the_machine_s_own_identity_logs_in(client: Client, azure: Azure) -> None:
    credentials = ACRLogin(client, HOST, AzureSettings())()
    assert (credentials.username, credentials.password) == ("00000000-0000-0000-0000-000000000000", REFRESH_TOKEN)
    assert azure.asked == [f"metadata {REGISTRY_AUDIENCE}", f"exchange {REGISTRY_AUDIENCE} {TENANT}"]


def test_a_user_assigned_identity_is_named_by_its_client_id(client: Client, azure: Azure) -> None:
    assert ACRLogin(client, HOST, AzureSettings(client_id=CLIENT_ID))().password == REFRESH_TOKEN
    assert azure.asked[0] == f"metadata {REGISTRY_AUDIENCE} {CLIENT_ID}"


def test_a_tenant_in_the_source_saves_asking_the_registry_for_it(client: Client, web: Internet, azure: Azure) -> None:
    ACRLogin(client, HOST, AzureSettings(tenant_id=TENANT))()
    assert [call.target for call in web.calls] == ["/oauth2/exchange"]


def test_a_registry_without_a_tenant_gets_the_common_one(client: Client, web: Internet, azure: Azure) -> None:
    azure.tenant = "common"
    known = azure.registry()
    web.routes = {
        ".*": lambda call: (
            reply({}, 401, WWW_Authenticate='Bearer realm="https://x/oauth2/token"')
            if call.method == "GET"
            else known(call)
        )
    }
    assert ACRLogin(client, HOST, AzureSettings())().password == REFRESH_TOKEN


@pytest.mark.parametrize(
    ("host", "environment", "manager"),
    [
        (HOST, "", "https://management.azure.com"),
        ("contoso.azurecr.us", "", "https://management.usgovcloudapi.net"),
        ("contoso.azurecr.cn", "", "https://management.chinacloudapi.cn"),
        (HOST, "AzureGovernment", "https://management.usgovcloudapi.net"),
    ],
)
def test_a_registry_that_refuses_tokens_for_registries_gets_one_for_the_cloud_s_manager(
    client: Client, azure: Azure, host: str, environment: str, manager: str
) -> None:
    azure.audiences = (manager,)
    assert ACRLogin(client, host, AzureSettings(environment=environment))().password == REFRESH_TOKEN
    assert [step for step in azure.asked if step.startswith("metadata")] == [
        f"metadata {REGISTRY_AUDIENCE}",
        f"metadata {manager}",
    ]


@pytest.mark.parametrize(
    ("settings", "oidc_token"), [(SERVICE_PRINCIPAL, ""), (APPLICATION, OIDC_TOKEN)], ids=["secret", "token"]
)
@pytest.mark.parametrize(
    ("host", "authority"),
    [
        (HOST, "login.microsoftonline.com"),
        ("contoso.azurecr.us", "login.microsoftonline.us"),
        ("contoso.azurecr.cn", "login.chinacloudapi.cn"),
    ],
)
def test_an_application_logs_in_at_its_cloud_with_a_secret_or_an_identity_token(
    client: Client, web: Internet, azure: Azure, settings: AzureSettings, oidc_token: str, host: str, authority: str
) -> None:
    assert ACRLogin(client, host, settings, oidc_token)().password == REFRESH_TOKEN
    assert azure.asked[0] == f"entra {authority} {TENANT} {REGISTRY_AUDIENCE}"
    # No other request was made, such as one for the list of clouds.
    assert {call.host for call in web.calls} == {host, authority}


def test_the_token_is_kept_until_shortly_before_the_end_it_names(client: Client, web: Internet) -> None:
    now = 1e9
    client.clock = Clock(now=lambda: now)
    claims = base64.urlsafe_b64encode(json.dumps({"exp": now + 10800}).encode()).decode().rstrip("=")
    web.routes = {".*": lambda _: reply({"refresh_token": f"ey.{claims}.x"})}
    login = ACRLogin(client, HOST, AzureSettings(tenant_id=TENANT))
    assert login().password == f"ey.{claims}.x"
    now += 10800 - 301
    login()
    assert len(web.calls) == 1
    now += 2
    login()
    assert len(web.calls) == 2


def test_the_end_of_a_token_may_be_beyond_any_number(client: Client, web: Internet) -> None:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": 10**400}).encode()).decode().rstrip("=")
    web.routes = {".*": lambda _: reply({"refresh_token": f"ey.{claims}.x"})}
    assert ACRLogin(client, HOST, AzureSettings(tenant_id=TENANT))().password == f"ey.{claims}.x"


# -- failures ---------------------------------------------------------------------------------------------------------


def failing(client: Client, settings: AzureSettings, oidc_token: str = "") -> AuthError:
    with pytest.raises(AuthError) as failure:
        ACRLogin(client, HOST, settings, oidc_token)()
    assert failure.value.hint is not None
    for secret in (CLIENT_SECRET, OIDC_TOKEN, "aad "):
        assert secret not in failure.value.message
    return failure.value


def test_an_identity_that_the_machine_does_not_have_is_named(client: Client, azure: Azure) -> None:
    error = failing(client, AzureSettings(client_id="wrong"))
    assert "as managed identity 'wrong'" in error.message
    assert "Identity not found" in error.message
    assert error.hint is not None
    assert "assign the managed identity" in error.hint


def test_a_token_that_no_header_can_carry_is_refused(client: Client, web: Internet) -> None:
    web.routes = {".*": lambda _: reply({"refresh_token": "\ud800"})}
    with pytest.raises(AuthError, match="UTF-8 cannot encode"):
        ACRLogin(client, HOST, AzureSettings(tenant_id=TENANT))()


def test_a_machine_without_metadata_service_says_so_soon(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with black_hole() as nowhere:
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", nowhere)
        began = time.monotonic()
        error = failing(client, AzureSettings())
        assert time.monotonic() - began < SOON
    assert f"as the system-assigned managed identity: {nowhere[7:]}: no connection in 1 s" in error.message
    assert error.hint is not None
    assert "only on Azure" in error.hint


def test_a_registry_that_refuses_the_exchange_names_status_tenant_and_role(client: Client, azure: Azure) -> None:
    azure.audiences = ()
    error = failing(client, AzureSettings())
    assert re.search(rf"exchanging the token at the registry \(tenant '{TENANT}'\): {HOST}.*401", error.message)
    assert error.hint is not None
    assert "AcrPull" in error.hint


@pytest.mark.parametrize(
    ("settings", "oidc_token", "said", "hint"),
    [
        (AzureSettings(client_id=CLIENT_ID, client_secret="wrong"), "", "AADSTS7000215", "azure_client_secret"),
        (APPLICATION, "expired", "AADSTS700024", "has expired"),
    ],
)
def test_entra_s_error_is_repeated_with_a_hint(
    client: Client, settings: AzureSettings, oidc_token: str, said: str, hint: str
) -> None:
    error = failing(client, settings, oidc_token)
    assert f"as application '{CLIENT_ID}'" in error.message
    assert said in error.message
    assert "Trace ID" not in error.message
    assert error.hint is not None
    assert hint in error.hint


def test_a_registry_cannot_have_the_token_sent_elsewhere(client: Client, web: Internet) -> None:
    # 307 asks to repeat the request with its body.
    web.routes = {".*": lambda _: Reply(status=307, headers=(("Location", "https://evil.example/oauth2/exchange"),))}
    with pytest.raises(AuthError, match=r"307"):
        ACRLogin(client, HOST, AzureSettings(tenant_id=TENANT))()
    assert {call.host for call in web.calls} == {HOST}


def test_a_registry_that_is_asked_for_its_tenant_cannot_send_us_inside_our_network(
    client: Client, web: Internet, azure: Azure
) -> None:
    web.routes = {".*": lambda call: reply({}, 307, Location="https://169.254.169.254/metadata")}
    with pytest.raises(AuthError, match="Azure login: refused to follow a redirect into this network"):
        ACRLogin(client, HOST, AzureSettings())()
    assert [call.target for call in web.calls] == ["/v2/"]
    assert azure.asked == []


def test_entra_too_cannot_send_a_secret_elsewhere(client: Client, web: Internet) -> None:
    web.routes = {
        HOST: web.routes[r".*\.azurecr\.(io|us|cn)"],
        ".*": lambda call: Reply(status=307, headers=(("Location", f"https://evil.example{call.target}"),)),
    }
    with pytest.raises(AuthError, match=r"refused to follow a redirect to evil\.example"):
        ACRLogin(client, HOST, SERVICE_PRINCIPAL)()
    assert "evil.example" not in {call.host for call in web.calls}


def test_an_answer_without_a_token_is_an_error_that_repeats_nothing(client: Client, web: Internet) -> None:
    web.routes = {".*": lambda _: reply({"refresh_tokens": "half a secret"})}
    with pytest.raises(AuthError, match="the answer holds no refresh token") as failure:
        ACRLogin(client, HOST, AzureSettings(tenant_id=TENANT))()
    assert "half" not in str(failure.value)


@pytest.mark.parametrize(
    ("settings", "oidc_token", "said"),
    [
        (AzureSettings(), OIDC_TOKEN, "`azure_client_id` is missing"),
        (AzureSettings(client_secret=CLIENT_SECRET), "", "`azure_client_id` is missing"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_is_asked(
    client: Client, web: Internet, settings: AzureSettings, oidc_token: str, said: str
) -> None:
    with pytest.raises(RequestError, match=said):
        ACRLogin(client, HOST, settings, oidc_token)
    assert web.calls == []
