"""OCI archives whose index.json lists several images: one for several platforms, or several by mistake."""

from __future__ import annotations

import re
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from registry_image.errors import ContentError
from registry_image.oci.manifest import Index, Manifest
from registry_image.storage.detect import open_image
from tests.support import tar
from tests.support.images import Content, image, index, on, write_layout

LAYER = tar.archive(tar.file("hello", b"world"))
OTHER = tar.archive(tar.file("etc/motd", b"welcome"))


def flat(tmp_path: Path, *entries: Content) -> str:
    """An archive whose index.json lists ``entries`` itself, as apko writes it."""
    listed = index(*entries)
    write_layout(tmp_path / "layout", listed)
    (tmp_path / "layout" / "index.json").write_bytes(listed.manifest.data)
    with tarfile.open(tmp_path / "image.tar", "w") as packed:
        packed.add(tmp_path / "layout", arcname=".")
    return str(tmp_path / "image.tar")


def root_of(path: str) -> Manifest | Index:
    with open_image(path, "image") as stored:
        return stored.root


def named(content: Content, name: str, key: str = "org.opencontainers.image.ref.name") -> Content:
    extra = {**content.manifest.extra, "annotations": {key: name}}
    return replace(content, manifest=replace(content.manifest, extra=extra))


AMD64, ARM64 = on(image(LAYER), "amd64"), on(image(OTHER), "arm64")


@pytest.mark.parametrize(
    "entries",
    [
        [AMD64, ARM64],
        [named(AMD64, "app:1"), named(ARM64, "app:1")],
        [AMD64, on(image(OTHER), "arm", variant="v6"), on(image(LAYER, OTHER), "arm", variant="v7")],
        [AMD64, on(image(), "unknown", "unknown"), on(image(OTHER, LAYER), "unknown", "unknown")],
    ],
    ids=["no names", "one name", "variants", "attestations"],
)
def test_an_archive_that_lists_one_image_for_several_platforms_stands_for_their_index(
    tmp_path: Path, entries: list[Content]
) -> None:
    root = root_of(flat(tmp_path, *entries))
    assert root.raw == index(*entries).manifest.data
    assert isinstance(root, Index)
    assert [str(entry.digest) for entry in root.manifests] == [entry.digest for entry in entries]


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ([image(LAYER), image(OTHER)], f"{image(LAYER).digest} names no platform"),
        ([AMD64, image(OTHER)], f"{image(OTHER).digest} names no platform"),
        ([AMD64, on(image(OTHER), "amd64")], "two are for linux/amd64"),
        ([ARM64, on(image(LAYER), "arm64", variant="v8")], "two are for linux/arm64"),
        ([named(AMD64, "app:1"), named(ARM64, "app:2")], "they have different names: app:1, app:2"),
        (
            [named(AMD64, "a:1", "io.containerd.image.name"), named(ARM64, "b:1", "io.containerd.image.name")],
            "they have different names: a:1, b:1",
        ),
    ],
)
def test_an_archive_that_lists_several_images_is_refused(tmp_path: Path, entries: list[Content], problem: str) -> None:
    expected = f"index.json lists 2 images: expected one, or one for each platform: {problem}"
    with pytest.raises(ContentError, match=f"{re.escape(expected)}$") as caught:
        root_of(flat(tmp_path, *entries))
    assert caught.value.hint == (
        "save each image to an archive of its own; `images` pushes several of them under one index"
    )
