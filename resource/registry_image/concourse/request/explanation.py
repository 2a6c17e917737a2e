"""Explains why a request is invalid, one line for each mistake. Imported only then: jsonschema is slow to import."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from jsonschema import Draft7Validator

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


def explain(document: JSON, schema: Schema) -> tuple[list[RequestError], dict[str, JSON], set[str]]:
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
        where = ".".join(_without_login(str(part)) for part in error.absolute_path) or "request"
        known = sorted(error.schema.get("properties", {})) if isinstance(error.schema, dict) else []
        wrong |= _fields(error.absolute_path, str(error.validator), error.instance, known)
        for sentence in _sentences(str(error.validator), error.validator_value, error.instance, known, where):
            found.setdefault(f"{where}: {sentence}", RequestError(f"{where}: {sentence}"))
    return list(found.values())[:MAX_SHOWN], _without(document, wrong), wrong


def _without_login(key: str) -> str:
    """``key`` without what stands before an @: keys of `auths` may be written as ``user:password@host``."""
    return f"…@{key.rpartition('@')[2]}" if "@" in key else key


def _fields(path: Iterable[object], keyword: str, value: object, known: list[str]) -> set[str]:
    """The fields of ``source``, ``params`` and ``version`` that an error is in."""
    parts = [str(part) for part in path]
    if len(parts) >= 2 or keyword != "additionalProperties" or not isinstance(value, dict):
        return {".".join(parts[:2])}
    return {".".join((*parts, key)) for key in value if key not in known}


def _without(document: JSON, wrong: set[str]) -> dict[str, JSON]:
    given = document if isinstance(document, dict) else {}
    rest: dict[str, JSON] = {}
    for key, needed in _NEEDED.items():
        part = given.get(key)
        kept = part if isinstance(part, dict) else {}
        rest[key] = {**needed, **{name: item for name, item in kept.items() if f"{key}.{name}" not in wrong}}
    return rest


def _sentences(keyword: str, rule: object, value: object, known: list[str], where: str) -> list[str]:
    if keyword == "additionalProperties" and isinstance(value, dict):
        unknown = [key for key in value if key not in known]
        return [f"unknown field {quote(_without_login(key))}{_advised(where, key, known)}" for key in unknown]
    if keyword == "required" and isinstance(rule, list) and isinstance(value, dict):
        return [f"{key} is required" for key in rule if key not in value]
    return [_sentence(keyword, rule, value)]


def _sentence(keyword: str, rule: object, value: object) -> str:
    """Repeats a value only if it is a number or belongs to an enum: others may be secrets."""
    if keyword == "enum" and isinstance(rule, list):
        got = quote(value) if isinstance(value, str) else _name_of(value)
        return f"expected one of {', '.join(rule)}: got {got}"
    if keyword == "type":
        names = [rule] if isinstance(rule, str) else rule if isinstance(rule, list) else []
        return f"expected {' or '.join(_NAMES[name] for name in names)}: got {_name_of(value)}{_mended(names, value)}"
    if keyword == "minItems":
        return f"expected at least {rule}: got none"
    bound = {"minimum": "at least", "maximum": "at most"}.get(keyword, keyword)
    return f"expected {bound} {rule}: got {value}"


def _mended(names: list[str], value: object) -> str:
    """How a value of another type is written in YAML, where that is all that is wrong."""
    if names == ["boolean"] and isinstance(value, str) and value.lower() in ("true", "false"):
        return ": write it without quotes"
    if names in (["string"], ["string", "number"]) and isinstance(value, int | float):
        return ": put it in quotes"
    if names == ["array"] and isinstance(value, str):
        return ": write it as a list, also if it is only one"
    return ""


def _advised(where: str, unknown: str, known: list[str]) -> str:
    """What to write instead of a field that is not known: its name here, or else the nearest one."""
    if better := advice(where, unknown) or _elsewhere(where, unknown):
        return f": {better}"
    longer = [name for name in known if name.startswith(unknown)]
    nearest = longer or get_close_matches(unknown, known, n=1)
    return f": did you mean {nearest[0]}?" if nearest else f": known are {', '.join(known)}"


def _elsewhere(where: str, field: str) -> str:
    """Says so of a field that belongs to another part of the pipeline."""
    places = {"params": {"source": "source"}, "source": {"get": "params of get", "put": "params of put"}}
    for name, place in places.get(where, {}).items():
        properties = load_schema(name)["properties"]
        if isinstance(properties, dict) and name != "source":
            params = properties["params"]
            properties = params["properties"] if isinstance(params, dict) else {}
        if isinstance(properties, dict) and field in properties:
            return f"it belongs to {place}"
    return ""


def _name_of(value: object) -> str:
    return next((text for name, text in _NAMES.items() if is_type(value, name)), "null")
