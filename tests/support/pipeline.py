"""What is wrong with a pipeline, as far as it can be seen without a Concourse."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import cast

import jsonschema
import yaml

from tests.support import examples
from tests.support.concourse import OURS, Json, flat

#: Types that every worker has, of those that we write about.
CORE = {"git", "registry-image", "semver", "time"}
TEXT, FLAG, TEXTS = {"type": "string"}, {"type": "boolean"}, {"type": "array", "items": {"type": "string"}}
ANYTHING = {"type": "object"}
NAMED = {"type": "array", "items": {"type": "object", "required": ["name"]}}
STEP: Json = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("get", "put", "task", "load_var", "file", "resource", "image"), TEXT),
        **dict.fromkeys(("trigger", "no_get", "privileged"), FLAG),
        **dict.fromkeys(("params", "get_params", "output_mapping"), ANYTHING),
        "version": {"enum": ["every", "latest"]},
        "passed": TEXTS,
        "in_parallel": {"type": "array", "items": {"$ref": "#/$defs/step"}},
        "config": {
            "type": "object",
            "required": ["platform"],
            "properties": {
                "platform": {"const": "linux"},
                "image_resource": {"type": "object", "required": ["type", "source"]},
                "inputs": NAMED,
                "outputs": NAMED,
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
RESOURCE: Json = {
    "type": "object",
    "required": ["name", "type", "source"],
    "properties": {**dict.fromkeys(("name", "type", "icon", "check_every"), TEXT), "source": {"type": "object"}},
    "additionalProperties": False,
}
JOB: Json = {
    "type": "object",
    "required": ["name", "plan"],
    "properties": {"name": TEXT, "plan": {"type": "array", "items": {"$ref": "#/$defs/step"}}},
    "additionalProperties": False,
}
PIPELINE: Json = {
    "type": "object",
    "required": ["resources", "jobs"],
    "properties": {
        "resource_types": {"type": "array", "items": RESOURCE},
        "resources": {"type": "array", "items": RESOURCE},
        "jobs": {"type": "array", "items": JOB},
        "var_sources": {"type": "array", "items": {"type": "object", "required": ["name", "type", "config"]}},
    },
    "additionalProperties": False,
    "$defs": {"step": STEP},
}


def steps(job: Json) -> list[Json]:
    """The steps of ``job``, and those within them, in order."""
    return list(flat(cast("list[Json]", job["plan"])))


def require_valid(text: str) -> None:
    """Raises AssertionError, ValidationError or RequestError for what Concourse, or a step of ours, would refuse."""
    pipeline = cast("Json", yaml.safe_load(text))
    jsonschema.validate(pipeline, PIPELINE)
    resources, kinds = (
        {str(each["name"]): each for each in _all(pipeline, key)} for key in ("resources", "resource_types")
    )
    for resource in (*resources.values(), *kinds.values()):
        assert str(resource["type"]) in CORE | kinds.keys(), f"no type {resource['type']}"
    ours = {name for name, each in resources.items() if str(each["type"]) in {OURS, "image"}}
    for job in _all(pipeline, "jobs"):
        made: set[str] = set()
        for step in steps(job):
            assert _needs(step) <= made, f"{job['name']}: {_needs(step) - made} is not there yet in {step}"
            name = str(step.get("get") or step.get("put") or "")
            assert not name or step.get("resource", name) in resources, f"no resource {name}"
            made |= _makes(step)
    for each in examples.objects(examples.read(text)):
        if {each.get("type"), each.get("resource", each.get("get") or each.get("put"))} & {OURS, "image", *ours}:
            examples.understood(each)


def _needs(step: Json) -> set[str]:
    """Artifacts, and variables of earlier steps as ``.:name``, that must be there before ``step``."""
    config = cast("Json", step.get("config", {}))
    found = {str(each["name"]) for each in _all(config, "inputs")} | _roots([step.get("image"), step.get("file")])
    params = cast("Json", step.get("params", {})) if "put" in step else {}
    found |= _roots(
        [params.get("image"), params.get("additional_tags"), *(each["path"] for each in _all(params, "images"))]
    )
    return found | set(re.findall(r"\(\((\.:[\w-]+)", str(step)))


def _makes(step: Json) -> set[str]:
    if "load_var" in step:
        return {f".:{step['load_var']}"}
    if "task" in step:
        renamed = cast("Json", step.get("output_mapping", {}))
        outputs = [str(each["name"]) for each in _all(cast("Json", step["config"]), "outputs")]
        return {str(renamed.get(name, name)) for name in outputs}
    name = str(step.get("get") or step.get("put"))
    return {name, f".:{name}"} if not step.get("no_get") else set()


def _roots(paths: list[object]) -> set[str]:
    """The artifacts that these paths begin with."""
    return {str(path).split("/", 1)[0] for path in paths if path}


def _all(value: Json, key: str) -> Iterator[Json]:
    yield from cast("list[Json]", value.get(key, []))
