"""Parses the examples of documentation and pipelines as the executables parse their requests."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator

import yaml

from registry_image.concourse.put_tags import choose_tags
from registry_image.concourse.request.check import parse_check
from registry_image.concourse.request.get import parse_get
from registry_image.concourse.request.put import parse_put

DIGEST = f"sha256:{'0' * 64}"
#: Placeholders in examples, and values for them.
PLACEHOLDERS = {
    "sha256:…": DIGEST,
    "((.:version))": "1.2.3",
    "((.:staging.digest))": DIGEST,
    "((repository))": "ghcr.io/you/image",
    "((type))": "ghcr.io/you/image",
}
SOURCE = {"repository": "example", "tag": "1"}


def blocks(text: str) -> list[str]:
    """The YAML blocks of a Markdown page, also those in its lists."""
    return [textwrap.dedent(block) for block in re.findall(r"^ *```yaml\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)]


def by_heading(text: str) -> dict[str, str]:
    """The YAML block below each heading of a Markdown page that has one, by the heading."""
    parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)[1:]
    found = {title: blocks(part) for title, part in zip(parts[::2], parts[1::2], strict=True)}
    return {title: "".join(each) for title, each in found.items() if each}


def of(text: str) -> list[object]:
    """The YAML blocks of a Markdown page, placeholders replaced."""
    return [read(block) for block in blocks(text)]


def read(text: str) -> object:
    """A YAML document, placeholders replaced."""
    for placeholder, value in PLACEHOLDERS.items():
        text = text.replace(placeholder, value)
    document: object = yaml.safe_load(text)
    return document


def objects(value: object) -> Iterator[dict[str, object]]:
    """Every mapping in ``value``, the outer ones first."""
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(item)


def understood(example: dict[str, object]) -> set[str]:
    """The parts of a resource or step that were parsed. Raises RequestError as the executable would."""
    parts = set()
    if "source" in example:
        parse_check(_raw(source=example["source"]))
        parts.add("source")
    if "get" in example:
        parse_get(_raw(source=SOURCE, version={"digest": DIGEST}, params=example.get("params")), "/")
        parts.add("get")
    if "put" in example:
        choose_tags(parse_put(_raw(source=SOURCE, params=example.get("params")), "/"), (), list)
        parse_get(_raw(source=SOURCE, version={"digest": DIGEST}, params=example.get("get_params")), "/")
        parts.add("put")
    return parts


def _raw(**request: object) -> bytes:
    return json.dumps({key: value for key, value in request.items() if value is not None}).encode()
