"""Explains why a request is invalid, one line for each mistake. Imported only then: jsonschema is slow to import."""

from __future__ import annotations

import json
from collections.abc import Mapping
from difflib import get_close_matches

from jsonschema import Draft7Validator, ValidationError

from registry_image.concourse.request.elsewhere import advice
from registry_image.concourse.request.validation import Schema, is_type, load_schema
from registry_image.decode import JSON
from registry_image.errors import RequestError, quote

#: The most mistakes that are shown.
MAX_SHOWN = 20

#: What each part of a request must have.
_NEEDED: Mapping[str, dict[str, JSON]] = {
    "source": {"repository": "unknown"},
    "params": {},
    "version": {"digest": f"sha256:{'0' * 64}"},
}
_NAMES = {
    "string": "a string",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "array": "an array",
    "object": "an object",
}


def explain(document: JSON, schema: Schema, step: str) -> tuple[list[RequestError], dict[str, JSON], set[str]]:
    """The mistakes; the document without the fields that have them, and these fields, such as "source.tag".

    No text repeats a value that may be a secret. A required field that is missing or wrong gets a value that conforms,
    so that the others can be read.
    """
    errors = sorted(
        Draft7Validator(schema).iter_errors(document),
        # Unknown keys first: a misspelled key is often why another is missing.
        key=lambda error: (error.validator != "additionalProperties", list(map(str, error.absolute_path))),
    )
    found: dict[str, RequestError] = {}
    wrong: set[str] = set()
    for error in errors:
        where = _where(error) or "request"
        wrong |= _fields(error)
        for sentence in _sentences(error, where, step):
            found.setdefault(f"{where}: {sentence}", RequestError(f"{where}: {sentence}"))
    return list(found.values())[:MAX_SHOWN], _without(document, wrong), wrong


def _where(error: ValidationError) -> str:
    """Such as ``source.client_certs[0].key``."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{_without_login(part)}" for part in error.absolute_path)
    return "".join(parts).removeprefix(".")


def _without_login(key: str) -> str:
    """``key`` without what stands before an @: keys of `auths` may be written as ``user:password@host``."""
    return f"…@{key.rpartition('@')[2]}" if "@" in key else key


def _known(error: ValidationError) -> dict[str, JSON]:
    """The schemas of the fields where ``error`` is."""
    properties = error.schema.get("properties") if isinstance(error.schema, dict) else None
    return properties if isinstance(properties, dict) else {}


def _fields(error: ValidationError) -> set[str]:
    """The fields of ``source``, ``params`` and ``version`` that ``error`` is in."""
    parts = [str(part) for part in error.absolute_path]
    if len(parts) >= 2 or error.validator != "additionalProperties" or not isinstance(error.instance, dict):
        return {".".join(parts[:2])}
    return {".".join((*parts, key)) for key in error.instance if key not in _known(error)}


def _without(document: JSON, wrong: set[str]) -> dict[str, JSON]:
    given = document if isinstance(document, dict) else {}
    rest: dict[str, JSON] = {}
    for key, needed in _NEEDED.items():
        part = given.get(key)
        kept = part if isinstance(part, dict) else {}
        rest[key] = {**needed, **{name: item for name, item in kept.items() if f"{key}.{name}" not in wrong}}
    return rest


def _sentences(error: ValidationError, where: str, step: str) -> list[str]:
    keyword, rule, value = error.validator, error.validator_value, error.instance
    if keyword == "additionalProperties" and isinstance(value, dict):
        known = _known(error)
        unknown = [key for key in value if key not in known]
        return [f"unknown field {quote(_without_login(key))}: {_advised(where, step, key, known)}" for key in unknown]
    if keyword == "required" and isinstance(rule, list) and isinstance(value, dict):
        return [f"{key} is required" for key in rule if key not in value]
    return [_sentence(error)]


def _sentence(error: ValidationError) -> str:
    """Repeats a value only if it is a number or belongs to an enum: others may be secrets."""
    keyword, rule, value = str(error.validator), error.validator_value, error.instance
    if keyword == "enum" and isinstance(rule, list):
        got = quote(value) if isinstance(value, str) else _name_of(value)
        return f"expected one of {', '.join(rule)}: got {got}"
    if keyword == "type":
        names = [rule] if isinstance(rule, str) else rule if isinstance(rule, list) else []
        advice = _mended(names, value) or _example(names, error.schema)
        return f"expected {' or '.join(_NAMES[name] for name in names)}: got {_name_of(value)}{advice}"
    if keyword == "minItems":
        return f"expected at least {rule}: got none"
    bound = {"minimum": "at least", "maximum": "at most"}.get(keyword, keyword)
    return f"expected {bound} {rule}: got {value}"


def _mended(names: list[str], value: object) -> str:
    """How a value of another type is written in YAML, where that is all that is wrong."""
    if names == ["boolean"] and isinstance(value, str) and value.lower() in ("true", "false"):
        return ": write it without quotes"
    if names == ["integer"] and isinstance(value, str) and value.isdecimal():
        return ": write it without quotes"
    if names in (["string"], ["string", "number"]) and isinstance(value, int | float):
        return ": put it in quotes"
    if names == ["array"] and isinstance(value, str):
        return ": write it as a list, also if it is only one"
    return ""


def _example(names: list[str], schema: object) -> str:
    """An example of a list or a map: what is wrong about it is mostly its shape."""
    examples = schema.get("examples") if isinstance(schema, dict) else None
    if names not in (["array"], ["object"]) or not isinstance(examples, list) or not examples[0]:
        return ""
    return f": it is written like {json.dumps(examples[0])}"


def _advised(where: str, step: str, unknown: str, known: dict[str, JSON]) -> str:
    """What to write instead of a field that is not known: its name here or its place, or else the nearest name."""
    if better := advice(where, step, unknown) or _elsewhere(where, step, unknown):
        return better
    if parents := [f"`{name}`" for name, inner in known.items() if unknown in _inside(inner)]:
        return f"it belongs to {' or '.join(parents)}"
    written = unknown.lower()
    longer = sorted((name for name in known if name.startswith(written)), key=len)
    nearest = longer or get_close_matches(written, known, n=1)
    return f"did you mean {nearest[0]}?" if nearest else f"known are {', '.join(sorted(known))}"


def _inside(schema: JSON) -> set[str]:
    """The fields of an object, or of the objects in an array or a map."""
    fields: set[str] = set()
    if isinstance(schema, dict):
        for part in (schema, schema.get("items"), schema.get("additionalProperties")):
            properties = part.get("properties") if isinstance(part, dict) else None
            fields |= set(properties) if isinstance(properties, dict) else set()
    return fields


def _elsewhere(where: str, step: str, field: str) -> str:
    """The other part of the pipeline that ``field`` belongs to; "" if there is none."""
    if where not in ("source", "params"):
        return ""
    if where == "params" and field in _inside(load_schema("source")):
        return "it belongs to source"
    for name in ("get", "put"):
        properties = load_schema(name)["properties"]
        if isinstance(properties, dict) and field in _inside(properties["params"]):
            return f"it belongs to params of {name}"
    return ""


def _name_of(value: object) -> str:
    return next((text for name, text in _NAMES.items() if is_type(value, name)), "null")
