"""check, in and out with a login to each cloud.

The cloud's own library talks to loopback endpoints under the cloud's real names. Behind them is a real docker-registry
whose htpasswd accepts the credentials that the login returns.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.conftest import StartRegistry
from tests.support import aws, clouds, images, runner, tar
from tests.support.aws import AWS, FARTHER_ROLE, OTHER_ACCOUNT, REGION, ROLE, moto
from tests.support.clouds import CLIENT_ID, CLIENT_SECRET, OIDC_TOKEN, PROVIDER, SERVICE_ACCOUNT, TENANT, Azure, Google
from tests.support.internet import Internet, black_hole, forward, internet, serving
from tests.support.registry import HTPASSWD, PASSWORD, USERNAME, Config, Registry

ECR = f"{aws.ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
ACR = "contoso.azurecr.io"
GOOGLE = "europe-docker.pkg.dev"
Source = Mapping[str, object]


@pytest.fixture(scope="module")
def registry(start_registry: StartRegistry) -> Registry:
    """The registry behind every cloud's names."""
    return start_registry(Config(auth="htpasswd", htpasswd=HTPASSWD + aws.HTPASSWD + clouds.HTPASSWD))


@pytest.fixture(scope="module")
def checking_aws() -> Iterator[AWS]:
    with moto(checking=True) as running:
        yield running


@pytest.fixture(scope="module")
def trusting_aws() -> Iterator[AWS]:
    with moto(checking=False) as running:
        yield running


@pytest.fixture
def web(tmp_path: Path, registry: Registry) -> Iterator[Internet]:
    with internet(tmp_path / "internet") as running:
        behind = forward(registry.url)
        running.routes[r"[0-9]{12}\.dkr\.ecr\..*"] = behind
        running.routes[GOOGLE] = behind
        yield running


def reach(web: Internet, running: AWS) -> dict[str, str]:
    web.routes[r"(sts|api\.ecr)\..*\.amazonaws\.com"] = forward(running.url)
    return {"aws_access_key_id": running.access_key, "aws_secret_access_key": running.secret_key}


def environment(web: Internet, **more: str) -> dict[str, str]:
    """A worker's environment, without pauses before retries and without metadata servers but for ``more``."""
    return {**web.environment, "AWS_EC2_METADATA_DISABLED": "true", "REGISTRY_IMAGE_WAIT_SCALE": "0", **more}


def image() -> images.Content:
    return images.image(images.layer(tar.archive(tar.file("hello", "world\n"))))


def round_trip(
    tmp_path: Path,
    source: Source,
    web: Internet,
    repository: str,
    *,
    params: Source | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Put, check and get an image with ``source``; get names it ``repository``. ``metadata`` is environment that leads
    to the machine's identity."""
    source = {"tag": "v1", "ca_certs": [web.authority.pem], **source}
    around = environment(web, **(metadata or {}))
    images.write_layout(tmp_path / "build" / "image", image())
    (tmp_path / "build" / "image" / "single-image-digest").write_text(image().digest)
    request = {"source": source, "params": {"image": "image", **(params or {})}}
    version = runner.put(request, tmp_path / "build", environment=around).version
    assert version == {"tag": "v1", "digest": image().digest}
    assert runner.check({"source": source}, around).versions == [version]
    got = runner.get({"source": source, "version": version}, tmp_path / "got", environment=around)
    assert got.version == version
    assert (tmp_path / "got" / "rootfs" / "hello").read_text() == "world\n"
    assert (tmp_path / "got" / "repository").read_text() == repository
    assert got.metadata["repository"] == repository


def fails(source: Source, web: Internet, *words: str, **more: str) -> str:
    """Assert that check fails with all ``words`` and repeats no secret. Returns stderr."""
    request = {"source": {"tag": "v1", "ca_certs": [web.authority.pem], **source}}
    stderr = runner.failed(runner.check(request, environment(web, **more)), *words)
    for secret in (CLIENT_SECRET, OIDC_TOKEN, clouds.REFRESH_TOKEN, clouds.GOOGLE_TOKEN, "PRIVATE KEY"):
        assert secret not in stderr
    return stderr


# -- Amazon -----------------------------------------------------------------------------------------------------------


def test_ecr_by_region_and_keys(tmp_path: Path, web: Internet, checking_aws: AWS, repository_name: str) -> None:
    source = {"repository": repository_name, "aws_region": REGION, **reach(web, checking_aws)}
    round_trip(tmp_path, source, web, f"{ECR}/{repository_name}")


def test_ecr_by_its_full_host_and_keys_of_the_environment(
    tmp_path: Path, web: Internet, checking_aws: AWS, repository_name: str
) -> None:
    keys = {name.upper(): value for name, value in reach(web, checking_aws).items()}
    round_trip(tmp_path, {"repository": f"{ECR}/{repository_name}"}, web, f"{ECR}/{repository_name}", metadata=keys)


def test_ecr_of_another_account_by_a_chain_of_roles(
    tmp_path: Path, web: Internet, checking_aws: AWS, registry: Registry, repository_name: str
) -> None:
    keys = reach(web, checking_aws)
    host = f"{OTHER_ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
    source = {"repository": repository_name, "aws_region": REGION, "aws_role_arns": [ROLE, FARTHER_ROLE], **keys}
    # The login succeeds; the registry does not know the other account's password and refuses it.
    assert "AWS" in fails(source, web, host, "401")


def test_ecr_of_the_source_s_account_by_one_role(
    tmp_path: Path, web: Internet, checking_aws: AWS, repository_name: str
) -> None:
    source = {
        "repository": repository_name,
        "aws_region": "eu-central-1",
        "aws_account_id": "210987654321",
        "aws_role_arn": ROLE,
        "aws_external_id": "ours",
        "aws_session_token": "",
        **reach(web, checking_aws),
    }
    host = "210987654321.dkr.ecr.eu-central-1.amazonaws.com"
    round_trip(tmp_path, source, web, f"{host}/{repository_name}")


def test_ecr_by_instance_role(tmp_path: Path, web: Internet, trusting_aws: AWS, repository_name: str) -> None:
    reach(web, trusting_aws)
    source = {"repository": repository_name, "aws_region": REGION}
    metadata = {"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": trusting_aws.url}
    round_trip(tmp_path, source, web, f"{ECR}/{repository_name}", metadata=metadata)


def test_ecr_by_an_identity_token(tmp_path: Path, web: Internet, trusting_aws: AWS, repository_name: str) -> None:
    reach(web, trusting_aws)
    source = {"repository": repository_name, "aws_region": REGION, "aws_role_arn": ROLE, "oidc_token": OIDC_TOKEN}
    round_trip(tmp_path, source, web, f"{ECR}/{repository_name}")


def test_put_creates_an_ecr_repository_when_asked(
    tmp_path: Path, web: Internet, checking_aws: AWS, repository_name: str
) -> None:
    source = {"repository": repository_name, "aws_region": REGION, **reach(web, checking_aws)}
    round_trip(tmp_path, source, web, f"{ECR}/{repository_name}", params={"create_repository": True})
    assert f"'{repository_name}'" in str(checking_aws.service("ecr")("describe_repositories"))


def test_a_wrong_role_fails_with_the_missing_permission(web: Internet, checking_aws: AWS) -> None:
    wrong = f"arn:aws:iam::{aws.ACCOUNT}:role/wrong"
    source = {"repository": "image", "aws_region": REGION, "aws_role_arn": wrong, **reach(web, checking_aws)}
    fails(source, web, f"assuming role '{wrong}'", "403 AccessDenied", "sts:AssumeRole")


def test_no_identity_for_ecr_lists_the_places_that_were_searched(web: Internet) -> None:
    fails({"repository": f"{ECR}/image"}, web, "no identity", "environment", "instance", "aws_access_key_id")
    assert {call.host for call in web.calls} == {ECR}
    assert not [call for call in web.calls if "authorization" in call.headers]


# -- Azure ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def azure(web: Internet, registry: Registry) -> Azure:
    fake = Azure()
    clouds.on(web, azure=fake)
    web.routes[r".*\.azurecr\.io"] = fake.registry(forward(registry.url))
    return fake


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"azure_client_id": CLIENT_ID},
        {
            "azure_client_id": CLIENT_ID,
            "azure_client_secret": CLIENT_SECRET,
            "azure_tenant_id": TENANT,
            "azure_environment": "AzurePublic",
        },
        {"azure_client_id": CLIENT_ID, "oidc_token": OIDC_TOKEN},
    ],
    ids=["system-assigned", "user-assigned", "secret", "token"],
)
def test_acr_by_each_identity(
    tmp_path: Path, web: Internet, azure: Azure, repository_name: str, fields: Mapping[str, str]
) -> None:
    repository = f"{ACR}/{repository_name}".replace("[", "").replace("]", "")
    with serving(azure.metadata) as machine:
        source = {"repository": repository, "azure_acr": True, **fields}
        round_trip(tmp_path, source, web, repository, metadata={"AZURE_POD_IDENTITY_AUTHORITY_HOST": machine})


def test_a_missing_managed_identity_is_named(web: Internet, azure: Azure) -> None:
    with serving(azure.metadata) as machine:
        source = {"repository": f"{ACR}/image", "azure_acr": True, "azure_client_id": "wrong"}
        fails(source, web, "managed identity 'wrong'", "Identity not found", AZURE_POD_IDENTITY_AUTHORITY_HOST=machine)


def test_an_unreachable_metadata_server_of_azure_is_explained(web: Internet, azure: Azure) -> None:
    source = {"repository": f"{ACR}/image", "azure_acr": True}
    with black_hole() as nowhere:
        stderr = fails(source, web, "no connection in ", "only on Azure", AZURE_POD_IDENTITY_AUTHORITY_HOST=nowhere)
    assert stderr.startswith("error: ")  # the library's own log is not shown


# -- Google -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def google(web: Internet) -> Google:
    fake = Google()
    clouds.on(web, google=fake)
    return fake


@pytest.fixture(scope="module")
def key() -> dict[str, str]:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    return {
        "type": "service_account",
        "client_email": SERVICE_ACCOUNT,
        "private_key": pem,
        "token_uri": "https://oauth2.googleapis.com/token",
    }


def test_google_by_the_machine_s_service_account(
    tmp_path: Path, web: Internet, google: Google, repository_name: str
) -> None:
    repository = f"{GOOGLE}/{repository_name}"
    with serving(google.metadata) as machine:
        host = machine.removeprefix("http://")
        round_trip(
            tmp_path, {"repository": repository, "gcp": {}}, web, repository, metadata={"GCE_METADATA_HOST": host}
        )


def test_google_by_a_key_as_text_or_as_an_object(
    tmp_path: Path, web: Internet, google: Google, repository_name: str, key: dict[str, str]
) -> None:
    repository = f"{GOOGLE}/{repository_name}"
    source = {"repository": repository, "gcp": {"service_account_json": json.dumps(key)}}
    round_trip(tmp_path, source, web, repository)
    source = {
        "repository": repository,
        "tag": "v1",
        "ca_certs": [web.authority.pem],
        "gcp": {"service_account_json": key},
    }
    assert runner.check({"source": source}, environment(web)).versions[0]["digest"] == image().digest


def test_google_by_an_identity_token_for_a_service_account(
    tmp_path: Path, web: Internet, google: Google, repository_name: str
) -> None:
    repository = f"{GOOGLE}/{repository_name}"
    gcp = {"workload_identity_provider": PROVIDER, "service_account": SERVICE_ACCOUNT}
    round_trip(tmp_path, {"repository": repository, "gcp": gcp, "oidc_token": OIDC_TOKEN}, web, repository)
    assert google.asked[:2] == [f"sts {PROVIDER}", f"iamcredentials {SERVICE_ACCOUNT}"]


def test_an_expired_identity_token_fails_with_google_s_reason(web: Internet, google: Google) -> None:
    source = {
        "repository": f"{GOOGLE}/image",
        "gcp": {"workload_identity_provider": PROVIDER},
        "oidc_token": "expired",
    }
    fails(source, web, "trading the identity token", "stale", "newer than the step")


def test_an_unreachable_metadata_server_of_google_is_explained(web: Internet) -> None:
    source = {"repository": f"{GOOGLE}/image", "gcp": {}}
    with black_hole() as nowhere:
        fails(source, web, "no connection in ", "only on Google Cloud", GCE_METADATA_HOST=nowhere[7:])


def test_no_other_registry_gets_google_s_token(web: Internet, google: Google) -> None:
    fails({"repository": "ghcr.io/org/image", "gcp": {}}, web, "ghcr.io/org/image", "not on Google")
    assert web.calls == []
    assert google.asked == []


# -- between clouds ---------------------------------------------------------------------------------------------------


def test_promotion_logs_in_to_each_end_by_its_own_cloud(
    tmp_path: Path, web: Internet, checking_aws: AWS, google: Google, registry: Registry, repository_name: str
) -> None:
    images.push(registry, repository_name, image(), "v1")
    target = f"{repository_name}-promoted"
    source = {
        "repository": f"{GOOGLE}/{target}",
        "tag": "v2",
        "ca_certs": [web.authority.pem],
        "gcp": {"workload_identity_provider": PROVIDER},
        "oidc_token": OIDC_TOKEN,
        **reach(web, checking_aws),
    }
    request = {"source": source, "params": {"from": f"{ECR}/{repository_name}:v1"}}
    version = runner.put(request, tmp_path, environment=environment(web)).version
    assert version == {"tag": "v2", "digest": image().digest}
    shown = {call.host for call in web.calls if OIDC_TOKEN in call.body.decode(errors="replace")}
    assert shown == {"sts.googleapis.com"}


def test_credentials_for_the_host_of_an_ecr_need_no_identity(
    tmp_path: Path, web: Internet, registry: Registry, repository_name: str
) -> None:
    images.push(registry, repository_name, image(), "v1")
    login = {"username": USERNAME, "password": PASSWORD}
    for fields in (login, {"auths": {ECR: login}}):
        source = {"repository": f"{ECR}/{repository_name}", "tag": "v1", "ca_certs": [web.authority.pem], **fields}
        assert runner.check({"source": source}, environment(web)).versions[0]["digest"] == image().digest
    assert {call.host for call in web.calls} == {ECR}
