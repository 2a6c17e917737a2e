"""Tables in Markdown, as the pages have them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table whose first row is its heading."""
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def paste(text: str, page: Path, name: str) -> None:
    """Puts ``text`` between the comments ``<!-- name -->`` and ``<!-- end of name -->`` of the page."""
    block = re.compile(rf"(<!-- {name} -->\n).*(<!-- end of {name} -->)", re.DOTALL)
    page.write_text(block.sub(lambda found: f"{found[1]}{text}{found[2]}", page.read_text()))
