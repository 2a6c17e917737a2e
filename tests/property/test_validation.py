"""Compares `conforms` with jsonschema: both accept and reject the same documents."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from registry_image.concourse.request import validation
from registry_image.concourse.request.check import parse_check
from registry_image.concourse.request.get import parse_get
from registry_image.concourse.request.put import parse_put
from registry_image.decode import JSON
from registry_image.errors import RequestError

SCHEMAS = {kind: validation.load_schema(kind) for kind in ("check", "get", "put", "source")}
#: The keywords that `conforms` knows, and those that say nothing about validity.
KNOWN = {"type", "enum", "required", "properties", "additionalProperties", "items", "minItems", "minimum", "maximum"}
SILENT = {"$schema", "$id", "title", "description", "group", "registry-image", "default", "examples"}

scalars = (
    st.none() | st.booleans() | st.integers(-2, 70) | st.floats(allow_nan=False) | st.sampled_from(["", "x", "oci"])
)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner)
)


def fitting(schema: JSON) -> st.SearchStrategy[object]:
    """Values that mostly conform to ``schema``, and sometimes do not."""
    assert isinstance(schema, dict)
    if "enum" in schema:
        words = schema["enum"]
        assert isinstance(words, list)
        return st.sampled_from(words) | scalars
    types = schema["type"]
    choices: list[st.SearchStrategy[object]] = [anything]
    for name in types if isinstance(types, list) else [types]:
        choices += [fitting_type(str(name), schema)] * 6
    return st.one_of(choices)


def fitting_type(name: str, schema: dict[str, JSON]) -> st.SearchStrategy[object]:
    if name == "object":
        properties = schema.get("properties", {})
        assert isinstance(properties, dict)
        required = schema.get("required", [])
        assert isinstance(required, list)
        known = {key: fitting(inner) for key, inner in properties.items()}
        fixed = st.fixed_dictionaries(
            {key: known[key] for key in map(str, required)},
            optional={key: inner for key, inner in known.items() if key not in required},
        )
        others = schema.get("additionalProperties")
        more = fitting(others) if isinstance(others, dict) else scalars
        extra = st.dictionaries(st.sampled_from(["ghcr.io", "repositry"]), more, max_size=1)
        return st.builds(lambda a, b: {**b, **a}, fixed, extra if isinstance(others, dict) else st.just({}) | extra)
    if name == "array":
        return st.lists(fitting(schema["items"]), max_size=3)
    plain: dict[str, st.SearchStrategy[object]] = {
        "string": st.sampled_from(
            ["", "x", "1.2", "ghcr.io/a/b:1", "linux/arm/v7", "sha256:" + "0" * 64, "{}", "\n/:@"]
        ),
        "boolean": st.booleans(),
        "integer": st.integers(0, 66),
        "number": st.integers() | st.floats(allow_nan=False),
    }
    return plain[name]


@pytest.mark.parametrize("kind", SCHEMAS)
def test_conforms_agrees_with_jsonschema(kind: str) -> None:
    schema = SCHEMAS[kind]
    judge = Draft7Validator(schema)

    @given(fitting(schema) | anything)
    def agrees(document: object) -> None:
        quick, thorough = validation.conforms(document, schema), judge.is_valid(document)
        # One intended difference: only jsonschema accepts 4.0 as an integer, and it has the last word.
        assert quick == thorough or (thorough and ".0" in json.dumps(document))

    agrees()


def inner_schemas(schema: JSON) -> Iterator[dict[str, JSON]]:
    if isinstance(schema, dict):
        yield schema
        properties = schema.get("properties", {})
        assert isinstance(properties, dict)
        for inner in (*properties.values(), schema.get("items"), schema.get("additionalProperties")):
            yield from inner_schemas(inner)


@pytest.mark.parametrize("kind", SCHEMAS)
def test_the_schemas_use_only_keywords_that_conforms_knows(kind: str) -> None:
    Draft7Validator.check_schema(SCHEMAS[kind])
    for schema in inner_schemas(SCHEMAS[kind]):
        assert schema.keys() <= KNOWN | SILENT
        assert schema.keys() & {"type", "enum"}
        words = schema.get("enum", [])
        assert isinstance(words, list)
        assert all(isinstance(word, str) for word in words)


def test_each_schema_file_names_its_dialect_and_describes_its_fields() -> None:
    for path in Path(validation.__file__).parent.glob("schema/*.json"):
        document = json.loads(path.read_text())
        assert document["$schema"] == "http://json-schema.org/draft-07/schema#"
        for name, field in document["properties"].items():
            assert field.keys() & {"description", "$ref", "additionalProperties"}, f"{path.name}: {name}"


PARSERS: dict[str, Callable[[bytes], object]] = {
    "check": parse_check,
    "get": lambda raw: parse_get(raw, "/destination"),
    "put": lambda raw: parse_put(raw, "/artifacts"),
}


def lines(kind: str, raw: bytes) -> list[str]:
    """The mistakes in ``raw``."""
    try:
        PARSERS[kind](raw)
    except RequestError as error:
        return [each.message for each in (error, *error.others)]
    return []


@pytest.mark.parametrize("kind", PARSERS)
@given(raw=st.binary(max_size=60) | anything.map(lambda value: json.dumps(value).encode()))
def test_only_our_error_comes_out_of_any_bytes(kind: str, raw: bytes) -> None:
    assert not any("\n" in line for line in lines(kind, raw))


_PROPERTIES = SCHEMAS["source"]["properties"]
assert isinstance(_PROPERTIES, dict)
FIELDS = sorted(_PROPERTIES)


@given(wrong=st.dictionaries(st.sampled_from(FIELDS), anything, max_size=3))
@example(wrong={"annotation_regex": float("inf")})
def test_a_field_that_does_not_conform_hides_no_mistake_in_another(wrong: dict[str, object]) -> None:
    source = {"repository": "x", **wrong}
    raw = json.dumps({"source": source, "params": {"platform": "linux"}, "version": {"digest": "short"}}).encode()
    found = lines("get", raw)
    # A null character, half of a pair, or Infinity: no field is read then.
    if b"\\u" not in raw and b"Infinity" not in raw:
        assert any(line.startswith("params.platform: ") for line in found)
        assert any(line.startswith("version.digest: ") for line in found)


@pytest.mark.parametrize(("kind", "parse"), PARSERS.items())
def test_a_valid_request_is_typed_or_refused_with_our_error(kind: str, parse: Callable[[bytes], object]) -> None:
    schema = SCHEMAS[kind]

    @given(fitting(schema))
    def holds(document: object) -> None:
        with contextlib.suppress(RequestError):
            assert parse(json.dumps(document).encode())

    holds()
