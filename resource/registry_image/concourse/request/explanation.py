"""Explains in one line why a request is invalid. Imported only then: jsonschema is slow to import."""

from __future__ import annotations

from difflib import get_close_matches

from jsonschema import Draft7Validator

from registry_image.concourse.request.validation import Schema, is_type
from registry_image.decode import JSON
from registry_image.errors import RequestError, quote

_NAMES = {
    "string": "a string",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "array": "an array",
    "object": "an object",
}


def require_valid(document: JSON, schema: Schema) -> None:
    """Raises RequestError, whose text repeats no value that may be a secret."""
    errors = sorted(
        Draft7Validator(schema).iter_errors(document),
        # Unknown keys first: a misspelled key is often why another is missing.
        key=lambda error: (error.validator != "additionalProperties", list(map(str, error.absolute_path))),
    )
    if errors:
        error = errors[0]
        where = ".".join(str(part) for part in error.absolute_path) or "request"
        known = error.schema.get("properties", {}) if isinstance(error.schema, dict) else {}
        raise RequestError(
            f"{where}: {_sentence(str(error.validator), error.validator_value, error.instance, sorted(known))}"
        )


def _sentence(keyword: str, rule: object, value: object, known: list[str]) -> str:
    """Repeats a value only if it is a number or belongs to an enum: others may be secrets."""
    if keyword == "additionalProperties" and isinstance(value, dict):
        unknown = next(key for key in value if key not in known)
        return f"unknown field {quote(unknown)}{_suggestion(unknown, known)}"
    if keyword == "required" and isinstance(rule, list) and isinstance(value, dict):
        return f"{next(key for key in rule if key not in value)} is required"
    if keyword == "enum" and isinstance(rule, list):
        got = quote(value) if isinstance(value, str) else _name_of(value)
        return f"expected one of {', '.join(rule)}: got {got}"
    if keyword == "type":
        names = [rule] if isinstance(rule, str) else rule if isinstance(rule, list) else []
        return f"expected {' or '.join(_NAMES[name] for name in names)}: got {_name_of(value)}"
    if keyword == "minItems":
        return f"expected at least {rule}: got none"
    bound = {"minimum": "at least", "maximum": "at most"}.get(keyword, keyword)
    return f"expected {bound} {rule}: got {value}"


def _suggestion(unknown: str, known: list[str]) -> str:
    nearest = get_close_matches(unknown, known, n=1, cutoff=0.5)
    return f": did you mean {nearest[0]}?" if nearest else f": known are {', '.join(known)}"


def _name_of(value: object) -> str:
    return next((text for name, text in _NAMES.items() if is_type(value, name)), "null")
