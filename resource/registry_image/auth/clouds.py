"""The logins to the clouds. Imported only for a source that may use one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from registry_image.auth.credentials import CredentialProvider
from registry_image.auth.ecrhost import ECR_PUBLIC, is_ecr
from registry_image.auth.settings import CloudSettings, GCPSettings
from registry_image.errors import RequestError
from registry_image.net.client import Client
from registry_image.oci.reference import RepositoryName

_ACR = (".azurecr.io", ".azurecr.us", ".azurecr.cn")
_GOOGLE = (".pkg.dev", ".gcr.io")


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudLogin:
    """A repository and its login. ``create``, for ECR, creates the repository; False if it was there already."""

    repository: RepositoryName
    credentials: CredentialProvider
    create: Callable[[], bool] | None = None


class Clouds:
    """The logins that ``settings`` allow. ``home`` is the source's own repository.

    The identity token is traded only at the cloud of ``home``, because a token is for one audience.
    """

    def __init__(self, client: Client, settings: CloudSettings | None, home: RepositoryName) -> None:
        self._client = client
        self._settings = settings or CloudSettings()
        self._home = home

    def own(self, name: str, *, anonymous: bool) -> CloudLogin | None:
        """The login for the source's own repository; ``anonymous`` if the source has no other credentials.

        ``name`` is the repository as the source spells it. Raises RequestError; for an ECR repository without an
        account, which only AWS knows, also AuthError.
        """
        aws, azure, gcp, host = self._settings.aws, self._settings.azure, self._settings.gcp, self._home.host
        # ECR Public needs no login, so only an explicit identity logs in there.
        public = host == ECR_PUBLIC and (aws.access_key_id or aws.role_arns)
        if aws.region or (anonymous and (is_ecr(host) or public)):
            return self._ecr(name)
        if azure.acr:
            return self._acr(self._home)
        if gcp is not None:
            if not _is_google(host):
                # The token opens the whole project, so no other registry may see it.
                raise RequestError(
                    f"source: `gcp` is set, but {self._home} is not on Google: expected a host of pkg.dev or gcr.io"
                )
            return self._google(self._home, gcp)
        if self._settings.oidc_token and not self._trades_at():
            raise RequestError(
                "source: `oidc_token` is set, but no cloud to trade it at",
                hint="set `aws_region` and `aws_role_arn`, `azure_acr` and `azure_client_id`, or `gcp`",
            )
        return None

    def elsewhere(self, name: RepositoryName) -> CloudLogin | None:
        """The login for another repository, such as the one to promote ``from``, by the source's identity."""
        if is_ecr(name.host):
            return self._ecr(str(name))
        if self._settings.azure.acr and name.host.endswith(_ACR):
            return self._acr(name)
        if self._settings.gcp is not None and _is_google(name.host):
            return self._google(name, self._settings.gcp)
        return None

    def _trades_at(self) -> str:
        """The only cloud that sees the identity token: that of the own repository, else that of a role."""
        settings = self._settings
        if settings.aws.region or is_ecr(self._home.host):
            return "aws"
        if settings.azure.acr:
            return "azure"
        if settings.gcp is not None:
            return "gcp"
        return "aws" if settings.aws.role_arns else ""

    def _token(self, cloud: str) -> str:
        return self._settings.oidc_token if self._trades_at() == cloud else ""

    def _ecr(self, name: str) -> CloudLogin:
        _require("botocore", "aws", "ECR")
        from registry_image.auth.ecr import ECRLogin

        login = ECRLogin(self._client, name, self._settings.aws, self._token("aws"))
        return CloudLogin(repository=login.repository(), credentials=login, create=login.ensure_repository)

    def _acr(self, name: RepositoryName) -> CloudLogin:
        _require("azure.identity", "azure", "ACR")
        from registry_image.auth.acr import ACRLogin

        login = ACRLogin(self._client, name.host, self._settings.azure, self._token("azure"))
        return CloudLogin(repository=name, credentials=login)

    def _google(self, name: RepositoryName, gcp: GCPSettings) -> CloudLogin:
        _require("google.auth", "gcp", "Artifact Registry")
        from registry_image.auth.gcp import GCPLogin

        return CloudLogin(repository=name, credentials=GCPLogin(self._client, gcp, self._token("gcp")))


def _is_google(host: str) -> bool:
    return host.endswith(_GOOGLE) or host == "gcr.io"


def _require(library: str, extra: str, registry: str) -> None:
    """Raises RequestError where ``library`` is not installed, as in an installation without ``extra``."""
    try:
        import_module(library)
    except ModuleNotFoundError as error:
        if not f"{library}.".startswith(f"{error.name}."):
            raise  # something that the library needs: a broken installation
        raise RequestError(
            f"a login to {registry} needs the Python package {library.replace('.', '-')}, which is not installed",
            hint=f"the image has it; with pip: `pip install 'registry-image-resource[{extra}]'`",
        ) from None
