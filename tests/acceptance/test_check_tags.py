"""check of all versions, and of tags that match an expression, as Concourse runs it, against real registries."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.support import images, runner
from tests.support.registry import Registry
from tests.support.runner import failed

OLD, NEW, NEWEST = (
    images.image(created=f"{year}-01-01T00:00:00Z", architecture="amd64", author=str(year))
    for year in (2022, 2023, 2024)
)


def version(content: images.Content, tag: str) -> dict[str, str]:
    return {"tag": tag, "digest": content.digest}


def asked(registry: Registry, since: int) -> Counter[str]:
    """How many requests of each method the registry answered."""
    return Counter(each.method for each in registry.requests(since))


def test_hundreds_of_tags_are_looked_up_once_and_with_a_cursor_hardly_at_all(
    registry: Registry, repository_name: str
) -> None:
    images.push(registry, repository_name, OLD, "1.0.0", *(f"1.{minor}" for minor in range(150)))
    images.push(registry, repository_name, NEW, "1.150", "1.150.0", "latest")
    images.push(registry, repository_name, NEWEST, *(f"sha-{number}" for number in range(150)), "2.0-rc.1")
    source = registry.source(repository_name, tag=None)

    since = registry.mark()
    assert runner.check({"source": source}).versions == [version(OLD, "1.0.0"), version(NEW, "1.150.0")]
    assert asked(registry, since) == {"GET": 1, "HEAD": 154}

    since = registry.mark()
    cursor = version(NEW, "1.150.0")
    assert runner.check({"source": source, "version": cursor}).versions == [cursor]
    assert asked(registry, since) == {"GET": 1, "HEAD": 2}

    since = registry.mark()
    source |= {"pre_releases": True, "semver_constraint": ">1.150-0"}
    assert runner.check({"source": source}).versions == [version(NEWEST, "2.0-rc.1")]
    assert asked(registry, since) == {"GET": 1, "HEAD": 1}


@pytest.mark.parametrize("flavour", ["registry", "htpasswd_registry", "tls_registry", "token_registry"])
def test_a_variant_is_followed_on_every_kind_of_registry(
    flavour: str, repository_name: str, request: pytest.FixtureRequest
) -> None:
    registry: Registry = request.getfixturevalue(flavour)
    images.push(registry, repository_name, OLD, "1.0-alpine", "1-alpine")
    images.push(registry, repository_name, NEW, "2.0-alpine", "2.0.1-rc.1-alpine")
    images.push(registry, repository_name, NEWEST, "alpine", "3.0")
    source = registry.source(repository_name, tag=None, variant="alpine")
    expected = [version(OLD, "1.0-alpine"), version(NEW, "2.0-alpine"), version(NEWEST, "alpine")]
    assert runner.check({"source": source}).versions == expected


def test_tags_that_match_come_in_the_order_of_their_creation(registry: Registry, repository_name: str) -> None:
    both = images.index(images.on(NEW, "amd64"), images.on(NEWEST, "arm64"))
    images.push(registry, repository_name, both, "a")
    images.push(registry, repository_name, OLD, "b", "z-not")
    images.push(registry, repository_name, NEWEST, "c")
    source = registry.source(repository_name, tag=None, tag_regex="^.$", created_at_sort=True)
    amd64 = runner.check({"source": source | {"platform": "linux/amd64"}}).versions
    assert amd64 == [version(OLD, "b"), version(both, "a"), version(NEWEST, "c")]
    platform = {"os": "linux", "architecture": "s390x"}
    failed(runner.check({"source": source | {"platform": platform}}), "linux/s390x", "linux/amd64, linux/arm64")


def test_nothing_that_matches_is_no_version(registry: Registry, repository_name: str) -> None:
    images.push(registry, repository_name, OLD, "main")
    source = registry.source(repository_name, tag=None)
    assert runner.check({"source": source}).versions == []
    assert runner.check({"source": source | {"tag_regex": "^v"}}).versions == []


def test_a_repository_that_does_not_exist_is_an_error(registry: Registry, repository_name: str) -> None:
    outcome = runner.check({"source": registry.source(repository_name, tag=None)})
    failed(outcome, f"{registry.host}/{repository_name}", "404")


def test_wrong_credentials_say_where_and_what(htpasswd_registry: Registry, repository_name: str) -> None:
    source = htpasswd_registry.source(repository_name, tag=None, password="wrong")
    failed(runner.check({"source": source}), f"{htpasswd_registry.host}/{repository_name}", "401")


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("semver_constraint", "newest", "source.semver_constraint: 'newest'"),
        ("tag_regex", "^(?!rc)", "source.tag_regex: '^(?!rc)' is not an expression of RE2"),
        ("exclude_regex", "[", "source.exclude_regex"),
    ],
)
def test_what_is_not_understood_is_refused_without_a_request(
    field: str, value: str, told: str, registry: Registry, repository_name: str
) -> None:
    images.push(registry, repository_name, OLD, "1.0")
    since = registry.mark()
    failed(runner.check({"source": registry.source(repository_name, tag=None) | {field: value}}), told)
    assert asked(registry, since) == {}
