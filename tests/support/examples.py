"""Examples of documentation and pipelines, given to what the executables read their requests with."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import yaml

from registry_image.concourse.put_tags import choose_tags
from registry_image.concourse.request.check import parse_check
from registry_image.concourse.request.get import parse_get
from registry_image.concourse.request.put import parse_put

DIGEST = f"sha256:{'0' * 64}"
#: What stands for something in an example, and such a thing.
STAND_INS = {"sha256:…": DIGEST, "((.:version))": "1.2.3", "((repository))": "ghcr.io/you/image"}
SOURCE = {"repository": "example", "tag": "1"}


def of(text: str) -> list[object]:
    """The YAML blocks of a Markdown page, stand-ins filled in."""
    return [read(block) for block in re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)]


def read(text: str) -> object:
    """A YAML document, stand-ins filled in."""
    for stand_in, thing in STAND_INS.items():
        text = text.replace(stand_in, thing)
    document: object = yaml.safe_load(text)
    return document


def objects(value: object) -> Iterator[dict[str, object]]:
    """Every mapping in ``value``, the outer ones first."""
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(item)


def understood(example: dict[str, object]) -> set[str]:
    """Which parts of a resource or step were understood. Raises RequestError for what an executable would refuse."""
    found = set()
    if "source" in example:
        parse_check(_raw(source=example["source"]))
        found.add("source")
    if "get" in example:
        parse_get(_raw(source=SOURCE, version={"digest": DIGEST}, params=example.get("params")), "/")
        found.add("get")
    if "put" in example:
        choose_tags(parse_put(_raw(source=SOURCE, params=example.get("params")), "/"), (), list)
        parse_get(_raw(source=SOURCE, version={"digest": DIGEST}, params=example.get("get_params")), "/")
        found.add("put")
    return found


def _raw(**request: object) -> bytes:
    return json.dumps({key: value for key, value in request.items() if value is not None}).encode()
