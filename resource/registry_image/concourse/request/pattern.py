"""Regular expressions of a pipeline: RE2, as in registry-image, which matches in linear time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Protocol

from registry_image.concourse.request.validation import Mistakes
from registry_image.errors import RequestError, quote

#: The most memory for a compiled expression, in bytes: RE2's own default.
MAX_PROGRAM_SIZE = 8 * 1024 * 1024
#: What other engines have: look-around and back-references.
_FOREIGN = re.compile(r"\(\?<?[=!]|\\[1-9]|\(\?P=")


class Match(Protocol):
    """The match object of google-re2, which has no types."""

    def group(self, group: int | str = 0) -> str | None: ...

    def groups(self) -> tuple[str | None, ...]: ...


class Pattern(Protocol):
    groupindex: Mapping[str, int]

    def search(self, text: str) -> Match | None: ...

    def fullmatch(self, text: str) -> Match | None: ...


def compile_pattern(text: str, field: str) -> Pattern:
    """Raises RequestError, with ``field`` in its text, for an invalid expression."""
    import re2  # type: ignore[import-untyped]  # google-re2 publishes no types

    options = re2.Options()
    options.log_errors = False
    options.max_mem = MAX_PROGRAM_SIZE
    try:
        pattern: Pattern = re2.compile(text, options)
    except (re2.error, UnicodeError) as error:
        reason = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else str(error)
        raise RequestError(
            f"{field}: {quote(text)} is not a valid RE2 expression: {reason}{_place(text, reason)}",
            hint="RE2 has no look-around and no back-references: https://github.com/google/re2/wiki/Syntax"
            if _FOREIGN.search(text)
            else None,
        ) from None
    return pattern


def require_patterns(expressions: Mapping[str, str], mistakes: Mistakes) -> None:
    """``mistakes`` gets the ``expressions``, by their fields, that are invalid; an empty one is absent."""
    for field, text in expressions.items():
        if text:
            mistakes.keep(partial(compile_pattern, text, field), None)


def _place(text: str, reason: str) -> str:
    """The position in ``text`` of the part that RE2's ``reason`` quotes, if it occurs once."""
    part = reason.partition(": ")[2]
    return f", at character {text.index(part) + 1}" if part != text and text.count(part) == 1 else ""
