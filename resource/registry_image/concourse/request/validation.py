"""A fast check that a request conforms to its JSON Schema.

Importing jsonschema costs more than the rest of a check. `conforms` knows only the keywords of our schemas and is never
more lenient than jsonschema (tests/property compares them). jsonschema decides about and explains what it rejects.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias, TypeVar

from registry_image.decode import JSON, JSONReader
from registry_image.errors import RequestError

Schema: TypeAlias = Mapping[str, JSON]
_T = TypeVar("_T")

_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "array": list,
    "object": dict,
}
_SOURCE = {"$ref": "urn:concourse:registry-image:source"}


class Mistakes:
    """Collects the errors of a request, so that its author sees all of them at once.

    ``unread`` are the fields, such as "params.from", that do not conform to the schema: nothing is known of them.
    """

    def __init__(self) -> None:
        self._found: list[RequestError] = []
        self.unread: set[str] = set()

    def add(self, errors: Iterable[RequestError]) -> None:
        self._found += errors

    def keep(self, read: Callable[[], _T], instead: _T, field: str = "") -> _T:
        """What ``read`` returns, or ``instead`` if it raises RequestError. ``field`` goes in front of the error."""
        try:
            return read()
        except RequestError as error:
            if field:
                error.args = (f"{field}: {error.message}",)
            self._found.append(error)
            return instead

    def report(self) -> None:
        """Raises all as one RequestError, if there are any."""
        if self._found:
            first, *others = self._found
            raise RequestError(first.message, hint=first.hint, others=others)


def field_of(reader: JSONReader) -> str:
    """Where ``reader`` stands, as a pipeline spells it, such as "source.verify.cosign"."""
    return reader.where.replace(": ", ".")


def load_schema(name: str) -> dict[str, JSON]:
    """The published schema ``name``, with its reference to the source's schema resolved."""
    path = os.path.join(os.path.dirname(__file__), "schema", f"{name}.json")
    with open(path, "rb") as file:
        schema: dict[str, JSON] = json.load(file)
    properties = schema["properties"]
    assert isinstance(properties, dict)  # noqa: S101 - for mypy; the schemas are ours
    if properties.get("source") == _SOURCE:
        properties["source"] = load_schema("source")
    return schema


def conforms(value: object, schema: Schema) -> bool:
    """False also means "unsure". Booleans are not numbers."""
    types = schema.get("type")
    if types is not None and not any(is_type(value, name) for name in _texts(types)):
        return False
    if "enum" in schema:
        # All our enums hold strings, so that 1 == True and 1 == 1.0 do not matter.
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


def is_type(value: object, name: str) -> bool:
    return isinstance(value, _TYPES[name]) and (name == "boolean" or not isinstance(value, bool))


def _texts(value: JSON) -> Iterable[str]:
    return (text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str))
