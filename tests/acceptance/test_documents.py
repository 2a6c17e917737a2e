"""Manifests, indexes and configs that two tools would read differently: one rule, whichever way an image takes.

A get into a root filesystem, a get into a layout, a put of a layout and a promotion read the same documents.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from tests.support import images, runner, tar
from tests.support.fakeregistry import FakeRegistry, body, fake_registry
from tests.support.images import Content, Json

Way = Literal["rootfs", "layout", "put", "promote"]
WAYS: tuple[Way, ...] = ("rootfs", "layout", "put", "promote")
LAYER = images.layer(tar.archive(tar.file("file", b"content")))
OTHER = images.layer(tar.archive(tar.file("other", b"another")))
IMAGE = images.image(LAYER, config={"Env": ["A=b"], "User": "me"})
EVIL = images.image(OTHER)
NO_WAITING = {"REGISTRY_IMAGE_WAIT_SCALE": "0"}


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as running:
        yield running


def spelled(content: Content, change: Callable[[str], str]) -> Content:
    """``content`` with another text of its manifest."""
    manifest = images.blob(change(content.manifest.data.decode()).encode(), content.manifest.media_type)
    return replace(content, manifest=manifest)


def with_config(change: Callable[[str], str]) -> Content:
    """IMAGE with another text of its config."""
    config = images.blob(change(IMAGE.blobs[0].data.decode()).encode(), IMAGE.blobs[0].media_type)
    return images.manifest_of(config, [LAYER.blob])


def listed(child: Content, **entry: object) -> Content:
    """An index of ``child``, whose entry has other fields than the child."""
    index = images.index(child)
    listing = {**child.manifest.descriptor, "platform": {"os": "linux", "architecture": images.ARCHITECTURE}, **entry}
    document = {**json.loads(index.manifest.data), "manifests": [listing]}
    return spelled(index, lambda _: json.dumps(document))


def add(key: str, value: Json | list[Json]) -> Callable[[str], str]:
    """Adds a key at the end of the document."""
    return lambda text: f'{text[:-1]}, "{key}": {json.dumps(value)}}}'


MANIFEST, INDEX = IMAGE.manifest.media_type, images.index().manifest.media_type
#: Each with words of its refusal.
AMBIGUOUS = {
    "layers twice": (spelled(IMAGE, add("layers", [OTHER.blob.descriptor])), "one key twice"),
    "layers and Layers": (spelled(IMAGE, add("Layers", [OTHER.blob.descriptor])), "both 'layers' and 'Layers'"),
    "layers with a long s": (spelled(IMAGE, add("layer\u017f", [OTHER.blob.descriptor])), "both 'layers' and"),
    "a layer with two digests": (
        spelled(IMAGE, lambda text: text.replace('"digest": "', f'"Digest": "{EVIL.digest}", "digest": "')),
        "both 'Digest' and 'digest'",
    ),
    "a config with two rootfs": (
        with_config(add("rootFS", {"type": "layers", "diff_ids": [OTHER.diff_id]})),
        "both 'rootfs' and 'rootFS'",
    ),
    "a config with Env and env": (
        with_config(lambda text: text.replace('"Env"', '"env": ["A=evil"], "Env"')),
        "both 'env' and 'Env'",
    ),
    "a manifest with manifests": (spelled(IMAGE, add("Manifests", [EVIL.manifest.descriptor])), "ambiguous"),
    "an index listed as a manifest": (listed(images.index(IMAGE), mediaType=MANIFEST), f"but it is {INDEX}"),
    "a manifest listed as an index": (listed(IMAGE, mediaType=INDEX), f"but it is {MANIFEST}"),
    "a child of another size": (listed(IMAGE, size=1), "size mismatch: expected 1 bytes"),
}
#: The other kinds differ from these only in how one document is read, so one way is enough for them.
EVERY_WAY = {
    "layers and Layers",
    "a config with two rootfs",
    "a manifest with manifests",
    "an index listed as a manifest",
    "a child of another size",
}
#: What every tool in Go reads, as in mcr.microsoft.com/windows/iotcore.
IN_ANOTHER_CASE = spelled(
    with_config(
        lambda text: (
            text.replace('"rootfs"', '"rootfS"')
            .replace('"Env": ["A=b"', '"env": ["A=b", null')
            .replace('"User"', '"user"')
            .replace('"config"', '"Config"')
        )
    ),
    lambda text: text.replace('"layers"', '"LAYERS"').replace('"digest"', '"Digest"').replace('"config"', '"cONFIG"'),
)


OLD = images.blob(IMAGE.blobs[0].data, "text/html")
#: What a tool may write, and what a get must read.
ODD = {
    "keys in another case": IN_ANOTHER_CASE,
    "a config type of old Docker": images.manifest_of(
        OLD, [images.layer(tar.archive(tar.file("file", b"content")), docker=True).blob], docker=True
    ),
    "a config without a platform": with_config(
        lambda text: json.dumps(
            {key: value for key, value in json.loads(text).items() if key not in ("os", "architecture")}
        )
    ),
    "an artifact first in the index": images.index(
        images.manifest_of(images.blob(b"{}", "application/vnd.oci.empty.v1+json"), [], artifactType="a/disk"), IMAGE
    ),
}


def take(way: Way, registry: FakeRegistry, content: Content, directory: Path) -> runner.Outcome:
    """One way of ``content``: into ``directory`` / rootfs or oci, or to the repository ``to/here``."""
    registry.add("some/name", content, "v1")
    name = f"{registry.host}/some/name"
    if way in ("rootfs", "layout"):
        params = {"format": "oci-layout" if way == "layout" else "rootfs"}
        request = {"source": {"repository": name}, "version": {"tag": "v1", "digest": content.digest}}
        return runner.get({**request, "params": params}, directory, environment=NO_WAITING)
    images.write_layout(directory / "image", content)
    (directory / "image" / "single-image-digest").write_text(content.digest)
    params = {"image": "image"} if way == "put" else {"from": f"{name}:v1"}
    source = {"repository": f"{registry.host}/to/here", "tag": "v1"}
    return runner.put({"source": source, "params": params}, directory, environment=NO_WAITING)


@pytest.mark.parametrize(
    ("kind", "way"), [(kind, way) for kind in AMBIGUOUS for way in WAYS if way == "rootfs" or kind in EVERY_WAY]
)
def test_a_document_with_two_meanings_is_refused(registry: FakeRegistry, tmp_path: Path, kind: str, way: Way) -> None:
    content, words = AMBIGUOUS[kind]
    outcome = take(way, registry, content, tmp_path)
    runner.failed(outcome, words)
    assert not registry.asked("POST", "/to/here/")
    assert not registry.asked("PUT", "/to/here/")
    assert os.listdir(tmp_path) == (["image"] if way in ("put", "promote") else [])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ODD)
def test_what_is_odd_but_means_one_image_goes_every_way(
    registry: FakeRegistry, tmp_path: Path, kind: str, way: Way
) -> None:
    content = ODD[kind]
    outcome = take(way, registry, content, tmp_path)
    assert outcome.version["digest"] == content.digest
    nameless = kind == "a config without a platform"
    assert outcome.metadata.get("platform") == (None if nameless else f"linux/{images.ARCHITECTURE}")
    assert "for :" not in outcome.stderr
    if way == "rootfs":
        told = json.loads((tmp_path / "metadata.json").read_text())
        assert told["env"] == (["A=b", ""] if kind == "keys in another case" else ["A=b"])
        assert told["user"] == "me"
        assert (tmp_path / "rootfs" / "file").read_bytes() == b"content"
    elif way == "layout":
        kept = tmp_path / "oci" / "blobs" / "sha256" / LAYER.blob.digest.removeprefix("sha256:")
        assert kept.read_bytes() == LAYER.blob.data
    else:
        target = registry.repositories["to/here"]
        assert target.tags == {"v1": content.digest}
        assert {blob.digest for blob in content.blobs} <= set(target.blobs)


def test_a_served_type_that_is_not_the_entrys_is_refused(registry: FakeRegistry, tmp_path: Path) -> None:
    document = json.loads(IMAGE.manifest.data)
    del document["mediaType"]
    child = replace(
        IMAGE, manifest=images.blob(json.dumps(document).encode(), images.image(docker=True).manifest.media_type)
    )
    runner.failed(take("rootfs", registry, listed(child, mediaType=MANIFEST), tmp_path), "its entry says")


def test_only_what_names_its_subject_is_promoted_as_a_referrer(registry: FakeRegistry, tmp_path: Path) -> None:
    def about(subject: Content, name: str) -> Content:
        note = images.blob(name.encode())
        return images.manifest_of(note, [], subject=subject.manifest.descriptor)

    signature, of_another = about(IMAGE, "signature"), about(EVIL, "of another")
    of_none = images.manifest_of(images.blob(b"of none"), [])
    for content in (signature, of_another, of_none):
        registry.add("some/name", content)
    entries = [each.manifest.descriptor for each in (signature, of_another, of_none)]
    listing = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
    registry.script("GET", f"/some/name/referrers/{IMAGE.digest}", body(json.dumps(listing).encode()), always=True)
    outcome = take("promote", registry, IMAGE, tmp_path)
    assert outcome.version["digest"] == IMAGE.digest
    target = registry.repositories["to/here"]
    assert {IMAGE.digest, signature.digest} < set(target.manifests)
    assert not {of_another.digest, of_none.digest} & set(target.manifests)
    # The registry does not say that it lists referrers, so the put keeps the list, under this tag.
    assert set(target.tags) == {"v1", IMAGE.digest.replace(":", "-")}
    for left_out in (of_another, of_none):
        assert f"{left_out.digest} is left out" in outcome.stderr
    assert signature.digest not in outcome.stderr


def test_a_referrer_is_an_error_if_it_carries_what_belongs_to_another_image(
    registry: FakeRegistry, tmp_path: Path
) -> None:
    of_another = images.manifest_of(images.blob(b"{}"), [], subject=EVIL.manifest.descriptor)
    bundle = images.index(of_another, subject=IMAGE.manifest.descriptor)
    registry.add("some/name", bundle)
    runner.failed(take("promote", registry, IMAGE, tmp_path), f"{of_another.digest}: it belongs to {EVIL.digest}")
    assert not registry.asked("PUT", "/to/here/")


def test_a_cosign_tag_with_what_belongs_to_another_image_is_not_promoted(
    registry: FakeRegistry, tmp_path: Path
) -> None:
    of_another = images.manifest_of(images.blob(b"{}"), [], subject=EVIL.manifest.descriptor)
    tag = f"{IMAGE.digest.replace(':', '-')}.sig"
    registry.add("some/name", of_another, tag)
    outcome = take("promote", registry, IMAGE, tmp_path)
    assert registry.repositories["to/here"].tags == {"v1": IMAGE.digest}
    assert set(registry.repositories["to/here"].manifests) == {IMAGE.digest}
    assert f"{tag} is left out" in outcome.stderr
