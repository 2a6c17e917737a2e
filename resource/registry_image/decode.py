"""JSON: typed reads of untrusted documents, whose errors say where in the document they are, and compact writing.

>>> reader = JSONReader({"size": 3}, "manifest layer 2")
>>> reader.integer("size")
3
"""

from __future__ import annotations

import json
from _thread import allocate_lock
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeAlias

from registry_image.errors import InvalidManifest, bare, quote

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"

#: How deep a document may nest. Real ones need about six; a decoder recurses with its input.
MAX_DEPTH = 64
#: The most values and keys of one document: ten thousand descriptors with platforms and annotations have some 200,000.
#: Python takes up to a hundred bytes for each, so a document takes no more than 25 MiB beside its text.
MAX_VALUES = 250_000
#: Threads parse documents of more bytes than this one after the other (`in_turn`). Real ones have a tenth of it.
LARGE = 256 * 1024
#: Bytes in which punctuation outside strings is searched for at once.
_CHUNK = 64 * 1024
_NO_PUNCTUATION = bytes(set(range(256)) - set(b"[]{},:"))
_ALL_SQUARE = bytes.maketrans(b"{}", b"[]")
_KINDS = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "an array", dict: "an object"}
_turn = allocate_lock()  # a check of a pinned digest has no threads, and need not import threading


def parse_json(raw: bytes, what: str, *, max_values: int = MAX_VALUES) -> JSON:
    """``raw`` as JSON. Raises InvalidManifest, naming ``what``, unless it is UTF-8 JSON within the bounds, no object of
    which has one key twice."""
    try:
        return load_json(raw, max_values=max_values)
    except ValueError as error:
        # The text is not quoted: it may be a file of the build, or a server's answer that holds a secret.
        raise InvalidManifest(f"{what}: not valid JSON: {error}") from error


def parse_object(raw: bytes, what: str) -> dict[str, JSON]:
    """The same for a document that is one object."""
    document = parse_json(raw, what)
    if not isinstance(document, dict):
        raise InvalidManifest(f"{what}: expected an object, got {_kind(document)}")
    return document


def load_json(raw: bytes, parse_float: Callable[[str], float] = float, *, max_values: int = MAX_VALUES) -> JSON:
    """The same, but raises ValueError, which never quotes ``raw``."""
    text = raw.decode("utf-8")
    _require_bounded(raw, max_values)
    document: JSON = json.loads(
        text, parse_float=parse_float, parse_constant=_no_constant, object_pairs_hook=_with_distinct_keys
    )
    return document


@contextmanager
def in_turn(raw: bytes) -> Iterator[None]:
    """Parse ``raw`` and drop the parsed document inside: of those over LARGE there is then only one at a time."""
    if len(raw) <= LARGE:
        yield
        return
    with _turn:
        yield


def dump_json(document: object) -> bytes:
    """``document`` in few bytes. Half of a surrogate pair, which UTF-8 cannot encode, stays an escape."""
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace")


def key_of(document: Mapping[str, object], name: str) -> str:
    """The key that means ``name`` in an object of a specification: ``name`` itself, else one that differs in case only.

    Every tool in Go reads keys in any case; mcr.microsoft.com/windows/iotcore has ``rootfS`` and ``env``.
    """
    if name not in document:
        folded = name.casefold()
        return next((key for key in document if key.casefold() == folded), name)
    return name


def array_of(document: Mapping[str, JSON], name: str) -> list[JSON]:
    """The array that means ``name`` (`key_of`); empty if there is none."""
    value = document.get(key_of(document, name))
    return value if isinstance(value, list) else []


def _require_bounded(raw: bytes, max_values: int) -> None:
    """Raises ValueError for more than ``max_values`` values and keys, more than MAX_VALUES keys, or more than MAX_DEPTH
    levels."""
    opened, keys = raw.count(b"[") + raw.count(b"{"), raw.count(b":")
    # Most documents have less punctuation in total, also inside strings, so they need no closer look.
    if opened <= MAX_DEPTH and keys <= MAX_VALUES and opened + keys + raw.count(b",") <= max_values:
        return
    brackets, count, keys = bytearray(), 0, 0
    for piece in _punctuation(raw):
        square = piece.translate(_ALL_SQUARE, b",:")
        brackets += square
        count += len(piece) - square.count(b"]")
        keys += piece.count(b":")
        if count > max_values:
            raise ValueError(f"more than {max_values} values")
        if keys > MAX_VALUES:
            raise ValueError(f"more than {MAX_VALUES} keys")
    nested = bytes(brackets)
    for _ in range(MAX_DEPTH):
        nested = nested.replace(b"[]", b"")  # takes the innermost level away
    if b"[]" in nested or nested.count(b"[") > MAX_DEPTH:
        raise ValueError(f"nested more than {MAX_DEPTH} deep")


def _punctuation(raw: bytes) -> Iterator[bytes]:
    """The brackets, commas and colons outside strings, in pieces."""
    plain = raw.replace(b"\\\\", b"").replace(b'\\"', b"")  # from here on, every quote begins or ends a string
    inside = 0
    for start in range(0, len(plain), _CHUNK):
        parts = plain[start : start + _CHUNK].split(b'"')
        yield b"".join(parts[inside::2]).translate(None, _NO_PUNCTUATION)
        inside = (inside + len(parts) - 1) % 2


def _with_distinct_keys(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    """Of a key that is there twice, decoders take the first, the last or both: two readers would see two documents."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("an object has one key twice")
    return made


def _no_constant(name: str) -> JSON:
    raise ValueError(f"{name} is not JSON")


class JSONReader:
    """One JSON object and its place in the document. Every method raises InvalidManifest, which names the place.

    Its keys are read as Go does: the exact one, else one that differs in case only (`key_of`). An object in which two
    keys differ in case only is refused, as readers do not agree on which of them counts.
    """

    __slots__ = ("_folded", "_object", "where")

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise InvalidManifest(f"{where}: expected an object, got {_kind(value)}")
        self._object: Mapping[str, object] = value
        self._folded = {key.casefold(): key for key in value}
        self.where = where
        if len(self._folded) != len(value):
            first, second = next((key, last) for key in value if (last := self._folded[key.casefold()]) != key)
            raise InvalidManifest(f"{where}: ambiguous: it has both {quote(first)} and {quote(second)}")

    @classmethod
    def parse(cls, raw: bytes | str, where: str, *, max_values: int = MAX_VALUES) -> JSONReader:
        """The document ``raw``, which is one object; ``where`` names it in errors."""
        encoded = raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else raw
        return cls(parse_json(encoded, where, max_values=max_values), where)

    def _get(self, key: str) -> object:
        if key in self._object:
            return self._object[key]
        return self._object.get(self._folded.get(key.casefold(), key))

    def has(self, key: str) -> bool:
        """Whether ``key`` is there with a value; null counts as absent."""
        return self._get(key) is not None

    def is_text(self, key: str) -> bool:
        """For fields that may hold a string or something else."""
        return isinstance(self._get(key), str)

    def __iter__(self) -> Iterator[str]:
        return iter(self._object)

    def text(self, key: str, default: str | None = None) -> str:
        value = self._get(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, str):
            raise self._wrong(key, "a string", value)
        return value

    def integer(self, key: str, default: int | None = None) -> int:
        value = self._get(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._wrong(key, "an integer", value)
        return value

    def boolean(self, key: str, *, default: bool = False) -> bool:
        value = self._get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false", value)
        return value

    def child(self, key: str) -> JSONReader:
        return JSONReader(self._get(key), f"{self.where}: {key}")

    def json(self, key: str) -> str:
        """The value as JSON text."""
        return json.dumps(self._get(key))

    def children(self, key: str) -> Iterator[JSONReader]:
        """The objects of an array; empty if it is absent or null, which Go's encoder writes for an empty slice."""
        for position, value in enumerate(self._array(key)):
            yield JSONReader(value, f"{self.where}: {key}[{position}]")

    def entries(self, key: str) -> Iterator[tuple[str, JSONReader]]:
        """The objects of a map, whose keys are data and not fields; empty if it is absent or null."""
        value = self._get(key)
        if value is None:
            return
        if not isinstance(value, dict):
            raise self._wrong(key, "an object", value)
        for name, entry in value.items():
            yield name, JSONReader(entry, f"{self.where}: {key}: {bare(name)}")

    def keys(self, key: str) -> tuple[str, ...]:
        """The keys of a map, as they are written; empty if it is absent or anything but a map."""
        value = self._get(key)
        return tuple(value) if isinstance(value, dict) else ()

    def texts(self, key: str) -> tuple[str, ...]:
        """An array of strings; empty if it is absent or null. A null in it is "", as Go reads it."""
        values = self._array(key)
        for value in values:
            if value is not None and not isinstance(value, str):
                raise self._wrong(key, "an array of strings", value)
        return tuple(value if isinstance(value, str) else "" for value in values)

    def text_map(self, key: str) -> dict[str, str]:
        """An object whose values are strings; empty if it is absent or null. A null in it is "", as Docker reads it."""
        value = self._get(key)
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
        value = self._get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self._wrong(key, "an array", value)
        return value

    def _wrong(self, key: str, expected: str, value: object) -> InvalidManifest:
        return InvalidManifest(f"{self.where}: {key}: expected {expected}, got {_kind(value)}")


def _kind(value: object) -> str:
    return "nothing" if value is None else _KINDS.get(type(value), type(value).__name__)
