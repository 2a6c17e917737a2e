"""Versions and constraints, compared with recorded answers of Masterminds/semver 3.5.0 and with rules of their own."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_image.errors import RequestError
from registry_image.semver.constraint import Constraint
from registry_image.semver.version import SemVer

RECORDED = json.loads((Path(__file__).parent / "data" / "constraints.json").read_text(encoding="utf-8"))
VERSIONS: list[str] = RECORDED["versions"]
ADMITTED: dict[str, list[str] | None] = RECORDED["admitted"]

#: In the order of the specification (semver.org, 11), with cases that it leaves open.
ASCENDING = [
    "0.0.0-0",
    "0.0.0",
    "1.0.0-0",
    "1.0.0-1",
    "1.0.0-18446744073709551615",
    "1.0.0--",
    "1.0.0-18446744073709551616",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.1.0",
    "1.0.0-alpha.beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc",
    "1.0.0-rc.1",
    "1.0.0-rc1",
    "1.0.0",
    "1.0.1",
    "1.2.0",
    "1.10.0",
    "18446744073709551615.0.0",
]
versions = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "v"]),
    st.lists(st.sampled_from(["0", "1", "2", "10", "007"]), min_size=1, max_size=3).map(".".join),
    st.sampled_from(["", "-0", "-1", "-a", "-rc.1", "-rc.1.2", "-a-b", "-x.7.z"]),
    st.sampled_from(["", "+1", "+a.01"]),
).map(SemVer.parse)


def parsed(text: str) -> SemVer:
    version = SemVer.parse(text)
    assert version is not None
    return version


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("1", "1.0.0"),
        ("v1", "1.0.0"),
        ("1.2", "1.2.0"),
        ("v1.2.3", "1.2.3"),
        ("01.002.0003", "1.2.3"),
        ("1-alpine", "1.0.0-alpine"),
        ("1.2-rc.1+5", "1.2.0-rc.1+5"),
        ("1.2.3--", "1.2.3--"),
        ("1.2.3+01", "1.2.3+01"),
        ("20240131", "20240131.0.0"),
        ("18446744073709551615", "18446744073709551615.0.0"),
        ("1.2.3-" + "a" * 250, "1.2.3-" + "a" * 250),
    ],
)
def test_a_version_is_read_leniently_and_written_in_its_normal_form(text: str, normal: str) -> None:
    version = parsed(text)
    assert str(version) == normal
    assert version.original == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "v", "latest", "V1", "vv1", "1.", ".1", "1..2", "1.2.3.4", "1.2.3-", "1.2.3+", "1.2.3-a..b", "1.2.3-a+"),
        *("1.2.3 ", " 1.2.3", "1.2.3\n", "1.2.3-é", "\u0661", "1.x", "-1", "1_2", "1.2.3-a_b", "1+2+3"),
        *("1.2.3-01", "1.2.3-a.00", "18446744073709551616", "1.18446744073709551616", "1.2.3-" + "a" * 251),
    ],
)
def test_an_invalid_version_is_none(text: str) -> None:
    assert SemVer.parse(text) is None


def test_versions_are_ordered_by_their_numbers_then_by_their_pre_releases() -> None:
    for lower, higher in pairwise(map(parsed, ASCENDING)):
        assert lower.precedence < higher.precedence, f"{lower} < {higher}"


@pytest.mark.parametrize("other", ["v1.2", "1.2.0", "01.2.00", "1.2+build", "1.2.0+other"])
def test_spelling_and_build_metadata_make_no_difference_to_the_order(other: str) -> None:
    assert parsed(other).precedence == parsed("1.2").precedence


@given(versions)
def test_a_normal_form_means_the_same_version(version: SemVer) -> None:
    again = parsed(str(version))
    assert again.precedence == version.precedence
    assert str(again) == str(version)


@pytest.mark.parametrize("text", [text for text, admitted in ADMITTED.items() if admitted is not None])
def test_a_constraint_admits_what_it_admits_in_masterminds(text: str) -> None:
    constraint = Constraint.parse(text)
    assert [version for version in VERSIONS if constraint.admits(parsed(version))] == ADMITTED[text]


@pytest.mark.parametrize("text", [text for text, admitted in ADMITTED.items() if admitted is None])
def test_a_constraint_that_masterminds_does_not_understand_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="constraint"):
        Constraint.parse(text)


def test_a_refused_constraint_says_where_it_is_not_understood() -> None:
    with pytest.raises(RequestError, match=r"'>= 1\.2, about 3': not understood at 'about 3'"):
        Constraint.parse(">= 1.2, about 3")
    for text in ("1 || ", "|| 1", ">= 1.2,", " "):
        with pytest.raises(RequestError, match="a version is missing at its end or by"):
            Constraint.parse(text)


@given(versions, versions)
def test_comparisons_with_a_full_version_follow_the_order(version: SemVer, wanted: SemVer) -> None:
    def admits(operator: str) -> bool:
        # A constraint may have build metadata, which is ignored.
        return Constraint.parse(f"{operator}{wanted}").admits(version)

    if version.prerelease and not wanted.prerelease:
        assert not any(map(admits, ("=", "!=", "<", "<=", ">", ">=", "~", "^")))
        return
    below, equal = version.precedence < wanted.precedence, version.precedence == wanted.precedence
    assert (admits("<"), admits("="), admits(">")) == (below, equal, not below and not equal)
    assert (admits("<="), admits("!="), admits(">=")) == (below or equal, not equal, not below)
    if below:
        assert not admits("~")
        assert not admits("^")


@given(versions, st.lists(st.sampled_from(["1", "~2", "<1.2", ">=1-0", "!=2.1", "^0.1", "1 - 2"]), min_size=1))
def test_alternatives_admit_what_any_of_them_admits(version: SemVer, parts: list[str]) -> None:
    each = [Constraint.parse(part).admits(version) for part in parts]
    assert Constraint.parse(" || ".join(parts[:32])).admits(version) == any(each[:32])


def test_a_constraint_made_to_confuse_is_refused_at_once() -> None:
    spaces = "1  " * 170
    started = time.process_time()
    for text in (spaces + "!", "1" * 511 + "!", "1-1." * 127 + "!", "1 - 2 " * 84 + "!"):
        with pytest.raises(RequestError):
            Constraint.parse(text)
    # Seconds of CPU time; an expression that backtracks would take years.
    assert time.process_time() - started < 5
