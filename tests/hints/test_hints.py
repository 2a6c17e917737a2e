"""A hint is true, or it is not there: each has situations that reach it, and others near to them that do not."""

from __future__ import annotations

from functools import cache

import pytest

from tests.hints.cloud_rows import CLOUDS
from tests.hints.image_rows import IMAGES
from tests.hints.literals import literals
from tests.hints.network_rows import NETWORK
from tests.hints.request_rows import REQUESTS
from tests.hints.rows import Row, Situation, hint_of

ROWS = (*REQUESTS, *NETWORK, *CLOUDS, *IMAGES)

told = cache(hint_of)


@pytest.mark.parametrize("row", ROWS, ids=[row.words for row in ROWS])
def test_a_hint_is_given_where_it_is_true_and_not_where_it_is_false(row: Row) -> None:
    assert row.true
    assert row.false
    for situation in row.true:
        assert row.words in told(situation)
    for situation in row.false:
        assert row.words not in told(situation)


def test_every_hint_in_the_source_is_reached_by_a_row() -> None:
    situations: set[Situation] = {situation for row in ROWS for situation in row.true}
    reached = "\n".join(told(situation) for situation in situations)
    pieces = literals()
    assert len(pieces) > 100  # or the search is broken
    assert {piece: place for piece, place in pieces.items() if piece not in reached} == {}


def test_no_row_stands_for_a_hint_that_is_gone() -> None:
    texts = "\n".join(literals())
    assert [row.words for row in ROWS if row.words.strip() not in texts] == []
