"""Manifests made from others: annotated, reduced, assembled."""

from __future__ import annotations

import dataclasses
import json

import pytest

from registry_image.errors import NoMatchingPlatform, UnsupportedMediaType
from registry_image.oci import mediatype
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.manifest import Index, Manifest, parse_manifest
from registry_image.oci.platform import Platform
from registry_image.record import replace
from registry_image.transfer.mutate import annotate, assemble, select_platforms
from tests.support import tar
from tests.support.images import Content, blob, image, index, manifest_of, on

LAYER = tar.archive(tar.file("hello", b"world"))
AMD, ARM = Platform("linux", "amd64"), Platform("linux", "arm64")
ONE = image(LAYER)
TWO = image(LAYER, architecture="arm64")
BOTH = index(on(ONE, "amd64"), on(TWO, "arm64"))
NOTHING: dict[str, str] = {}


def parsed(content: Content) -> Manifest | Index:
    return parse_manifest(content.manifest.data)


def manifest(content: Content) -> Manifest:
    found = parsed(content)
    assert isinstance(found, Manifest)
    return found


def whole(content: Content) -> Index:
    found = parsed(content)
    assert isinstance(found, Index)
    return found


def attestation(of: Content) -> Content:
    made = manifest_of(blob(b"{}", mediatype.OCI_CONFIG), [blob(of.digest.encode())])
    described = on(made, "unknown", "unknown")
    noted = {"vnd.docker.reference.digest": of.digest, "vnd.docker.reference.type": "attestation-manifest"}
    extra = {**described.manifest.extra, "annotations": noted}
    return Content(manifest=blob(made.manifest.data, mediatype.OCI_MANIFEST, **extra), blobs=made.blobs)


def test_annotations_are_added_and_replaced() -> None:
    before = parsed(image(LAYER, annotations={"a": "1", "b": "2"}))
    after = annotate(before, {"b": "ü", "c": "4"})
    assert after.annotations == {"a": "1", "b": "ü", "c": "4"}
    assert after.digest != before.digest
    rest = [{k: v for k, v in json.loads(each.raw).items() if k != "annotations"} for each in (before, after)]
    assert rest[0] == rest[1]


def test_annotations_that_are_there_already_change_nothing() -> None:
    before = parsed(image(LAYER, annotations={"a": "1", "b": "2"}))
    assert annotate(before, {"a": "1"}) is before
    assert annotate(before, NOTHING) is before


def test_an_index_is_annotated_without_touching_its_children() -> None:
    before = whole(index(on(ONE, "amd64"), on(TWO, "arm64")))
    after = annotate(before, {"a": "1"})
    assert isinstance(after, Index)
    assert after.manifests == before.manifests
    assert after.annotations == {"a": "1"}


def test_an_annotated_docker_manifest_becomes_an_oci_manifest_of_the_same_blobs() -> None:
    before = manifest(image(LAYER, docker=True))
    after = annotate(before, {"a": "1"})
    assert isinstance(after, Manifest)
    assert after.media_type == mediatype.OCI_MANIFEST
    assert after.config.media_type == mediatype.OCI_CONFIG
    assert [each.media_type for each in after.layers] == [mediatype.OCI_LAYER_GZIP]
    assert [each.digest for each in after.layers] == [each.digest for each in before.layers]


def test_a_docker_list_cannot_be_annotated() -> None:
    with pytest.raises(UnsupportedMediaType, match="a Docker manifest list has no annotations"):
        annotate(parsed(index(on(image(LAYER, docker=True), "amd64"), docker=True)), {"a": "1"})


def test_a_reduced_index_keeps_the_platforms_and_their_attestations() -> None:
    before = whole(
        index(on(ONE, "amd64"), on(TWO, "arm64"), attestation(ONE), attestation(TWO), annotations={"keep": "me"})
    )
    after = select_platforms(before, [ARM])
    assert [str(each.digest) for each in after.manifests] == [TWO.digest, attestation(TWO).digest]
    assert after.annotations == {"keep": "me"}
    assert json.loads(after.raw)["manifests"] == [json.loads(before.raw)["manifests"][position] for position in (1, 3)]


def test_reducing_to_all_platforms_changes_nothing() -> None:
    before = whole(index(on(ONE, "amd64"), on(TWO, "arm64"), attestation(ONE)))
    assert select_platforms(before, [ARM, AMD]) is before


def test_an_entry_without_a_platform_counts_as_linux_amd64() -> None:
    after = select_platforms(whole(index(ONE, on(TWO, "arm64"))), [AMD])
    assert [str(each.digest) for each in after.manifests] == [ONE.digest]


def test_a_missing_platform_is_reported_with_the_available_ones() -> None:
    with pytest.raises(
        NoMatchingPlatform, match="no image for platform linux/s390x: there is linux/amd64, linux/arm64"
    ):
        select_platforms(
            whole(index(on(ONE, "amd64"), on(TWO, "arm64"), attestation(ONE))), [AMD, Platform("linux", "s390x")]
        )


def part(content: Content, platform: Platform, **annotations: str) -> Descriptor:
    return replace(manifest(content).descriptor, platform=platform, annotations=annotations)


def test_an_assembled_index_lists_the_images_with_their_platforms_in_order() -> None:
    made = assemble([part(TWO, Platform("linux", "arm", "v6")), part(ONE, AMD)])
    assert made.media_type == mediatype.OCI_INDEX
    assert json.loads(made.raw)["manifests"] == [
        {**TWO.manifest.descriptor, "platform": {"architecture": "arm", "os": "linux", "variant": "v6"}},
        {**ONE.manifest.descriptor, "platform": {"architecture": "amd64", "os": "linux"}},
    ]
    assert assemble([part(TWO, Platform("linux", "arm", "v6")), part(ONE, AMD)]).digest == made.digest


def test_an_assembled_index_is_spelled_the_same_in_every_release() -> None:
    made = assemble([part(ONE, Platform("linux", "arm", "v6"), a="1")])
    spelled = (
        '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":['
        '{"mediaType":"application/vnd.oci.image.manifest.v1+json",'
        f'"digest":"{ONE.digest}","size":{len(ONE.manifest.data)},'
        '"platform":{"architecture":"arm","os":"linux","variant":"v6"},"annotations":{"a":"1"}}]}'
    )
    assert made.raw.decode() == spelled


def test_docker_images_make_a_docker_list_and_a_mixture_an_oci_index() -> None:
    docker = image(LAYER, docker=True)
    assert assemble([part(docker, AMD)]).media_type == mediatype.DOCKER_INDEX
    assert assemble([part(docker, AMD), part(TWO, ARM)]).media_type == mediatype.OCI_INDEX


def test_a_document_with_keys_in_another_case_keeps_them() -> None:
    document = json.loads(image(LAYER, annotations={"a": "1"}).manifest.data)
    document["ANNOTATIONS"] = document.pop("annotations")
    changed = annotate(parse_manifest(json.dumps(document).encode()), {"b": "2"})
    assert json.loads(changed.raw)["ANNOTATIONS"] == {"a": "1", "b": "2"}
    assert changed.annotations == {"a": "1", "b": "2"}

    document = json.loads(BOTH.manifest.data)
    document["Manifests"] = document.pop("manifests")
    reduced = select_platforms(_index(document), [AMD])
    assert [str(entry.digest) for entry in reduced.manifests] == [ONE.digest]


def test_an_old_docker_image_stays_an_image_when_it_becomes_an_oci_manifest() -> None:
    document = json.loads(image(LAYER, docker=True).manifest.data)
    document["Config"] = {**document.pop("config"), "MediaType": "text/html"}
    del document["Config"]["mediaType"]
    changed = annotate(parse_manifest(json.dumps(document).encode()), {"a": "1"})
    assert isinstance(changed, Manifest)
    assert changed.is_image
    assert (changed.media_type, changed.config.media_type) == (mediatype.OCI_MANIFEST, mediatype.OCI_CONFIG)


def test_a_reduced_index_keeps_every_windows_of_a_platform() -> None:
    older, newer = (on(each, "amd64", "windows", **{"os.version": f"10.0.{each.digest}"}) for each in (ONE, TWO))
    linux = on(image(LAYER, config={"User": "1"}), "amd64")
    reduced = select_platforms(whole(index(linux, older, newer)), [Platform("windows", "amd64")])
    assert [str(entry.digest) for entry in reduced.manifests] == [ONE.digest, TWO.digest]


def test_reducing_chooses_as_a_get_does() -> None:
    disk = on(TWO, "amd64")
    described = {**disk.manifest.extra, "artifactType": "a/disk"}
    disk = dataclasses.replace(disk, manifest=dataclasses.replace(disk.manifest, extra=described))
    reduced = select_platforms(whole(index(disk, on(ONE, "amd64"))), [AMD])
    assert [str(entry.digest) for entry in reduced.manifests] == [ONE.digest]
    reduced = select_platforms(whole(index(TWO, on(ONE, "amd64"))), [AMD])
    assert [str(entry.digest) for entry in reduced.manifests] == [ONE.digest]


def _index(document: dict[str, object]) -> Index:
    found = parse_manifest(json.dumps(document).encode())
    assert isinstance(found, Index)
    return found
