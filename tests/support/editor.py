"""The schema that editors check pipelines with, made of the source's: ``python -m tests.support.editor`` writes it."""

from __future__ import annotations

import json
from typing import TypeAlias

from tests.support.tables import SCHEMAS, TOP

PUBLISHED = TOP / "docs" / "pipeline.schema.json"
Json: TypeAlias = dict[str, object]

#: A pipeline's variable, which may stand for any value.
VARIABLE: Json = {"type": "string", "pattern": r"^\(\(.+\)\)$"}
#: What says nothing about validity and stays where an editor shows it.
SHOWN = ("title", "description", "default", "examples")
#: For our tables, not for editors; strict ones refuse keywords that they do not know.
OURS = ("$schema", "$id", "group", "registry-image")


def pipeline_schema() -> Json:
    """A schema of whole pipelines that knows just one thing: the source of whatever has the type registry-image."""
    steps: Json = {"type": "array", "items": {"$ref": "#/definitions/step"}}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": "urn:concourse:registry-image:pipeline",
        "title": "A Concourse pipeline with registry-image",
        "type": "object",
        "properties": {
            "resource_types": {"type": "array", "items": {"$ref": "#/definitions/typed"}},
            "resources": {"type": "array", "items": {"$ref": "#/definitions/typed"}},
            "jobs": {"type": "array", "items": {"type": "object", "properties": {"plan": steps}}},
        },
        "definitions": {
            "typed": {
                "type": "object",
                "if": {"required": ["type"], "properties": {"type": {"const": "registry-image"}}},
                "then": {"required": ["source"], "properties": {"source": {"$ref": "#/definitions/source"}}},
            },
            "step": {
                "type": "object",
                "properties": {
                    "config": {"type": "object", "properties": {"image_resource": {"$ref": "#/definitions/typed"}}},
                    "do": steps,
                    "try": {"$ref": "#/definitions/step"},
                    "in_parallel": {
                        "type": ["array", "object"],
                        "items": {"$ref": "#/definitions/step"},
                        "properties": {"steps": steps},
                    },
                },
            },
            "source": with_variables(json.loads((SCHEMAS / "source.json").read_text())),
        },
    }


def with_variables(schema: Json) -> Json:
    """``schema``, where a variable may stand for whatever is not a text anyway."""
    inner: Json = {key: _within(key, value) for key, value in schema.items() if key not in OURS}
    kinds = inner.get("type", [])
    if "string" in (kinds if isinstance(kinds, list) else [kinds]) and "enum" not in inner:
        return inner
    shown = {key: inner.pop(key) for key in SHOWN if key in inner}
    # Not `anyOf`: of that, editors report that no choice fits, instead of what is wrong.
    return {**shown, "if": VARIABLE, "else": inner}


def _within(key: str, value: object) -> object:
    if key == "properties" and isinstance(value, dict):
        return {name: with_variables(each) for name, each in value.items()}
    return with_variables(value) if key in ("items", "additionalProperties") and isinstance(value, dict) else value


if __name__ == "__main__":
    PUBLISHED.write_text(json.dumps(pipeline_schema(), indent=1, ensure_ascii=False) + "\n")
