"""semver mode's rules: which tags are versions to follow, and which tag names an image."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_image.concourse.tag_rules import Candidate, VersionRule, one_per_digest
from registry_image.oci.digest import Digest
from registry_image.semver.constraint import Constraint
from registry_image.semver.version import SemVer

DIGESTS = [Digest.of(bytes([number])) for number in range(4)]
EVERYTHING = VersionRule(pre_releases=True, prefixes=("",))

tags = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "v"]),
    st.lists(st.sampled_from(["0", "1", "2", "01"]), min_size=1, max_size=3).map(".".join),
    st.sampled_from(["", "", "-alpha", "-rc.1", "-rc.2", "-dev", "-rc-x", "-alpine", "-rc.1-alpine"]),
)


def candidate(tag: str, number: int) -> Candidate:
    version = EVERYTHING.read(tag)
    assert version is not None
    return Candidate(tag=tag, version=version, digest=DIGESTS[number])


def best(*pairs: tuple[str, int]) -> list[str]:
    return [best.tag for best in one_per_digest(candidate(tag, number) for tag, number in pairs)]


@pytest.mark.parametrize(
    ("rule", "followed", "left"),
    [
        (VersionRule(), ["1", "v1.2", "1.2.3+5"], ["latest", "main", "1.2-rc.1", "1.2-alpine", "1.2.3.4"]),
        (
            VersionRule(pre_releases=True),
            ["1-alpha", "1-beta.2", "1.2-rc1", "1.0-rcx"],
            ["1-dev", "1-alpine", "1-rc.1-alpine", "1-RC.1", "1-rc.01"],
        ),
        (
            VersionRule(pre_releases=True, prefixes=("dev", "SNAP")),
            ["1-rc", "1-dev.1", "1-SNAPSHOT", "1-rc.1-alpine", "1-dev-x"],
            ["1-snap", "1-alpine"],
        ),
        (VersionRule(prefixes=("dev",)), ["1"], ["1-dev", "1-rc.1"]),
        (
            VersionRule(variant="alpine"),
            ["1-alpine", "v1.2.3-alpine"],
            ["alpine", "1", "latest", "1-slim", "1-rc-alpine"],
        ),
        (VersionRule(variant="alpine", pre_releases=True), ["1-rc.1-alpine"], ["1-rc.1", "1-alpine-alpine"]),
        (VersionRule(constraint=Constraint.parse(">1")), ["2", "10.1"], ["1", "1.9", "latest"]),
        (VersionRule(constraint=Constraint.parse(">1"), pre_releases=True), ["2"], ["2-rc.1"]),
        (VersionRule(constraint=Constraint.parse(">1-0"), pre_releases=True), ["2-rc.1"], ["2-dev"]),
        (VersionRule(variant="1"), ["2-1"], ["1", "2"]),
    ],
)
def test_a_rule_follows_these_tags_and_leaves_those(rule: VersionRule, followed: list[str], left: list[str]) -> None:
    assert [tag for tag in followed + left if rule.read(tag) is not None] == followed


def test_the_bare_tag_is_latest_or_the_variant() -> None:
    assert VersionRule().bare_tag == "latest"
    assert VersionRule(variant="alpine").bare_tag == "alpine"


def test_an_image_is_named_by_its_most_precise_tag() -> None:
    assert best(("1", 0), ("1.2", 0), ("1.2.3", 0), ("2", 1)) == ["1.2.3", "2"]
    assert best(("1.2.3-rc.1", 0), ("1.2", 0)) == ["1.2"]
    assert best(("1.2", 0), ("1.2.3-rc.1", 0)) == ["1.2"]
    assert best(("1.0.0-rc", 0), ("1.0.0-rc.2", 0)) == ["1.0.0-rc.2"]
    assert best(("v1.2.3", 0), ("1.2.3", 0), ("2.0.0", 0)) == ["v1.2.3"]


@given(st.lists(st.tuples(tags, st.integers(0, 3)), max_size=12, unique_by=lambda pair: pair[0]))
def test_each_image_appears_once_in_ascending_order_and_by_one_of_its_tags(pairs: list[tuple[str, int]]) -> None:
    seen = [candidate(tag, number) for tag, number in pairs]
    answer = one_per_digest(seen)
    assert {each.digest for each in answer} == {each.digest for each in seen}
    assert len({each.digest for each in answer}) == len(answer)
    assert all(each in seen for each in answer)
    precedences = [each.version.precedence for each in answer]
    assert precedences == sorted(precedences)
    for each in answer:
        same = [other.version for other in seen if other.digest == each.digest]
        assert each.version.prerelease == "" or all(other.prerelease for other in same)
        rivals = [other for other in same if bool(other.prerelease) == bool(each.version.prerelease)]
        assert all(other.original.count(".") <= each.version.original.count(".") for other in rivals)


@given(tags)
def test_pre_releases_only_add_tags(tag: str) -> None:
    version = VersionRule().read(tag)
    if version is not None:
        assert VersionRule(pre_releases=True).read(tag) == version == SemVer.parse(tag)
