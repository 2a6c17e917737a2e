"""An identity at AWS: the source's keys, the SDK's default chain or the identity token, and the roles assumed from it.

botocore is imported at the first request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, TypedDict, cast

from registry_image.auth.sdkhttp import METADATA_CONNECT_TIMEOUT, SDKTransport, quieten
from registry_image.auth.settings import AWSSettings
from registry_image.errors import AuthError, RequestError, ResourceError, TransportError, quote
from registry_image.net.client import Client
from registry_image.net.http import Headers
from registry_image.net.secrets import SECRETS
from registry_image.net.transport_error import NoTLS

if TYPE_CHECKING:
    from botocore.awsrequest import AWSPreparedRequest, AWSResponse
    from botocore.client import BaseClient
    from botocore.compat import HTTPHeaders
    from botocore.credentials import CredentialProvider
    from botocore.session import Session

#: Our name in AWS's own logs.
ROLE_SESSION_NAME = "registry-image-resource"
_WHAT = "AWS login"
_TRUST = "the trust policy of"
_WEB_IDENTITY = "sts:AssumeRoleWithWebIdentity to the token's issuer and subject"

_UNKNOWN_KEY = (
    "AWS does not know this access key: is it deleted, mistyped, of another partition, or a temporary one without its "
    "session token?"
)
_WRONG_PAIR = "the secret key does not belong to the access key: see `aws_secret_access_key`, or the worker's keys"
_WRONG_CLOCK = "the worker's clock is wrong: AWS takes requests of the last minutes only"
#: The codes that say that a right is missing.
_DENIED = frozenset({"AccessDenied", "AccessDeniedException"})
_HINTS = {
    "ExpiredToken": "the session token has expired: the keys of the source or of the worker must be renewed",
    "ExpiredTokenException": "the token has expired: it must be newer than the step, see its lifetime where it is made",
    "InvalidClientTokenId": _UNKNOWN_KEY,
    "UnrecognizedClientException": _UNKNOWN_KEY,
    "SignatureDoesNotMatch": _WRONG_PAIR,
    "InvalidSignatureException": _WRONG_PAIR,
    "InvalidIdentityToken": "the role's account needs an IAM OIDC provider for the token's issuer, with its audience",
    "RegionDisabledException": "STS is not active in this region for the account: activate it, or set another region",
    "IDPCommunicationError": "AWS cannot reach the token's issuer to fetch its keys: try again, or make it reachable",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """An access key, of STS or of a source."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str = field(repr=False)

    def __post_init__(self) -> None:
        SECRETS.add(self.secret_key, self.token)


class _Credentials(TypedDict):
    AccessKeyId: str
    SecretAccessKey: str
    SessionToken: str


class _AssumedRole(TypedDict):
    Credentials: _Credentials


class Identity:
    """Makes clients of AWS services with the identity of the settings and of the identity token ("" for none).
    ``region`` is the region of STS."""

    def __init__(self, client: Client, settings: AWSSettings, oidc_token: str, region: str) -> None:
        """Raises RequestError for settings that contradict themselves."""
        if bool(settings.access_key_id) != bool(settings.secret_access_key):
            missing = "aws_secret_access_key" if settings.access_key_id else "aws_access_key_id"
            raise RequestError(
                f"source: `aws_access_key_id` and `aws_secret_access_key` go together: `{missing}` is missing"
            )
        if oidc_token and settings.access_key_id:
            raise RequestError("source: `oidc_token` and `aws_access_key_id` are both set: which is it?")
        if oidc_token and not settings.role_arns:
            raise RequestError("source: `oidc_token` for AWS needs the role to trade it for", hint="set `aws_role_arn`")
        self._client = client
        self._settings = settings
        self._oidc_token = oidc_token
        self._region = region

    def service(self, name: str, region: str, *, fips: bool = False, dual_stack: bool = False) -> BaseClient:
        """A botocore client of the service ``name``, for `call`. Raises AuthError."""
        with aws_errors("preparing"):
            session = _session(self._client, self._region)
        keys = self._keys(session, fips=fips)
        with aws_errors("preparing"):
            return _service(session, name, keys, region=region, fips=fips, dual_stack=dual_stack)

    def _keys(self, session: Session, *, fips: bool) -> Keys | None:
        """None for the default chain, after a check that it finds an identity."""
        settings = self._settings
        keys: Keys | None = None
        if settings.access_key_id:
            keys = Keys(
                access_key=settings.access_key_id,
                secret_key=settings.secret_access_key,
                token=settings.session_token,
            )
        elif not self._oidc_token:
            self._check_default_chain(session)
        for position, role in enumerate(settings.role_arns):
            step = f"assuming role {quote(role)}"
            if len(settings.role_arns) > 1:
                step += f" ({position + 1} of {len(settings.role_arns)})"
            with aws_errors(step):
                sts = _service(session, "sts", keys, region=self._region, fips=fips)
            keys = self._assume(sts, role, step, with_token=bool(self._oidc_token) and position == 0)
        return keys

    def _assume(self, sts: BaseClient, role: str, step: str, *, with_token: bool) -> Keys:
        arguments = {"RoleArn": role, "RoleSessionName": ROLE_SESSION_NAME}
        if with_token:
            operation, hint = "assume_role_with_web_identity", f"{_TRUST} {role} must allow {_WEB_IDENTITY}"
            arguments["WebIdentityToken"] = self._oidc_token
        else:
            operation, hint = "assume_role", f"the caller needs sts:AssumeRole on it, and {_TRUST} {role} must allow it"
            if self._settings.external_id:
                arguments["ExternalId"] = self._settings.external_id
        answer = call(sts, operation, arguments, step=step, permission=hint)
        with aws_errors(step):
            keys = cast("_AssumedRole", answer)["Credentials"]
            return Keys(access_key=keys["AccessKeyId"], secret_key=keys["SecretAccessKey"], token=keys["SessionToken"])

    def _check_default_chain(self, session: Session) -> None:
        unreachable = ""
        with aws_errors("looking for an identity"):
            try:
                credentials = session.get_credentials()
            except TransportError as error:
                credentials, unreachable = None, f"; {_without_prefix(error)}"
        if credentials is None:
            raise AuthError(
                f"{_WHAT}: no identity: nothing in the environment, a profile, a web identity, the container or the "
                f"instance's metadata{unreachable}",
                hint="set `aws_access_key_id` and `aws_secret_access_key`, or `oidc_token` and `aws_role_arn`, or give "
                "the worker's instance a role",
            )


class AWSError(AuthError):
    """An error that AWS answered; ``code`` is AWS's name of the reason."""

    def __init__(self, message: str, *, code: str, hint: str | None) -> None:
        super().__init__(message, hint=hint)
        self.code = code


def call(
    service: BaseClient, operation: str, arguments: Mapping[str, str], *, step: str, permission: str
) -> Mapping[str, object]:
    """Raises AuthError, or AWSError with step, endpoint and status.

    ``permission`` is the hint for a denied access.
    """
    from botocore.exceptions import ClientError

    with aws_errors(step):
        try:
            answer: Mapping[str, object] = getattr(service, operation)(**arguments)
        except ClientError as error:
            details = error.response["Error"]
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            endpoint = str(service.meta.endpoint_url).removeprefix("https://")
            raise AWSError(
                f"{_WHAT}: {step}: {endpoint} answered {status} {details['Code']}: {quote(details['Message'])}",
                code=details["Code"],
                hint=_hint(details["Code"], details["Message"], permission, denied=status == HTTPStatus.FORBIDDEN),
            ) from None
    return answer


def _hint(code: str, message: str, permission: str, *, denied: bool) -> str | None:
    # STS and ECR have one code for a wrong secret and for a request that is signed too early or too late.
    if _HINTS.get(code) == _WRONG_PAIR and message.startswith(("Signature expired", "Signature not yet current")):
        return _WRONG_CLOCK
    return _HINTS.get(code) or (permission if denied or code in _DENIED else None)


@contextmanager
def aws_errors(step: str) -> Iterator[None]:
    """Turns botocore's errors into an AuthError that names ``step``: a region without an endpoint, a broken profile,
    an answer without a field."""
    try:
        yield
    except TransportError as error:
        raise AuthError(f"{_WHAT}: {step}: {_without_prefix(error)}", hint=error.hint) from error
    except ResourceError:
        raise
    except Exception as error:
        raise AuthError(f"{_WHAT}: {step}: {quote(str(error))}") from error


def _without_prefix(error: TransportError) -> str:
    return error.message.removeprefix(f"{_WHAT}: ")


def _service(
    session: Session, name: str, keys: Keys | None, *, region: str, fips: bool = False, dual_stack: bool = False
) -> BaseClient:
    from botocore.config import Config

    config = Config(
        retries={"mode": "standard", "max_attempts": 3},
        use_fips_endpoint=True if fips else None,
        use_dualstack_endpoint=True if dual_stack else None,
    )
    return session.create_client(
        name,
        region_name=region,
        config=config,
        aws_access_key_id=keys.access_key if keys else None,
        aws_secret_access_key=keys.secret_key if keys else None,
        aws_session_token=(keys.token or None) if keys else None,
    )


def _session(client: Client, region: str) -> Session:
    """A botocore session that sends through ``client``, to metadata services without proxies."""
    from botocore.credentials import ContainerProvider, InstanceMetadataProvider
    from botocore.session import Session
    from botocore.utils import ContainerMetadataFetcher, InstanceMetadataFetcher

    transport = _Transport(client)
    quieten("botocore")
    session = Session()
    # The default chain trades web identities in this region; a resource's container has no AWS_REGION.
    session.set_config_variable("region", region)
    # An answer from this event replaces botocore's own request.
    session.register("before-send", transport.before_send)  # type: ignore[arg-type]
    resolver = session.get_component("credential_provider")
    instance = InstanceMetadataFetcher(
        config={
            name: session.get_config_variable(name)
            for name in (
                "ec2_metadata_service_endpoint",
                "ec2_metadata_service_endpoint_mode",
                "ec2_metadata_v1_disabled",
            )
        },
    )
    # Its own session would ask a proxy, which answers with its own identity (boto#1146); no argument replaces it.
    instance._session = transport  # type: ignore[attr-defined]
    replaced: dict[str, CredentialProvider] = {
        InstanceMetadataProvider.METHOD: InstanceMetadataProvider(iam_role_fetcher=instance),
        ContainerProvider.METHOD: ContainerProvider(
            fetcher=ContainerMetadataFetcher(session=transport, sleep=client.clock.sleep)  # type: ignore[arg-type]
        ),
    }
    resolver.providers = [replaced.get(provider.METHOD, provider) for provider in resolver.providers]
    return session


@dataclass(frozen=True, slots=True)
class _Body:
    """The body of an AWSResponse."""

    data: bytes

    def stream(self) -> Iterator[bytes]:
        yield self.data


class _Transport:
    """Sends API calls by an event before they are sent, and metadata requests as the fetchers' session."""

    def __init__(self, client: Client) -> None:
        # With a hop limit of 1, IMDSv2's answer never reaches a container (aws-sdk-go#2972): ask v1 soon.
        self._http = SDKTransport(client=client, what=_WHAT, metadata_stall_timeout=METADATA_CONNECT_TIMEOUT)

    def before_send(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        return self._send(request)

    def send(self, request: AWSPreparedRequest) -> AWSResponse:
        from botocore.exceptions import ReadTimeoutError

        try:
            return self._send(request)
        except NoTLS:
            raise  # nothing answers there: asking v1 would only wait again
        except TransportError as error:
            if request.method != "PUT":
                raise
            raise ReadTimeoutError(endpoint_url=request.url, error=error) from error

    def _send(self, request: AWSPreparedRequest) -> AWSResponse:
        from botocore.awsrequest import AWSResponse

        headers = {name: _text(value) for name, value in request.headers.items()}
        body = request.body.encode() if isinstance(request.body, str) else request.body
        assert body is None or isinstance(body, bytes), "STS and ECR have no streamed bodies"  # noqa: S101
        answer = self._http.send(request.method, request.url, headers, body)
        return AWSResponse(request.url, answer.status, _headers(answer.headers), _Body(answer.body))


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _headers(headers: Headers) -> HTTPHeaders:
    from botocore.compat import HTTPHeaders

    copied = HTTPHeaders()
    for name, value in headers.lines():
        copied[name] = value
    return copied
