"""Hints about logins to the clouds: their own libraries, against answers on loopback."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from registry_image.auth.acr import ACRLogin
from registry_image.auth.aws import call
from registry_image.auth.clouds import Clouds
from registry_image.auth.ecr import ECRLogin
from registry_image.auth.gcp import GCPLogin
from registry_image.auth.settings import AWSSettings, AzureSettings, CloudSettings, GCPSettings
from registry_image.net.client import Client
from registry_image.net.retry import ONCE
from registry_image.net.tls import TLS
from registry_image.oci.reference import RepositoryName
from registry_image.progress import Silence
from tests.hints.rows import Row, Situation
from tests.support.clouds import CLIENT_ID, CLIENT_SECRET, OIDC_TOKEN, PROVIDER, Azure, Google
from tests.support.internet import Reply, Site, internet, reply, serving

if TYPE_CHECKING:
    from botocore.client import BaseClient

ACCOUNT = "123456789012"
HOST = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/puller"
KEYS = AWSSettings(access_key_id="AKIAIOSFODNN7EXAMPLE", secret_access_key="secret")
ROLES = AWSSettings(region="us-east-1", access_key_id="AKIAIOSFODNN7EXAMPLE", secret_access_key="s3", role_arns=(ROLE,))
WEB = AWSSettings(region="us-east-1", role_arns=(ROLE,))
XML = "<ErrorResponse><Error><Type>Sender</Type><Code>{}</Code><Message>{}</Message></Error></ErrorResponse>"


def online(act: Callable[[Client], object], routes: Mapping[str, Site], machine: Site | None = None) -> Situation:
    """``act`` with no way out but ``routes``, and with ``machine`` for its metadata service, if there is one."""

    def situation() -> None:
        with (
            tempfile.TemporaryDirectory() as directory,
            pytest.MonkeyPatch.context() as patch,
            internet(Path(directory)) as web,
            serving(machine or _no_machine) as metadata,
        ):
            web.routes.update(routes)
            for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
                patch.delenv(name, raising=False)
            patch.setenv("HOME", directory)
            patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
            patch.setenv("https_proxy", web.url)
            patch.setenv("http_proxy", web.url)
            patch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", metadata if machine else "http://127.0.0.1:1")
            host = metadata.removeprefix("http://") if machine else "127.0.0.1:1"
            patch.setattr("google.auth.compute_engine._metadata._GCE_METADATA_HOST", host)
            client = Client(tls=TLS(ca_certs=(web.authority.pem,)), policy=ONCE, listener=Silence())
            try:
                act(client)
            finally:
                client.connections.close()

    return situation


def _no_machine(_: object) -> Reply:
    return reply({}, 404)


def ecr(code: str, name: str = f"{HOST}/app") -> Situation:
    answer = reply({"__type": code, "message": "x"}, 400)
    return online(lambda client: ECRLogin(client, name, KEYS)(), {".*": lambda _: answer})


def create(code: str, name: str = f"{HOST}/app") -> Situation:
    answer = reply({"__type": code, "message": "x"}, 400)
    return online(lambda client: ECRLogin(client, name, KEYS).ensure_repository(), {".*": lambda _: answer})


def sts(code: str, *, oidc_token: str = "") -> Situation:
    answer = Reply(status=400, body=XML.format(code, "x").encode())
    settings = WEB if oidc_token else ROLES
    return online(lambda client: ECRLogin(client, "app", settings, oidc_token)(), {".*": lambda _: answer})


def said(code: str, message: str = "x", status: int = 403) -> Situation:
    """AWS answers with that error."""

    class Service(SimpleNamespace):
        def act(self) -> None:
            response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
            raise ClientError(response, "act")  # type: ignore[arg-type]

    service = Service(meta=SimpleNamespace(endpoint_url="https://sts.amazonaws.com"))
    return lambda: call(cast("BaseClient", service), "act", {}, step="asking", permission="the right")


def aws(settings: AWSSettings, oidc_token: str = "") -> Situation:
    return lambda: ECRLogin(OFFLINE, "app", settings, oidc_token)


def nobody(client: Client) -> object:
    return ECRLogin(client, f"{HOST}/app", AWSSettings())()


def azure(settings: AzureSettings, oidc_token: str = "", *, said: str = "", cloud: Azure | None = None) -> Situation:
    """Entra answers with ``said`` if that is not ""; there is a metadata service if there is a ``cloud``."""
    fake = cloud or Azure()
    description = reply({"error": "invalid_client", "error_description": f"{said}\r\nTrace ID: 1"}, 400)

    def entra(call: object) -> Reply:
        discovering = "/.well-known/" in getattr(call, "path", "")
        return fake.entra(call) if discovering or not said else description  # type: ignore[arg-type]

    routes = {r"login\..*": entra, r".*\.azurecr\.io": fake.registry()}
    return online(
        lambda client: ACRLogin(client, "contoso.azurecr.io", settings, oidc_token)(),
        routes,
        fake.metadata if cloud else None,
    )


def no_identity(_: object) -> Reply:
    return reply({"error": "invalid_request", "error_description": "No identity is assigned"}, 400)


def google(
    settings: GCPSettings, oidc_token: str = "", *, apis: Reply | None = None, machine: bool = False
) -> Situation:
    fake = Google(service_account=None)
    site: Site = fake.apis if apis is None else lambda _: apis
    return online(
        lambda client: GCPLogin(client, settings, oidc_token)(),
        {r".*\.googleapis\.com": site},
        fake.metadata if machine else None,
    )


def pasted(**changes: object) -> GCPSettings:
    key = {
        "type": "service_account",
        "client_email": "gone@project.iam.gserviceaccount.com",
        "private_key": PRIVATE_KEY,
        "private_key_id": "1",
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    return GCPSettings(service_account_json=json.dumps({**key, **changes}))


def own(settings: CloudSettings) -> Situation:
    name = RepositoryName.parse("registry.example/app")
    return lambda: Clouds(OFFLINE, settings, name).own(str(name), anonymous=True)


OFFLINE = Client(tls=TLS(), policy=ONCE, listener=Silence())
PRIVATE_KEY = (
    rsa.generate_private_key(public_exponent=65537, key_size=2048)
    .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    .decode()
)
TRADE = GCPSettings(workload_identity_provider=PROVIDER)
IMPERSONATE = GCPSettings(workload_identity_provider=PROVIDER, service_account="other@p.iam.gserviceaccount.com")
SERVICE_PRINCIPAL = AzureSettings(client_id=CLIENT_ID, client_secret=CLIENT_SECRET)
APPLICATION = AzureSettings(client_id=CLIENT_ID)
UNTRUSTED = Azure(audiences=())
bare_machine = online(
    lambda client: ACRLogin(client, "contoso.azurecr.io", AzureSettings())(),
    {r".*\.azurecr\.io": Azure().registry()},
    no_identity,
)
GOOGLE_IS_UNWELL = reply({"error": "internal_failure"}, 500)
STALE = reply({"error": "invalid_grant", "error_description": "the key's account is stale"}, 400)
PUBLIC = "public.ecr.aws/alias/app"

CLOUDS = (
    Row(
        "the caller needs ecr:GetAuthorizationToken on resource `*`",
        (ecr("AccessDeniedException"),),
        (ecr("InvalidParameterException"), ecr("AccessDeniedException", name=PUBLIC)),
    ),
    Row(
        "the caller needs ecr-public:GetAuthorizationToken and sts:GetServiceBearerToken",
        (ecr("AccessDeniedException", name=PUBLIC),),
        (ecr("AccessDeniedException"), ecr("InvalidParameterException", name=PUBLIC)),
    ),
    Row(
        ":CreateRepository on ",
        (create("AccessDeniedException"), create("AccessDeniedException", PUBLIC)),
        (create("InvalidParameterException"), ecr("AccessDeniedException"), create("RepositoryAlreadyExistsException")),
    ),
    Row(
        "the caller needs sts:AssumeRole on it, and",
        (sts("AccessDenied"),),
        (sts("AccessDenied", oidc_token="ey.x"), sts("ValidationError")),
    ),
    Row(
        "sts:AssumeRoleWithWebIdentity to the token's issuer and subject",
        (sts("AccessDenied", oidc_token="ey.x"),),
        (sts("AccessDenied"), sts("ValidationError", oidc_token="ey.x")),
    ),
    Row(
        "the session token has expired: the keys of the source or of the worker must be renewed",
        (said("ExpiredToken"),),
        (said("ExpiredTokenException"), said("AccessDenied")),
    ),
    Row(
        "the token has expired: it must be newer than the step",
        (said("ExpiredTokenException"), said("ExpiredTokenException", status=400)),
        (said("InvalidIdentityToken"), said("ExpiredToken")),
    ),
    Row(
        "AWS does not know this access key",
        (said("InvalidClientTokenId"), said("UnrecognizedClientException", status=400)),
        (said("AccessDeniedException"), said("InvalidSignatureException")),
    ),
    Row(
        "the secret key does not belong to the access key",
        (said("SignatureDoesNotMatch", "The request signature we calculated"), said("InvalidSignatureException")),
        (said("SignatureDoesNotMatch", "Signature expired: 1 is now earlier than 2"), said("AccessDenied")),
    ),
    Row(
        "the worker's clock is wrong: AWS takes requests of the last minutes only",
        (
            said("SignatureDoesNotMatch", "Signature expired: 1 is now earlier than 2"),
            said("InvalidSignatureException", "Signature not yet current: 1 is still later than 2", 400),
        ),
        (said("InvalidSignatureException"), said("AccessDeniedException", "Signature expired")),
    ),
    Row(
        "the role's account needs an IAM OIDC provider for the token's issuer",
        (said("InvalidIdentityToken"),),
        (said("AccessDenied"),),
    ),
    Row(
        "AWS cannot reach the token's issuer to fetch its keys",
        (said("IDPCommunicationError"),),
        (said("InvalidIdentityToken"),),
    ),
    Row(
        "STS is not active in this region for the account", (said("RegionDisabledException"),), (said("AccessDenied"),)
    ),
    Row("set `aws_role_arn`", (aws(AWSSettings(region="us-east-1"), "ey.x"),), (aws(WEB, "ey.x"), aws(ROLES))),
    Row(
        "set `aws_access_key_id` and `aws_secret_access_key`, or `oidc_token` and `aws_role_arn`",
        (online(nobody, {}),),
        (ecr("AccessDeniedException"),),
    ),
    Row(
        "such as `us-east-1` or `eu-central-1`",
        (aws(AWSSettings(region="Frankfurt")), aws(AWSSettings(region=""))),
        (aws(AWSSettings(region="eu-central-1", account_id=ACCOUNT)),),
    ),
    Row(
        "did it begin with zeros? Put it in quotes: YAML drops them from a number",
        (aws(AWSSettings(region="us-east-1", account_id="12345678901")),),
        (
            aws(AWSSettings(region="us-east-1", account_id="1234567890123")),
            aws(AWSSettings(region="us-east-1", account_id="my-account")),
        ),
    ),
    Row(
        "set `aws_region` and `aws_role_arn`, `azure_acr` and `azure_client_id`, or `gcp`",
        (own(CloudSettings(oidc_token="ey.x")),),
        (own(CloudSettings(oidc_token="ey.x", aws=AWSSettings(role_arns=(ROLE,)))), own(CloudSettings())),
    ),
    Row(
        "a managed identity exists only on Azure",
        (azure(AzureSettings()),),
        (azure(AzureSettings(), cloud=Azure()), azure(SERVICE_PRINCIPAL, said="AADSTS7000215: x")),
    ),
    Row(
        "the identity needs the role AcrPull on the registry, to push AcrPush",
        (azure(AzureSettings(), cloud=UNTRUSTED), azure(SERVICE_PRINCIPAL, cloud=UNTRUSTED)),
        (azure(SERVICE_PRINCIPAL, said="AADSTS50001: x"), azure(SERVICE_PRINCIPAL, said="AADSTS90002: x")),
    ),
    Row(
        "; `azure_tenant_id` is the registry's tenant, not the worker's",
        (azure(SERVICE_PRINCIPAL, cloud=UNTRUSTED),),
        (azure(SERVICE_PRINCIPAL, said="AADSTS90002: x"),),
    ),
    *(
        Row(words, (azure(settings, token, said=f"{code}: x"),), (azure(settings, token, said="AADSTS50001: x"),))
        for code, settings, token, words in (
            ("AADSTS90002", SERVICE_PRINCIPAL, "", "`azure_tenant_id` is not a tenant of this cloud"),
            ("AADSTS700016", SERVICE_PRINCIPAL, "", "is `azure_client_id` an application of this tenant?"),
            ("AADSTS7000215", SERVICE_PRINCIPAL, "", "`azure_client_secret` is wrong"),
            ("AADSTS7000222", SERVICE_PRINCIPAL, "", "`azure_client_secret` has expired"),
            ("AADSTS700024", APPLICATION, OIDC_TOKEN, "`oidc_token` has expired: it must be newer than the step"),
            ("AADSTS70021", APPLICATION, OIDC_TOKEN, "the application needs a federated credential"),
        )
    ),
    Row(
        "assign the managed identity to the worker's machine, or correct `azure_client_id`",
        (azure(AzureSettings(client_id="wrong"), cloud=Azure()),),
        (azure(AzureSettings(), cloud=Azure()), azure(AzureSettings(client_id="wrong"))),
    ),
    Row(
        "assign a managed identity to the worker's machine, or set `azure_client_id` to the one it has",
        (bare_machine,),
        (azure(AzureSettings(client_id="wrong"), cloud=Azure()), azure(AzureSettings())),
    ),
    Row(
        "paste the whole key file",
        (
            google(GCPSettings(service_account_json="{")),
            google(GCPSettings(service_account_json="key.json")),
            google(GCPSettings(service_account_json='{"type": "service_account"}')),
        ),
        (google(pasted(type="authorized_user")), google(pasted())),
    ),
    Row(
        "only keys of service accounts work; for other identities use `oidc_token`",
        (google(pasted(type="authorized_user")),),
        (google(pasted()), google(GCPSettings(service_account_json="{"))),
    ),
    Row(
        "is the key deleted, disabled or of another account? Then make a new key; or the worker's clock is wrong",
        (google(pasted()), google(pasted(), apis=STALE)),
        (google(pasted(), apis=GOOGLE_IS_UNWELL), google(TRADE, "expired")),
    ),
    Row(
        "the provider must trust the token's issuer and audience",
        (google(TRADE, OIDC_TOKEN, apis=reply({"error": "invalid_grant", "error_description": "audience"}, 400)),),
        (google(TRADE, "expired"), google(IMPERSONATE, OIDC_TOKEN), google(pasted())),
    ),
    Row(
        "the token's principal needs the role iam.workloadIdentityUser on the service account",
        (google(IMPERSONATE, OIDC_TOKEN),),
        (google(IMPERSONATE, "expired"), google(pasted())),
    ),
    Row(
        "the metadata server exists only on Google Cloud, with a service account attached",
        (google(GCPSettings()), google(GCPSettings(), machine=True)),
        (google(pasted()), google(TRADE, "expired")),
    ),
)
