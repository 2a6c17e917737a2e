"""Numbers where a pipeline means a text: the tag 3.10 without quotes is a number, and reaches us as 3.1.

Concourse decodes pipelines into floats of 64 bits, so the digits are lost before us. 1.0 arrives as 1, which nobody can
tell from a 1.
"""

from __future__ import annotations

#: As a float of 64 bits, the next whole number becomes this one, and many greater ones become others too.
_FIRST_INEXACT = 2**53


class NumberText(float):
    """A JSON number that has a fraction or an exponent, and the digits it was written in."""

    text: str

    def __new__(cls, text: str) -> NumberText:
        number = super().__new__(cls, text)
        number.text = text
        return number


class InexactText(str):
    """The digits of a number; the pipeline may have others."""

    __slots__ = ()


def text_of(number: float) -> str:
    """An InexactText unless the digits of ``number`` must be those of the pipeline, or nearly: see 1.0 above."""
    if isinstance(number, NumberText):
        return InexactText(number.text)
    return InexactText(number) if abs(number) >= _FIRST_INEXACT else str(number)


def advice(text: InexactText) -> str:
    """What the author is to do, and why."""
    if text.isdecimal():
        return "put it in quotes: of a number, only the first 15 digits are kept"
    return "put it in quotes: YAML reads 3.10 as 3.1"
