"""check of one tag, as Concourse runs it, against real registries."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support import images, parts, runner, tar
from tests.support.certificates import Authority
from tests.support.proxy import tunnelling_proxy
from tests.support.registry import ANOTHER_NAME, Registry

FLAVOURS = ("registry", "htpasswd_registry", "tls_registry", "token_registry")

FIRST = images.image(tar.archive(tar.file("version", b"1")))
SECOND = images.image(tar.archive(tar.file("version", b"2")))


@pytest.fixture(params=FLAVOURS)
def any_registry(request: pytest.FixtureRequest) -> Registry:
    """Each kind of registry in turn."""
    chosen: Registry = request.getfixturevalue(request.param)
    return chosen


def version(content: images.Content, tag: str = "latest") -> dict[str, str]:
    return {"tag": tag, "digest": content.digest}


def test_the_first_check_answers_what_the_tag_is(any_registry: Registry, repository_name: str) -> None:
    images.push(any_registry, repository_name, FIRST, "latest")
    assert runner.check({"source": any_registry.source(repository_name)}).versions == [version(FIRST)]


def test_a_moved_tag_answers_old_then_new(any_registry: Registry, repository_name: str) -> None:
    images.push(any_registry, repository_name, FIRST, "latest")
    images.push(any_registry, repository_name, SECOND, "latest")
    request = {"source": any_registry.source(repository_name), "version": version(FIRST)}
    assert runner.check(request).versions == [version(FIRST), version(SECOND)]


def test_a_tag_that_did_not_move_answers_itself(any_registry: Registry, repository_name: str) -> None:
    images.push(any_registry, repository_name, FIRST, "latest")
    request = {"source": any_registry.source(repository_name), "version": version(FIRST)}
    assert runner.check(request).versions == [version(FIRST)]


def test_a_version_that_was_deleted_is_not_answered(registry: Registry, repository_name: str) -> None:
    images.push(registry, repository_name, FIRST, "latest")
    images.push(registry, repository_name, SECOND, "latest")
    images.delete(registry, repository_name, FIRST.digest)
    request = {"source": registry.source(repository_name), "version": version(FIRST)}
    assert runner.check(request).versions == [version(SECOND)]


@pytest.mark.parametrize("kind", ["oci", "docker"])
def test_an_index_is_answered_by_its_own_digest(kind: str, registry: Registry, repository_name: str) -> None:
    child = images.image(tar.archive(tar.file("f")), docker=kind == "docker")
    index = images.index(images.on(child, "amd64"), images.on(child, "arm64"), docker=kind == "docker")
    images.push(registry, repository_name, index, "latest")
    assert runner.check({"source": registry.source(repository_name)}).versions == [version(index)]


def test_a_missing_tag_is_no_version(any_registry: Registry, repository_name: str) -> None:
    images.push(any_registry, repository_name, FIRST, "latest")
    assert runner.check({"source": any_registry.source(repository_name, tag="other")}).versions == []


def test_a_missing_repository_is_no_version(any_registry: Registry, repository_name: str) -> None:
    assert runner.check({"source": any_registry.source(repository_name)}).versions == []


def test_a_null_version_is_a_first_check(registry: Registry, repository_name: str) -> None:
    images.push(registry, repository_name, FIRST, "latest")
    assert runner.check({"source": registry.source(repository_name), "version": None}).versions == [version(FIRST)]


@pytest.mark.parametrize(("cursor", "asked"), [(None, ["HEAD"]), (FIRST, ["HEAD"])], ids=["first", "unmoved"])
def test_one_head_is_all_that_a_quiet_check_costs(
    cursor: images.Content | None, asked: list[str], registry: Registry, repository_name: str
) -> None:
    images.push(registry, repository_name, FIRST, "latest")
    before = registry.mark()
    runner.check({"source": registry.source(repository_name), "version": version(cursor) if cursor else None})
    assert [request.method for request in registry.requests(before)] == asked


def test_a_challenge_is_answered_once(token_registry: Registry, repository_name: str) -> None:
    images.push(token_registry, repository_name, FIRST, "latest")
    before = token_registry.mark()
    runner.check({"source": token_registry.source(repository_name)})
    seen = [(request.method, request.status) for request in token_registry.requests(before)]
    assert seen == [("HEAD", 401), ("HEAD", 200)]


def test_a_stranger_may_check_where_the_token_server_lets_him(token_registry: Registry, repository_name: str) -> None:
    images.push(token_registry, repository_name, FIRST, "latest")
    source = {"repository": f"{token_registry.host}/{repository_name}", "tag": "latest"}
    assert runner.check({"source": source}).versions == [version(FIRST)]


@pytest.mark.parametrize("flavour", ["htpasswd_registry", "token_registry"])
def test_a_wrong_password_is_refused_and_not_shown(
    flavour: str, repository_name: str, request: pytest.FixtureRequest
) -> None:
    chosen: Registry = request.getfixturevalue(flavour)
    source = chosen.source(repository_name, password="hunter2-hunter2")
    message = runner.failed(runner.check({"source": source}), chosen.host)
    assert "hunter2" not in message


def test_an_unknown_authority_is_refused_and_ca_certs_named(tls_registry: Registry, repository_name: str) -> None:
    source = {"repository": f"{tls_registry.host}/{repository_name}", "tag": "latest"}
    runner.failed(runner.check({"source": source}), "ca_certs", tls_registry.host)


def test_the_machine_s_trust_store_is_trusted(tls_registry: Registry, repository_name: str, tmp_path: Path) -> None:
    """As on a worker, which mounts its own certificates at /etc/ssl/certs."""
    parts.need_root()
    assert tls_registry.ca is not None
    images.push(tls_registry, repository_name, FIRST, "latest")
    store = tmp_path / "certs"
    store.mkdir()
    (store / "ca-certificates.crt").write_bytes(tls_registry.ca.read_bytes())
    (store / "worker.pem").write_bytes(tls_registry.ca.read_bytes())
    subprocess.run([parts.need("openssl"), "rehash", str(store)], check=True)
    source = {"repository": f"{tls_registry.host}/{repository_name}", "tag": "latest"}
    outcome = runner.run("check", {"source": source}, wrapper=with_mounted(store, "/etc/ssl/certs"))
    assert outcome.versions == [version(FIRST)]


def test_a_machine_that_trusts_others_only_does_not_trust_the_registry(
    tls_registry: Registry, repository_name: str, tmp_path: Path
) -> None:
    parts.need_root()
    store = tmp_path / "certs"
    stranger = Authority(store, "A stranger")
    (store / "ca-certificates.crt").write_bytes(stranger.certificate.read_bytes())
    source = {"repository": f"{tls_registry.host}/{repository_name}", "tag": "latest"}
    outcome = runner.run("check", {"source": source}, wrapper=with_mounted(store, "/etc/ssl/certs"))
    runner.failed(outcome, "ca_certs")


def with_mounted(directory: Path, point: str) -> list[str]:
    """A command that runs another with ``directory`` mounted at ``point``, for it alone."""
    script = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
    environment = ["env", f"PATH={parts.SYSTEM_PATH}"]
    return [
        parts.need("unshare"),
        "--mount",
        *environment,
        "sh",
        "-c",
        script,
        "sh",
        str(directory),
        point,
        "env",
        "-i",
    ]


def test_proxies_come_from_lower_case_variables(tls_registry: Registry, repository_name: str) -> None:
    images.push(tls_registry, repository_name, FIRST, "latest")
    source = tls_registry.source(repository_name, repository=f"{ANOTHER_NAME}/{repository_name}")
    with tunnelling_proxy({f"{ANOTHER_NAME}:443": tls_registry.host}) as proxy:
        outcome = runner.check({"source": source}, {"https_proxy": proxy.url})
    assert outcome.versions == [version(FIRST)]
    assert proxy.asked == [f"{ANOTHER_NAME}:443"]


def test_no_proxy_is_honoured(tls_registry: Registry, repository_name: str) -> None:
    images.push(tls_registry, repository_name, FIRST, "latest")
    with tunnelling_proxy({}) as proxy:
        outcome = runner.check(
            {"source": tls_registry.source(repository_name)}, {"https_proxy": proxy.url, "no_proxy": "127.0.0.1"}
        )
    assert outcome.versions == [version(FIRST)]
    assert proxy.asked == []


def test_a_netrc_plays_no_part(htpasswd_registry: Registry, repository_name: str, tmp_path: Path) -> None:
    images.push(htpasswd_registry, repository_name, FIRST, "latest")
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login mallory password wrong\n")
    netrc.chmod(0o600)
    request = {"source": htpasswd_registry.source(repository_name)}
    assert runner.check(request, {"HOME": str(tmp_path), "NETRC": str(netrc)}).versions == [version(FIRST)]


def test_a_netrc_never_lends_its_password(htpasswd_registry: Registry, repository_name: str, tmp_path: Path) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text(f'machine 127.0.0.1 login {htpasswd_registry.username} password "{htpasswd_registry.password}"\n')
    netrc.chmod(0o600)
    source = {"repository": f"{htpasswd_registry.host}/{repository_name}", "tag": "latest"}
    outcome = runner.check({"source": source}, {"HOME": str(tmp_path), "NETRC": str(netrc)})
    runner.failed(outcome, htpasswd_registry.host)


def test_the_environment_and_the_working_directory_change_nothing(
    registry: Registry, repository_name: str, tmp_path: Path
) -> None:
    images.push(registry, repository_name, FIRST, "latest")
    trap = tmp_path / "requests.py"
    trap.write_text("raise SystemExit('a module of the environment was imported')\n")
    environment = {"PYTHONPATH": str(tmp_path), "PYTHONHOME": str(tmp_path), "LC_ALL": "C", "PYTHONSTARTUP": str(trap)}
    assert runner.check({"source": registry.source(repository_name)}, environment).versions == [version(FIRST)]
