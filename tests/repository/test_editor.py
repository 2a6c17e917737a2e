"""docs/pipeline.schema.json tells an editor what is wrong with a source, and nothing else."""

from __future__ import annotations

import json

import pytest
import yaml
from jsonschema import Draft7Validator

from tests.support import editor, examples, tables

JUDGE = Draft7Validator(editor.pipeline_schema())


def mistakes(pipeline: object) -> list[tuple[str, str]]:
    """Where ``pipeline`` is wrong, and by which keyword of the schema."""
    errors = JUDGE.iter_errors(pipeline)
    return sorted((".".join(map(str, error.absolute_path)), str(error.validator)) for error in errors)


def of_type(kind: str, source: object) -> dict[str, object]:
    return {"resources": [{"name": "app", "type": kind, "source": source}]}


def test_the_published_schema_is_fresh_and_valid() -> None:
    written = json.loads(editor.PUBLISHED.read_text())
    assert written == editor.pipeline_schema(), "run: .venv/bin/python -m tests.support.editor"
    Draft7Validator.check_schema(written)


def test_the_mistakes_of_the_page_are_found() -> None:
    (example,) = examples.of((tables.TOP / "docs" / "editor.md").read_text())
    source = "resources.0.source"
    assert mistakes(example) == [
        (source, "additionalProperties"),
        (source, "required"),
        (f"{source}.on_missing", "enum"),
    ]


def test_our_own_pipeline_has_none() -> None:
    assert mistakes(yaml.safe_load((tables.TOP / "pipeline.yml").read_text())) == []


@pytest.mark.parametrize(
    "source",
    [
        "((source))",
        {"repository": "((repository))", "pre_releases": "((x))", "ca_certs": "((cas))", "sort": "((sort))"},
        {"repository": "a", "registry_mirror": {"host": "((mirror))"}, "platform": {"os": "((os))"}},
    ],
)
def test_a_variable_may_stand_for_any_value(source: object) -> None:
    assert mistakes(of_type("registry-image", source)) == []


def test_other_types_are_left_alone() -> None:
    assert mistakes(of_type("git", {"uri": "x"})) == []


@pytest.mark.parametrize("nest", ["{}", '{{"do": [{}]}}', '{{"try": {}}}', '{{"in_parallel": {{"steps": [{}]}}}}'])
def test_the_image_of_a_task_is_checked_wherever_the_step_is(nest: str) -> None:
    image = {"type": "registry-image", "source": {"repository": "a", "tga": "1"}}
    step = json.loads(nest.format(json.dumps({"task": "t", "config": {"image_resource": image}})))
    ((where, keyword),) = mistakes({"jobs": [{"name": "j", "plan": [step]}]})
    assert where.endswith("config.image_resource.source")
    assert keyword == "additionalProperties"


def test_no_keyword_is_left_that_only_our_tables_know() -> None:
    text = editor.PUBLISHED.read_text()
    assert [word for word in ("group", "registry-image") if f'"{word}":' in text] == []
