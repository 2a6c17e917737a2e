"""Who we are to AWS: keys of the source, the SDK's default chain, an identity token, and the roles assumed from there.

botocore is imported when something is asked, never when this module is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict, cast

from registry_image.auth.sdkhttp import METADATA_CONNECT_TIMEOUT, SDKTransport, quieten
from registry_image.auth.settings import AWSSettings
from registry_image.errors import AuthError, RequestError, ResourceError, TransportError, quote
from registry_image.net.client import Client
from registry_image.net.http import Headers
from registry_image.net.transport_error import NoTLS

if TYPE_CHECKING:
    from botocore.awsrequest import AWSPreparedRequest, AWSResponse
    from botocore.client import BaseClient
    from botocore.compat import HTTPHeaders
    from botocore.credentials import CredentialProvider
    from botocore.session import Session

#: What AWS's own logs call us.
ROLE_SESSION_NAME = "registry-image-resource"
_WHAT = "AWS login"
_TRUST = "the trust policy of"
_WEB_IDENTITY = "sts:AssumeRoleWithWebIdentity to the token's issuer and subject"

_UNKNOWN_KEY = "AWS does not know this access key: is it deleted, mistyped or of another partition?"
_WRONG_SECRET = "`aws_secret_access_key` does not belong to `aws_access_key_id`"  # noqa: S105 (a hint)
_HINTS = {
    "ExpiredToken": "the session token has expired: the keys of the source or of the worker must be renewed",
    "ExpiredTokenException": "the token has expired: it must be newer than the step, see its lifetime where it is made",
    "InvalidClientTokenId": _UNKNOWN_KEY,
    "UnrecognizedClientException": _UNKNOWN_KEY,
    "SignatureDoesNotMatch": _WRONG_SECRET,
    "InvalidSignatureException": _WRONG_SECRET,
    "InvalidIdentityToken": "the role's account needs an IAM OIDC provider for the token's issuer, with its audience",
    "IDPCommunicationError": "AWS cannot reach the token's issuer to fetch its keys: try again, or make it reachable",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """An access key, as STS or a source gives it."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str = field(repr=False)


class _Credentials(TypedDict):
    AccessKeyId: str
    SecretAccessKey: str
    SessionToken: str


class _AssumedRole(TypedDict):
    Credentials: _Credentials


class Identity:
    """Makes clients of AWS services that speak as whoever the settings and the identity token ("" is none) say.
    ``region`` is where STS is asked."""

    def __init__(self, client: Client, settings: AWSSettings, oidc_token: str, region: str) -> None:
        """Raises RequestError for settings that contradict themselves."""
        if bool(settings.access_key_id) != bool(settings.secret_access_key):
            raise RequestError("source: `aws_access_key_id` and `aws_secret_access_key` go together: one is missing")
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
        with reading("preparing"):
            session = _session(self._client, self._region)
        keys = self._keys(session, fips=fips)
        with reading("preparing"):
            return _make(session, name, keys, region=region, fips=fips, dual_stack=dual_stack)

    def _keys(self, session: Session, *, fips: bool) -> Keys | None:
        """None is the default chain, which was found to hold something."""
        settings = self._settings
        keys: Keys | None = None
        if settings.access_key_id:
            keys = Keys(
                access_key=settings.access_key_id,
                secret_key=settings.secret_access_key,
                token=settings.session_token,
            )
        elif not self._oidc_token:
            self._need_default(session)
        for position, role in enumerate(settings.role_arns):
            step = f"assuming role {quote(role)}"
            if len(settings.role_arns) > 1:
                step += f" ({position + 1} of {len(settings.role_arns)})"
            with reading(step):
                sts = _make(session, "sts", keys, region=self._region, fips=fips)
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
        with reading(step):
            got = cast("_AssumedRole", answer)["Credentials"]
            return Keys(access_key=got["AccessKeyId"], secret_key=got["SecretAccessKey"], token=got["SessionToken"])

    def _need_default(self, session: Session) -> None:
        lost = ""
        with reading("looking for an identity"):
            try:
                found = session.get_credentials()
            except TransportError as error:
                found, lost = None, f"; {_after_what(error)}"
        if found is None:
            raise AuthError(
                f"{_WHAT}: no identity: nothing in the environment, a profile, a web identity, the container or the "
                f"instance's metadata{lost}",
                hint="set `aws_access_key_id` and `aws_secret_access_key`, or `oidc_token` and `aws_role_arn`, or give "
                "the worker's instance a role",
            )


class AWSError(AuthError):
    """AWS answered, and the answer was no; ``code`` is AWS's name of the reason."""

    def __init__(self, message: str, *, code: str, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.code = code


def call(
    service: BaseClient, operation: str, arguments: Mapping[str, str], *, step: str, permission: str
) -> Mapping[str, object]:
    """The answer of ``service`` to ``operation``. Raises AuthError or its AWSError, naming step, endpoint and status.

    ``permission`` is the hint where AWS only says that access is denied.
    """
    from botocore.exceptions import ClientError

    with reading(step):
        try:
            answer: Mapping[str, object] = getattr(service, operation)(**arguments)
        except ClientError as error:
            said = error.response["Error"]
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            endpoint = str(service.meta.endpoint_url).removeprefix("https://")
            raise AWSError(
                f"{_WHAT}: {step}: {endpoint} answered {status} {said['Code']}: {quote(said['Message'])}",
                code=said["Code"],
                hint=_HINTS.get(said["Code"], permission),
            ) from None
    return answer


@contextmanager
def reading(step: str) -> Iterator[None]:
    """Around what botocore makes or answered: no endpoint in a region, a broken profile, an answer without a field
    leave as an AuthError that names ``step``."""
    try:
        yield
    except TransportError as error:
        raise AuthError(f"{_WHAT}: {step}: {_after_what(error)}", hint=error.hint) from error
    except ResourceError:
        raise
    except Exception as error:
        raise AuthError(f"{_WHAT}: {step}: {quote(str(error))}") from error


def _after_what(error: TransportError) -> str:
    return error.message.removeprefix(f"{_WHAT}: ")


def _make(
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
    """A botocore session all of whose traffic goes through ``client``, metadata services without proxies."""
    from botocore.credentials import ContainerProvider, InstanceMetadataProvider
    from botocore.session import Session
    from botocore.utils import ContainerMetadataFetcher, InstanceMetadataFetcher

    transport = _Transport(client)
    quieten("botocore")
    session = Session()
    # Where the default chain trades a web identity; a resource's container is told nothing of regions.
    session.set_config_variable("region", region)
    # An answer from this event takes the place of botocore's own request.
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
    # It takes no session as an argument, as its sibling for containers does; its own would ask the proxy for it.
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
    """What AWSResponse reads."""

    data: bytes

    def stream(self) -> Iterator[bytes]:
        yield self.data


class _Transport:
    """botocore's two seams: the event before an API call is sent, and the session of the metadata fetchers."""

    def __init__(self, client: Client) -> None:
        # A response to IMDSv2's PUT may be dropped on the way into a container (hop limit 1): then v1 is asked, soon.
        self._http = SDKTransport(client=client, what=_WHAT, metadata_stall_timeout=METADATA_CONNECT_TIMEOUT)

    def before_send(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        return self._send(request)

    def send(self, request: AWSPreparedRequest) -> AWSResponse:
        from botocore.exceptions import ReadTimeoutError

        try:
            return self._send(request)
        except NoTLS:
            raise  # nothing answers there: asking v1 would wait once more
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
