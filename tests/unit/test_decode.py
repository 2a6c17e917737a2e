"""JSON from outside: its bounds, and keys that are there twice, in another case, or are data."""

from __future__ import annotations

import json
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_image.decode import MAX_DEPTH, MAX_VALUES, JSONReader, key_of, load_json, parse_json
from registry_image.errors import InvalidManifest

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='a"\\[]{},:ö'),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(alphabet='b"\\[]{},:'), inner),
    max_leaves=40,
)


def counted(value: object) -> int:
    """The commas, colons and opening brackets that ``value`` has as JSON."""
    if isinstance(value, dict):
        return 1 + max(0, len(value) - 1) + len(value) + sum(map(counted, value.values()))
    if isinstance(value, list):
        return 1 + max(0, len(value) - 1) + sum(map(counted, value))
    return 0


def depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@given(values, st.booleans())
def test_values_are_counted_outside_strings_only(value: object, ascii_only: bool) -> None:
    raw = json.dumps(value, ensure_ascii=ascii_only).encode()
    if depth(value) > MAX_DEPTH:
        return
    limit = counted(value)
    assert load_json(raw, max_values=limit) == value
    if limit:
        with pytest.raises(ValueError, match=f"more than {limit - 1} values"):
            load_json(raw, max_values=limit - 1)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('["[[[\\"",', "]"), ('[{"]":', "}]")])
def test_a_document_may_nest_as_deep_as_the_bound_and_no_deeper(opening: str, closing: str) -> None:
    levels = MAX_DEPTH // (opening.count("[{") + 1)
    beside = "[1]," * 100
    deepest = f"[{beside}{opening * (levels - 1)}0{closing * (levels - 1)}]"
    assert load_json(deepest.encode())
    deeper = f"[{beside}{opening * levels}0{closing * levels}]"
    with pytest.raises(ValueError, match="nested more than 64 deep"):
        load_json(deeper.encode())


@pytest.mark.parametrize(
    "raw", [b"[" * 100_000, b"[]" * 200, b"]" * 200 + b"[" * 70, b'["' + b"[" * 200, b'{"a":[' * 90]
)
def test_brackets_that_match_nothing_are_an_error(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"nested|Expecting|Extra data|Unterminated|Invalid|delimiter"):
        load_json(raw)


def test_a_bound_is_found_without_parsing() -> None:
    """It costs less than reading the same bytes as one string does."""
    size = 8 << 20
    text = b'["' + b"x" * size + b'"]'
    begun = process_time()
    load_json(text)
    honest = process_time() - begun
    for hostile in (
        b"[" * size,
        b"[]," * (size // 3),
        b'"",' * (size // 3),
        b'{"a":' * (size // 5),
        b'"\\"' * (size // 3),
    ):
        begun = process_time()
        with pytest.raises(ValueError, match=r"more than|Extra data"):
            load_json(hostile)
        assert process_time() - begun < max(10 * honest, 0.2)


def test_the_most_values_are_read() -> None:
    assert load_json(b"[" + b",".join([b"0"] * MAX_VALUES) + b"]") == [0] * MAX_VALUES
    label = json.dumps({"label": "[{,:" * MAX_VALUES}).encode()
    assert load_json(label) == {"label": "[{,:" * MAX_VALUES}
    with pytest.raises(InvalidManifest, match=f"config: not valid JSON: more than {MAX_VALUES} values"):
        parse_json(b"[" + b"0," * (MAX_VALUES + 1) + b"0]", "config")


@pytest.mark.parametrize("raw", ['{"a":1,"a":1}', '[{"b":{"a":1,"\\u0061":2}}]', '{"a":1,"b":2,"a":null}'])
def test_a_key_that_is_there_twice_is_refused(raw: str) -> None:
    with pytest.raises(ValueError, match="one key twice"):
        load_json(raw.encode())


def test_a_key_is_read_in_any_case() -> None:
    reader = JSONReader({"TEXT": "a", "Number": 2, "true": True, "Child": {"Inner": "b"}, "LIST": [{"X": "c"}]}, "it")
    assert (reader.text("text"), reader.integer("number"), reader.boolean("True")) == ("a", 2, True)
    assert (reader.child("child").text("inner"), next(reader.children("list")).text("x")) == ("b", "c")
    assert (reader.has("tEXT"), reader.is_text("texT"), reader.has("other")) == (True, True, False)
    # Go folds these two letters too (encoding/json, foldName).
    assert JSONReader({"layer\u017f": 1, "\u212aey": 2}, "it").integer("layers") == 1
    assert JSONReader({"\u212aey": 2}, "it").integer("key") == 2


@pytest.mark.parametrize("keys", [("layers", "Layers"), ("Env", "env"), ("layers", "layer\u017f")])
def test_keys_that_differ_in_case_only_are_refused(keys: tuple[str, str]) -> None:
    with pytest.raises(InvalidManifest, match=f"it: ambiguous: it has both '{keys[0]}' and '{keys[1]}'"):
        JSONReader({keys[0]: 1, "other": 2, keys[1]: None}, "it")


def test_the_keys_of_a_map_are_data() -> None:
    reader = JSONReader({"Labels": {"a": "1", "A": "2"}, "auths": {"H": {"x": "1"}, "h": {"X": "2"}}}, "it")
    assert reader.text_map("labels") == {"a": "1", "A": "2"}
    assert [(name, each.text("x")) for name, each in reader.entries("auths")] == [("H", "1"), ("h", "2")]
    assert not list(reader.entries("none"))
    with pytest.raises(InvalidManifest, match="it: auths: H: x: expected an integer, got a string"):
        dict(reader.entries("auths"))["H"].integer("x")


def test_null_in_a_list_of_strings_is_an_empty_string() -> None:
    assert JSONReader({"Env": ["A=b", None]}, "config").texts("Env") == ("A=b", "")
    with pytest.raises(InvalidManifest, match="config: Env: expected an array of strings"):
        JSONReader({"Env": ["A=b", 1]}, "config").texts("Env")


def test_the_exact_key_is_found_before_one_in_another_case() -> None:
    assert key_of({"Tag": 1, "tag": 2}, "tag") == "tag"
    assert key_of({"Tag": 1}, "tag") == "Tag"
    assert key_of({}, "tag") == "tag"
