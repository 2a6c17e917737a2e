"""docker-registry in each configuration that the tests use."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import Message

import pytest

from tests.support import images, parts
from tests.support.registry import Config, Registry


def status_of(url: str, authorization: str | None = None, registry: Registry | None = None) -> tuple[int, Message]:
    """The status and headers of the answer to a GET."""
    request = urllib.request.Request(url, headers={"Authorization": authorization} if authorization else {})  # noqa: S310
    context = ssl.create_default_context(cafile=str(registry.ca)) if registry and registry.ca else None
    try:
        with urllib.request.urlopen(request, context=context, timeout=60) as answer:  # noqa: S310
            return answer.status, answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers


def basic(registry: Registry) -> str:
    return "Basic " + base64.b64encode(f"{registry.username}:{registry.password}".encode()).decode()


def test_the_open_registry_answers_and_logs_what_it_was_asked(registry: Registry) -> None:
    before = registry.mark()
    assert status_of(f"{registry.url}/v2/some/name/tags/list")[0] == 404
    assert [(r.method, r.target, r.status) for r in registry.requests(before)] == [
        ("GET", "/v2/some/name/tags/list", 404)
    ]


def test_the_htpasswd_registry_wants_its_password(htpasswd_registry: Registry) -> None:
    url = f"{htpasswd_registry.url}/v2/"
    status, headers = status_of(url)
    assert (status, headers["WWW-Authenticate"]) == (401, 'Basic realm="tests"')
    assert status_of(url, basic(htpasswd_registry))[0] == 200


def test_the_tls_registry_is_trusted_by_its_authority_only(tls_registry: Registry) -> None:
    assert status_of(f"{tls_registry.url}/v2/", registry=tls_registry)[0] == 200
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        status_of(f"{tls_registry.url}/v2/")


def test_the_token_registry_accepts_the_tokens_of_its_server(token_registry: Registry) -> None:
    url = f"{token_registry.url}/v2/some/name/tags/list"
    status, headers = status_of(url)
    assert status == 401
    assert headers["WWW-Authenticate"].startswith(f'Bearer realm="{token_registry.tokens.url}",service="tests"')  # type: ignore[union-attr]
    token = token_of(token_registry, "repository:some/name:pull")
    assert status_of(url, f"Bearer {token}")[0] == 404


def test_the_token_server_lets_strangers_pull_only(token_registry: Registry) -> None:
    token = token_of(token_registry, "repository:some/name:pull,push")
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert claims["access"] == [{"type": "repository", "name": "some/name", "actions": ["pull"]}]


def token_of(registry: Registry, scope: str) -> str:
    assert registry.tokens is not None
    with urllib.request.urlopen(f"{registry.tokens.url}?service=tests&scope={scope}", timeout=60) as answer:  # noqa: S310
        return str(json.load(answer)["token"])


def test_a_pull_through_cache_asks_its_origin(registry: Registry, start_registry: Callable[[Config], Registry]) -> None:
    cache = start_registry(Config(proxy=registry.url))
    before = registry.mark()
    assert status_of(f"{cache.url}/v2/some/name/manifests/latest")[0] == 404
    assert "/v2/some/name/manifests/latest" in [request.target for request in registry.requests(before)]


@pytest.mark.parametrize("flavour", ["registry", "htpasswd_registry", "tls_registry", "token_registry"])
@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
def test_an_index_pushed_by_the_tests_is_there(
    flavour: str, docker: bool, repository_name: str, request: pytest.FixtureRequest
) -> None:
    chosen: Registry = request.getfixturevalue(flavour)
    tar = bytes(10240)
    inner = images.image(images.layer(tar), images.layer(tar, "zstd"), images.layer(tar, "none"), docker=docker)
    outer = images.index(images.on(inner, "amd64"), images.on(inner, "arm64", variant="v8"), docker=docker)
    assert images.push(chosen, repository_name, outer, "latest", "1.0") == outer.digest
    assert tags_of(chosen, repository_name) == ["1.0", "latest"]


def tags_of(registry: Registry, repository: str) -> list[str]:
    """The tags that skopeo lists."""
    command = [parts.need("skopeo"), "list-tags", "--tls-verify=false", f"docker://{registry.host}/{repository}"]
    if registry.username:
        command += [f"--creds={registry.username}:{registry.password}"]
    found = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return sorted(json.loads(found.stdout)["Tags"])
