"""The tables of fields say what the schemas say, and what the schemas say beside their rules is true."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from jsonschema import Draft7Validator

from registry_image.concourse.request.check import parse_check
from registry_image.concourse.request.get import parse_get
from registry_image.concourse.request.put import parse_put
from tests.support import tables

#: What an example or a default needs beside it to mean something.
COMPANIONS: dict[tuple[str, str], dict[str, object]] = {
    ("source", "azure_acr"): {"azure_client_id": "0"},
    ("put", "platforms"): {"from": "registry.example.com/app:1"},
    ("put", "verify"): {"from": "registry.example.com/app:1"},
    ("put", "bump_aliases"): {"version": "1.2.3"},
    ("put", "tag_prefix"): {"tags": ["a"]},
}
FIELDS = [(kind, name) for kind in tables.KINDS for name in tables.fields(kind)]


def request(kind: str, fields: dict[str, object]) -> bytes:
    source: dict[str, object] = {"repository": "registry.example.com/app"}
    if kind == "source":
        return json.dumps({"source": source | fields}).encode()
    version = {"version": {"digest": f"sha256:{'0' * 64}"}} if kind == "get" else {}
    return json.dumps({"source": source, "params": fields, **version}).encode()


PARSE: dict[str, Callable[[bytes], object]] = {
    "source": parse_check,
    "get": lambda raw: parse_get(raw, "/destination"),
    "put": lambda raw: parse_put(raw, "/artifacts"),
}


@pytest.mark.parametrize("page", tables.PAGES, ids=lambda page: page.name)
def test_the_tables_are_those_of_the_schemas(page: Path) -> None:
    assert tables.filled(page) == page.read_text(), "run: .venv/bin/python -m tests.support.tables"


def test_every_field_is_in_a_table_of_the_reference() -> None:
    found = [hit.group(2, 3) for page in tables.PAGES for hit in tables.MARKED.finditer(page.read_text())]
    assert sorted(hit for hit in found if hit[1] != "usual") == sorted(
        (kind, group) for kind in tables.KINDS for group in tables.groups(kind)
    )
    assert sorted(kind for kind, group in found if group == "usual") == sorted(tables.USUAL)


def test_a_table_says_type_words_bounds_shape_default_and_example() -> None:
    login = tables.table("source", "Login")
    assert "| `client_certs` | list of `{domain, cert, key}` |" in login
    assert "| `auths` | map of `{username?, password?, identity_token?, auth?}` |" in login
    assert "| whole number, 1 to 64 | `4` |" in tables.table("source", "Network")
    assert "| `if_exists` | `overwrite`, `skip` or `fail` | `overwrite` |  |" in tables.table("put", "Under which tags")
    assert "<br>Example: `digest: 'sha256:…'` |" in tables.table("source", "Which image")
    assert "| `gcp.service_account_json` |" in tables.table("source", "Clouds")
    assert "| `verify.cosign.keys` |" in tables.table("source", "Trust")


@pytest.mark.parametrize(("kind", "name"), FIELDS)
def test_every_example_is_what_a_pipeline_may_write(kind: str, name: str) -> None:
    field = tables.fields(kind)[name]
    examples = field.get("examples", [])
    assert isinstance(examples, list)
    for example in examples:
        Draft7Validator(dict(field)).validate(example)
        filled = json.loads(json.dumps(example).replace("((docker_config))", "{}"))
        PARSE[kind](request(kind, COMPANIONS.get((kind, name), {}) | {name: filled}))


@pytest.mark.parametrize(("kind", "name"), FIELDS)
def test_a_default_is_what_the_fields_absence_means(kind: str, name: str) -> None:
    field = tables.fields(kind)[name]
    if "default" in field:
        others = COMPANIONS.get((kind, name), {})
        assert PARSE[kind](request(kind, {**others, name: field["default"]})) == PARSE[kind](request(kind, others))
    else:
        assert field.get("type") != "boolean"
        assert "enum" not in field or name == "on_missing"  # what its absence means depends on the mode


@pytest.mark.parametrize("name", [*tables.KINDS, "check"])
def test_a_schema_is_named_by_a_urn(name: str) -> None:
    schema = json.loads((tables.SCHEMAS / f"{name}.json").read_text())
    assert schema["$id"] == f"urn:concourse:registry-image:{name}"
    assert schema["title"]
