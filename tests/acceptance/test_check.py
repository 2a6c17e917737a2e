"""check, as Concourse runs it, against real registries."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.support import images, parts, runner, tar
from tests.support.certificates import Authority
from tests.support.fakeregistry import fake_registry, status
from tests.support.proxy import tunnelling_proxy
from tests.support.registry import ANOTHER_NAME, Registry
from tests.support.runner import failed

FIRST = images.image(tar.archive(tar.file("version", b"1")))
SECOND = images.image(tar.archive(tar.file("version", b"2")))
OLD, NEW, NEWEST = (
    images.image(created=f"{year}-01-01T00:00:00Z", architecture="amd64", author=str(year))
    for year in (2022, 2023, 2024)
)
MISSING = "sha256:" + "0" * 64
NO_WAITING = {"REGISTRY_IMAGE_WAIT_SCALE": "0"}


def version(content: images.Content, tag: str = "latest") -> dict[str, str]:
    return {"tag": tag, "digest": content.digest}


def methods(registry: Registry, since: int) -> Counter[str]:
    """How many requests of each method the registry answered."""
    return Counter(request.method for request in registry.requests(since))


# -- one tag ----------------------------------------------------------------------------------------------------------


def test_the_first_check_answers_what_the_tag_is(any_registry: Registry, repository_name: str) -> None:
    images.push(any_registry, repository_name, FIRST, "latest")
    assert runner.check({"source": any_registry.source(repository_name)}).versions == [version(FIRST)]


def test_a_moved_tag_answers_old_then_new(any_registry: Registry, repository_name: str) -> None:
    images.push(any_registry, repository_name, FIRST, "latest")
    images.push(any_registry, repository_name, SECOND, "latest")
    request = {"source": any_registry.source(repository_name), "version": version(FIRST)}
    assert runner.check(request).versions == [version(FIRST), version(SECOND)]


def test_the_answer_has_the_source_s_tag_whatever_the_cursor_s(registry: Registry, repository_name: str) -> None:
    images.push(registry, repository_name, FIRST, "1.0")
    images.push(registry, repository_name, SECOND, "1.0")
    source = registry.source(repository_name, tag="1.0")
    for cursor in ({"digest": FIRST.digest}, version(FIRST, "other")):
        assert runner.check({"source": source, "version": cursor}).versions == [
            version(FIRST, "1.0"),
            version(SECOND, "1.0"),
        ]


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


@pytest.mark.parametrize("digest", [MISSING, "nonsense", "", None])
def test_a_cursor_without_a_digest_that_exists_is_left_out(
    digest: str | None, registry: Registry, repository_name: str
) -> None:
    images.push(registry, repository_name, FIRST, "latest")
    request = {"source": registry.source(repository_name), "version": {"tag": "latest", "digest": digest}}
    assert runner.check(request).versions == [version(FIRST)]


def test_a_null_version_is_a_first_check(registry: Registry, repository_name: str) -> None:
    images.push(registry, repository_name, FIRST, "latest")
    assert runner.check({"source": registry.source(repository_name), "version": None}).versions == [version(FIRST)]


@pytest.mark.parametrize("kind", ["oci", "docker"])
def test_an_index_is_answered_by_its_own_digest(kind: str, registry: Registry, repository_name: str) -> None:
    child = images.image(tar.archive(tar.file("f")), docker=kind == "docker")
    index = images.index(images.on(child, "amd64"), images.on(child, "arm64"), docker=kind == "docker")
    images.push(registry, repository_name, index, "latest")
    assert runner.check({"source": registry.source(repository_name)}).versions == [version(index)]


def test_a_tag_may_be_a_number_and_part_of_the_name(registry: Registry, repository_name: str) -> None:
    images.push(registry, repository_name, FIRST, "1.10")
    name = f"{registry.host}/{repository_name}"
    for request in (
        b'{"source": {"repository": "%s", "tag": 1.10}}' % name.encode(),
        b'{"source": {"repository": "%s:1.10"}}' % name.encode(),
    ):
        assert runner.run("check", request).versions == [version(FIRST, "1.10")]


def test_a_pinned_digest_is_answered_without_a_request(registry: Registry, repository_name: str) -> None:
    since = registry.mark()
    source = registry.source(repository_name, digest=MISSING)
    assert runner.check({"source": source}).versions == [{"tag": "latest", "digest": MISSING}]
    untagged = registry.source(repository_name, repository=f"{registry.host}/{repository_name}@{MISSING}", tag=None)
    assert runner.check({"source": untagged}).versions == [{"digest": MISSING}]
    assert registry.requests(since) == []


# -- what is missing --------------------------------------------------------------------------------------------------


def test_a_missing_tag_is_no_version_and_stderr_names_similar_ones(
    any_registry: Registry, repository_name: str
) -> None:
    images.push(any_registry, repository_name, FIRST, "bookworm", "bullseye", "unrelated")
    outcome = runner.check({"source": any_registry.source(repository_name, tag="bookwrm")})
    assert outcome.versions == []
    assert f"{any_registry.host}/{repository_name} has no tag 'bookwrm': did you mean bookworm?" in outcome.stderr
    assert "unrelated" not in outcome.stderr


def test_a_tag_that_is_listed_without_a_manifest_is_not_its_own_suggestion() -> None:
    with fake_registry() as registry:
        registry.add("some/name", FIRST, "1.0", "1.1")
        registry.repositories["some/name"].tags["1.0"] = MISSING
        outcome = runner.check({"source": {"repository": f"{registry.host}/some/name", "tag": "1.0"}})
    assert outcome.versions == []
    assert "lists the tag '1.0', but has no image" in outcome.stderr
    assert "did you mean" not in outcome.stderr


def test_a_missing_repository_is_no_version_and_stderr_says_so(any_registry: Registry, repository_name: str) -> None:
    outcome = runner.check({"source": any_registry.source(repository_name)})
    assert outcome.versions == []
    assert "there is no such repository" in outcome.stderr


def test_a_missing_tag_fails_with_on_missing_fail(registry: Registry, repository_name: str) -> None:
    images.push(registry, repository_name, FIRST, "1.0")
    source = registry.source(repository_name, tag="1.O", on_missing="fail")
    failed(runner.check({"source": source}), "did you mean 1.0?")


def test_similar_names_cost_one_request() -> None:
    with fake_registry() as registry:
        registry.page_size = 2
        registry.add("some/name", FIRST, "1.0", "1.1", "1.2", "2.0")
        source = {"repository": f"{registry.host}/some/name", "tag": "1.O"}
        outcome = runner.check({"source": source})
        assert outcome.versions == []
        assert "did you mean 1.1, 1.0?" in outcome.stderr or "did you mean 1.0, 1.1?" in outcome.stderr
        assert len(registry.asked("GET", "/tags/list")) == 1
        registry.script("GET", "/tags/list", status(429, retry_after="100"), always=True)
        assert runner.check({"source": source}).versions == []
        assert len(registry.asked("GET", "/tags/list")) == 2


@pytest.mark.parametrize("mode", [{"tag_regex": "^nothing$"}, {"semver_constraint": "> 100"}])
def test_no_tag_to_follow_is_a_note_or_fails_with_on_missing_fail(
    registry: Registry, repository_name: str, mode: dict[str, object]
) -> None:
    images.push(registry, repository_name, FIRST, "1.0.0")
    source = registry.source(repository_name, tag=None, **mode)
    outcome = runner.check({"source": source})
    assert outcome.versions == []
    assert "has no tag that this source follows" in outcome.stderr
    failed(runner.check({"source": {**source, "on_missing": "fail"}}), "has no tag that this source follows")


# -- requests and credentials -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cursor", [None, version(FIRST)], ids=["first", "unmoved"])
def test_a_quiet_check_is_one_head_request(
    cursor: dict[str, str] | None, registry: Registry, repository_name: str
) -> None:
    images.push(registry, repository_name, FIRST, "latest")
    since = registry.mark()
    outcome = runner.check({"source": registry.source(repository_name), "version": cursor})
    assert (outcome.versions, outcome.stderr) == ([version(FIRST)], "")
    requests = [(request.method, request.target) for request in registry.requests(since)]
    assert requests == [("HEAD", f"/v2/{repository_name}/manifests/latest")]


def test_a_challenge_is_answered_once(token_registry: Registry, repository_name: str) -> None:
    images.push(token_registry, repository_name, FIRST, "latest")
    before = token_registry.mark()
    runner.check({"source": token_registry.source(repository_name)})
    seen = [(request.method, request.status) for request in token_registry.requests(before)]
    assert seen == [("GET", 401), ("HEAD", 200)]


def test_an_anonymous_check_works_where_the_token_server_allows_it(
    token_registry: Registry, repository_name: str
) -> None:
    images.push(token_registry, repository_name, FIRST, "latest")
    source = {"repository": f"{token_registry.host}/{repository_name}", "tag": "latest"}
    assert runner.check({"source": source}).versions == [version(FIRST)]


def test_credentials_are_read_from_each_field(htpasswd_registry: Registry, repository_name: str) -> None:
    images.push(htpasswd_registry, repository_name, FIRST, "latest")
    pair = {"username": htpasswd_registry.username, "password": htpasswd_registry.password}
    bare = {"repository": f"{htpasswd_registry.host}/{repository_name}", "tag": "latest"}
    for login in (
        pair,
        {"auths": {htpasswd_registry.host: pair}},
        {"docker_config_json": {"auths": {f"https://{htpasswd_registry.host}": pair}}},
    ):
        assert runner.check({"source": bare | login}).versions == [version(FIRST)]
    failed(runner.check({"source": bare}), htpasswd_registry.host)


@pytest.mark.parametrize("flavour", ["htpasswd_registry", "token_registry"])
def test_a_wrong_password_is_refused_and_not_shown(
    flavour: str, repository_name: str, request: pytest.FixtureRequest
) -> None:
    chosen: Registry = request.getfixturevalue(flavour)
    source = chosen.source(repository_name, password="hunter2-hunter2")
    message = failed(runner.check({"source": source}), chosen.host)
    assert "hunter2" not in message


def test_a_private_authority_is_trusted_by_ca_certs_alone(tls_registry: Registry, repository_name: str) -> None:
    images.push(tls_registry, repository_name, FIRST, "latest")
    source = tls_registry.source(repository_name)
    assert runner.check({"source": source}).versions == [version(FIRST)]
    del source["ca_certs"]
    failed(runner.check({"source": source}, NO_WAITING), "ca_certs", tls_registry.host)


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


def test_a_machine_that_trusts_only_others_does_not_trust_the_registry(
    tls_registry: Registry, repository_name: str, tmp_path: Path
) -> None:
    parts.need_root()
    store = tmp_path / "certs"
    stranger = Authority(store, "A stranger")
    (store / "ca-certificates.crt").write_bytes(stranger.certificate.read_bytes())
    source = {"repository": f"{tls_registry.host}/{repository_name}", "tag": "latest"}
    outcome = runner.run("check", {"source": source}, wrapper=with_mounted(store, "/etc/ssl/certs"))
    failed(outcome, "ca_certs")


def with_mounted(directory: Path, point: str) -> list[str]:
    """A wrapper that runs a command with ``directory`` mounted at ``point`` in its own mount namespace."""
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


def test_a_netrc_does_not_override_the_source(
    htpasswd_registry: Registry, repository_name: str, tmp_path: Path
) -> None:
    images.push(htpasswd_registry, repository_name, FIRST, "latest")
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login mallory password wrong\n")
    netrc.chmod(0o600)
    request = {"source": htpasswd_registry.source(repository_name)}
    assert runner.check(request, {"HOME": str(tmp_path), "NETRC": str(netrc)}).versions == [version(FIRST)]


def test_a_netrc_s_password_is_not_used(htpasswd_registry: Registry, repository_name: str, tmp_path: Path) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text(f'machine 127.0.0.1 login {htpasswd_registry.username} password "{htpasswd_registry.password}"\n')
    netrc.chmod(0o600)
    source = {"repository": f"{htpasswd_registry.host}/{repository_name}", "tag": "latest"}
    outcome = runner.check({"source": source}, {"HOME": str(tmp_path), "NETRC": str(netrc)})
    failed(outcome, htpasswd_registry.host)


def test_a_mirror_is_asked_first_and_the_origin_if_it_fails_or_has_no_version(
    registry: Registry, htpasswd_registry: Registry, repository_name: str
) -> None:
    images.push(htpasswd_registry, repository_name, FIRST, "latest")
    pair = {"username": htpasswd_registry.username, "password": htpasswd_registry.password}
    source = {"repository": f"{htpasswd_registry.host}/{repository_name}", "tag": "latest", **pair}

    def mirrored(host: str) -> runner.Outcome:
        mirrors = {htpasswd_registry.host: {"host": host}}
        return runner.check({"source": {**source, "registry_mirrors": mirrors}}, NO_WAITING)

    since = registry.mark()
    empty = mirrored(registry.host)
    assert empty.versions == [version(FIRST)]
    assert "warning: mirror" in empty.stderr
    # One request without credentials: the mirror does not get the origin's.
    assert {(request.target, request.status) for request in registry.requests(since)} == {
        (f"/v2/{repository_name}/manifests/latest", 404)
    }
    broken = mirrored("127.0.0.1:1")
    assert broken.versions == [version(FIRST)]
    assert "warning: mirror" in broken.stderr
    images.push(registry, repository_name, SECOND, "latest")
    assert mirrored(registry.host).versions == [version(SECOND)]


# -- all versions, and tags that match an expression ------------------------------------------------------------------


def test_hundreds_of_tags_are_looked_up_once_and_with_a_cursor_only_two(
    registry: Registry, repository_name: str
) -> None:
    images.push(registry, repository_name, OLD, "1.0.0", *(f"1.{minor}" for minor in range(150)))
    images.push(registry, repository_name, NEW, "1.150", "1.150.0", "latest")
    images.push(registry, repository_name, NEWEST, *(f"sha-{number}" for number in range(150)), "2.0-rc.1")
    source = registry.source(repository_name, tag=None)

    since = registry.mark()
    assert runner.check({"source": source}).versions == [version(OLD, "1.0.0"), version(NEW, "1.150.0")]
    assert methods(registry, since) == {"GET": 1, "HEAD": 154}

    since = registry.mark()
    cursor = version(NEW, "1.150.0")
    assert runner.check({"source": source, "version": cursor}).versions == [cursor]
    assert methods(registry, since) == {"GET": 1, "HEAD": 2}

    since = registry.mark()
    source |= {"pre_releases": True, "semver_constraint": ">1.150-0"}
    assert runner.check({"source": source}).versions == [version(NEWEST, "2.0-rc.1")]
    assert methods(registry, since) == {"GET": 1, "HEAD": 1}


def test_a_variant_is_followed_on_every_kind_of_registry(any_registry: Registry, repository_name: str) -> None:
    images.push(any_registry, repository_name, OLD, "1.0-alpine", "1-alpine")
    images.push(any_registry, repository_name, NEW, "2.0-alpine", "2.0.1-rc.1-alpine")
    images.push(any_registry, repository_name, NEWEST, "alpine", "3.0")
    source = any_registry.source(repository_name, tag=None, variant="alpine")
    expected = [version(OLD, "1.0-alpine"), version(NEW, "2.0-alpine"), version(NEWEST, "alpine")]
    assert runner.check({"source": source}).versions == expected


def test_matching_tags_are_sorted_by_creation_time(registry: Registry, repository_name: str) -> None:
    both = images.index(images.on(NEW, "amd64"), images.on(NEWEST, "arm64"))
    images.push(registry, repository_name, both, "a")
    images.push(registry, repository_name, OLD, "b", "z-not")
    images.push(registry, repository_name, NEWEST, "c")
    source = registry.source(repository_name, tag=None, tag_regex="^.$", created_at_sort=True)
    amd64 = runner.check({"source": source | {"platform": "linux/amd64"}}).versions
    assert amd64 == [version(OLD, "b"), version(both, "a"), version(NEWEST, "c")]
    platform = {"os": "linux", "architecture": "s390x"}
    # An index without the platform has no time, and comes first, as a Helm chart does.
    s390x = runner.check({"source": source | {"platform": platform}}).versions
    assert s390x == [version(both, "a"), version(OLD, "b"), version(NEWEST, "c")]


def test_no_matching_tag_is_no_version(registry: Registry, repository_name: str) -> None:
    images.push(registry, repository_name, OLD, "main")
    source = registry.source(repository_name, tag=None)
    assert runner.check({"source": source}).versions == []
    assert runner.check({"source": source | {"tag_regex": "^v"}}).versions == []


MODES: dict[str, dict[str, object]] = {
    "tag": {"tag": "1"},
    "versions": {"tag": None},
    "expression": {"tag": None, "tag_regex": "^x", "sort": "created"},
}


@pytest.mark.parametrize("exists", [True, False], ids=["no tag", "no repository"])
@pytest.mark.parametrize("on_missing", [None, "empty", "fail"])
@pytest.mark.parametrize("mode", MODES)
def test_what_is_missing_is_an_error_or_no_version_as_the_source_wants(
    registry: Registry, repository_name: str, mode: str, on_missing: str | None, exists: bool
) -> None:
    if exists:
        images.push(registry, repository_name, OLD, "edge")
    # Where nothing is said, as in the registry-image resource.
    fails = on_missing == "fail" or (on_missing is None and not exists and mode != "tag")
    outcome = runner.check({"source": registry.source(repository_name, on_missing=on_missing, **MODES[mode])})
    if fails:
        failed(outcome, f"{registry.host}/{repository_name}")
    else:
        assert outcome.versions == []
        assert f"{registry.host}/{repository_name}" in outcome.stderr


@pytest.mark.parametrize("mode", MODES)
def test_a_repository_that_the_mirror_lacks_is_looked_for_at_the_origin(repository_name: str, mode: str) -> None:
    with fake_registry() as mirror, fake_registry() as origin:
        origin.add(repository_name, OLD, "1", "x")
        source = {
            "repository": f"{origin.host}/{repository_name}",
            "registry_mirrors": {origin.host: {"host": mirror.url}},
            "on_missing": "empty",
            **MODES[mode],
        }
        tag = "x" if mode == "expression" else "1"
        assert runner.check({"source": source}).versions == [version(OLD, tag)]
        assert mirror.log


def test_wrong_credentials_fail_with_the_repository_and_the_status(
    htpasswd_registry: Registry, repository_name: str
) -> None:
    source = htpasswd_registry.source(repository_name, tag=None, password="n0t-the-password")
    failed(runner.check({"source": source}), f"{htpasswd_registry.host}/{repository_name}", "401")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("semver_constraint", "newest", "source.semver_constraint: 'newest'"),
        ("tag_regex", "^(?!rc)", "source.tag_regex: '^(?!rc)' is not a valid RE2 expression"),
        ("exclude_regex", "[", "source.exclude_regex"),
    ],
)
def test_an_invalid_expression_is_refused_without_a_request(
    field: str, value: str, message: str, registry: Registry, repository_name: str
) -> None:
    images.push(registry, repository_name, OLD, "1.0")
    since = registry.mark()
    failed(runner.check({"source": registry.source(repository_name, tag=None) | {field: value}}), message)
    assert methods(registry, since) == {}
