"""Hostile documents of an image: impossible sizes, too many entries, too much data, control characters for the log."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path
from time import process_time

import pytest

from registry_image.errors import ContentError, InvalidManifest, NoMatchingPlatform
from registry_image.oci import cached, mediatype
from registry_image.oci.cached import CachedReader
from registry_image.oci.config import MAX_CONFIG_SIZE
from registry_image.oci.content import read_small_blob
from registry_image.oci.descriptor import MAX_BLOB_SIZE, Descriptor
from registry_image.oci.digest import Digest
from registry_image.oci.manifest import MAX_CHILDREN, Index, Manifest, parse_manifest
from registry_image.oci.platform import Platform
from registry_image.storage.detect import open_image
from registry_image.transfer import copy
from registry_image.transfer.copy import graph_of
from registry_image.transfer.mutate import annotate
from registry_image.transfer.select import select_image
from tests.support import images, tar
from tests.support.growth import assert_linear
from tests.support.memory import MemoryReader

AMD64 = Platform("linux", "amd64")
LAYER = tar.archive(tar.file("a"))
ONE = images.image(LAYER)
MIB = 1024 * 1024


class Counting(MemoryReader):
    """Counts the manifests that are read."""

    read = 0

    def manifest(self, digest: Digest) -> Manifest | Index:
        self.read += 1
        return super().manifest(digest)


def root(content: images.Content) -> Manifest | Index:
    return parse_manifest(content.manifest.data)


@pytest.mark.parametrize("size", [MAX_BLOB_SIZE + 1, 10**4000], ids=["a byte more", "4000 digits"])
def test_a_size_that_no_disk_has_is_refused(size: int) -> None:
    config = images.blob(b"{}", "application/vnd.cncf.helm.config.v1+json")
    large = {"mediaType": "x", "digest": config.digest, "size": size}
    manifest = {"schemaVersion": 2, "config": config.descriptor, "layers": [large, large]}
    with pytest.raises(InvalidManifest, match=r"layers\[0\]: size: more than"):
        parse_manifest(json.dumps(manifest).encode())


def test_a_child_that_is_listed_many_times_is_read_once() -> None:
    crowd = images.index(*[images.on(ONE, "amd64")] * MAX_CHILDREN)
    reader = Counting(crowd)
    graph = graph_of(reader, root(images.index(crowd, crowd)))
    assert reader.read == 2
    assert list(map(str, graph.manifests))[:2] == [ONE.digest, crowd.digest]


def test_manifests_that_do_not_fit_in_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    images_here = [images.image(LAYER, annotations={"flood": f"{number}" * 10_000}) for number in range(10)]
    whole = images.index(*images_here)
    monkeypatch.setattr(copy, "MAX_MANIFESTS_SIZE", 60_000)
    with pytest.raises(InvalidManifest, match="more than 60000 bytes"):
        graph_of(MemoryReader(whole), root(whole))


def test_no_more_documents_are_remembered_than_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cached, "MAX_CACHED", 10_000)
    configs = [images.blob(bytes([number]) * 4000, mediatype.OCI_CONFIG) for number in range(5)]
    manifest = parse_manifest(images.manifest_of(configs[0], configs).manifest.data)
    assert isinstance(manifest, Manifest)
    inner = MemoryReader(images.manifest_of(configs[0], configs))
    reader = CachedReader(inner)
    for _ in range(2):
        for layer, config in zip(manifest.layers, configs, strict=True):
            with reader.blob(layer) as pieces:
                assert b"".join(pieces) == config.data
    assert len(inner.opened) == 2 + 2 * 3


def test_a_config_over_its_bound_is_refused_before_it_is_read() -> None:
    reader = MemoryReader()
    large = Descriptor(media_type=mediatype.OCI_CONFIG, digest=Digest.of(b""), size=MAX_CONFIG_SIZE + 1)
    with pytest.raises(InvalidManifest, match=f"^config: {MAX_CONFIG_SIZE + 1} bytes: more than {MAX_CONFIG_SIZE}$"):
        read_small_blob(reader, large, "config", limit=MAX_CONFIG_SIZE)
    assert reader.opened == []


@pytest.mark.parametrize("media_type", [mediatype.OCI_MANIFEST, mediatype.OCI_INDEX])
def test_an_index_of_many_platforms_is_searched_in_proportion(media_type: str) -> None:
    def seconds(count: int) -> float:
        entries = [
            {
                "mediaType": media_type,
                "digest": ONE.digest,
                "size": 1,
                "platform": {"os": "linux", "architecture": f"a{at}"},
            }
            for at in range(count)
        ]
        raw = json.dumps({"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": entries}).encode()
        begun = process_time()
        with pytest.raises(NoMatchingPlatform):
            select_image(MemoryReader(), parse_manifest(raw), AMD64)
        return process_time() - begun

    assert_linear(seconds, 1000)


def test_half_of_a_surrogate_pair_stays_as_it_was_when_a_manifest_is_annotated() -> None:
    odd = images.image(LAYER, annotations={"odd": "\ud800"})
    changed = annotate(root(odd), {"new": "ö"})
    assert changed.annotations == {"odd": "\ud800", "new": "ö"}


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_a_tar_header_of_gigabytes_is_not_read(kind: bytes, tmp_path: Path) -> None:
    path = tmp_path / "image.tar"
    path.write_bytes(tar.header("long", size=2 << 30, type=kind))
    os.truncate(path, 3 << 30)  # sparse: it takes no space
    tracemalloc.start()
    try:
        with pytest.raises(ContentError), open_image(str(path), "image.tar"):
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 * MIB
