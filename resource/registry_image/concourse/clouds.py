"""Which cloud a source logs in to, and as whom. Imported only for a source that may name one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from registry_image.auth.aws import AWSSettings
from registry_image.auth.credentials import CredentialProvider
from registry_image.auth.ecrhost import ECR_PUBLIC, is_ecr
from registry_image.concourse.request.source import GCP, Source
from registry_image.errors import RequestError
from registry_image.net.client import Client
from registry_image.oci.reference import RepositoryName

_ACR = (".azurecr.io", ".azurecr.us", ".azurecr.cn")
_GOOGLE = (".pkg.dev", ".gcr.io")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """Where the source's repository is, how to log in, and, for ECR, what creates the repository: ``create`` returns
    False if it was there."""

    repository: RepositoryName
    credentials: CredentialProvider
    create: Callable[[], bool] | None = None


def own_cloud(client: Client, source: Source) -> Cloud | None:
    """The cloud of the source's own repository, or None. Raises RequestError.

    A bare ECR name without account asks AWS whose it is, and may raise AuthError.
    """
    host = source.repository.host
    anonymous = source.credentials is None and host not in source.auths
    if source.aws.region or (anonymous and (is_ecr(host) or (host == ECR_PUBLIC and _has_aws(source)))):
        from registry_image.auth.ecr import ECRLogin

        login = ECRLogin(client, source.name, _aws(source))
        return Cloud(repository=login.repository(), credentials=login, create=login.ensure_repository)
    if source.azure.acr:
        return Cloud(repository=source.repository, credentials=_acr(client, source, host))
    if source.gcp is not None:
        if not _is_google(host):
            # The token is good for all of the project: no other registry shall see it.
            raise RequestError(
                f"source: `gcp` is set, but {source.repository} is not on Google: expected a host of pkg.dev or gcr.io"
            )
        return Cloud(repository=source.repository, credentials=_gcp(client, source, source.gcp))
    if source.oidc_token and not _traded_at(source):
        raise RequestError(
            "source: `oidc_token` is set, but no cloud to trade it at",
            hint="set `aws_region` and `aws_role_arn`, `azure_acr` and `azure_client_id`, or `gcp`",
        )
    return None


def cloud_credentials(client: Client, source: Source, host: str) -> CredentialProvider | None:
    """For another registry that the source's identity may be known at, such as the one to promote ``from``."""
    if is_ecr(host):
        from registry_image.auth.ecr import ECRLogin

        return ECRLogin(client, f"{host}/", _aws(source))
    if source.azure.acr and host.endswith(_ACR):
        return _acr(client, source, host)
    if source.gcp is not None and _is_google(host):
        return _gcp(client, source, source.gcp)
    return None


def _traded_at(source: Source) -> str:
    """The cloud that the identity token is for, as it names one audience: the own repository's, else the one that a
    role is of. No other is shown it."""
    if source.aws.region or is_ecr(source.repository.host):
        return "aws"
    if source.azure.acr:
        return "azure"
    if source.gcp is not None:
        return "gcp"
    return "aws" if source.aws.role_arns else ""


def _token(source: Source, cloud: str) -> str:
    return source.oidc_token if _traded_at(source) == cloud else ""


def _is_google(host: str) -> bool:
    return host.endswith(_GOOGLE) or host == "gcr.io"


def _has_aws(source: Source) -> bool:
    # ECR Public serves everyone: without an identity of ours we stay anonymous there.
    return bool(source.aws.access_key_id or source.aws.role_arns)


def _aws(source: Source) -> AWSSettings:
    aws = source.aws
    return AWSSettings(
        region=aws.region,
        access_key_id=aws.access_key_id,
        secret_access_key=aws.secret_access_key,
        session_token=aws.session_token,
        role_arns=aws.role_arns,
        external_id=aws.external_id,
        account_id=aws.account_id,
        oidc_token=_token(source, "aws"),
    )


def _acr(client: Client, source: Source, host: str) -> CredentialProvider:
    from registry_image.auth.acr import ACRLogin, AzureSettings

    azure = source.azure
    settings = AzureSettings(
        client_id=azure.client_id,
        client_secret=azure.client_secret,
        tenant_id=azure.tenant_id,
        environment=azure.environment,
        oidc_token=_token(source, "azure"),
    )
    return ACRLogin(client, host, settings)


def _gcp(client: Client, source: Source, gcp: GCP) -> CredentialProvider:
    from registry_image.auth.gcp import GCPLogin, GCPSettings

    settings = GCPSettings(
        service_account_json=gcp.service_account_json,
        workload_identity_provider=gcp.workload_identity_provider,
        service_account=gcp.service_account,
        oidc_token=_token(source, "gcp"),
    )
    return GCPLogin(client, settings)
