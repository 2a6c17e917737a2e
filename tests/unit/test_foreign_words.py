"""Words that came from an image go into messages on one line, without controls, and cut to a bound."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from registry_image.concourse.put_tags import choose_tags
from registry_image.concourse.request.check import parse_check
from registry_image.concourse.request.put import parse_put
from registry_image.decode import JSONReader
from registry_image.errors import ResourceError
from registry_image.oci.manifest import parse_manifest
from registry_image.oci.platform import Platform
from registry_image.storage.detect import open_image
from registry_image.transfer.mutate import select_platforms
from registry_image.transfer.select import select_image
from tests.support import images, tar

WORD = "\x1b[2J\n\r\x07" + "word" * 5_000
#: A message of several quotations, each cut to a bound.
BOUND = 1_500
ONE = images.image()


def stored(directory: Path, documents: dict[str, object]) -> None:
    path = directory / "image.tar"
    path.write_bytes(tar.archive(*(tar.file(name, json.dumps(each).encode()) for name, each in documents.items())))
    with open_image(str(path), "image.tar"):
        pass


def entry(**fields: object) -> dict[str, object]:
    return {**ONE.manifest.descriptor, **fields}


def listed(*entries: dict[str, object]) -> dict[str, object]:
    return {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": list(entries)}


def selected(*entries: dict[str, object]) -> None:
    index = parse_manifest(json.dumps(listed(*entries)).encode())
    select_image(Nothing(), index, Platform("linux", "amd64"))  # type: ignore[arg-type]


def thinned(*entries: dict[str, object]) -> None:
    index = parse_manifest(json.dumps(listed(*entries)).encode())
    select_platforms(index, [Platform("linux", "amd64")])  # type: ignore[arg-type]


class Nothing:
    """A reader that is not asked."""


def named(first: str) -> dict[str, object]:
    return {"annotations": {"org.opencontainers.image.ref.name": first + WORD}}


FOREIGN = {"platform": {"os": "linux", "architecture": WORD}}
SITUATIONS: dict[str, Callable[[Path], object]] = {
    "a manifest's type": lambda _: parse_manifest(json.dumps({"mediaType": WORD}).encode()),
    "a key of a map": lambda _: list(JSONReader({"a": {WORD: 1}}, "document").entries("a")),
    "a platform of an index": lambda _: selected(entry(**FOREIGN)),
    "a platform to promote": lambda _: thinned(entry(**FOREIGN)),
    "a type in an index": lambda _: selected(entry(mediaType=WORD)),
    "a config's name": lambda at: stored(at, {"manifest.json": [{"Config": WORD, "Layers": []}]}),
    "a layer's name": lambda at: stored(
        at, {"manifest.json": [{"Config": "c", "Layers": [WORD]}], "c": json.loads(ONE.blobs[0].data)}
    ),
    "an image's name": lambda at: stored(
        at, {"manifest.json": [{"Config": "a", "RepoTags": [WORD]}, {"Config": "b", "RepoTags": [WORD]}]}
    ),
    "an entry's name": lambda at: stored(
        at,
        {"index.json": listed(entry(**named("a")), entry(digest=f"sha256:{'0' * 64}", **named("b"))), "oci-layout": {}},
    ),
    "a tag of a file": lambda _: choose_tags(
        parse_put(b'{"source": {"repository": "x"}, "params": {}}', "/"), [WORD], list
    ),
    "a field of a request": lambda _: parse_check(json.dumps({"source": {"repository": "x", WORD: 1}}).encode()),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_foreign_word_is_cut_and_harmless(situation: str, tmp_path: Path) -> None:
    with pytest.raises(ResourceError) as caught:
        SITUATIONS[situation](tmp_path)
    text = f"{caught.value.message} {caught.value.hint or ''}"
    assert text.isprintable()
    assert len(text) < BOUND


def test_a_platform_is_shown_as_it_is_unless_it_is_strange() -> None:
    assert str(Platform("linux", "arm", "v7")) == "linux/arm/v7"
    assert str(Platform("linux", WORD)).isprintable()
    assert len(str(Platform("linux", WORD))) < BOUND
