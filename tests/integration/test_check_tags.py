"""check of whole repositories: the answers of registry-image, with as few requests as possible."""

from __future__ import annotations

import contextlib
import difflib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NotRequired, TypedDict

import pytest

from registry_image.concourse import check_tags
from registry_image.concourse.check import MAX_COMPARED, SUGGESTION_POOL, suggestion
from registry_image.concourse.check_tags import list_versions
from registry_image.concourse.request.check import parse_check
from registry_image.concourse.request.pattern import compile_pattern
from registry_image.concourse.request.version import Version
from registry_image.errors import NotFound, RateLimited, RequestError, Unauthorized, Unavailable
from registry_image.net.retry import ONCE
from registry_image.registry.repository import Repository
from tests.support import images
from tests.support.clients import Time, a_client, a_repository
from tests.support.fakeregistry import FakeRegistry, as_ever, body, fake_registry, status


class Scenario(TypedDict):
    """Tags in the registry's order with a number for each image, None for one that is listed and gone, the images'
    ``created``, and what check answers, None for an error."""

    tags: dict[str, int | None]
    created: NotRequired[list[str | None]]
    source: dict[str, object]
    cursor: tuple[str, int] | None
    answer: list[tuple[str, int]] | None


#: Recorded from registry-image.
RECORDED: list[Scenario] = json.loads((Path(__file__).parent / "data" / "checks.json").read_text(encoding="utf-8"))
NAME = "some/name"


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as running:
        yield running


@dataclass(frozen=True, slots=True)
class Tagged:
    """A repository in which each tag stands for one of some numbered images."""

    registry: FakeRegistry
    digests: list[str]

    def check(self, cursor: tuple[str, int] | None = None, /, **source: object) -> list[tuple[str, int]]:
        """A check's answer with the images as numbers; -1 in a cursor is an image that no tag has."""
        document: dict[str, object] = {"source": {"repository": f"{self.registry.host}/{NAME}", **source}}
        if cursor is not None:
            tag, number = cursor
            document["version"] = {"tag": tag, "digest": "sha256:" + "1" * 64 if number < 0 else self.digests[number]}
        request = parse_check(json.dumps(document).encode())
        versions = list_versions(a_repository(self.registry, NAME), request.source, request.version)
        return [self._numbered(version) for version in versions]

    def looked_up(self) -> list[str]:
        """The tags looked up so far, sorted, because those of one batch come in any order."""
        return sorted(ask.target.rpartition("/")[2] for ask in self.registry.asked("HEAD"))

    def _numbered(self, version: Version) -> tuple[str, int]:
        return version.tag, self.digests.index(str(version.digest))


def tagged(
    registry: FakeRegistry, tags: Mapping[str, int | None], created: Sequence[str | None] | None = None
) -> Tagged:
    """``tags`` in the order in which the registry lists them."""
    digests = []
    for number in range(1 + max((number for number in tags.values() if number is not None), default=0)):
        time = created[number] if created else None
        content = images.image(created=time, os="linux", architecture="amd64", author=str(number))
        digests.append(registry.add(NAME, content))
    registry.repositories[NAME].tags = {tag: digests[number] for tag, number in tags.items() if number is not None}
    listed = json.dumps({"name": NAME, "tags": list(tags)}).encode()
    registry.script("GET", "/tags/list", body(listed), always=True)
    return Tagged(registry, digests)


@pytest.mark.parametrize("scenario", RECORDED, ids=range(len(RECORDED)))
def test_a_check_answers_what_registry_image_answers(registry: FakeRegistry, scenario: Scenario) -> None:
    repository = tagged(registry, scenario["tags"], scenario.get("created"))
    cursor = None if scenario["cursor"] is None else (scenario["cursor"][0], scenario["cursor"][1])
    source = {**scenario["source"], "platform": "linux/amd64"}
    if scenario["answer"] is None:
        with pytest.raises(RequestError):
            repository.check(cursor, **source)
    else:
        assert repository.check(cursor, **source) == [(tag, number) for tag, number in scenario["answer"]]


# The requests.


def test_only_tags_that_can_be_answered_are_looked_up(registry: FakeRegistry) -> None:
    repository = tagged(registry, {"1.0": 0, "main": 1, "1.1-rc.1": 1, "latest": 1, "2.0": 2, "2.0-alpine": 3})
    assert repository.check(semver_constraint="<2") == [("1.0", 0)]
    assert repository.looked_up() == ["1.0"]
    assert len(registry.log) == 2


def test_nothing_below_a_cursor_that_stands_is_looked_up(registry: FakeRegistry) -> None:
    repository = tagged(registry, {f"1.{number}": number for number in range(40)})
    assert repository.check(("1.37", 37)) == [("1.37", 37), ("1.38", 38), ("1.39", 39)]
    assert repository.looked_up() == ["1.37", "1.38", "1.39"]


def test_a_cursor_that_moved_makes_every_version_count_again(registry: FakeRegistry) -> None:
    repository = tagged(registry, {"1.0": 0, "1.1": 1, "1.2": 2})
    assert repository.check(("1.2", 0)) == [("1.0", 0), ("1.1", 1), ("1.2", 2)]
    assert repository.looked_up() == ["1.0", "1.1", "1.2"]


def test_a_version_equal_to_an_unmoved_cursor_is_not_newer(registry: FakeRegistry) -> None:
    repository = tagged(registry, {"1.2": 0, "1.2.0": 1, "v1.2": 2, "1.2.1": 3})
    assert repository.check(("1.2", 0)) == [("1.2", 0), ("1.2.1", 3)]


def test_the_cursors_tag_counts_as_the_first_seen(registry: FakeRegistry) -> None:
    repository = tagged(registry, {"v1.0.0": 0, "1.0.0": 0})
    assert repository.check(("1.0.0", -1)) == [("1.0.0", 0)]
    assert repository.check() == [("v1.0.0", 0)]


def test_build_metadata_is_followed_where_a_registry_keeps_it(registry: FakeRegistry) -> None:
    assert tagged(registry, {"1.0+5": 0, "1.1": 1, "../1.2": 1}).check() == [("1.0+5", 0), ("1.1", 1)]


def test_the_bare_tag_counts_even_if_its_image_is_one_below_the_cursor(registry: FakeRegistry) -> None:
    repository = tagged(registry, {"latest": 0, "1.0": 0, "2.0": 1})
    assert repository.check() == [("1.0", 0), ("2.0", 1)]
    assert repository.check(("2.0", 1)) == [("2.0", 1), ("latest", 0)]


def test_a_bare_tag_that_is_gone_by_now_is_left_out(registry: FakeRegistry) -> None:
    assert tagged(registry, {"latest": None, "1.0": 0}).check() == [("1.0", 0)]


def test_the_bare_tag_may_be_left_out_and_is_then_not_looked_up(registry: FakeRegistry) -> None:
    repository = tagged(registry, {"latest": 1, "1.0": 0})
    assert repository.check(latest=False) == [("1.0", 0)]
    assert repository.looked_up() == ["1.0"]


def test_excluded_tags_are_neither_answered_nor_looked_up(registry: FakeRegistry) -> None:
    repository = tagged(registry, {"1.0": 0, "1.1": 1, "1.1-rc.1": 1, "latest": 2})
    assert repository.check(exclude_regex=r"\.1|^l") == [("1.0", 0)]
    assert repository.check(tag_regex="^1", exclude_regex="rc") == [("1.0", 0), ("1.1", 1)]
    assert repository.looked_up() == ["1.0", "1.0", "1.1"]


def test_pages_are_followed(registry: FakeRegistry) -> None:
    content = images.image()
    digest = registry.add(NAME, content, *(f"1.{number}" for number in range(7)))
    registry.page_size = 3
    assert Tagged(registry, [digest]).check() == [("1.0", 0)]
    assert len(registry.asked("GET", "/tags/list")) == 3


def test_a_config_is_fetched_once_for_an_image_with_several_tags(registry: FakeRegistry) -> None:
    repository = tagged(registry, {"a": 0, "b": 1, "c": 0, "d": 1}, ["2022-01-01T00:00:00Z", "2021-01-01T00:00:00Z"])
    answer = repository.check(tag_regex=".", sort="created", platform="linux/amd64")
    assert answer == [("b", 1), ("d", 1), ("a", 0), ("c", 0)]
    assert len(registry.asked("GET", "/blobs/")) == 2


def test_sorting_by_creation_asks_one_get_of_each_tags_manifest(registry: FakeRegistry) -> None:
    repository = tagged(registry, {"a": 0, "b": 1, "gone": None}, ["2022-01-01T00:00:00Z", "2021-01-01T00:00:00Z"])
    assert repository.check(tag_regex=".", sort="created", platform="linux/amd64") == [("b", 1), ("a", 0)]
    manifests = sorted((ask.method, ask.target.rpartition("/")[2]) for ask in registry.asked(path="/manifests/"))
    assert manifests == [("GET", "a"), ("GET", "b"), ("GET", "gone")]


@pytest.mark.parametrize("sort", ["semver", "numeric"])
def test_tags_below_a_cursor_that_stands_are_not_looked_up_in_a_sorted_expression(
    registry: FakeRegistry, sort: str
) -> None:
    repository = tagged(registry, {f"b-{number}": number for number in range(40)})
    expression = "-(?P<version>[0-9]+)$"
    answer = repository.check(("b-37", 37), tag_regex=expression, sort=sort)
    assert answer == [("b-37", 37), ("b-38", 38), ("b-39", 39)]
    assert repository.looked_up() == ["b-37", "b-38", "b-39"]


@pytest.mark.parametrize("sort", ["semver", "numeric"])
def test_tags_of_the_cursors_rank_are_looked_up_in_a_sorted_expression(registry: FakeRegistry, sort: str) -> None:
    repository = tagged(registry, {"x-1": 3, "x-2": 0, "b-2": 1, "y-2": 2})
    answer = repository.check(("b-2", 1), tag_regex="[0-9]+$", sort=sort)
    assert answer == [("x-2", 0), ("b-2", 1), ("y-2", 2)]
    assert repository.looked_up() == ["b-2", "x-2", "y-2"]


@pytest.mark.parametrize("cursor", [("b-2", 0), ("b-2", -1), ("main", 1), ("b-9", 1)])
def test_a_sorted_expression_is_complete_if_the_cursor_moved_or_is_no_match(
    registry: FakeRegistry, cursor: tuple[str, int]
) -> None:
    repository = tagged(registry, {"b-1": 0, "b-2": 1, "b-3": 2, "main": 1, "b-9": None})
    answer = repository.check(cursor, tag_regex="^b-([0-9]+)$", sort="numeric")
    assert answer == [("b-1", 0), ("b-2", 1), ("b-3", 2)]
    assert repository.looked_up() == ["b-1", "b-2", "b-3", "b-9"]


@pytest.mark.parametrize("sort", ["registry", "lexical", "created"])
def test_the_other_orders_answer_every_match_whatever_the_cursor(registry: FakeRegistry, sort: str) -> None:
    repository = tagged(registry, {"1": 0, "2": 1, "3": 2}, [f"202{number}-01-01T00:00:00Z" for number in range(3)])
    answer = repository.check(("2", 1), tag_regex=".", sort=sort, platform="linux/amd64")
    assert answer == [("1", 0), ("2", 1), ("3", 2)]


# The first question: it is soon clear whether the registry answers it, and a list may take a minute.

FOLLOWED: list[dict[str, object]] = [
    {},
    {"tag_regex": "^1"},
    {"tag_regex": "^1", "sort": "lexical"},
    {"tag_regex": "^1", "sort": "semver"},
    {"tag_regex": "^1", "sort": "numeric"},
    {"tag_regex": "^1", "sort": "created", "platform": "linux/amd64"},
]


@pytest.mark.parametrize("source", FOLLOWED)
def test_the_cursors_tag_is_asked_for_before_the_list_and_once(
    registry: FakeRegistry, source: dict[str, object]
) -> None:
    created = [f"202{number}-01-01T00:00:00Z" for number in range(3)]
    repository = tagged(registry, {"1.0": 0, "1.1": 1, "1.2": 2}, created)
    for cursor in [("1.1", 1), ("1.1", 0)]:
        registry.log.clear()
        assert repository.check(cursor, **source)[-2:] == [("1.1", 1), ("1.2", 2)]
        assert [ask.target.rpartition("/")[2] for ask in registry.log][:2] == ["1.1", "list?n=1000"]
        assert len(registry.asked(path=r"/1\.1$")) == 1


@pytest.mark.parametrize("source", FOLLOWED)
def test_a_registry_that_fails_the_first_question_is_asked_for_no_list(
    registry: FakeRegistry, source: dict[str, object]
) -> None:
    repository = tagged(registry, {"1.0": 0})
    for method in ("HEAD", "GET"):
        registry.script(method, "/manifests/", status(503), always=True)
    with pytest.raises(Unavailable, match=r"1\.0"):
        repository.check(("1.0", 0), **source)
    assert registry.asked("GET", "/tags/list") == []


@pytest.mark.parametrize("source", FOLLOWED)
def test_a_refusal_of_the_first_question_counts_only_if_the_tag_is_listed(
    registry: FakeRegistry, source: dict[str, object]
) -> None:
    repository = tagged(registry, {"1.0": 0, "1.1": 0})
    for method in ("HEAD", "GET"):
        registry.script(method, r"/manifests/1\.[12]$", status(401), always=True)
    assert repository.check(("1.2", 0), exclude_regex="1.1", **source) == [("1.0", 0)]
    with pytest.raises(Unauthorized, match=r"1\.1"):
        repository.check(("1.1", 0), **source)


@pytest.mark.parametrize("tag", ["latest", "2.0", "1.0+5", "1.0/../x", "sha256:" + "1" * 64])
@pytest.mark.parametrize("source", [{"semver_constraint": "<2"}, {"tag_regex": "^1", "exclude_regex": "/"}])
def test_a_cursor_that_the_source_does_not_follow_is_asked_for_only_if_listed(
    registry: FakeRegistry, source: dict[str, object], tag: str
) -> None:
    repository = tagged(registry, {"1.0": 0})
    assert repository.check((tag, 0), **source) == [("1.0", 0)]
    assert repository.looked_up() == ["1.0"]


# The orders of tag_regex.


@pytest.mark.parametrize(
    ("fields", "ordered"),
    [
        ({"tag_regex": "."}, ["b-10", "a-9", "v2.0-1", "b-9"]),
        ({"tag_regex": ".", "sort": "registry"}, ["b-10", "a-9", "v2.0-1", "b-9"]),
        ({"tag_regex": ".", "sort": "lexical"}, ["a-9", "b-10", "b-9", "v2.0-1"]),
        ({"tag_regex": "[0-9]+$", "sort": "numeric"}, ["v2.0-1", "a-9", "b-9", "b-10"]),
        ({"tag_regex": "^(?:v([0-9]+).*-|.-)([0-9]+)$", "sort": "numeric"}, ["a-9", "b-9", "b-10", "v2.0-1"]),
        ({"tag_regex": "-(?P<version>.*)$", "sort": "semver"}, ["v2.0-1", "a-9", "b-9", "b-10"]),
        ({"tag_regex": "v?[0-9.]+", "sort": "semver"}, ["v2.0-1", "a-9", "b-9", "b-10"]),
        ({"tag_regex": "^(v[0-9.]+|.)", "sort": "semver"}, ["b-10", "a-9", "b-9", "v2.0-1"]),
    ],
)
def test_tags_that_match_are_ordered_as_asked(
    registry: FakeRegistry, fields: dict[str, str], ordered: list[str]
) -> None:
    answer = tagged(registry, {"b-10": 0, "a-9": 1, "v2.0-1": 2, "b-9": 3}).check(**fields)
    assert [tag for tag, _ in answer] == ordered


# Failures.


def test_a_missing_repository_is_an_error(registry: FakeRegistry) -> None:
    for source in ({}, {"tag_regex": "."}):
        with pytest.raises(NotFound, match=NAME):
            Tagged(registry, []).check(**source)


def test_a_look_up_that_fails_fails_the_check(registry: FakeRegistry) -> None:
    repository = tagged(registry, {f"1.{number}": number for number in range(100)})
    registry.script("HEAD", "/1.5$", status(401))
    registry.script("HEAD", "/manifests/", as_ever)
    with pytest.raises(Unauthorized, match=r"1\.5"):
        repository.check()


def test_a_rate_limit_ends_all_look_ups(registry: FakeRegistry) -> None:
    repository = tagged(registry, {f"1.{number}": number for number in range(200)})
    registry.script("HEAD", "/manifests/", status(429, retry_after="3600"), always=True)
    with pytest.raises(RateLimited):
        repository.check()
    assert len(registry.asked("HEAD")) <= 16


def test_a_rate_limit_that_one_look_up_meets_holds_the_others_back(registry: FakeRegistry) -> None:
    tagged(registry, {"1.0": 0, "1.1": 1})
    registry.script("HEAD", "/1.0$", status(429, retry_after="7"))
    time = Time()
    repository = a_repository(registry, NAME, client=a_client(time=time))
    limited = Repository(repository.client, repository.name, policy=ONCE)
    with pytest.raises(RateLimited):
        limited.resolve("1.0")
    assert time.waits == []
    assert repository.resolve("1.1") is not None
    assert time.waits == [7.0]
    # A client without retries, such as a mirror's, does not wait either: it can ask the origin.
    registry.script("HEAD", "/1.0$", status(429, retry_after="7"))
    for tag in ("1.0", "1.0"):
        with contextlib.suppress(RateLimited):
            limited.resolve(tag)
    assert time.waits == [7.0]


@pytest.mark.parametrize("field", ["tag_regex", "exclude_regex"])
def test_an_invalid_expression_is_refused_with_the_place(registry: FakeRegistry, field: str) -> None:
    with pytest.raises(RequestError, match=rf"source\.{field}: '\^1\(\[a' .* at character 4"):
        tagged(registry, {"1.0": 0}).check(**{field: "^1([a"})


@pytest.mark.parametrize("text", ["^(1", "[a|[a", "a**|b**"])
def test_an_error_without_a_place_in_the_expression_names_none(text: str) -> None:
    with pytest.raises(RequestError) as caught:
        compile_pattern(text, "source.tag_regex")
    assert "at character" not in caught.value.message


def test_a_constraint_is_refused_before_anything_is_asked(registry: FakeRegistry) -> None:
    repository = tagged(registry, {"1.0": 0})
    with pytest.raises(RequestError, match="constraint"):
        repository.check(semver_constraint="newest")
    assert registry.log == []


def test_no_more_tags_are_followed_than_can_be_looked_up(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tagged(registry, {f"1.{number}": number for number in range(6)})
    monkeypatch.setattr(check_tags, "MAX_FOLLOWED", 5)
    for source in ({}, {"tag_regex": "."}):
        with pytest.raises(RequestError, match="follows more than 5 tags") as caught:
            repository.check(**source)
        assert "exclude_regex" in (caught.value.hint or "")
    assert repository.looked_up() == []
    # A cursor that has not moved leaves only greater versions; one that moved leaves all.
    assert repository.check(("1.4", 4)) == [("1.4", 4), ("1.5", 5)]
    assert repository.check(semver_constraint="<1.5") == [(f"1.{number}", number) for number in range(5)]
    monkeypatch.setattr(check_tags, "MAX_FOLLOWED", 4)
    with pytest.raises(RequestError, match="follows more than 4 tags"):
        repository.check(("1.4", 3))


def test_a_chart_among_images_fails_no_check_by_time(registry: FakeRegistry) -> None:
    tags = {"new": 1, "chart": None, "old": 0}
    repository = tagged(registry, tags, ["2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"])
    chart = images.manifest_of(images.blob(b"{}", "application/vnd.cncf.helm.config.v1+json"), [])
    repository.digests.append(registry.add(NAME, chart, "chart"))
    answer = repository.check(tag_regex=".", created_at_sort=True, platform="linux/amd64")
    assert answer == [("chart", 2), ("old", 0), ("new", 1)]


def test_the_names_that_are_nearest_are_found_among_many(registry: FakeRegistry) -> None:
    others = [f"{major}.{minor}.{patch}" for major, minor, patch in itertools.product(range(10), repeat=3)]
    registry.add(NAME, images.image(), *others[: SUGGESTION_POOL - 2], "nightly", "zzz")
    assert suggestion(a_repository(registry, NAME), "nigthly") == ": did you mean nightly?"
    assert suggestion(a_repository(registry, NAME), "1.22.3").startswith(": did you mean 1.2.3")
    assert suggestion(a_repository(registry, NAME), "something-else") == ""


def test_hostile_names_are_compared_a_bounded_number_of_times(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names of few letters pass every quick test of difflib."""
    registry.add(NAME, images.image(), *(f"{number:010b}" * 12 for number in range(SUGGESTION_POOL)))
    compared: set[str] = set()
    compare = difflib.SequenceMatcher.get_matching_blocks

    def count(matcher: difflib.SequenceMatcher[str]) -> list[difflib.Match]:
        compared.add(vars(matcher)["a"])
        return compare(matcher)

    monkeypatch.setattr(difflib.SequenceMatcher, "get_matching_blocks", count)
    assert suggestion(a_repository(registry, NAME), "01" * 64).startswith(": did you mean ")
    assert 0 < len(compared) <= MAX_COMPARED
