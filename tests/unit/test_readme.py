"""README says what the schemas say, and its examples are such as the executables take."""

from __future__ import annotations

from tests.support import examples, tables


def test_the_tables_are_those_of_the_schemas() -> None:
    written = tables.README.read_text()
    assert tables.filled(written) == written, "run: .venv/bin/python -m tests.support.tables"


def test_every_field_of_the_source_is_in_its_table() -> None:
    made = tables.table("source")
    for field in ("repository", "tag", "semver_constraint", "registry_mirrors", "platform", "gcp.service_account_json"):
        assert f"| `{field}` |" in made
    assert "**Required.**" in made


def test_every_example_is_understood() -> None:
    found: set[str] = set()
    for example in examples.objects(examples.of(tables.README.read_text())):
        found |= examples.understood(example)
    assert found == {"source", "get", "put"}
