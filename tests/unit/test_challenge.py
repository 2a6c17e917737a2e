"""WWW-Authenticate in all the shapes that registries send."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_image.auth.challenge import MAX_CHALLENGE, Challenge, choose_challenge, parse_challenges
from tests.support.growth import assert_linear

HUB = 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull"'


def parsed(*lines: str) -> list[tuple[str, dict[str, str]]]:
    return [(challenge.scheme, dict(challenge.parameters)) for challenge in parse_challenges(lines)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            HUB,
            [
                (
                    "bearer",
                    {
                        "realm": "https://auth.docker.io/token",
                        "service": "registry.docker.io",
                        "scope": "repository:a/b:pull",
                    },
                )
            ],
        ),
        ('Basic realm="x"', [("basic", {"realm": "x"})]),
        ("Basic realm=x", [("basic", {"realm": "x"})]),
        ("Basic", [("basic", {})]),
        ("Negotiate, Basic", [("negotiate", {}), ("basic", {})]),
        ('Negotiate YII/+~ab==, Bearer realm="b"', [("negotiate", {}), ("bearer", {"realm": "b"})]),
        (
            'Negotiate YIIab== , NTLM TlRM, Basic realm="b"',
            [("negotiate", {}), ("ntlm", {}), ("basic", {"realm": "b"})],
        ),
        ("Bearer abc", [("bearer", {})]),
        ('Bearer realm="a", Basic realm="b"', [("bearer", {"realm": "a"}), ("basic", {"realm": "b"})]),
        (
            'Basic realm="a",Bearer realm="b",service="c"',
            [("basic", {"realm": "a"}), ("bearer", {"realm": "b", "service": "c"})],
        ),
        (
            'Bearer realm="a", scope="repository:x:pull,push"',
            [("bearer", {"realm": "a", "scope": "repository:x:pull,push"})],
        ),
        ('Bearer realm="a b \\"c\\" \\\\"', [("bearer", {"realm": 'a b "c" \\'})]),
        ('BEARER REALM="a"', [("bearer", {"realm": "a"})]),
        ('Bearer realm = "a" , service = "b"', [("bearer", {"realm": "a", "service": "b"})]),
        ('Bearer realm="a",realm="b"', [("bearer", {"realm": "a"})]),
        ('Bearer realm="a",,service="b"', [("bearer", {"realm": "a", "service": "b"})]),
        ('Bearer realm="never ends', [("bearer", {"realm": ""})]),
        ('realm="a"', []),
        ("", []),
        (",,,", []),
    ],
)
def test_a_line_of_challenges_is_read(line: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert parsed(line) == expected


def test_several_header_lines_add_up() -> None:
    assert parsed('Basic realm="a"', 'Bearer realm="b"') == [("basic", {"realm": "a"}), ("bearer", {"realm": "b"})]


def test_bearer_goes_before_basic_in_either_order() -> None:
    for lines in (['Basic realm="a"', 'Bearer realm="b"'], ['Bearer realm="b", Basic realm="a"']):
        chosen = choose_challenge(parse_challenges(lines))
        assert chosen is not None
        assert chosen.scheme == "bearer"


def test_a_bearer_challenge_without_a_realm_is_passed_over() -> None:
    assert choose_challenge([Challenge("bearer", {}), Challenge("basic", {})]) == Challenge("basic", {})
    assert choose_challenge([Challenge("bearer", {}), Challenge("negotiate", {})]) is None


@given(st.lists(st.text(max_size=200), max_size=3))
def test_no_text_raises_an_error(lines: list[str]) -> None:
    choose_challenge(parse_challenges(lines))


@pytest.mark.parametrize(
    "line",
    [
        lambda n: 'Bearer realm="' + "\\" * n,
        lambda n: 'Bearer realm="' + "a," * (n // 2),
        lambda n: "a " * (n // 2),
        lambda n: "Bearer " + "a=" * (n // 2),
        lambda n: "Bearer " + 'a="b",' * (n // 6),
        lambda n: "a" + " " * n + "!",
        lambda n: "a " + "b" * n + "=" * n + " " * n + "!",
        lambda n: "a b=, " * (n // 6),
    ],
)
def test_four_times_the_line_takes_about_four_times_as_long(line: Callable[[int], str]) -> None:
    def seconds(n: int) -> float:
        text = line(n)
        begun = time.process_time()
        for _ in range(3):
            parse_challenges([text])
        return time.process_time() - begun

    assert_linear(seconds, 2000)


def test_a_line_is_read_up_to_its_bound() -> None:
    line = 'Basic realm="a"'.ljust(MAX_CHALLENGE - len(", Bearer")) + ", Bearer"
    assert parsed(line) == [("basic", {"realm": "a"}), ("bearer", {})]
    assert parsed(" " + line) == [("basic", {"realm": "a"}), ("beare", {})]
