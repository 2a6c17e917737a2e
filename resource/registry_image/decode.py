"""Typed reads of untrusted JSON: every error says where in the document it is.

>>> reader = JSONReader({"size": 3}, "manifest layer 2")
>>> reader.integer("size")
3
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from registry_image.errors import InvalidManifest, quote

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"

#: How deep a document may nest. Real ones need about six; a decoder recurses with its input.
MAX_DEPTH = 64
#: A string without its closing quote matches to the end. Otherwise each later quote would start another search.
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_KINDS = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "an array", dict: "an object"}


def parse_json(raw: bytes, what: str) -> JSON:
    """``raw`` as JSON. Raises InvalidManifest, naming ``what``, unless it is UTF-8 JSON at most MAX_DEPTH deep."""
    try:
        return load_json(raw)
    except ValueError as error:
        raise InvalidManifest(f"{what}: not valid JSON: {error}: it begins {quote(raw[:60])}") from error


def load_json(raw: bytes, parse_float: Callable[[str], float] = float) -> JSON:
    """``raw`` as JSON. Raises ValueError, also if it is too deep; the error never quotes ``raw``."""
    text = raw.decode("utf-8")
    # Most documents have fewer brackets in total, so their depth need not be counted.
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH:
        depth = 0
        for byte in _STRING.sub(b"", raw):
            if byte in b"[{":
                depth += 1
                if depth > MAX_DEPTH:
                    raise ValueError(f"nested more than {MAX_DEPTH} deep")
            elif byte in b"]}":
                depth -= 1
    document: JSON = json.loads(text, parse_float=parse_float, parse_constant=_no_constant)
    return document


def _no_constant(name: str) -> JSON:
    raise ValueError(f"{name} is not JSON")


class JSONReader:
    """One JSON object and its place in the document. Every method raises InvalidManifest, which names the place."""

    __slots__ = ("_object", "where")

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise InvalidManifest(f"{where}: expected an object, got {_kind(value)}")
        self._object: Mapping[str, object] = value
        self.where = where

    def has(self, key: str) -> bool:
        """Whether ``key`` is there with a value; null counts as absent."""
        return self._object.get(key) is not None

    def is_text(self, key: str) -> bool:
        """For fields that may hold a string or something else."""
        return isinstance(self._object.get(key), str)

    def __iter__(self) -> Iterator[str]:
        return iter(self._object)

    def text(self, key: str, default: str | None = None) -> str:
        value = self._object.get(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, str):
            raise self._wrong(key, "a string", value)
        return value

    def integer(self, key: str, default: int | None = None) -> int:
        value = self._object.get(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._wrong(key, "an integer", value)
        return value

    def boolean(self, key: str, *, default: bool = False) -> bool:
        value = self._object.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false", value)
        return value

    def child(self, key: str) -> JSONReader:
        return JSONReader(self._object.get(key), f"{self.where}: {key}")

    def json(self, key: str) -> str:
        """The value as JSON text."""
        return json.dumps(self._object.get(key))

    def children(self, key: str) -> Iterator[JSONReader]:
        """The objects of an array; empty if it is absent or null, which Go's encoder writes for an empty slice."""
        for position, value in enumerate(self._array(key)):
            yield JSONReader(value, f"{self.where}: {key}[{position}]")

    def texts(self, key: str) -> tuple[str, ...]:
        """An array of strings; empty if it is absent or null."""
        values = self._array(key)
        for value in values:
            if not isinstance(value, str):
                raise self._wrong(key, "an array of strings", value)
        return tuple(value for value in values if isinstance(value, str))

    def text_map(self, key: str) -> dict[str, str]:
        """An object whose values are strings; empty if it is absent or null. A null in it is "", as Docker reads it."""
        value = self._object.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self._wrong(key, "an object of strings", value)
        texts = {}
        for name, text in value.items():
            if text is not None and not isinstance(text, str):
                raise InvalidManifest(f"{self.where}: {key}: expected an object of strings, got {_kind(text)} in it")
            texts[name] = text or ""
        return texts

    def _array(self, key: str) -> list[object]:
        value = self._object.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self._wrong(key, "an array", value)
        return value

    def _wrong(self, key: str, expected: str, value: object) -> InvalidManifest:
        return InvalidManifest(f"{self.where}: {key}: expected {expected}, got {_kind(value)}")


def _kind(value: object) -> str:
    return "nothing" if value is None else _KINDS.get(type(value), type(value).__name__)
