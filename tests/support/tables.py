"""Generates README's tables of fields from the schemas: ``python -m tests.support.tables``."""

from __future__ import annotations

import json
from pathlib import Path

TOP = Path(__file__).parents[2]
README = TOP / "README.md"
SCHEMAS = TOP / "resource" / "registry_image" / "concourse" / "request" / "schema"
TABLES = ("source", "get", "put")


def rows(properties: dict[str, dict[str, object]], required: list[str], prefix: str = "") -> list[str]:
    """One row for each field that has a description; the fields of an object follow it as ``object.field``."""
    lines = []
    for name, field in properties.items():
        if "description" in field:
            note = " **Required.**" if name in required else ""
            # A bar ends a cell, even in code.
            text = str(field["description"]).replace("|", "\\|")
            lines.append(f"| `{prefix}{name}` | {text}{note} |")
        inner = field.get("properties")
        if isinstance(inner, dict):
            lines += rows(inner, [], f"{prefix}{name}.")
    return lines


def table(kind: str) -> str:
    """The table of the source's fields or a step's params."""
    schema = json.loads((SCHEMAS / f"{kind}.json").read_text())
    if kind != "source":
        schema = schema["properties"]["params"]
    return "\n".join(["| field | meaning |", "|---|---|", *rows(schema["properties"], schema.get("required", []))])


def filled(text: str) -> str:
    """``text`` with a new table between each pair of markers."""
    for kind in TABLES:
        begin, end = f"<!-- {kind}:begin -->", f"<!-- {kind}:end -->"
        before, _, rest = text.partition(begin)
        _, marker, after = rest.partition(end)
        assert marker, f"README.md has no place for the table of {kind}"
        text = f"{before}{begin}\n{table(kind)}\n{end}{after}"
    return text


if __name__ == "__main__":
    README.write_text(filled(README.read_text()))
