"""Amazon ECR: an authorization token as the password of user ``AWS``, for private registries and ECR Public."""

from __future__ import annotations

from base64 import b64decode
from datetime import datetime
from typing import TYPE_CHECKING, NotRequired, TypedDict, cast

from registry_image.auth.aws import AWSError, Identity, aws_errors, call
from registry_image.auth.credentials import Credentials
from registry_image.auth.ecrhost import ECR_PUBLIC, ECR_PUBLIC_REGION, ECRHost, is_account, is_region
from registry_image.auth.refreshable import Expiring, RefreshableCredentials
from registry_image.auth.settings import AWSSettings
from registry_image.errors import AuthError, RequestError, quote
from registry_image.net.client import Client
from registry_image.oci.reference import RepositoryName

if TYPE_CHECKING:
    from botocore.client import BaseClient

_STEP = "asking for an ECR token"
_TOKEN_PERMISSION = "the caller needs ecr:GetAuthorizationToken on resource `*`"  # noqa: S105 (a hint)
_PUBLIC_PERMISSION = "the caller needs ecr-public:GetAuthorizationToken and sts:GetServiceBearerToken"


class ECRLogin(RefreshableCredentials):
    """A CredentialProvider for the registry of ``name``, a repository with or without its host.

    It sends nothing before its first call.
    """

    def __init__(self, client: Client, name: str, settings: AWSSettings, oidc_token: str = "") -> None:
        """Raises RequestError for settings that contradict themselves or name no registry."""
        first, _, rest = name.partition("/")
        self._public = first == ECR_PUBLIC
        self._host = ECRHost.parse(first)
        self._path = rest if self._public or self._host else name
        region = settings.region or (self._host.region if self._host else "")
        if self._public:
            region = region or ECR_PUBLIC_REGION
        _check(settings, region)
        if self._host is None and not self._public and settings.account_id:
            self._host = ECRHost(account=settings.account_id, region=region)
        self._region = self._host.region if self._host else region
        self._identity = Identity(client, settings, oidc_token, region)
        self._endpoint = ""
        super().__init__(client.clock.now)

    def repository(self) -> RepositoryName:
        """The repository with its host. Without an account's number only the token names the host: then this asks for
        one, and may raise AuthError."""
        if self._public:
            host = ECR_PUBLIC
        elif self._host:
            host = str(self._host)
        else:
            self()
            host = self._endpoint
        return RepositoryName.parse(f"{host}/{self._path}")

    def ensure_repository(self) -> bool:
        """False if the repository exists already. Raises AuthError."""
        # In names at ECR Public, the registry's alias comes before the repository.
        name = self._path.partition("/")[2] if self._public else self._path
        arguments = {"repositoryName": name}
        if self._host:
            arguments["registryId"] = self._host.account
        step = f"creating repository {quote(name)}"
        permission = f"the caller needs {'ecr-public' if self._public else 'ecr'}:CreateRepository on {name}"
        try:
            call(self._service(), "create_repository", arguments, step=step, permission=permission)
        except AWSError as error:
            if error.code != "RepositoryAlreadyExistsException":
                raise
            return False
        return True

    def _service(self) -> BaseClient:
        if self._public:
            return self._identity.service("ecr-public", ECR_PUBLIC_REGION)
        fips, dual_stack = (self._host.fips, self._host.dual_stack) if self._host else (False, False)
        return self._identity.service("ecr", self._region, fips=fips, dual_stack=dual_stack)

    def issue(self) -> Expiring:
        permission = _PUBLIC_PERMISSION if self._public else _TOKEN_PERMISSION
        response = call(self._service(), "get_authorization_token", {}, step=_STEP, permission=permission)
        with aws_errors(_STEP):
            data = cast("_Authorization", response)["authorizationData"]
            grant = data[0] if isinstance(data, list) else data
            self._endpoint = grant.get("proxyEndpoint", "").removeprefix("https://")
            credentials = Credentials(username="AWS", password=_password(grant["authorizationToken"]))
            return Expiring(credentials=credentials, expires_at=grant["expiresAt"].timestamp())


class _Granted(TypedDict):
    authorizationToken: str
    expiresAt: datetime
    proxyEndpoint: NotRequired[str]


class _Authorization(TypedDict):
    authorizationData: list[_Granted] | _Granted
    """ECR answers with a list, ECR Public without."""


def _check(settings: AWSSettings, region: str) -> None:
    if not is_region(region):
        raise RequestError(
            f"source.aws_region: {quote(region)} is not a region of AWS", hint="such as `us-east-1` or `eu-central-1`"
        )
    if settings.account_id and not is_account(settings.account_id):
        shortened = settings.account_id.isdigit() and len(settings.account_id) < 12
        raise RequestError(
            f"source.aws_account_id: expected twelve digits, got {quote(settings.account_id)}",
            hint="did it begin with zeros? Put it in quotes: YAML drops them from a number" if shortened else None,
        )


def _password(token: str) -> str:
    """The token behind its first colon; there may be more colons."""
    username, colon, password = b64decode(token, validate=True).decode("utf-8").strip().partition(":")
    if username != "AWS" or not colon:
        # The message repeats nothing of the token, which is the secret.
        raise AuthError("AWS login: the ECR token is not of the form AWS:password")
    return password
