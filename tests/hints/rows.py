"""What a row of the table of hints is."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from registry_image.errors import RequestError, ResourceError

Situation: TypeAlias = Callable[[], object]
"""Raises a ResourceError or returns one, if it fails at all; a text it returns counts as the hint."""


class Row(NamedTuple):
    """A hint, told apart by ``words``. ``true`` situations reach it, and what it says is true there. ``false`` ones are
    the nearest where it would not be true, or of no use; there it is not given."""

    words: str
    true: tuple[Situation, ...]
    false: tuple[Situation, ...]


def hint_of(situation: Situation) -> str:
    """All hints of the failure, a line each."""
    try:
        outcome = situation()
    except ResourceError as error:
        outcome = error
    if isinstance(outcome, str):
        return outcome
    if not isinstance(outcome, ResourceError):
        return ""
    others = outcome.others if isinstance(outcome, RequestError) else ()
    return "\n".join(each.hint for each in (outcome, *others) if each.hint)
