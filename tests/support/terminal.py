"""A terminal of 80 columns, as `fly watch` has behind it: pyte draws, with the lines that scrolled away."""

from __future__ import annotations

from dataclasses import dataclass

import pyte
import pyte.modes

COLUMNS, LINES = 80, 24


@dataclass(frozen=True, slots=True)
class Cell:
    """A character with its colour ("default", "green", …)."""

    character: str
    colour: str
    bold: bool


def cells(log: bytes, columns: int = COLUMNS, lines: int = LINES) -> list[list[Cell]]:
    """Every row that is seen, from the first that scrolled away to the last that is not empty."""
    screen = pyte.HistoryScreen(columns, lines, history=10_000)
    # A terminal's driver makes a carriage return and a line feed of each line feed.
    screen.set_mode(pyte.modes.LNM)
    pyte.ByteStream(screen).feed(log)
    drawn = [*screen.history.top, *(screen.buffer[number] for number in range(lines))]
    rows = [[Cell(row[x].data, row[x].fg, row[x].bold) for x in range(columns)] for row in drawn]
    while rows and not text(rows[-1]):
        rows.pop()
    return rows


def text(row: list[Cell]) -> str:
    return "".join(cell.character for cell in row).rstrip()


def rows(log: bytes, columns: int = COLUMNS, lines: int = LINES) -> list[str]:
    return [text(row) for row in cells(log, columns, lines)]
