"""A build log as a picture: the cells of a terminal, as SVG that looks the same wherever it is shown."""

from __future__ import annotations

from itertools import groupby
from xml.sax.saxutils import escape

from tests.support import terminal

#: The page of a build has no edge at which lines wrap; a picture is as wide as the lines that steps usually write.
COLUMNS = 96
LINES = 60
_CELL, _LINE, _SIZE, _MARGIN = 8, 20, 13, 16
_FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
_INK, _PAPER = "#d7dce2", "#1b1f24"
_COLOURS = {"green": "#57ab5a", "cyan": "#4a9fc9", "brightblack": "#3d4550"}
#: Blocks are drawn as shapes, as fonts differ in them: how much of the height is filled.
_BLOCKS = {"█": 1.0, "▓": 0.55, "░": 0.2}
_BLOCK_HEIGHT = 12


def svg(log: bytes, title: str) -> str:
    """The same bytes every time."""
    rows = terminal.cells(log, COLUMNS, LINES)
    width, height = COLUMNS * _CELL + 2 * _MARGIN, len(rows) * _LINE + 2 * _MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' role="img" font-family="{_FONT}" font-size="{_SIZE}">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{height}" rx="8" fill="{_PAPER}"/>',
    ]
    for number, row in enumerate(rows):
        lines += _row(row[: len(terminal.text(row))], _MARGIN + number * _LINE)
    return "\n".join([*lines, "</svg>", ""])


def _row(cells: list[terminal.Cell], top: int) -> list[str]:
    drawn = []
    column = 0
    for (block, colour), run in groupby(cells, lambda cell: (cell.character in _BLOCKS, cell.colour)):
        text = "".join(cell.character for cell in run)
        x, fill = _MARGIN + column * _CELL, _COLOURS.get(colour, _INK)
        column += len(text)
        if block:
            share = _BLOCKS[text[0]]
            part = round(_BLOCK_HEIGHT * share, 1)
            y = top + (_LINE - _BLOCK_HEIGHT) / 2 + (_BLOCK_HEIGHT - part) / 2
            drawn.append(f'<rect x="{x}" y="{y:g}" width="{len(text) * _CELL}" height="{part:g}" fill="{fill}"/>')
        elif text.strip():
            x += (len(text) - len(text.lstrip())) * _CELL
            text = text.strip()
            length = f'textLength="{len(text) * _CELL}" lengthAdjust="spacingAndGlyphs"'
            drawn.append(
                f'<text x="{x}" y="{top + 14}" fill="{fill}" {length} xml:space="preserve">{escape(text)}</text>'
            )
    return drawn
