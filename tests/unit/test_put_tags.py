"""Which tags a put moves: compared with answers recorded from registry-image, and with rules of our own."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_image.concourse.put_tags import MAX_TAGS_FILE, choose_tags, parse_tags
from registry_image.concourse.request.put import PutRequest, parse_put
from registry_image.errors import NotFound, RateLimited, RequestError
from registry_image.semver.version import SemVer


class Recorded(TypedDict):
    """``existing`` is None for a missing repository, ``additional`` is the `additional_tags` file, ``tags`` is None for
    an error."""

    existing: list[str] | None
    source: dict[str, object]
    params: dict[str, object]
    additional: str | None
    tags: list[str] | None


#: registry-image repeats a tag that is chosen twice; the recordings leave the repetition out.
RECORDED: list[Recorded] = json.loads((Path(__file__).parent / "data" / "puts.json").read_text(encoding="utf-8"))


def put(source: dict[str, object] | None = None, /, **params: object) -> PutRequest:
    document = {"source": {"repository": "alpine", **(source or {})}, "params": {"image": "image.tar", **params}}
    return parse_put(json.dumps(document).encode(), "/nowhere")


def nothing() -> Iterable[str]:
    raise AssertionError("listed the existing tags")


@pytest.mark.parametrize("recorded", RECORDED, ids=range(len(RECORDED)))
def test_a_put_chooses_the_tags_that_registry_image_chooses(recorded: Recorded) -> None:
    def existing() -> Iterable[str]:
        if recorded["existing"] is None:
            raise NotFound("list tags", status=404)
        return recorded["existing"]

    def chosen() -> tuple[str, ...]:
        additional = parse_tags((recorded["additional"] or "").encode(), "additional_tags")
        return choose_tags(put(recorded["source"], **recorded["params"]), additional, existing)

    if recorded["tags"] is None:
        with pytest.raises(RequestError):
            chosen()
    else:
        assert chosen() == tuple(recorded["tags"])


def test_tags_keep_their_order_and_occur_once() -> None:
    request = put({"tag": "latest"}, version="1.2.3", bump_aliases=True, tags=["x", 15, "1"], tag_prefix="")
    assert choose_tags(request, ("y", "x"), list) == ("latest", "1.2.3", "1", "1.2", "x", "15", "y")


def test_a_prefix_applies_only_to_tags_of_the_list_and_of_the_file() -> None:
    request = put({"tag": "main"}, version="1.2.3", tags=["a"], tag_prefix="dev-")
    assert choose_tags(request, ("b",), nothing) == ("main", "1.2.3", "dev-a", "dev-b")


def test_keep_v_keeps_the_v_in_the_version_and_its_aliases() -> None:
    wanted: dict[str, object] = {"version": "v1.2", "bump_aliases": True}
    assert choose_tags(put(**wanted), (), list) == ("1.2.0", "latest", "1", "1.2")
    assert choose_tags(put(**wanted, keep_v=True), (), list) == ("v1.2.0", "latest", "v1", "v1.2")
    variant = put({"variant": "alpine"}, **wanted, keep_v=True)
    assert choose_tags(variant, (), list) == ("v1.2.0-alpine", "alpine", "v1-alpine", "v1.2-alpine")
    assert choose_tags(put(version="1.2", keep_v=True), (), nothing) == ("1.2.0",)


def test_existing_tags_are_listed_only_to_bump_a_final_version() -> None:
    choose_tags(put(version="1.2.3"), (), nothing)
    choose_tags(put(version="1.2.3-rc.1", bump_aliases=True), (), nothing)
    choose_tags(put({"tag": "latest"}, bump_aliases=True), (), nothing)
    with pytest.raises(AssertionError):
        choose_tags(put(version="1.2.3", bump_aliases=True), (), nothing)


def test_no_alias_moves_if_listing_the_tags_fails() -> None:
    def refused() -> Iterable[str]:
        yield "2.0.0"
        raise RateLimited("list tags", status=429)

    with pytest.raises(RateLimited):
        choose_tags(put(version="1.2.3", bump_aliases=True), (), refused)


@pytest.mark.parametrize(
    ("source", "params", "additional", "reason"),
    [
        ({}, {}, (), "no tag to push"),
        ({}, {"version": "1.2.3+build"}, (), "params.version: '1.2.3.build': a tag cannot hold build metadata"),
        ({}, {"version": "newest"}, (), "params.version: 'newest' is not a semantic version"),
        ({"tag": "x"}, {"tag_prefix": "v"}, (), "params.tag_prefix"),
        ({}, {"tags": ["a", "a b"]}, (), r"params\.tags\[1\]: 'a b' is not a tag"),
        ({}, {"tags": ["x", ""], "tag_prefix": "build-"}, (), r"params\.tags\[1\]: '' is not a tag"),
        ({}, {"tags": [""]}, (), r"params\.tags\[0\]: '' is not a tag"),
        ({}, {}, ("x", "-y"), "params.additional_tags: word 2 of the file is not a tag"),
        ({}, {"tags": ["x"], "tag_prefix": "/"}, (), r"params\.tags\[0\]: '/x' is not a tag"),
        ({"variant": "al/pine"}, {"version": "1"}, (), "params.version with source.variant: '1.0.0-al/pine' is not"),
        ({}, {"tags": ["x" * 100], "tag_prefix": "y" * 29}, (), r"params\.tags\[0\]: .* is not a tag"),
    ],
)
def test_an_invalid_tag_is_refused(
    source: dict[str, object], params: dict[str, object], additional: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(RequestError, match=reason):
        choose_tags(put(source, **params), additional, list)


def test_a_path_in_place_of_a_version_gets_a_hint_about_load_var() -> None:
    with pytest.raises(RequestError) as caught:
        put(version="version/version")
    assert "'version/version' is not a semantic version" in caught.value.message
    assert "load_var" in (caught.value.hint or "")
    with pytest.raises(RequestError) as caught:
        put(version="newest")
    assert "load_var" not in (caught.value.hint or "")


def test_a_file_of_tags_is_bounded_and_text() -> None:
    assert parse_tags(b" a\n\tb\r\n", "file") == ("a", "b")
    assert parse_tags(b"", "file") == ()
    assert parse_tags(b"\xef\xbb\xbfa\r\nb\r\n", "file") == ("a", "b")  # as Windows tools write text
    for raw in (b"a\xff", b"a " * MAX_TAGS_FILE):
        with pytest.raises(RequestError, match="file"):
            parse_tags(raw, "file")


finals = st.tuples(*[st.integers(0, 3)] * 3)


@given(finals, st.lists(finals))
def test_an_alias_moves_exactly_if_the_version_is_the_greatest_in_its_range(
    numbers: tuple[int, int, int], others: list[tuple[int, int, int]]
) -> None:
    def text(version: tuple[int, ...]) -> str:
        return ".".join(map(str, version))

    tags = choose_tags(put(version=text(numbers), bump_aliases=True), (), lambda: map(text, others))
    for alias, given_numbers in (("latest", 0), (text(numbers[:1]), 1), (text(numbers[:2]), 2)):
        range_ = [other for other in others if other[:given_numbers] == numbers[:given_numbers]]
        assert (alias in tags) == (max([*range_, numbers]) == numbers)
    assert SemVer.parse(tags[0]) is not None
