"""README's tables of fields, made from the schemas: ``python -m tests.support.tables`` writes them in."""

from __future__ import annotations

import json
from pathlib import Path

TOP = Path(__file__).parents[2]
README = TOP / "README.md"
SCHEMAS = TOP / "resource" / "registry_image" / "concourse" / "request" / "schema"
TABLES = ("source", "get", "put")


def rows(properties: dict[str, dict[str, object]], required: list[str], prefix: str = "") -> list[str]:
    """One row for each field that has a description; the fields of an object follow it as ``object.field``."""
    found = []
    for name, field in properties.items():
        if "description" in field:
            note = " **Required.**" if name in required else ""
            # A bar ends a cell, even in code.
            text = str(field["description"]).replace("|", "\\|")
            found.append(f"| `{prefix}{name}` | {text}{note} |")
        inner = field.get("properties")
        if isinstance(inner, dict):
            found += rows(inner, [], f"{prefix}{name}.")
    return found


def table(kind: str) -> str:
    """The table of a source's fields, or of a step's params."""
    schema = json.loads((SCHEMAS / f"{kind}.json").read_text())
    if kind != "source":
        schema = schema["properties"]["params"]
    return "\n".join(["| field | meaning |", "|---|---|", *rows(schema["properties"], schema.get("required", []))])


def filled(text: str) -> str:
    """``text`` with every table between its markers made anew."""
    for kind in TABLES:
        begin, end = f"<!-- {kind}:begin -->", f"<!-- {kind}:end -->"
        before, _, rest = text.partition(begin)
        _, marker, after = rest.partition(end)
        assert marker, f"README.md has no place for the table of {kind}"
        text = f"{before}{begin}\n{table(kind)}\n{end}{after}"
    return text


if __name__ == "__main__":
    README.write_text(filled(README.read_text()))
