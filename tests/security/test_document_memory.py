"""The memory that hostile documents take, measured in the step's own process: at most 256 MiB, then one error."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from registry_image.concourse.check_tags import MAX_FOLLOWED
from registry_image.decode import MAX_VALUES
from registry_image.oci.config import MAX_CONFIG_SIZE
from registry_image.oci.content import read_small_blob
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Buffer, Digest
from registry_image.oci.manifest import MAX_MANIFEST_SIZE
from registry_image.registry.tags import MAX_PAGE_SIZE, MAX_TAGS
from registry_image.transfer.resolve import MAX_LOOKUPS
from tests.support import images, runner, tar
from tests.support.fakeregistry import FakeRegistry, body, fake_registry
from tests.support.peak import peak_of

MOST = 256
HONEST = 128
LAYER = images.layer(tar.archive(tar.file("a")))


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as running:
        yield running


def source(registry: FakeRegistry, **fields: object) -> dict[str, object]:
    return {"repository": f"{registry.host}/some/name", **fields}


def check_of_tags(registry: FakeRegistry, page: bytes) -> tuple[runner.Outcome, int]:
    registry.add("some/name", images.image(LAYER), "latest")
    registry.script("GET", "/tags/list", body(page), always=True)
    return peak_of("check", {"source": source(registry)})


class Crumbs:
    """Sends ``data`` two bytes at a time, as an answer in chunks of two bytes comes."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @contextmanager
    def blob(self, descriptor: Descriptor) -> Iterator[Iterator[Buffer]]:
        yield (self._data[at : at + 2] for at in range(0, len(self._data), 2))


def test_a_config_that_comes_two_bytes_at_a_time_takes_little_more_than_its_size() -> None:
    """A piece of two bytes takes fifty in memory."""
    data = bytes(1024 * 1024)
    descriptor = Descriptor(media_type="", digest=Digest.of(data), size=len(data))
    tracemalloc.start()
    try:
        assert read_small_blob(Crumbs(data), descriptor, "config", limit=MAX_CONFIG_SIZE) == data
        assert tracemalloc.get_traced_memory()[1] < 4 * len(data)
    finally:
        tracemalloc.stop()


def test_a_page_of_brackets_is_refused_before_it_is_parsed(registry: FakeRegistry) -> None:
    page = b'{"tags":[' + b"[]," * (MAX_PAGE_SIZE // 3 - 10) + b"0]}"
    outcome, peak = check_of_tags(registry, page)
    runner.failed(outcome, f"more than {MAX_TAGS} values")
    assert peak < HONEST


def test_a_page_of_1_9_million_versions_is_more_than_a_check_looks_up(registry: FakeRegistry) -> None:
    page = json.dumps({"tags": [f"1.{number}" for number in range(1_900_000)]}).encode()
    outcome, peak = check_of_tags(registry, page)
    runner.failed(outcome, f"follows more than {MAX_FOLLOWED} tags", "semver_constraint")
    assert not registry.asked("HEAD")
    assert peak < MOST


def test_a_page_of_1_9_million_tags_that_play_no_part_is_read(registry: FakeRegistry) -> None:
    page = json.dumps({"tags": ["1.2.3", *(f"x{number}" for number in range(1_900_000))]}).encode()
    registry.add("some/name", images.image(LAYER), "1.2.3")
    outcome, peak = check_of_tags(registry, page)
    assert [version["tag"] for version in outcome.versions] == ["1.2.3"]
    assert peak < MOST


def filled(content: images.Content, size: int, number: int) -> images.Content:
    """``content`` with half the annotations that the bound of values allows, and of ``size`` bytes."""
    notes = {f"{number}-{at}": f"{at}" for at in range(MAX_VALUES // 4)}
    text = json.dumps({**json.loads(content.manifest.data), "annotations": notes})
    return replace(content, manifest=images.blob(text.ljust(size).encode(), content.manifest.media_type))


def large_config(number: int, keys: int) -> images.Content:
    """An image whose config has as many bytes as the bound allows."""
    junk = {str(at): number for at in range(keys)}
    text = json.dumps({**images.config_of([LAYER]), "junk": junk}).ljust(MAX_CONFIG_SIZE)
    return images.manifest_of(images.blob(text.encode(), images.image(LAYER).blobs[0].media_type), [LAYER.blob])


@pytest.mark.parametrize("kind", ["configs", "manifests"])
def test_large_documents_are_looked_at_one_after_the_other_for_their_times(registry: FakeRegistry, kind: str) -> None:
    for number in range(MAX_LOOKUPS):
        if kind == "configs":
            content = large_config(number, 1000)
        else:
            content = filled(images.image(LAYER, config={"Env": [f"A={number}"]}), MAX_MANIFEST_SIZE, number)
        registry.add("some/name", content, f"t{number}")
    outcome, peak = peak_of("check", {"source": source(registry, tag_regex="^t", created_at_sort=True)})
    assert len(outcome.versions) == MAX_LOOKUPS
    assert peak < MOST


def test_the_largest_config_is_read_within_the_memory_of_an_honest_image(
    registry: FakeRegistry, tmp_path: Path
) -> None:
    content = large_config(1, MAX_VALUES // 2 - 100)
    registry.add("some/name", content, "v1")
    request = {"source": source(registry), "version": {"tag": "v1", "digest": content.digest}}
    outcome, peak = peak_of("in", request, tmp_path)
    assert outcome.version["digest"] == content.digest
    assert peak < HONEST


@pytest.mark.parametrize("step", ["in", "out"])
def test_many_large_manifests_have_a_sum(registry: FakeRegistry, tmp_path: Path, step: runner.Step) -> None:
    children = [images.on(filled(images.image(LAYER), 1 << 20, number), f"a{number}") for number in range(9)]
    content = images.index(*children, images.on(images.image(LAYER), images.ARCHITECTURE))
    registry.add("some/name", content, "v1")
    if step == "in":
        version = {"tag": "v1", "digest": content.digest}
        request = {"source": source(registry), "version": version, "params": {"format": "oci-layout"}}
    else:
        target = {"repository": f"{registry.host}/to/here", "tag": "v1"}
        request = {"source": target, "params": {"from": f"{registry.host}/some/name:v1"}}
    outcome, peak = peak_of(step, request, tmp_path)
    runner.failed(outcome, "the manifests have more than")
    assert peak < MOST
    assert not registry.asked("POST", "/to/here/")
