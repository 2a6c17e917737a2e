"""Any bytes in place of an image are an image or a clear error, never a crash."""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_image.errors import ResourceError
from registry_image.oci.manifest import Manifest
from registry_image.storage.detect import open_image
from registry_image.transfer.copy import graph_of, verify_graph
from tests.support import tar
from tests.support.images import config_of, image, layer, write_layout

LAYER = tar.archive(tar.file("hello", b"world"))


def docker_saved() -> bytes:
    config = json.dumps(config_of([layer(LAYER)])).encode()
    listing = json.dumps([{"Config": "config.json", "RepoTags": ["a:b"], "Layers": ["1/layer.tar"]}])
    members = (
        tar.file("0/layer.tar", LAYER),
        tar.symlink("1/layer.tar", "../0/layer.tar"),
        tar.file("config.json", config),
        tar.file("manifest.json", listing),
    )
    return tar.archive(*members)


def oci_archive() -> bytes:
    stream = io.BytesIO()
    with tempfile.TemporaryDirectory() as directory, tarfile.open(fileobj=stream, mode="w") as packed:
        write_layout(Path(directory) / "layout", image(LAYER))
        packed.add(Path(directory) / "layout", arcname=".")
    return stream.getvalue()


WHOLE = {"docker-save": docker_saved(), "oci-archive": oci_archive()}

#: An offset, and the bytes that replace as many there.
changes = st.lists(st.tuples(st.integers(0, 1 << 20), st.binary(min_size=1, max_size=12)), min_size=1, max_size=4)


def opened(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "image"
        path.write_bytes(data)
        with open_image(str(path), "image") as stored:
            assert isinstance(stored.root, Manifest)
            verify_graph(stored.reader, graph_of(stored.reader, stored.root), parallel=1)


@pytest.mark.parametrize("kind", WHOLE)
def test_unchanged_archives_are_images(kind: str) -> None:
    opened(WHOLE[kind])


@pytest.mark.parametrize("kind", WHOLE)
@given(changes=changes)
def test_a_changed_archive_is_an_image_or_a_message(kind: str, changes: list[tuple[int, bytes]]) -> None:
    data = bytearray(WHOLE[kind])
    for place, new in changes:
        at = place % len(data)
        data[at : at + len(new)] = new
    with contextlib.suppress(ResourceError):
        opened(bytes(data))


@pytest.mark.parametrize("kind", WHOLE)
@given(end=st.integers(0, 1 << 20))
def test_a_truncated_archive_is_an_image_or_a_message(kind: str, end: int) -> None:
    with contextlib.suppress(ResourceError):
        opened(WHOLE[kind][: end % len(WHOLE[kind])])


def test_headers_without_a_member_are_a_message() -> None:
    with pytest.raises(ResourceError):
        opened(tar.pax({"a": "b"}) * 5000)


def test_sizes_below_zero_are_a_message() -> None:
    negative = tar.header("layer", size=tar.base256(-1024, 12))
    with pytest.raises(ResourceError):
        opened(negative + WHOLE["docker-save"])
