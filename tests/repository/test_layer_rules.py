"""docs/layers.md holds fifty rules, and each is where the page says it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs/layers.md").read_text()
RULES = range(1, 51)
ROWS = {
    int(number): (where, tests) for number, where, tests in re.findall(r"^\| (\d+) \| (.+) \| (.+) \|$", PAGE, re.M)
}


def rules_of(test: Path) -> set[int]:
    """The rules whose number a test in the file carries, as a mark or in its name."""
    text = test.read_text()
    marks = {int(number) for number in re.findall(r"pytest\.mark\.rule\((\d+)\)", text)}
    names = re.findall(r"def test_rule((?:_\d+)(?:_and_\d+)*)_", text)
    return marks | {int(number) for name in names for number in re.findall(r"\d+", name)}


def test_the_page_has_fifty_rules_in_order() -> None:
    before_table = PAGE.partition("## How it is done")[0]
    assert [int(number) for number in re.findall(r"^(\d+)\. ", before_table, re.M)] == list(RULES)
    assert list(ROWS) == list(RULES)


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_implemented_and_held_where_the_page_says(rule: int) -> None:
    where, tests = (re.findall(r"`([^`]+)`", cell) for cell in ROWS[rule])
    assert where
    assert tests
    for name in where:
        assert (REPOSITORY / "resource/registry_image" / name).is_file(), name
    for name in tests:
        assert rule in rules_of(REPOSITORY / "tests" / name), f"no test of rule {rule} in {name}"


def test_what_code_cites_is_a_rule() -> None:
    for path in [*REPOSITORY.glob("resource/**/*.py"), *REPOSITORY.glob("tests/**/*.py")]:
        for number in re.findall(r"layers\.md (\d+)", path.read_text()):
            assert int(number) in RULES, path
