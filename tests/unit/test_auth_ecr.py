"""Logins to Amazon ECR: botocore itself, against moto and recorded answers, through a proxy that is the Internet."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

import pytest

from registry_image.auth.ecr import ECRLogin
from registry_image.auth.ecrhost import ECRHost, is_ecr
from registry_image.auth.settings import AWSSettings
from registry_image.errors import AuthError, RequestError
from registry_image.net.client import Client
from registry_image.net.retry import ONCE
from registry_image.net.tls import TLS
from registry_image.progress import Listener
from tests.support.aws import ACCOUNT, AWS, FARTHER_ROLE, OTHER_ACCOUNT, POOR_ROLE, REGION, ROLE, moto
from tests.support.internet import SOON, Call, Internet, Reply, Site, black_hole, forward, internet, reply, serving

HOST = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"


class Keys(TypedDict):
    access_key_id: str
    secret_access_key: str


KEYS = Keys(access_key_id="AKIAIOSFODNN7EXAMPLE", secret_access_key="secret")
"""For servers that check no signatures."""


@pytest.fixture(scope="module")
def aws() -> Iterator[AWS]:
    with moto(checking=True) as running:
        yield running


@pytest.fixture(scope="module")
def trusting_aws() -> Iterator[AWS]:
    with moto(checking=False) as running:
        yield running


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Internet]:
    """The Internet, and an environment with the way there and without any identity at AWS."""
    with internet(tmp_path) as running:
        for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("https_proxy", running.url)
        yield running


def keys(aws: AWS) -> Keys:
    return Keys(access_key_id=aws.access_key, secret_access_key=aws.secret_key)


def reach(web: Internet, aws: AWS) -> None:
    web.routes[r"(sts|api\.ecr)\..*\.amazonaws\.com"] = forward(aws.url)


def granting(expires: float = 4e9) -> Site:
    """An ECR or ECR Public that grants a token, as recorded."""
    token = base64.b64encode(b"AWS:a:password").decode()

    def answer(call: Call) -> Reply:
        data = {"authorizationToken": token, "expiresAt": expires}
        if "SpencerFrontendService" in call.headers["x-amz-target"]:  # the internal name of ECR Public
            return reply({"authorizationData": data})
        region = re.search(r"ecr[.-](?:fips\.)?([a-z0-9-]+)", call.host)
        assert region is not None
        endpoint = f"https://{ACCOUNT}.dkr.ecr.{region[1]}.amazonaws.com"
        return reply({"authorizationData": [{**data, "proxyEndpoint": endpoint}]})

    return answer


# -- hosts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "region", "fips", "dual_stack"),
    [
        ("123456789012.dkr.ecr.us-east-1.amazonaws.com", "us-east-1", False, False),
        ("000000000001.dkr.ecr-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1", True, False),
        ("123456789012.dkr.ecr.cn-northwest-1.amazonaws.com.cn", "cn-northwest-1", False, False),
        ("123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1", False, False),
        ("123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov", "us-iso-east-1", False, False),
        ("123456789012.dkr.ecr.us-isob-east-1.sc2s.sgov.gov", "us-isob-east-1", False, False),
        ("123456789012.dkr.ecr.us-isof-south-1.csp.hci.ic.gov", "us-isof-south-1", False, False),
        ("123456789012.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk", "eu-isoe-west-1", False, False),
        ("123456789012.dkr-ecr.eu-central-1.on.aws", "eu-central-1", False, True),
        ("123456789012.dkr-ecr-fips.us-east-2.on.aws", "us-east-2", True, True),
    ],
)
def test_every_kind_of_registry_host_is_read_and_written_back(
    host: str, region: str, fips: bool, dual_stack: bool
) -> None:
    found = ECRHost.parse(host)
    assert found == ECRHost(account=host[:12], region=region, fips=fips, dual_stack=dual_stack)
    assert str(found) == host
    assert is_ecr(host)


@pytest.mark.parametrize(
    "host",
    [
        "ghcr.io",
        "12345678901.dkr.ecr.us-east-1.amazonaws.com",
        "123456789012.dkr.ecr.us-east-1.amazonaws.com.evil.example",
        "123456789012.dkr.ecr.us-east-1.amazonaws.com.cn",
        "123456789012.dkr.ecr.cn-north-1.amazonaws.com",
        "123456789012.dkr.ecr.us-east-1.on.aws",
        "evil.123456789012.dkr.ecr.us-east-1.amazonaws.com",
        "123456789012.dkr.ecr.us-east-1.evil.example",
        "public.ecr.aws",
    ],
)
def test_a_host_that_only_looks_like_ecr_gets_no_token(host: str) -> None:
    assert not is_ecr(host)


# -- logins -----------------------------------------------------------------------------------------------------------


def test_static_keys_give_the_password_and_the_registry_of_their_account(
    client: Client, web: Internet, aws: AWS
) -> None:
    reach(web, aws)
    login = ECRLogin(client, "org/image", AWSSettings(region=REGION, **keys(aws)))
    assert str(login.repository()) == f"{HOST}/org/image"
    credentials = login()
    assert (credentials.username, credentials.password) == ("AWS", f"{ACCOUNT}-auth-token")
    assert [call.host for call in web.calls] == ["api.ecr.us-east-1.amazonaws.com"]


def test_a_full_host_in_the_repository_needs_no_region(client: Client, web: Internet, aws: AWS) -> None:
    reach(web, aws)
    login = ECRLogin(client, f"{HOST}/org/image", AWSSettings(**keys(aws)))
    assert str(login.repository()) == f"{HOST}/org/image"
    assert web.calls == []
    assert login().password == f"{ACCOUNT}-auth-token"


def test_an_account_and_a_region_name_the_registry_without_a_request(client: Client, web: Internet) -> None:
    settings = AWSSettings(region="cn-north-1", account_id="000000000042", **KEYS)
    login = ECRLogin(client, "ghcr.io/org/image", settings)
    assert str(login.repository()) == "000000000042.dkr.ecr.cn-north-1.amazonaws.com.cn/ghcr.io/org/image"
    assert web.calls == []


def test_roles_are_assumed_one_from_the_other(client: Client, web: Internet, aws: AWS) -> None:
    reach(web, aws)
    settings = AWSSettings(region=REGION, role_arns=(ROLE, FARTHER_ROLE), external_id="ours", **keys(aws))
    login = ECRLogin(client, "org/image", settings)
    assert str(login.repository()) == f"{OTHER_ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/org/image"
    assert login().password == f"{OTHER_ACCOUNT}-auth-token"
    assumed = [call.form for call in web.calls if call.host.startswith("sts.")]
    assert [form["RoleArn"] for form in assumed] == [ROLE, FARTHER_ROLE]
    assert [form["ExternalId"] for form in assumed] == ["ours", "ours"]


def test_the_environment_is_an_identity(
    client: Client, web: Internet, aws: AWS, monkeypatch: pytest.MonkeyPatch
) -> None:
    reach(web, aws)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", aws.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", aws.secret_key)
    assert ECRLogin(client, "org/image", AWSSettings(region=REGION))().password == f"{ACCOUNT}-auth-token"


def test_an_instance_is_asked_for_its_role_and_never_through_the_proxy(
    client: Client, web: Internet, trusting_aws: AWS, monkeypatch: pytest.MonkeyPatch
) -> None:
    reach(web, trusting_aws)
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", trusting_aws.url)
    monkeypatch.setenv("http_proxy", web.url)
    assert ECRLogin(client, "org/image", AWSSettings(region=REGION))().username == "AWS"
    assert [call.host for call in web.calls] == ["api.ecr.us-east-1.amazonaws.com"]
    # The request was signed with the keys of moto's metadata service.
    assert "Credential=test-key/" in web.calls[0].headers["authorization"]


def test_an_identity_token_is_traded_for_a_role_and_more_roles_from_there(
    client: Client, web: Internet, trusting_aws: AWS
) -> None:
    reach(web, trusting_aws)
    settings = AWSSettings(region=REGION, role_arns=(ROLE, FARTHER_ROLE))
    assert ECRLogin(client, "org/image", settings, "ey.the.token")().password == f"{OTHER_ACCOUNT}-auth-token"
    first, second = (call for call in web.calls if call.host.startswith("sts."))
    assert first.form["Action"] == "AssumeRoleWithWebIdentity"
    assert first.form["WebIdentityToken"] == "ey.the.token"
    assert "authorization" not in first.headers
    assert second.form["Action"] == "AssumeRole"


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        (f"{ACCOUNT}.dkr.ecr.cn-north-1.amazonaws.com.cn/org/image", "api.ecr.cn-north-1.amazonaws.com.cn"),
        (f"{ACCOUNT}.dkr.ecr-fips.us-gov-west-1.amazonaws.com/image", "api.ecr-fips.us-gov-west-1.amazonaws.com"),
        (f"{ACCOUNT}.dkr-ecr.eu-central-1.on.aws/image", "ecr.eu-central-1.api.aws"),
        (f"{ACCOUNT}.dkr.ecr.us-iso-east-1.c2s.ic.gov/image", "api.ecr.us-iso-east-1.c2s.ic.gov"),
        (f"{ACCOUNT}.dkr.ecr.eusc-de-east-1.amazonaws.eu/image", "api.ecr.eusc-de-east-1.amazonaws.eu"),
        ("public.ecr.aws/alias/image", "api.ecr-public.us-east-1.amazonaws.com"),
    ],
)
def test_each_partition_has_its_own_endpoint(client: Client, web: Internet, name: str, asked: str) -> None:
    web.routes[".*"] = granting()
    login = ECRLogin(client, name, AWSSettings(**KEYS))
    assert str(login.repository()) == name
    assert login().password == "a:password"
    assert [call.host for call in web.calls] == [asked]


def test_the_token_is_kept_until_shortly_before_its_end(client: Client, web: Internet) -> None:
    web.routes[".*"] = granting(expires=time.time() + 12 * 3600)
    login = ECRLogin(client, HOST + "/image", AWSSettings(**KEYS))
    assert {login().password for _ in range(3)} == {"a:password"}
    assert len(web.calls) == 1


# -- repositories -----------------------------------------------------------------------------------------------------


def test_a_repository_is_created_once(client: Client, web: Internet, aws: AWS) -> None:
    reach(web, aws)
    login = ECRLogin(client, "org/created", AWSSettings(region=REGION, **keys(aws)))
    assert login.ensure_repository() is True
    assert login.ensure_repository() is False
    assert "'org/created'" in str(aws.service("ecr")("describe_repositories")["repositories"])


def test_a_public_repository_is_created_without_its_alias(client: Client, web: Internet) -> None:
    web.routes[".*"] = saying(reply({"repository": {}}))
    assert ECRLogin(client, "public.ecr.aws/alias/org/image", AWSSettings(**KEYS)).ensure_repository()
    assert json.loads(web.calls[0].body) == {"repositoryName": "org/image"}


def test_a_repository_that_may_not_be_created_names_the_permission(client: Client, web: Internet, aws: AWS) -> None:
    reach(web, aws)
    settings = AWSSettings(region=REGION, role_arns=(ROLE,), **keys(aws))
    with pytest.raises(
        AuthError, match=r"creating repository 'org/x': api.ecr.us-east-1.amazonaws.com answered 403"
    ) as e:
        ECRLogin(client, "org/x", settings).ensure_repository()
    assert e.value.hint == "the caller needs ecr:CreateRepository on org/x"


# -- failures ---------------------------------------------------------------------------------------------------------


def saying(answer: Reply) -> Site:
    return lambda _: answer


def test_a_role_that_may_not_be_assumed_is_named_with_its_place_in_the_chain(
    client: Client, web: Internet, aws: AWS
) -> None:
    reach(web, aws)
    wrong = f"arn:aws:iam::{ACCOUNT}:role/wrong"
    login = ECRLogin(client, "org/image", AWSSettings(region=REGION, role_arns=(ROLE, wrong), **keys(aws)))
    with pytest.raises(AuthError) as failure:
        login()
    said = failure.value.message
    assert said.startswith(
        f"AWS login: assuming role '{wrong}' (2 of 2): sts.us-east-1.amazonaws.com answered 403 AccessDenied: "
    )
    assert failure.value.hint is not None
    assert "sts:AssumeRole" in failure.value.hint


def test_a_role_without_the_right_to_a_token_says_which_right(client: Client, web: Internet, aws: AWS) -> None:
    reach(web, aws)
    login = ECRLogin(client, "org/image", AWSSettings(region=REGION, role_arns=(POOR_ROLE,), **keys(aws)))
    with pytest.raises(AuthError, match=r"asking for an ECR token: api.ecr.us-east-1.amazonaws.com answered 403") as e:
        login()
    assert e.value.hint == "the caller needs ecr:GetAuthorizationToken on resource `*`"


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("ExpiredTokenException", "expired"),
        ("UnrecognizedClientException", "does not know this access key"),
        ("InvalidSignatureException", "does not belong to the access key"),
        ("AccessDeniedException", "ecr:GetAuthorizationToken"),
    ],
)
def test_each_refusal_has_its_hint(client: Client, web: Internet, code: str, hint: str) -> None:
    web.routes[".*"] = saying(reply({"__type": code, "message": "The security token …"}, 400))
    with pytest.raises(AuthError, match=f"answered 400 {code}: 'The security token") as failure:
        ECRLogin(client, HOST + "/image", AWSSettings(**KEYS))()
    assert failure.value.hint is not None
    assert hint in failure.value.hint
    assert "secret" not in failure.value.message.replace("The security", "")


def test_an_expired_identity_token_and_a_role_that_does_not_trust_it_differ(client: Client, web: Internet) -> None:
    xml = (
        "<ErrorResponse xmlns='https://sts.amazonaws.com/doc/2011-06-15/'><Error><Type>Sender</Type>"
        "<Code>{}</Code><Message>{}</Message></Error></ErrorResponse>"
    )
    settings = AWSSettings(region=REGION, role_arns=(ROLE,))
    answers = {
        ("ExpiredTokenException", "Token expired: current date/time must be before the expiration"): "newer",
        ("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity"): "trust policy",
    }
    for (code, message), hint in answers.items():
        web.routes[".*"] = saying(Reply(status=400, body=xml.format(code, message).encode()))
        with pytest.raises(AuthError, match=f"assuming role '{ROLE}': .* answered 400 {code}") as failure:
            ECRLogin(client, "image", settings, "ey.the.token")()
        assert failure.value.hint is not None
        assert hint in failure.value.hint
        assert "ey.the.token" not in failure.value.message


def test_no_identity_anywhere_lists_where_it_was_looked_for(client: Client, web: Internet) -> None:
    with pytest.raises(AuthError, match=r"no identity: .*environment.*profile.*container.*instance") as failure:
        ECRLogin(client, HOST + "/image", AWSSettings())()
    assert failure.value.hint is not None
    assert "aws_access_key_id" in failure.value.hint
    assert web.calls == []


def test_a_missing_metadata_service_fails_soon(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    with black_hole() as nowhere:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", nowhere)
        began = time.monotonic()
        with pytest.raises(
            AuthError, match=rf"no identity: .*metadata; {nowhere[7:]}: no connection in 1 s"
        ) as failure:
            ECRLogin(client, HOST + "/image", AWSSettings())()
        assert time.monotonic() - began < SOON
    assert failure.value.hint is not None
    assert "give the worker's instance a role" in failure.value.hint


def test_a_missing_container_agent_fails_soon(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with black_hole() as nowhere:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", nowhere)
        began = time.monotonic()
        with pytest.raises(AuthError, match=rf"no identity: .*; {nowhere[7:]}: no connection in 1 s"):
            ECRLogin(client, HOST + "/image", AWSSettings())()
        assert time.monotonic() - began < SOON


def test_a_metadata_service_of_the_older_protocol_works(
    client: Client, web: Internet, trusting_aws: AWS, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With a hop limit of one, IMDSv2's answer never reaches a container.
    reach(web, trusting_aws)
    moto_s = forward(trusting_aws.url)
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    with serving(lambda call: Reply(status=403) if call.method == "PUT" else moto_s(call)) as metadata:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata)
        assert ECRLogin(client, "org/image", AWSSettings(region=REGION))().username == "AWS"


def test_a_web_identity_of_the_environment_is_traded_in_the_source_s_region(
    client: Client, web: Internet, trusting_aws: AWS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reach(web, trusting_aws)
    (tmp_path / "token").write_text("ey.file.token")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    assert ECRLogin(client, "org/image", AWSSettings(region="eu-central-1"))().username == "AWS"
    assert [call.host for call in web.calls] == ["sts.eu-central-1.amazonaws.com", "api.ecr.eu-central-1.amazonaws.com"]
    assert web.calls[0].form["WebIdentityToken"] == "ey.file.token"


def test_a_container_s_role_is_asked_for_with_its_token(
    client: Client, web: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.routes[".*"] = granting()
    given = {
        "AccessKeyId": "AKIAFROMTHECONTAINER",
        "SecretAccessKey": "s",
        "Token": "t",
        "Expiration": "2100-01-01T00:00:00Z",
    }
    asked: list[Call] = []

    def agent(call: Call) -> Reply:
        asked.append(call)
        return reply(given)

    with serving(agent) as url:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{url}/credentials")
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "the agent's")
        assert ECRLogin(client, HOST + "/image", AWSSettings())().password == "a:password"
    assert [(call.target, call.headers["authorization"]) for call in asked] == [("/credentials", "the agent's")]
    assert "Credential=AKIAFROMTHECONTAINER/" in web.calls[0].headers["authorization"]


def test_an_untrusted_certificate_is_refused(client: Client, web: Internet) -> None:
    web.routes[".*"] = granting()
    trusting_nobody = Client(tls=TLS(), policy=ONCE, listener=Listener())
    with pytest.raises(AuthError, match=r"asking for an ECR token: .*certificate is not trusted"):
        ECRLogin(trusting_nobody, HOST + "/image", AWSSettings(**KEYS))()
    assert web.calls == []


@pytest.mark.parametrize(
    ("settings", "oidc_token", "said"),
    [
        (AWSSettings(region="nowhere.example/"), "", "source.aws_region: 'nowhere.example/'"),
        (AWSSettings(region=REGION, account_id="42"), "", "source.aws_account_id: expected twelve digits, got '42'"),
        (AWSSettings(region=REGION, access_key_id="AKIA"), "", "go together: `aws_secret_access_key` is missing"),
        (AWSSettings(region=REGION), "token", "needs the role"),
        (AWSSettings(region=REGION, role_arns=(ROLE,), **KEYS), "token", "which is it?"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_is_asked(
    client: Client, web: Internet, settings: AWSSettings, oidc_token: str, said: str
) -> None:
    with pytest.raises(RequestError, match=re.escape(said)):
        ECRLogin(client, "image", settings, oidc_token)
    assert web.calls == []
