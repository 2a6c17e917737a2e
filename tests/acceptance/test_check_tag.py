"""check of one tag, against a real registry."""

from __future__ import annotations

import uuid

import pytest

from tests.support import images, runner, tar
from tests.support.fakeregistry import fake_registry, status
from tests.support.registry import Registry
from tests.support.runner import failed

GONE = "sha256:" + "0" * 64
IMPATIENT = {"REGISTRY_IMAGE_WAIT_SCALE": "0"}


def push(registry: Registry, repository: str, *tags: str) -> str:
    """Push an image that is like no other."""
    content = images.image(images.layer(tar.archive(tar.file("unique", uuid.uuid4().hex))))
    return images.push(registry, repository, content, *tags)


def test_a_plain_check_is_one_head_request(registry: Registry, repository_name: str) -> None:
    digest = push(registry, repository_name, "latest")
    since = registry.mark()
    outcome = runner.check({"source": registry.source(repository_name)})
    assert outcome.versions == [{"tag": "latest", "digest": digest}]
    assert outcome.stderr == ""
    assert [(each.method, each.target) for each in registry.requests(since)] == [
        ("HEAD", f"/v2/{repository_name}/manifests/latest")
    ]


def test_an_unmoved_cursor_costs_nothing_more(registry: Registry, repository_name: str) -> None:
    digest = push(registry, repository_name, "latest")
    since = registry.mark()
    version = {"tag": "latest", "digest": digest}
    assert runner.check({"source": registry.source(repository_name), "version": version}).versions == [version]
    assert len(registry.requests(since)) == 1


def test_a_moved_tag_gives_the_old_digest_and_the_new(registry: Registry, repository_name: str) -> None:
    old = push(registry, repository_name, "1.0", "kept")
    new = push(registry, repository_name, "1.0")
    source = registry.source(repository_name, tag="1.0")
    expected = [{"tag": "1.0", "digest": old}, {"tag": "1.0", "digest": new}]
    # The answer's tag is the source's, whatever the cursor says.
    for cursor in ({"tag": "1.0", "digest": old}, {"digest": old}, {"tag": "other", "digest": old}):
        assert runner.check({"source": source, "version": cursor}).versions == expected


@pytest.mark.parametrize("digest", [GONE, "nonsense", "", None])
def test_an_old_digest_that_cannot_be_had_is_left_out(
    registry: Registry, repository_name: str, digest: str | None
) -> None:
    new = push(registry, repository_name, "latest")
    version = {"tag": "latest", "digest": digest}
    outcome = runner.check({"source": registry.source(repository_name), "version": version})
    assert outcome.versions == [{"tag": "latest", "digest": new}]


def test_a_missing_tag_is_no_version_and_near_names_on_stderr(registry: Registry, repository_name: str) -> None:
    push(registry, repository_name, "bookworm", "bullseye", "unrelated")
    outcome = runner.check({"source": registry.source(repository_name, tag="bookwrm")})
    assert outcome.versions == []
    assert f"{registry.host}/{repository_name} has no tag 'bookwrm': did you mean bookworm?" in outcome.stderr
    assert "unrelated" not in outcome.stderr


def test_a_missing_repository_is_no_version_and_said_on_stderr(registry: Registry, repository_name: str) -> None:
    outcome = runner.check({"source": registry.source(repository_name)})
    assert outcome.versions == []
    assert "there is no such repository" in outcome.stderr


def test_a_missing_tag_fails_where_that_is_wanted(registry: Registry, repository_name: str) -> None:
    push(registry, repository_name, "1.0")
    failed(
        runner.check({"source": registry.source(repository_name, tag="1.O", on_missing="fail")}), "did you mean 1.0?"
    )


def test_a_pinned_digest_is_answered_without_a_request(registry: Registry, repository_name: str) -> None:
    since = registry.mark()
    source = registry.source(repository_name, digest=GONE)
    assert runner.check({"source": source}).versions == [{"tag": "latest", "digest": GONE}]
    untagged = registry.source(repository_name, repository=f"{registry.host}/{repository_name}@{GONE}", tag=None)
    assert runner.check({"source": untagged}).versions == [{"digest": GONE}]
    assert registry.requests(since) == []


def test_a_tag_may_be_a_number_and_part_of_the_name(registry: Registry, repository_name: str) -> None:
    digest = push(registry, repository_name, "1.10")
    name = f"{registry.host}/{repository_name}"
    for request in (
        b'{"source": {"repository": "%s", "tag": 1.10}}' % name.encode(),
        b'{"source": {"repository": "%s:1.10"}}' % name.encode(),
    ):
        assert runner.run("check", request).versions == [{"tag": "1.10", "digest": digest}]


def test_basic_credentials_from_every_place_they_may_stand_in(
    htpasswd_registry: Registry, repository_name: str
) -> None:
    digest = push(htpasswd_registry, repository_name, "latest")
    pair = {"username": htpasswd_registry.username, "password": htpasswd_registry.password}
    bare = {"repository": f"{htpasswd_registry.host}/{repository_name}", "tag": "latest"}
    for login in (
        pair,
        {"auths": {htpasswd_registry.host: pair}},
        {"docker_config_json": {"auths": {f"https://{htpasswd_registry.host}": pair}}},
    ):
        assert runner.check({"source": bare | login}).versions == [{"tag": "latest", "digest": digest}]
    failed(runner.check({"source": bare}), htpasswd_registry.host)
    failed(runner.check({"source": bare | {"username": "concourse", "password": "wrong-one"}}), htpasswd_registry.host)


def test_the_token_flow(token_registry: Registry, repository_name: str) -> None:
    digest = push(token_registry, repository_name, "latest")
    source = token_registry.source(repository_name)
    assert runner.check({"source": source}).versions == [{"tag": "latest", "digest": digest}]
    anonymous = {key: value for key, value in source.items() if key not in ("username", "password")}
    assert runner.check({"source": anonymous}).versions == [{"tag": "latest", "digest": digest}]


def test_a_private_authority_is_trusted_by_ca_certs_alone(tls_registry: Registry, repository_name: str) -> None:
    digest = push(tls_registry, repository_name, "latest")
    source = tls_registry.source(repository_name)
    assert runner.check({"source": source}).versions == [{"tag": "latest", "digest": digest}]
    untrusted = {key: value for key, value in source.items() if key != "ca_certs"}
    failed(runner.check({"source": untrusted}, environment=IMPATIENT), "ca_certs")


def test_a_mirror_is_asked_first_and_the_origin_when_it_fails_or_knows_nothing(
    registry: Registry, htpasswd_registry: Registry, repository_name: str
) -> None:
    digest = push(htpasswd_registry, repository_name, "latest")
    pair = {"username": htpasswd_registry.username, "password": htpasswd_registry.password}
    source = {"repository": f"{htpasswd_registry.host}/{repository_name}", "tag": "latest", **pair}

    def mirrored(host: str) -> runner.Outcome:
        mirrors = {htpasswd_registry.host: {"host": host}}
        return runner.check({"source": {**source, "registry_mirrors": mirrors}}, environment=IMPATIENT)

    since = registry.mark()
    ignorant = mirrored(registry.host)
    assert ignorant.versions == [{"tag": "latest", "digest": digest}]
    assert "warning: mirror" in ignorant.stderr
    # The mirror was asked, and never heard of the origin's credentials.
    assert {(each.target, each.status) for each in registry.requests(since)} == {
        (f"/v2/{repository_name}/manifests/latest", 404)
    }
    broken = mirrored("127.0.0.1:1")
    assert broken.versions == [{"tag": "latest", "digest": digest}]
    assert "warning: mirror" in broken.stderr
    elsewhere = push(registry, repository_name, "latest")
    assert mirrored(registry.host).versions == [{"tag": "latest", "digest": elsewhere}]


def test_near_names_cost_one_request_whatever_the_list_is_like() -> None:
    content = images.image(images.layer(tar.archive(tar.file("a"))))
    with fake_registry() as registry:
        registry.page_size = 2
        registry.add("some/name", content, "1.0", "1.1", "1.2", "2.0")
        source = {"repository": f"{registry.host}/some/name", "tag": "1.O"}
        outcome = runner.check({"source": source})
        assert outcome.versions == []
        assert "did you mean 1.1, 1.0?" in outcome.stderr or "did you mean 1.0, 1.1?" in outcome.stderr
        assert len(registry.asked("GET", "/tags/list")) == 1
        registry.script("GET", "/tags/list", status(429, retry_after="100"), always=True)
        assert runner.check({"source": source}).versions == []
        assert len(registry.asked("GET", "/tags/list")) == 2


@pytest.mark.parametrize("mode", [{"tag_regex": "^nothing$"}, {"semver_constraint": "> 100"}])
def test_no_tag_to_follow_is_said_and_fails_where_that_is_wanted(
    registry: Registry, repository_name: str, mode: dict[str, object]
) -> None:
    push(registry, repository_name, "1.0.0")
    source = registry.source(repository_name, tag=None, **mode)
    outcome = runner.check({"source": source})
    assert outcome.versions == []
    assert "has no tag that this source follows" in outcome.stderr
    failed(runner.check({"source": {**source, "on_missing": "fail"}}), "has no tag that this source follows")
