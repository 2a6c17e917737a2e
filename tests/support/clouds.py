"""Azure and Google on loopback, for their own libraries: token endpoints, metadata services, and ACR's exchange.

Their tokens are constants, so that a real docker-registry can have the hashes of the passwords.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.support.internet import Call, Internet, Reply, Site, reply

TENANT = "11111111-aaaa-bbbb-cccc-000000000001"
CLIENT_ID = "22222222-aaaa-bbbb-cccc-000000000002"
CLIENT_SECRET = "client~secret"
REGISTRY_AUDIENCE = "https://containerregistry.azure.net"
REFRESH_TOKEN = "eyJ.acr-refresh:token"
"""Not a JWT, so without an expiry."""
GOOGLE_TOKEN = "ya29.google-access:token"
OIDC_TOKEN = "ey.the-ci-server-s.token"
PROVIDER = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/ci/providers/concourse"
SERVICE_ACCOUNT = "puller@project.iam.gserviceaccount.com"
HTPASSWD = (
    "00000000-0000-0000-0000-000000000000:$2b$04$abcdefghijklmnopqrstuunMJTRcxV8G7cwr.YZ1WUPL6b5U2pwJ2\n"
    "oauth2accesstoken:$2b$04$abcdefghijklmnopqrstuuSrxka6SAFdg4AS9v1nFIrqNwR27367a\n"
)
"""bcrypt of REFRESH_TOKEN and of GOOGLE_TOKEN."""


@dataclass(slots=True, kw_only=True)
class Azure:
    """Entra ID, a machine's metadata service, and the parts of an ACR beside the distribution API."""

    audiences: tuple[str, ...] = (REGISTRY_AUDIENCE,)
    """The audiences whose tokens the registry takes."""
    identities: tuple[str, ...] = ("", CLIENT_ID)
    """Client IDs of the managed identities on the machine; "" is the system's."""
    tenant: str = TENANT
    asked: list[str] = field(default_factory=list)
    """``step detail`` of every request, in order."""

    def metadata(self, call: Call) -> Reply:
        """http://169.254.169.254/metadata/identity/oauth2/token"""
        client_id = call.query.get("client_id", "")
        self.asked.append(f"metadata {call.query['resource']} {client_id}".rstrip())
        assert call.headers["metadata"] == "true"
        if client_id not in self.identities:
            return reply({"error": "invalid_request", "error_description": "Identity not found"}, 400)
        return reply({"access_token": f"aad {call.query['resource']}", "expires_in": "86400", "token_type": "Bearer"})

    def entra(self, call: Call) -> Reply:
        """https://login.microsoftonline.com and its like"""
        if call.path.endswith("/.well-known/openid-configuration"):
            base = f"https://{call.host}/{call.path.split('/')[1]}"
            return reply(
                {
                    "issuer": f"{base}/v2.0",
                    "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                    "token_endpoint": f"{base}/oauth2/v2.0/token",
                }
            )
        form = call.form
        tenant, audience = call.path.split("/")[1], form["scope"].removesuffix("/.default")
        self.asked.append(f"entra {call.host} {tenant} {audience}")
        if form.get("client_secret") == CLIENT_SECRET or form.get("client_assertion") == OIDC_TOKEN:
            return reply({"access_token": f"aad {audience}", "expires_in": 3599, "token_type": "Bearer"})
        if "client_secret" in form:
            said = "AADSTS7000215: Invalid client secret provided."
        else:
            said = "AADSTS700024: Client assertion is not within its valid time range."
        return reply({"error": "invalid_client", "error_description": f"{said}\r\nTrace ID: 1"}, 401)

    def registry(self, distribution: Site | None = None) -> Site:
        """A registry whose distribution API is ``distribution``."""

        def answer(call: Call) -> Reply:
            if call.path == "/oauth2/exchange":
                return self._exchange(call)
            if call.path == "/v2/" or distribution is None:
                realm = f"https://{call.host}/oauth2/exchange?tenant={self.tenant}"
                challenge = f'Bearer realm="{realm}",service="{call.host}"'
                return reply({"errors": [{"code": "UNAUTHORIZED"}]}, 401, WWW_Authenticate=challenge)
            return distribution(call)

        return answer

    def _exchange(self, call: Call) -> Reply:
        form = call.form
        assert (form["grant_type"], form["service"]) == ("access_token", call.host)
        kind, _, audience = form["access_token"].partition(" ")
        self.asked.append(f"exchange {audience} {form['tenant']}")
        if kind != "aad" or audience not in self.audiences or form["tenant"] != self.tenant:
            return reply({"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}, 401)
        return reply({"refresh_token": REFRESH_TOKEN})


@dataclass(slots=True, kw_only=True)
class Google:
    """Google's token endpoints and a machine's metadata server."""

    service_account: str | None = SERVICE_ACCOUNT
    """The one attached to the machine."""
    asked: list[str] = field(default_factory=list)
    """``step detail`` of every request, in order."""

    def metadata(self, call: Call) -> Reply:
        """http://metadata.google.internal"""
        self.asked.append(f"metadata {call.path}")
        assert call.headers["metadata-flavor"] == "Google"
        if self.service_account is None:
            return reply({"error": "not found"}, 404, Metadata_Flavor="Google")
        if call.path.endswith("/token"):
            return reply(
                {"access_token": GOOGLE_TOKEN, "expires_in": 3599, "token_type": "Bearer"}, Metadata_Flavor="Google"
            )
        return reply({"email": self.service_account, "scopes": [], "aliases": ["default"]}, Metadata_Flavor="Google")

    def apis(self, call: Call) -> Reply:
        """https://oauth2.googleapis.com, sts.googleapis.com and iamcredentials.googleapis.com"""
        answers = {
            "oauth2.googleapis.com": self._oauth2,
            "sts.googleapis.com": self._trade,
            "iamcredentials.googleapis.com": self._impersonate,
        }
        return answers[call.host](call)

    def _oauth2(self, call: Call) -> Reply:
        claims = _claims(call.form["assertion"])
        self.asked.append(f"oauth2 {claims['iss']} {claims['aud']}")
        if claims["iss"] != SERVICE_ACCOUNT:
            return reply({"error": "invalid_grant", "error_description": "Invalid grant: account not found"}, 400)
        return reply({"access_token": GOOGLE_TOKEN, "expires_in": 3599, "token_type": "Bearer"})

    def _trade(self, call: Call) -> Reply:
        form = call.form
        self.asked.append(f"sts {form['audience']}")
        if form["subject_token"] != OIDC_TOKEN:
            said = "ID Token issued at 1 is stale to sign-in."
            return reply({"error": "invalid_grant", "error_description": said}, 400)
        return reply({"access_token": GOOGLE_TOKEN, "expires_in": 3599, "token_type": "Bearer"})

    def _impersonate(self, call: Call) -> Reply:
        account = call.path.split("/")[-1].partition(":")[0]
        self.asked.append(f"iamcredentials {account}")
        if account != SERVICE_ACCOUNT or call.headers["authorization"] != f"Bearer {GOOGLE_TOKEN}":
            said = "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist)."
            return reply({"error": {"code": 403, "message": said, "status": "PERMISSION_DENIED"}}, 403)
        return reply({"accessToken": GOOGLE_TOKEN, "expireTime": "2100-01-01T00:00:00Z"})


def on(web: Internet, *, azure: Azure | None = None, google: Google | None = None) -> None:
    """Gives each its hosts, except registries."""
    if azure is not None:
        web.routes[r"login\.(microsoftonline\.(com|us)|chinacloudapi\.cn)"] = azure.entra
    if google is not None:
        web.routes[r"(oauth2|sts|iamcredentials)\.googleapis\.com"] = google.apis


def _claims(token: str) -> Mapping[str, str]:
    part = token.split(".")[1]
    claims: Mapping[str, str] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return claims
