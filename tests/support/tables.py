"""The pages' tables of fields, made from the schemas: ``python -m tests.support.tables`` writes them in.

A page has a table between two markers, ``<!-- table: source, Which tags -->`` and ``<!-- /table -->``: the fields of
the source, or of the params of get or put, that are in that group, or, for the group "usual", those of `USUAL`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import yaml

TOP = Path(__file__).parents[2]
README = TOP / "README.md"
PAGES = (README, TOP / "docs" / "reference.md", TOP / "docs" / "clouds.md")
SCHEMAS = TOP / "resource" / "registry_image" / "concourse" / "request" / "schema"
KINDS = ("source", "get", "put")
MARKED = re.compile(r"(<!-- table: (\w+), ([\w ]+) -->\n).*?(<!-- /table -->)", re.DOTALL)
#: What README shows; the rest is in docs/reference.md.
USUAL = {
    "source": (
        "repository",
        "tag",
        "semver_constraint",
        "variant",
        "tag_regex",
        "username",
        "password",
        "registry_mirror",
        "ca_certs",
        "platform",
    ),
    "get": ("format", "formats", "platform", "skip_download"),
    "put": ("image", "images", "from", "version", "bump_aliases", "tags", "if_exists"),
}
#: The digest of examples, too long to be shown.
_DIGEST = "0" * 64
_TYPES = {"string": "text", "number": "number", "boolean": "`true` or `false`"}

Schema: TypeAlias = Mapping[str, object]


def fields(kind: str) -> dict[str, Schema]:
    """The fields of the source, or of a step's params, by name."""
    schema = json.loads((SCHEMAS / f"{kind}.json").read_text())
    properties: dict[str, Schema] = (schema if kind == "source" else schema["properties"]["params"])["properties"]
    return properties


def groups(kind: str) -> list[str]:
    """The groups of these fields, in their order."""
    return list(dict.fromkeys(str(field["group"]) for field in fields(kind).values()))


def filled(page: Path) -> str:
    """The text of ``page`` with every table between its markers made anew."""
    # The schemas' links are README's.
    docs = "](" if page.parent.name == "docs" else "](docs/"

    def anew(found: re.Match[str]) -> str:
        return f"{found[1]}{table(found[2], found[3]).replace('](docs/', docs)}\n{found[4]}"

    return MARKED.sub(anew, page.read_text())


def table(kind: str, group: str) -> str:
    """The table of a group of fields; that of the usual ones has no more than their meaning."""
    chosen = fields(kind)
    if group == "usual":
        head = ["| field | meaning |", "|---|---|"]
        lines = [f"| `{name}` | {_meaning(chosen[name])} |" for name in USUAL[kind]]
    else:
        head = ["| field | takes | default | in `registry-image` | meaning |", "|---|---|---|---|---|"]
        lines = [
            line
            for name, field in chosen.items()
            if field["group"] == group
            for line in _rows(name, field, known=bool(field.get("registry-image")))
        ]
    return "\n".join([*head, *lines])


def _rows(name: str, field: Schema, *, known: bool) -> Iterator[str]:
    """The row of a field, if it is described; the fields of an object follow it as ``object.field``."""
    if "description" in field:
        default = f"`{json.dumps(field['default']).strip(chr(34))}`" if "default" in field else ""
        cells = (f"`{name}`", takes(field), default, "yes" if known else "", _described(name, field))
        yield "| " + " | ".join(cells) + " |"
    for inner, each in _properties(field).items():
        yield from _rows(f"{name}.{inner}", each, known=known)


def takes(schema: Schema) -> str:
    """What may be written for ``schema``, in words: its types, words, bounds and shape."""
    if "enum" in schema:
        return _choice([f"`{word}`" for word in _list(schema["enum"])])
    kinds = _list(schema["type"])
    return _choice([_takes_type(str(kind), schema) for kind in kinds])


def _takes_type(kind: str, schema: Schema) -> str:
    if kind == "array":
        items = schema["items"]
        assert isinstance(items, dict)
        return f"list of {_shape(items)}" if "properties" in items else f"list, each {takes(items)}"
    if kind == "object":
        others = schema.get("additionalProperties")
        if isinstance(others, dict):
            return f"map of {_shape(others)}" if "properties" in others else f"map, each value {takes(others)}"
        return _shape(schema)
    if kind == "integer":
        return f"whole number, {schema['minimum']} to {schema['maximum']}"
    return _TYPES[kind]


def _shape(schema: Schema) -> str:
    """An object by its keys, those that may be left out with a question mark."""
    keys = _properties(schema)
    if not keys:
        return "object"
    required = _list(schema.get("required", []))
    return "`{" + ", ".join(key if key in required else f"{key}?" for key in keys) + "}`"


def _meaning(field: Schema) -> str:
    default = f" Default: `{json.dumps(field['default']).strip(chr(34))}`." if field.get("default") else ""
    # A bar ends a cell, even in code.
    return (str(field["description"]) + default).replace("|", "\\|")


def _described(name: str, field: Schema) -> str:
    text = str(field["description"])
    for example in _list(field.get("examples", [])):
        flow = yaml.safe_dump({name: example}, default_flow_style=True, width=1000, allow_unicode=True, sort_keys=False)
        text += f"<br>Example: `{flow.strip()[1:-1].replace(_DIGEST, '…')}`"
    return text.replace("|", "\\|")


def _properties(schema: Schema) -> dict[str, Schema]:
    properties = schema.get("properties", {})
    assert isinstance(properties, dict)
    return properties


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else [value]


def _choice(words: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(filled(page))
