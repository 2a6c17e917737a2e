"""Azure Container Registry: a token of Microsoft Entra ID, exchanged for the registry's own.

https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md. azure-identity is imported at the first request.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from registry_image.auth.challenge import parse_challenges
from registry_image.auth.credentials import Credentials
from registry_image.auth.refreshable import Expiring, RefreshableCredentials
from registry_image.auth.sdkhttp import SDKTransport, quieten
from registry_image.auth.settings import AZURE_ENVIRONMENTS, AzureSettings
from registry_image.decode import JSONReader
from registry_image.errors import AuthError, InvalidManifest, RegistryError, RequestError, TransportError, quote
from registry_image.net.client import Client
from registry_image.net.http import Request
from registry_image.net.origin import internal_problem
from registry_image.net.secrets import SECRETS

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

#: The user name that goes with every refresh token (az acr login --expose-token).
USERNAME = "00000000-0000-0000-0000-000000000000"
#: The audience of tokens for registries; older registries take only tokens for the cloud's resource manager.
REGISTRY_AUDIENCE = "https://containerregistry.azure.net"
#: The most that is read of an answer, in bytes; a refresh token has some 2 KiB.
MAX_ANSWER = 256 * 1024
#: The life in seconds of a refresh token without ``exp``; most live three hours.
DEFAULT_LIFE = 3600.0
#: Retries of a metadata service that answers with an error; the library's default of five takes over a minute.
_METADATA_RETRIES = 2
_TENANT = re.compile(r"[?&]tenant=([A-Za-z0-9.-]{1,253})", re.ASCII)
_WHAT = "Azure login"
_NOT_ON_AZURE = "a managed identity exists only on Azure: elsewhere set `azure_client_id` with a secret or `oidc_token`"
_PERMISSION = "the identity needs the role AcrPull on the registry, to push AcrPush"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cloud:
    """The cloud's token server and the audience of its resource manager.

    ``authority`` None is the library's default, AZURE_AUTHORITY_HOST or the public cloud.
    """

    authority: str | None
    manager: str


_PUBLIC = _Cloud(authority="https://login.microsoftonline.com", manager="https://management.azure.com")
_GOVERNMENT = _Cloud(authority="https://login.microsoftonline.us", manager="https://management.usgovcloudapi.net")
_CHINA = _Cloud(authority="https://login.chinacloudapi.cn", manager="https://management.chinacloudapi.cn")
_CLOUDS = dict(zip(AZURE_ENVIRONMENTS, (_PUBLIC, _GOVERNMENT, _CHINA), strict=True))
_SUFFIXES = {".azurecr.io": _PUBLIC, ".azurecr.us": _GOVERNMENT, ".azurecr.cn": _CHINA}
_ELSEWHERE = _Cloud(authority=None, manager=_PUBLIC.manager)


class ACRLogin(RefreshableCredentials):
    """A CredentialProvider for the registry at ``host``, by a managed identity, a service principal or the identity
    token. It sends nothing before its first call."""

    def __init__(self, client: Client, host: str, settings: AzureSettings, oidc_token: str = "") -> None:
        """Raises RequestError for settings that contradict themselves."""
        if (settings.client_secret or oidc_token) and not settings.client_id:
            raise RequestError("source: `azure_client_id` is missing: whose secret or identity token is it?")
        self._client = client
        self._host = host
        self._settings = settings
        self._oidc_token = oidc_token
        self._cloud = _cloud(host, settings.environment)
        super().__init__(client.clock.now)

    def issue(self) -> Expiring:
        tenant = self._settings.tenant_id or self._tenant_of_registry()
        audiences = (REGISTRY_AUDIENCE, self._cloud.manager)
        for audience in audiences:
            try:
                token = self._exchange(self._token(audience, tenant), tenant)
            except _AudienceRefused:
                if audience == audiences[-1]:
                    raise
            else:
                break
        expires_at = _expiry(token) or self._client.clock.now() + DEFAULT_LIFE
        return Expiring(credentials=Credentials(username=USERNAME, password=token), expires_at=expires_at)

    def _tenant_of_registry(self) -> str:
        """The tenant in the registry's challenge, else "common", which means the token's own tenant."""
        request = Request(
            method="GET",
            url=f"https://{self._host}/v2/",
            what=f"{_WHAT}: asking for the tenant",
            accept=(401,),
            check_redirect=self._check,
        )
        try:
            reply = self._client.fetch(request, MAX_ANSWER)
        except (RegistryError, TransportError) as error:
            raise AuthError(error.message, hint=error.hint) from error
        for challenge in parse_challenges(reply.headers.all("www-authenticate")):
            match = _TENANT.search(challenge.parameters.get("realm", ""))
            if match:
                return match[1]
        return "common"

    def _check(self, url: str) -> None:
        if internal_problem(url, self._host, insecure=False):
            raise TransportError(f"{_WHAT}: refused to follow a redirect into this network", retryable=False)

    def _token(self, audience: str, tenant: str) -> str:
        """An access token of Entra ID."""
        step = f"{_WHAT}: asking for a token for {audience} as {self._identity()}"
        try:
            return self._credential(tenant, step).get_token(f"{audience}/.default").token
        except Exception as error:
            unreachable = _transport_error(error)
            if unreachable is not None:
                managed = not (self._settings.client_secret or self._oidc_token)
                raise AuthError(unreachable.message, hint=_NOT_ON_AZURE if managed else unreachable.hint) from error
            # The other lines are trace numbers and links; the words before the metadata service's own are a guess.
            message = str(error).strip().partition("\n")[0].rpartition("Token request error: ")[2].strip()
            raise _AudienceRefused(f"{step}: {quote(message, limit=400)}", hint=_token_hint(message)) from error

    def _identity(self) -> str:
        if not self._settings.client_id:
            return "the system-assigned managed identity"
        kind = "application" if self._settings.client_secret or self._oidc_token else "managed identity"
        return f"{kind} {quote(self._settings.client_id)}"

    def _credential(self, tenant: str, step: str) -> TokenCredential:
        from azure.identity import ClientAssertionCredential, ClientSecretCredential, ManagedIdentityCredential

        from registry_image.auth.azurehttp import AzureTransport

        for library in ("azure", "msal"):
            quieten(library)
        settings = self._settings
        transport = AzureTransport(SDKTransport(client=self._client, what=step))
        if settings.client_secret:
            return ClientSecretCredential(
                tenant,
                settings.client_id,
                settings.client_secret,
                authority=self._cloud.authority,
                disable_instance_discovery=True,  # the authority is ours or the operator's
                transport=transport,
            )
        if self._oidc_token:
            assertion: Callable[[], str] = lambda: self._oidc_token  # noqa: E731 (a type for the library)
            return ClientAssertionCredential(
                tenant,
                settings.client_id,
                assertion,
                authority=self._cloud.authority,
                disable_instance_discovery=True,
                transport=transport,
            )
        return ManagedIdentityCredential(
            client_id=settings.client_id or None,
            transport=transport,
            retry_total=_METADATA_RETRIES,
            retry_status=_METADATA_RETRIES,
        )

    def _exchange(self, access_token: str, tenant: str) -> str:
        """The registry's refresh token for Entra's access token."""
        what = f"{_WHAT}: exchanging the token at the registry (tenant {quote(tenant)})"
        SECRETS.add(access_token)
        form = {
            "grant_type": "access_token",
            "service": self._host,
            "tenant": tenant,
            "access_token": access_token,
        }
        request = Request(
            method="POST",
            url=f"https://{self._host}/oauth2/exchange",
            what=what,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            body=urlencode(form).encode("ascii"),
        )
        try:
            reply = self._client.fetch(request, MAX_ANSWER)
            return JSONReader.parse(reply.body, what).text("refresh_token")
        except InvalidManifest:
            # The answer is not repeated: it may hold a part of a token.
            raise AuthError(f"{what}: the answer holds no refresh token") from None
        except RegistryError as error:
            kind = _AudienceRefused if error.status in (400, 401, 403) else AuthError
            hint = f"{_PERMISSION}; `azure_tenant_id` is the registry's tenant, not the worker's"
            raise kind(error.message, hint=hint if kind is _AudienceRefused else error.hint) from error
        except TransportError as error:
            raise AuthError(error.message, hint=error.hint) from error


class _AudienceRefused(AuthError):
    """The token was refused; one for another audience may be accepted."""


def _cloud(host: str, environment: str) -> _Cloud:
    if environment:
        return _CLOUDS[environment]
    return next((cloud for suffix, cloud in _SUFFIXES.items() if host.lower().endswith(suffix)), _ELSEWHERE)


def _expiry(token: str) -> float | None:
    """The ``exp`` of a JWT, in Unix time. The JWT is not verified: only the registry that made it reads it."""
    try:
        part = token.split(".")[1]
        claims = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        return float(claims["exp"])
    except (IndexError, KeyError, TypeError, ValueError, OverflowError, RecursionError):
        return None


def _transport_error(error: BaseException | None) -> TransportError | None:
    """The TransportError that the library wrapped, or None if the server answered."""
    while error is not None:
        if isinstance(error, TransportError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _token_hint(message: str) -> str | None:
    hints = {
        "AADSTS90002": "`azure_tenant_id` is not a tenant of this cloud",
        "AADSTS700016": "is `azure_client_id` an application of this tenant? `azure_tenant_id` says which tenant",
        "AADSTS7000215": "`azure_client_secret` is wrong: it is the secret's value, not its ID",
        "AADSTS7000222": "`azure_client_secret` has expired: make a new one",
        "AADSTS700024": "`oidc_token` has expired: it must be newer than the step",
        # Also AADSTS700213.
        "AADSTS70021": "the application needs a federated credential with the token's issuer, subject and audience",
        "Identity not found": "assign the managed identity to the worker's machine, or correct `azure_client_id`",
        "No identity": "assign a managed identity to the worker's machine, or set `azure_client_id` to the one it has",
    }
    return next((hint for words, hint in hints.items() if words in message), None)
