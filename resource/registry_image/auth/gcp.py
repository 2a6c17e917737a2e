"""Google Artifact Registry and gcr.io: an access token as the password of user ``oauth2accesstoken``.

https://cloud.google.com/artifact-registry/docs/docker/authentication#token. google-auth is imported at the first call.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from typing import TYPE_CHECKING

from registry_image.auth.credentials import Credentials
from registry_image.auth.refreshable import Expiring, RefreshableCredentials
from registry_image.auth.sdkhttp import SDKTransport, quieten
from registry_image.auth.settings import GCPSettings
from registry_image.errors import AuthError, RequestError, TransportError, quote
from registry_image.net.client import Client

if TYPE_CHECKING:
    from google.auth.credentials import Credentials as GoogleCredentials

USERNAME = "oauth2accesstoken"
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
#: The only domain for a pasted key's token server: any other could use the statement that the key signs.
_TOKEN_DOMAIN = "googleapis.com"  # noqa: S105
_TOKEN_ADDRESS = re.compile(r"https://(?:[a-z0-9-]+\.)*googleapis\.com(?:/[A-Za-z0-9/._~:-]*)?", re.ASCII)
_STS = "https://sts.googleapis.com/v1/token"
_IMPERSONATE = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{}:generateAccessToken"
_WHAT = "Google login"
_KEY_HINT = "is the key deleted, disabled or of another account? Then make a new key; or the worker's clock is wrong"
_TRADE_HINT = "the provider must trust the token's issuer and audience, and its attribute condition the token's subject"
_HINTS = {
    "impersonated": "the token's principal needs the role iam.workloadIdentityUser on the service account",
    "stale": "`oidc_token` has expired: it must be newer than the step",
    "expired": "`oidc_token` has expired: it must be newer than the step",
}
_METADATA_HINT = (
    "the metadata server exists only on Google Cloud, with a service account attached: elsewhere set "
    "`gcp.service_account_json`, or `oidc_token` and `gcp.workload_identity_provider`"
)


class GCPLogin(RefreshableCredentials):
    """A CredentialProvider by a service account's key, the identity token or the metadata server.

    It sends nothing before its first call.
    """

    def __init__(self, client: Client, settings: GCPSettings, oidc_token: str = "") -> None:
        """Raises RequestError for settings that contradict themselves, and for an invalid key."""
        if bool(oidc_token) != bool(settings.workload_identity_provider):
            missing = "gcp.workload_identity_provider" if oidc_token else "oidc_token"
            raise RequestError(
                f"source: `oidc_token` and `gcp.workload_identity_provider` go together: `{missing}` is missing"
            )
        if oidc_token and settings.service_account_json:
            raise RequestError("source: `oidc_token` and `gcp.service_account_json` are both set: which is it?")
        if settings.service_account and not oidc_token:
            raise RequestError("source: `gcp.service_account` needs an `oidc_token` to trade for it, which is missing")
        self._settings = settings
        self._oidc_token = oidc_token
        self._key = _read_key(settings.service_account_json) if settings.service_account_json else None
        self._client = client
        super().__init__(client.clock.now)

    def issue(self) -> Expiring:
        quieten("google")
        step, hint = self._step()
        try:
            credentials = self._credentials()
            credentials.refresh(_Transport(SDKTransport(client=self._client, what=step)))
        except TransportError as error:
            metadata = self._key is None and not self._oidc_token
            raise AuthError(error.message, hint=_METADATA_HINT if metadata else error.hint) from error
        except Exception as error:
            message = _innermost_message(error)
            raise AuthError(f"{step}: {quote(message, limit=400)}", hint=self._better(hint, message, error)) from error
        if not credentials.token:
            raise AuthError(f"{step}: the answer holds no token")
        # google-auth's times are in UTC without a time zone (google-auth-library-python#977).
        expires_at = credentials.expiry.replace(tzinfo=UTC).timestamp() if credentials.expiry else 0.0
        return Expiring(credentials=Credentials(username=USERNAME, password=credentials.token), expires_at=expires_at)

    def _better(self, hint: str, message: str, error: Exception) -> str | None:
        """``hint``, unless Google's ``message`` says more; None for trouble of Google's own."""
        if getattr(error, "retryable", False):
            return None
        return next((told for word, told in _HINTS.items() if self._oidc_token and word in message), hint)

    def _step(self) -> tuple[str, str]:
        """The beginning of an error's text, and its likely remedy."""
        settings = self._settings
        if self._key is not None:
            return f"{_WHAT}: asking for a token as {quote(self._key['client_email'])}", _KEY_HINT
        if self._oidc_token:
            step = f"{_WHAT}: trading the identity token at {quote(settings.workload_identity_provider)}"
            if settings.service_account:
                step += f" for {quote(settings.service_account)}"
            return step, _TRADE_HINT
        return f"{_WHAT}: asking the metadata server for its service account's token", _METADATA_HINT

    def _credentials(self) -> GoogleCredentials:
        settings = self._settings
        if self._key is not None:
            from google.oauth2.service_account import Credentials as ServiceAccount

            credentials: GoogleCredentials = ServiceAccount.from_service_account_info(self._key, scopes=[_SCOPE])
            return credentials
        if self._oidc_token:
            from google.auth.identity_pool import Credentials as IdentityPool

            account = settings.service_account
            return IdentityPool(
                audience=settings.workload_identity_provider,
                subject_token_type="urn:ietf:params:oauth:token-type:jwt",  # noqa: S106 (a type)
                token_url=_STS,
                subject_token_supplier=_Supplier(self._oidc_token),
                service_account_impersonation_url=_IMPERSONATE.format(account) if account else None,
                scopes=[_SCOPE],
            )
        from google.auth.compute_engine import Credentials as ComputeEngine

        return ComputeEngine(scopes=[_SCOPE])


def _innermost_message(error: BaseException) -> str:
    """google-auth wraps errors as the first arguments of others."""
    while error.args and isinstance(error.args[0], BaseException):
        error = error.args[0]
    return str(error.args[0]) if error.args else str(error)


def _read_key(text: str) -> Mapping[str, str]:
    """A service account's key. Raises RequestError, which never shows its secret."""
    what = "source.gcp.service_account_json"
    try:
        key = json.loads(text)
    except (ValueError, RecursionError):
        key = None
    if not isinstance(key, dict):
        raise RequestError(f"{what}: not a JSON object", hint="paste the whole key file")
    if key.get("type") != "service_account":
        raise RequestError(
            f"{what}: expected type 'service_account', got {quote(str(key.get('type')))}",
            hint="only keys of service accounts work; for other identities use `oidc_token`",
        )
    missing = [name for name in ("client_email", "private_key", "token_uri") if not isinstance(key.get(name), str)]
    if missing:
        raise RequestError(f"{what}: {', '.join(missing)} missing", hint="paste the whole key file")
    if not _TOKEN_ADDRESS.fullmatch(key["token_uri"]):
        raise RequestError(f"{what}: token_uri is {quote(key['token_uri'])}: expected https on {_TOKEN_DOMAIN}")
    return {name: value for name, value in key.items() if isinstance(value, str)}


@dataclass(frozen=True, slots=True)
class _Supplier:
    """google-auth's interface for a subject token."""

    token: str = field(repr=False)

    def get_subject_token(self, context: object, request: object) -> str:
        return self.token


@dataclass(frozen=True, slots=True)
class _Answer:
    """google-auth's interface for an answer."""

    status: int
    headers: Mapping[str, str]
    data: bytes


class _Transport:
    """google-auth's transport (google.auth.transport.Request) over our client."""

    def __init__(self, http: SDKTransport) -> None:
        self._http = http

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        **_: object,
    ) -> _Answer:
        data = body.encode() if isinstance(body, str) else body
        answer = self._http.send(method, url, headers or {}, data)
        return _Answer(answer.status, dict(answer.headers.lines()), answer.body)
