"""pipeline.yml builds, tests and publishes this resource with itself: it is valid, and says only what we understand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import jsonschema
import yaml

from tests.support import examples

TOP = Path(__file__).parents[2]
STEP: dict[str, object] = {
    "type": "object",
    "properties": {
        "get": {"type": "string"},
        "put": {"type": "string"},
        "task": {"type": "string"},
        "load_var": {"type": "string"},
        "file": {"type": "string"},
        "resource": {"type": "string"},
        "in_parallel": {"type": "array", "items": {"$ref": "#/$defs/step"}},
        "passed": {"type": "array", "items": {"type": "string"}},
        "trigger": {"type": "boolean"},
        "params": {"type": "object"},
        "get_params": {"type": "object"},
        "no_get": {"type": "boolean"},
        "image": {"type": "string"},
        "privileged": {"type": "boolean"},
        "config": {
            "type": "object",
            "required": ["platform", "run"],
            "properties": {
                "platform": {"const": "linux"},
                "image_resource": {"type": "object", "required": ["type", "source"]},
                "inputs": {"type": "array", "items": {"type": "object", "required": ["name"]}},
                "outputs": {"type": "array", "items": {"type": "object", "required": ["name"]}},
                "caches": {"type": "array", "items": {"type": "object", "required": ["path"]}},
                "params": {"type": "object"},
                "run": {"type": "object", "required": ["path"]},
            },
            "additionalProperties": False,
        },
    },
    "oneOf": [{"required": [kind]} for kind in ("get", "put", "task", "load_var", "in_parallel")],
    "additionalProperties": False,
}
PIPELINE: dict[str, object] = {
    "type": "object",
    "required": ["resource_types", "resources", "jobs"],
    "properties": {
        "resource_types": {"type": "array", "items": {"$ref": "#/$defs/resource"}},
        "resources": {"type": "array", "items": {"$ref": "#/$defs/resource"}},
        "jobs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "plan"],
                "properties": {
                    "name": {"type": "string"},
                    "plan": {"type": "array", "items": {"$ref": "#/$defs/step"}},
                },
                "additionalProperties": False,
            },
        },
    },
    "additionalProperties": False,
    "$defs": {
        "step": STEP,
        "resource": {
            "type": "object",
            "required": ["name", "type", "source"],
            "properties": {
                "name": {"type": "string"},
                "type": {"type": "string"},
                "icon": {"type": "string"},
                "source": {"type": "object"},
            },
            "additionalProperties": False,
        },
    },
}

Json = dict[str, object]


def pipeline() -> dict[str, list[Json]]:
    return cast("dict[str, list[Json]]", yaml.safe_load((TOP / "pipeline.yml").read_text()))


def steps(plan: list[Json]) -> Iterator[Json]:
    for step in plan:
        yield step
        yield from steps(cast("list[Json]", step.get("in_parallel", [])))


def all_steps() -> list[Json]:
    return [step for job in pipeline()["jobs"] for step in steps(cast("list[Json]", job["plan"]))]


def test_the_pipeline_is_valid() -> None:
    jsonschema.validate(pipeline(), PIPELINE)


def test_every_step_names_a_resource_that_is_there() -> None:
    resources = {resource["name"] for resource in pipeline()["resources"]}
    named = {step.get("resource", step.get("get", step.get("put"))) for step in all_steps()} - {None}
    assert named <= resources


def test_the_resource_is_its_own_resource_type_and_the_image_of_a_task() -> None:
    ours = {kind["name"] for kind in pipeline()["resource_types"]}
    assert ours == {"image"}
    configs = [cast("Json", step["config"]) for step in all_steps() if "config" in step]
    used = {cast("Json", config["image_resource"])["type"] for config in configs if "image_resource" in config}
    assert used == ours


def test_we_understand_every_step_and_source_that_is_ours() -> None:
    document = examples.read((TOP / "pipeline.yml").read_text())
    found = list(examples.objects(document))
    ours = {each["name"] for each in found if each.get("type") in ("image", "registry-image") and "name" in each}
    for example in found:
        if {example.get("type"), example.get("get"), example.get("put")} & (ours | {"registry-image"}):
            examples.understood(example)


def test_every_variable_is_documented_at_the_top() -> None:
    text = (TOP / "pipeline.yml").read_text()
    head, body = text.split("---\n", 1)
    variables = set(re.findall(r"\(\(([a-z_]+)\)\)", body))
    assert variables == set(re.findall(r"^#   ([a-z_]+) {2,}", head, re.MULTILINE))


def test_the_dockerfile_depends_on_no_architecture_and_names_no_index() -> None:
    text = (TOP / "Dockerfile").read_text()
    assert not re.search(r"amd64|x86_64|arm64|aarch64|://", text)
