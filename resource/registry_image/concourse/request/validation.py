"""Holds a request against its JSON Schema, which is the one truth of what a pipeline may write.

Importing jsonschema costs more than the rest of a check. So a request is first read by `conforms`, which knows just
the keywords our schemas use and is never more lenient than jsonschema (tests/property holds them side by side); only
a request it does not let pass is given to jsonschema, whose word counts, and which can explain.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

from registry_image.decode import JSON, MAX_DEPTH
from registry_image.errors import RequestError, quote

Kind: TypeAlias = Literal["check", "get", "put"]
Schema: TypeAlias = Mapping[str, JSON]

_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "array": list,
    "object": dict,
}
_NAMES = {
    "string": "a string",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "array": "an array",
    "object": "an object",
}


def load_schema(name: str) -> dict[str, JSON]:
    """The published schema of that name, with the source's put in where it refers to it."""
    path = os.path.join(os.path.dirname(__file__), "schema", f"{name}.json")
    with open(path, "rb") as file:
        schema: dict[str, JSON] = json.load(file)
    properties = schema["properties"]
    assert isinstance(properties, dict)  # noqa: S101 - for mypy; the schemas are ours
    if properties.get("source") == {"$ref": "source.json"}:
        properties["source"] = load_schema("source")
    return schema


class NumberText(float):
    """A JSON number and the digits it was written in: the tag ``1.10`` is not 1.1."""

    text: str

    def __new__(cls, text: str) -> NumberText:
        number = super().__new__(cls, text)
        number.text = text
        return number


def read_document(raw: bytes, kind: Kind) -> dict[str, JSON]:
    """The request of that kind in ``raw``: valid, without its empty fields, numbers that mean text being text.

    Raises RequestError, with a text that repeats no value which may be a secret.
    """
    try:
        document = json.loads(raw.decode("utf-8"), parse_float=NumberText, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise RequestError(f"request on stdin: not UTF-8: {error.reason} at byte {error.start}") from None
    except (ValueError, RecursionError) as error:
        found = "nothing" if not raw.strip() else f"not valid JSON: {error}"
        raise RequestError(f"request on stdin: expected a JSON object: got {found}") from None
    if _is_deep(document):
        raise RequestError(f"request on stdin: nested more than {MAX_DEPTH} deep")
    if b"\\u" in raw:
        _refuse_unwritable(document)
    schema = load_schema(kind)
    document = normalised(document, schema)
    if not conforms(document, schema):
        _explain(document, schema)
    return document if isinstance(document, dict) else {}


def _is_deep(document: JSON) -> bool:
    """Whether what walks through it by calling itself, as the rest of us does, could run out of stack."""
    level = [document]
    for _ in range(MAX_DEPTH):
        inner = [item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list)]
        level = [item for items in inner for item in items]
    return bool(level)


def _refuse_unwritable(document: JSON) -> None:
    """JSON's escapes can spell what no header, file name or registry can hold."""
    text = json.dumps(document, ensure_ascii=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise RequestError("request on stdin: a string holds half of a surrogate pair (\\ud800 to \\udfff)") from None
    if r"\u0000" in text:
        raise RequestError("request on stdin: a string holds a null character (\\u0000)")


def _no_constant(name: str) -> JSON:
    raise ValueError(f"{name} is not JSON")


def normalised(value: JSON, schema: JSON) -> JSON:
    """Templated pipelines write null or "" for what they leave out: known fields that hold these are dropped.

    Unknown ones stay, to be refused; so do the entries of maps and arrays, where "" means itself.
    """
    if not isinstance(schema, dict):
        return value
    if isinstance(value, list):
        return [normalised(item, schema.get("items")) for item in value]
    if isinstance(value, int | float) and not isinstance(value, bool) and schema.get("type") == ["string", "number"]:
        return value.text if isinstance(value, NumberText) else str(value)
    if isinstance(value, NumberText) and value.is_integer() and schema.get("type") == "integer":
        # JSON Schema takes 4.0 for an integer, and templating tools write such numbers.
        return int(value)
    if not isinstance(value, dict):
        return value
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return {key: normalised(item, schema.get("additionalProperties")) for key, item in value.items()}
    return {
        key: normalised(item, properties.get(key))
        for key, item in value.items()
        if key not in properties or (item is not None and item != "")
    }


def conforms(value: object, schema: Schema) -> bool:
    """Whether ``value`` surely conforms. Knows only the keywords that our schemas use; booleans are not numbers."""
    types = schema.get("type")
    if types is not None and not any(_is(value, name) for name in _texts(types)):
        return False
    if "enum" in schema:
        # Every enum of ours is of strings, so 1 == True and 1 == 1.0 cannot confuse it.
        return isinstance(value, str) and value in _texts(schema["enum"])
    if isinstance(value, dict):
        return _conforms_object(value, schema)
    if isinstance(value, list):
        minimum, items = schema.get("minItems", 0), schema.get("items", {})
        return (
            isinstance(minimum, int)
            and len(value) >= minimum
            and isinstance(items, dict)
            and all(conforms(item, items) for item in value)
        )
    if isinstance(value, int | float) and not isinstance(value, bool):
        low, high = schema.get("minimum", value), schema.get("maximum", value)
        return isinstance(low, int | float) and isinstance(high, int | float) and low <= value <= high
    return True


def _conforms_object(value: dict[str, object], schema: Schema) -> bool:
    if not all(key in value for key in _texts(schema.get("required", []))):
        return False
    properties, others = schema.get("properties", {}), schema.get("additionalProperties", {})
    for key, item in value.items():
        inner = properties.get(key, others) if isinstance(properties, dict) else False
        if not isinstance(inner, dict) or not conforms(item, inner):
            return False
    return True


def _is(value: object, name: str) -> bool:
    return isinstance(value, _TYPES[name]) and (name == "boolean" or not isinstance(value, bool))


def _texts(value: JSON) -> Iterable[str]:
    return (
        (value,)
        if isinstance(value, str)
        else (v for v in value if isinstance(v, str))
        if isinstance(value, list)
        else ()
    )


def _explain(document: JSON, schema: Schema) -> None:
    from jsonschema import Draft7Validator

    errors = sorted(
        Draft7Validator(schema).iter_errors(document),
        # A misspelled key is often the reason for a missing one.
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
    """What is wrong, in one line. Values are repeated only where they stand for one of a few words, or are numbers."""
    if keyword == "additionalProperties" and isinstance(value, dict):
        unknown = next(key for key in value if key not in known)
        return f"unknown field {quote(unknown)}{_nearest(unknown, known)}"
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


def _nearest(unknown: str, known: list[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(unknown, known, n=1, cutoff=0.5)
    return f": did you mean {near[0]}?" if near else f": known are {', '.join(known)}"


def _name_of(value: object) -> str:
    return next((text for name, text in _NAMES.items() if _is(value, name)), "null")
