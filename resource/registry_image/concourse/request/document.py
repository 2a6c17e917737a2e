"""Reads a request strictly as JSON, drops its empty fields and validates it."""

from __future__ import annotations

import json
from typing import Literal, TypeAlias

from registry_image.concourse.request.numbers import NumberText, text_of
from registry_image.concourse.request.source import Source, read_source
from registry_image.concourse.request.validation import Mistakes, conforms, load_schema
from registry_image.decode import JSON, JSONReader, key_of, load_json
from registry_image.errors import RequestError

_HINT = "`--help` shows an example; Concourse itself always sends JSON"
_NOTHING_HINT = "with `docker run`, add -i: without it a container's stdin is empty; `--help` shows an example"

Step: TypeAlias = Literal["check", "get", "put"]


def read_request(raw: bytes, step: Step, mistakes: Mistakes) -> tuple[Source, JSONReader, JSONReader]:
    """The source, and readers of the params and the version, empty if absent.

    Raises RequestError for what is no JSON; ``mistakes`` gets what does not conform to the schema, and what else is
    wrong with the source.
    """
    document = read_document(raw, step, mistakes)
    source, params, version = (JSONReader(document.get(key, {}), key) for key in ("source", "params", "version"))
    return read_source(source, mistakes), params, version


def read_document(raw: bytes, step: Step, mistakes: Mistakes) -> dict[str, JSON]:
    """The request, without empty fields and without those that do not conform to the schema, which ``mistakes`` gets;
    numbers in text fields become text.

    No error's text repeats a value: it may be a secret. Raises RequestError for what is no JSON.
    """
    document = _parse(raw)
    schema = load_schema(step)
    document = normalised(document, schema)
    if not conforms(document, schema):
        from registry_image.concourse.request.explanation import explain

        errors, rest, wrong = explain(document, schema, step)
        if errors:
            mistakes.add(errors)
            mistakes.unread |= wrong
            return rest
    return document if isinstance(document, dict) else {}


def _parse(raw: bytes) -> JSON:
    try:
        document = load_json(raw, NumberText)
    except UnicodeDecodeError as error:
        raise RequestError(f"request on stdin: not UTF-8: {error.reason} at byte {error.start}") from None
    except ValueError as error:
        if not raw.strip():
            raise RequestError("request on stdin: expected a JSON object: got nothing", hint=_NOTHING_HINT) from None
        reason = str(error).partition("; use sys.")[0]  # Python's advice to programmers
        raise RequestError(f"request on stdin: it is not valid JSON: {reason}", hint=_HINT) from None
    if b"\\u" in raw:
        _refuse_unwritable(document)
    return document


def _refuse_unwritable(document: JSON) -> None:
    """JSON's escapes can encode text that no header, file name or registry can hold."""
    text = json.dumps(document, ensure_ascii=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise RequestError("request on stdin: a string holds half of a surrogate pair (\\ud800 to \\udfff)") from None
    if r"\u0000" in text:
        raise RequestError("request on stdin: a string holds a null character (\\u0000)")


def normalised(value: JSON, schema: JSON) -> JSON:
    """Drops known fields that are null or "", which templated pipelines write for absent ones.

    Unknown fields stay, so that validation rejects them; so do entries of maps and arrays, where "" is a value.
    """
    if not isinstance(schema, dict):
        return value
    if isinstance(value, list):
        return [normalised(item, schema.get("items")) for item in value]
    if isinstance(value, int | float) and not isinstance(value, bool) and schema.get("type") == ["string", "number"]:
        return text_of(value)
    if isinstance(value, NumberText) and value.is_integer() and schema.get("type") == "integer":
        # JSON Schema accepts 4.0 as an integer, and templating tools write such numbers.
        return int(value)
    if not isinstance(value, dict):
        return value
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return {key: normalised(item, schema.get("additionalProperties")) for key, item in value.items()}
    return {
        key: normalised(item, properties.get(key))
        for key, item in _named(value, properties).items()
        if key not in properties or (item is not None and item != "")
    }


def _named(value: dict[str, JSON], properties: dict[str, JSON]) -> dict[str, JSON]:
    """Fields that are written in another case get their documented names, unless those are there as well."""
    named: dict[str, JSON] = {}
    for key, item in value.items():
        name = key_of(properties, key)
        named[key if name in value or name in named else name] = item
    return named
