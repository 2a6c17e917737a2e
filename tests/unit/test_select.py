"""Selecting an image by digest and platform."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from registry_image.errors import (
    DigestMismatch,
    InvalidManifest,
    NoMatchingPlatform,
    NotAnImage,
    NotFound,
    SizeMismatch,
)
from registry_image.oci.digest import Digest
from registry_image.oci.image import Image
from registry_image.oci.platform import Platform
from registry_image.transfer import select
from registry_image.transfer.select import select_image
from tests.support import images, tar
from tests.support.memory import Ear, MemoryReader

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
LAYER = tar.archive(tar.file("a"))


def image(name: str = "", architecture: str = "amd64") -> images.Content:
    return images.image(LAYER, config={"Env": [f"NAME={name}"]}, architecture=architecture)


def selected(
    reader: MemoryReader, content: images.Content, platform: Platform = AMD64, ear: Ear | None = None
) -> Image:
    return select_image(reader, reader.manifest(Digest.parse(content.digest)), platform, ear or Ear())


def name_of(content: images.Content, platform: Platform = AMD64, ear: Ear | None = None) -> str:
    (name,) = selected(MemoryReader(content), content, platform, ear).config.env
    return name.removeprefix("NAME=")


def test_a_single_manifest_is_taken_with_its_config_and_layers() -> None:
    content = image("it")
    found = selected(MemoryReader(content), content)
    assert found.manifest.raw == content.manifest.data
    assert found.config.raw == content.blobs[0].data
    assert [str(layer.diff_id) for layer in found.layers] == [images.digest_of(LAYER)]


def test_a_single_manifest_for_another_platform_is_taken_with_a_note() -> None:
    ear = Ear()
    assert name_of(image("it", "arm64"), AMD64, ear) == "it"
    assert len(ear.notes) == 1
    assert "linux/arm64, not linux/amd64" in ear.notes[0]


def test_a_single_manifest_for_the_wanted_platform_makes_no_note() -> None:
    ear = Ear()
    assert name_of(image("it"), AMD64, ear) == "it"
    assert ear.notes == []


def test_an_index_gives_the_platforms_image() -> None:
    content = images.index(images.on(image("a"), "amd64"), images.on(image("b", "arm64"), "arm64"))
    assert name_of(content, AMD64) == "a"
    assert name_of(content, ARM64) == "b"


def test_an_index_child_without_platform_counts_as_linux_amd64() -> None:
    content = images.index(images.on(image("b", "arm64"), "arm64"), image("a"))
    assert name_of(content, AMD64) == "a"


def test_a_missing_platform_is_an_error_that_lists_the_available_ones() -> None:
    content = images.index(
        images.on(image("a"), "amd64"), images.on(image("b"), "arm64"), images.on(image("c"), "unknown", "unknown")
    )
    with pytest.raises(NoMatchingPlatform) as caught:
        name_of(content, Platform("linux", "s390x"))
    assert caught.value.available == ["linux/amd64", "linux/arm64"]


def test_attestations_are_never_taken() -> None:
    content = images.index(images.on(image("attestation"), "unknown", "unknown"))
    with pytest.raises(NoMatchingPlatform):
        name_of(content)


def test_nested_indexes_are_searched() -> None:
    inner = images.index(images.on(image("b", "arm64"), "arm64"))
    content = images.index(images.on(image("a"), "amd64"), inner)
    assert name_of(content, AMD64) == "a"
    assert name_of(content, ARM64) == "b"
    with pytest.raises(NoMatchingPlatform) as caught:
        name_of(content, Platform("linux", "s390x"))
    assert caught.value.available == ["linux/amd64", "linux/arm64"]


def test_an_index_may_be_listed_for_a_platform() -> None:
    inner = images.on(images.index(images.on(image("b", "arm64"), "arm64")), "arm64")
    assert name_of(images.index(inner), ARM64) == "b"


def test_indexes_nested_for_ever_are_an_error() -> None:
    content = images.index(images.on(image("a"), "amd64"))
    for _ in range(select.MAX_DEPTH - 1):
        content = images.index(content)
    assert name_of(content) == "a"
    with pytest.raises(InvalidManifest, match="nested more than 8 deep"):
        name_of(images.index(content))


def test_too_many_nested_indexes_are_an_error() -> None:
    leaves = [images.index(images.on(image(str(at)), "s390x")) for at in range(select.MAX_INDEXES + 1)]
    with pytest.raises(InvalidManifest, match="more than 100 nested indexes"):
        name_of(images.index(*leaves))


def test_an_artifact_is_not_an_image() -> None:
    chart = images.blob(b"{}", "application/vnd.cncf.helm.config.v1+json")
    with pytest.raises(NotAnImage, match=r"helm\.config"):
        name_of(images.manifest_of(chart, []))


def test_layers_and_diff_ids_must_pair_up() -> None:
    content = image("it")
    config = json.loads(content.blobs[0].data)
    config["rootfs"]["diff_ids"] *= 2
    broken = images.manifest_of(
        images.blob(json.dumps(config).encode(), content.blobs[0].media_type), content.blobs[1:]
    )
    with pytest.raises(InvalidManifest, match="1 layers in the manifest, but 2 diff IDs"):
        name_of(broken)


def test_a_wrong_config_or_manifest_is_an_error() -> None:
    content = image("it")
    reader = MemoryReader(content)
    reader.blobs[content.blobs[0].digest] = content.blobs[0].data.replace(b"NAME", b"MANE")
    with pytest.raises(DigestMismatch, match="config of"):
        selected(reader, content)
    reader.blobs[content.blobs[0].digest] = content.blobs[0].data + b" "
    with pytest.raises(SizeMismatch, match="config of"):
        selected(reader, content)
    reader.manifests[content.digest] += b" "
    with pytest.raises(DigestMismatch):
        selected(reader, content)


def test_a_child_of_another_size_than_its_index_says_is_an_error() -> None:
    child = images.on(image("a"), "amd64")
    child = replace(child, manifest=replace(child.manifest, size=child.manifest.size + 1))
    with pytest.raises(SizeMismatch):
        name_of(images.index(child))


def test_a_child_that_is_missing_is_an_error() -> None:
    content = images.index(images.on(image("a"), "amd64"))
    reader = MemoryReader(content)
    del reader.manifests[content.children[0].digest]
    with pytest.raises(NotFound):
        selected(reader, content)


def listed(*entries: tuple[images.Content, dict[str, object]]) -> images.Content:
    """An index whose entries have these fields besides their descriptors'."""
    return images.index(*(replace(each, manifest=replace(each.manifest, extra=extra)) for each, extra in entries))


ARTIFACT = images.manifest_of(images.blob(b"{}", "application/vnd.oci.empty.v1+json"), [], artifactType="a/disk")
HERE: dict[str, object] = {"platform": {"os": "linux", "architecture": "amd64"}}


@pytest.mark.parametrize(
    "entries",
    [
        [(image("other"), {}), (image("a"), HERE)],
        [(ARTIFACT, {}), (image("a"), HERE)],
        [(ARTIFACT, {}), (image("a"), {})],
        [(ARTIFACT, HERE), (image("a"), HERE)],
        [(ARTIFACT, HERE), (images.index(images.on(image("a"), "amd64")), {})],
        [(image("disk"), {"artifactType": "a/disk", **HERE}), (image("a"), {})],
        [
            (image("disk"), {"artifactType": "a/disk", "platform": {"os": "linux", "architecture": "x86_64"}}),
            (image("a"), HERE),
        ],
        [
            (image("gpu"), {"platform": {"os": "linux", "architecture": "amd64", "os.features": ["gpu"]}}),
            (image("a"), HERE),
        ],
        [
            (image("a"), {"platform": {"os": "linux", "architecture": "amd64", "os.features": ["gpu"]}}),
            (image("other"), {}),
        ],
        [(image("other"), {"platform": {"os": "", "architecture": ""}}), (image("a"), HERE)],
        [(image("a"), HERE), (image("other"), HERE)],
    ],
    ids=[
        "an entry that names its platform goes before one that names none",
        "an artifact that names none",
        "an artifact and an image that both name none",
        "an artifact and an image for one platform",
        "an artifact for the platform and a nested index",
        "an entry for an artifact comes last, also after one that names no platform",
        "a disk for another spelling of the platform",
        "an entry that demands features of the system",
        "the features count less than the platform",
        "a platform of empty words names none",
        "of equal ones the first",
    ],
)
def test_the_choice_in_an_index(entries: list[tuple[images.Content, dict[str, object]]]) -> None:
    assert name_of(listed(*entries)) == "a"


def test_an_entry_for_an_artifact_is_taken_where_nothing_else_is_for_the_platform() -> None:
    assert name_of(listed((image("a"), {"artifactType": "x/y", **HERE}))) == "a"


def test_an_index_of_artifacts_says_what_they_are() -> None:
    with pytest.raises(NotAnImage, match="not an image but an artifact of type 'a/disk'"):
        name_of(listed((ARTIFACT, {}), (ARTIFACT, HERE)))


def test_the_platforms_of_artifacts_are_not_listed_as_available() -> None:
    with pytest.raises(NoMatchingPlatform) as caught:
        name_of(listed((image("a"), HERE), (ARTIFACT, {"artifactType": "x/y", **HERE})), ARM64)
    assert caught.value.available == ["linux/amd64"]


def test_a_build_cache_says_that_no_image_is_in_it() -> None:
    cache = images.index(
        images.Content(manifest=images.blob(b"layer", "application/vnd.oci.image.layer.v1.tar+gzip")),
        images.Content(manifest=images.blob(b"{}", "application/vnd.buildkit.cacheconfig.v0")),
    )
    with pytest.raises(NotAnImage, match=r"no image in it, but .*vnd\.buildkit\.cacheconfig"):
        name_of(cache)


def test_the_documents_of_one_search_have_a_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    leaves = [images.index(images.on(image(str(at)), "s390x"), annotations={"x": "y" * 1000}) for at in range(5)]
    monkeypatch.setattr(select, "MAX_SEARCHED", 5000)
    with pytest.raises(InvalidManifest, match="nested indexes of more than 5000 bytes"):
        name_of(images.index(*leaves))


def test_a_child_of_another_type_than_its_index_says_is_an_error() -> None:
    inner = images.index(image("a"))
    entry = replace(inner.manifest, media_type=ARTIFACT.manifest.media_type)
    with pytest.raises(InvalidManifest, match=r"its entry says .*manifest\.v1.*, but it is .*index\.v1"):
        name_of(images.index(replace(inner, manifest=entry)))


def test_a_config_without_a_platform_leaves_no_empty_words() -> None:
    ear = Ear()
    assert name_of(images.image(LAYER, config={"Env": ["NAME=a"]}, architecture="", os=""), AMD64, ear) == "a"
    assert ear.notes == ["note: the image names no platform: it is the only one there is"]
