"""Promises and records name the tests that hold them; those tests are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PAGES = ("SECURITY.md", "docs/robustness.md")


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_a_page_names_is_there(page: str) -> None:
    text = (REPOSITORY / page).read_text()
    files = set(re.findall(r"`(tests/\S+\.py)`", text))
    names = set(re.findall(r"`(test_\w+)`", text))
    assert files
    assert names
    defined = {name for file in files for name in re.findall(r"def (test_\w+)\(", (REPOSITORY / file).read_text())}
    assert names - defined == set()


def test_every_promise_has_a_row_of_evidence() -> None:
    promises, evidence = (REPOSITORY / "SECURITY.md").read_text().split("## Evidence")
    numbers = re.findall(r"^(\d+)\. ", promises, re.M)
    assert numbers
    assert set(re.findall(r"^\| (\d+) \|", evidence, re.M)) == set(numbers)


@pytest.mark.parametrize("page", PAGES)
def test_no_row_of_a_page_is_without_a_test(page: str) -> None:
    rows = re.findall(r"^\| \d+ \|.*$", (REPOSITORY / page).read_text(), re.M)
    assert rows
    for row in rows:
        assert re.search(r"`test_\w+`", row), row
