"""Digests, references, platforms, descriptors, manifests and configs, read from untrusted text."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_image.decode import MAX_DEPTH, JSONReader, parse_json
from registry_image.errors import (
    ContentError,
    DigestMismatch,
    InvalidManifest,
    RequestError,
    SizeMismatch,
    UnsupportedMediaType,
    quote,
)
from registry_image.oci import mediatype
from registry_image.oci.config import parse_config
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Digest, Verifier, verify
from registry_image.oci.image import Image
from registry_image.oci.manifest import MAX_CHILDREN, MAX_MANIFEST_SIZE, Index, Manifest, parse_manifest
from registry_image.oci.platform import Platform, choose
from registry_image.oci.reference import Reference, RepositoryName, is_tag

HEX = hashlib.sha256(b"").hexdigest()
DESCRIPTOR = {"mediaType": mediatype.OCI_LAYER, "digest": f"sha256:{HEX}", "size": 0}


def manifest_document(**changes: object) -> dict[str, object]:
    config = {**DESCRIPTOR, "mediaType": mediatype.OCI_CONFIG}
    return {"schemaVersion": 2, "mediaType": mediatype.OCI_MANIFEST, "config": config, "layers": []} | changes


def raw(document: object) -> bytes:
    return json.dumps(document).encode()


# -- digests ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256",
        "sha256:",
        f"sha256:{HEX[:-1]}",
        f"sha256:{HEX}0",
        f"sha256:{HEX.upper()}",
        f"md5:{HEX}",
        f"sha256: {HEX[1:]}",
    ],
)
def test_an_invalid_digest_is_refused(text: str) -> None:
    with pytest.raises(InvalidManifest, match="not a digest"):
        Digest.parse(text)


@given(st.binary())
def test_a_digest_reads_back_as_it_was_written(data: bytes) -> None:
    digest = Digest.of(data)
    assert Digest.parse(str(digest)) == digest
    verify(data, digest, "data")


def test_a_verifier_takes_any_registered_algorithm() -> None:
    verify(b"x", Digest("sha512", hashlib.sha512(b"x").hexdigest()), "data")


@given(st.lists(st.binary(max_size=5), min_size=1), st.integers(0, 3))
def test_a_verifier_accepts_exactly_the_promised_bytes_however_they_are_cut(pieces: list[bytes], extra: int) -> None:
    whole = b"".join(pieces)
    verifier = Verifier(Digest.of(whole), len(whole), "blob")
    for piece in pieces:
        verifier.update(piece)
    verifier.finish()
    if extra:
        with pytest.raises(SizeMismatch):
            verifier.update(b"x" * extra)


def test_a_verifier_refuses_the_first_byte_too_many_before_the_end() -> None:
    verifier = Verifier(Digest.of(b"ab"), 2, "blob")
    with pytest.raises(SizeMismatch, match="expected 2 bytes, got more"):
        verifier.update(b"abc")


def test_a_verifier_distinguishes_too_short_from_wrong() -> None:
    verifier = Verifier(Digest.of(b"ab"), 2, "blob")
    verifier.update(b"a")
    with pytest.raises(SizeMismatch, match="expected 2 bytes, got 1"):
        verifier.finish()
    with pytest.raises(DigestMismatch, match=r"blob: digest mismatch: expected sha256:\w+, got sha256:\w+"):
        verify(b"cd", Digest.of(b"ab"), "blob")


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "host", "path", "api"),
    [
        ("alpine", "index.docker.io", "library/alpine", "registry-1.docker.io"),
        ("concourse/git", "index.docker.io", "concourse/git", "registry-1.docker.io"),
        ("docker.io/alpine", "index.docker.io", "library/alpine", "registry-1.docker.io"),
        ("index.docker.io/library/alpine", "index.docker.io", "library/alpine", "registry-1.docker.io"),
        ("ghcr.io/org/img", "ghcr.io", "org/img", "ghcr.io"),
        ("localhost/a", "localhost", "a", "localhost"),
        ("127.0.0.1:5000/a/b__c/d-e", "127.0.0.1:5000", "a/b__c/d-e", "127.0.0.1:5000"),
        ("[::1]:5000/a", "[::1]:5000", "a", "[::1]:5000"),
    ],
)
def test_repository_names_are_read_as_docker_reads_them(text: str, host: str, path: str, api: str) -> None:
    name = RepositoryName.parse(text)
    assert (name.host, name.path, name.api_host) == (host, path, api)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "A",
        "a//b",
        "a/",
        "ghcr.io/",
        "ghcr.io/A",
        "a b",
        "é",
        "ho_st.x/a",
        "a:b/c d",
        "../a",
        "a\n",
        "x" * 256,
        "h.io:99999999/a",
    ],
)
def test_an_invalid_repository_name_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(RequestError) as caught:
        RepositoryName.parse(text)
    assert "\n" not in caught.value.message


def test_a_reference_has_tag_and_digest() -> None:
    reference = Reference.parse(f"localhost:5000/a/b:1.10@sha256:{HEX}")
    assert (reference.name, reference.tag, str(reference.digest)) == ("localhost:5000/a/b", "1.10", f"sha256:{HEX}")
    assert Reference.parse("alpine").tag is None
    for wrong in ("a:", "a:-x", "a@sha256:1", "a:b:c", "a@"):
        with pytest.raises(RequestError):
            Reference.parse(wrong)


def test_tags_follow_the_specification() -> None:
    assert all(map(is_tag, ["1", "_", "v1.2-rc_1", "A" * 128]))
    assert not any(map(is_tag, ["", ".1", "-1", "a+b", "a/b", "A" * 129, "é", "a\n"]))


# -- platforms --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("linux/x86_64", "linux/amd64"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("Linux/ARM64/8", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/6", "linux/arm/v6"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("linux/s390x", "linux/s390x"),
        ("macos/arm64", "darwin/arm64"),
    ],
)
def test_platforms_are_normalised(written: str, normal: str) -> None:
    assert str(Platform.parse(written)) == normal


def test_an_architecture_may_include_its_variant() -> None:
    assert Platform.of("linux", "arm64/v8") == Platform.of("linux", "arm64")


@pytest.mark.parametrize("text", ["", "linux", "linux/", "/amd64", "a/b/c/d"])
def test_an_invalid_platform_is_refused(text: str) -> None:
    with pytest.raises(RequestError):
        Platform.parse(text)


@pytest.mark.parametrize(
    ("wanted", "offered", "chosen"),
    [
        ("linux/amd64", "linux/arm64 linux/amd64 linux/amd64", 1),
        ("linux/arm/v7", "linux/arm/v5 linux/arm/v6 linux/arm64", 1),
        ("linux/arm/v6", "linux/arm/v7 linux/arm/v5", 1),
        ("linux/arm/v6", "linux/arm/v7", None),
        ("linux/amd64", "unknown/unknown windows/amd64", None),
        ("unknown/unknown", "unknown/unknown", None),
        ("linux/amd64/v3", "linux/amd64", 0),
        ("linux/amd64", "linux/amd64/v2 linux/amd64/v3", 0),
        ("linux/amd64", "linux/amd64/v2 linux/amd64", 1),
    ],
)
def test_the_best_platform_of_an_index_is_chosen(wanted: str, offered: str, chosen: int | None) -> None:
    assert choose(Platform.parse(wanted), map(Platform.parse, offered.split())) == chosen


# -- documents --------------------------------------------------------------------------------------------------------


def test_a_manifest_keeps_its_exact_bytes() -> None:
    body = b"  " + raw(manifest_document(layers=[DESCRIPTOR])) + b"\n"
    manifest = parse_manifest(body)
    assert isinstance(manifest, Manifest)
    assert manifest.raw == body
    assert manifest.digest == Digest.of(body)
    assert manifest.layers[0] == Descriptor(media_type=mediatype.OCI_LAYER, digest=Digest("sha256", HEX), size=0)


def test_a_manifest_is_verified_against_the_requested_digest() -> None:
    body = raw(manifest_document())
    strong = Digest("sha512", hashlib.sha512(body).hexdigest())
    assert parse_manifest(body, digest=strong).digest == strong
    with pytest.raises(DigestMismatch):
        parse_manifest(body + b" ", digest=strong)


def test_an_index_lists_platforms_and_null_lists_are_empty() -> None:
    child = {**DESCRIPTOR, "mediaType": mediatype.OCI_MANIFEST, "platform": {"os": "linux", "architecture": "arm64"}}
    index = parse_manifest(raw({"schemaVersion": 2, "manifests": [child], "annotations": None}))
    assert isinstance(index, Index)
    assert index.media_type == mediatype.OCI_INDEX
    assert index.manifests[0].platform == Platform("linux", "arm64")
    assert parse_manifest(raw(manifest_document(layers=None))).raw


def test_the_content_type_decides_if_the_document_has_no_media_type() -> None:
    document = manifest_document()
    del document["mediaType"]
    manifest = parse_manifest(raw(document), content_type=mediatype.DOCKER_MANIFEST + "; charset=utf-8")
    assert manifest.media_type == mediatype.DOCKER_MANIFEST


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"\xff",
        b'{"schemaVersion":2,"x":NaN}',
        b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
        # A string without an end: its escaped quotes must not each begin another search.
        b"[" + b"{}," * MAX_DEPTH + b'"' + rb"\"" * 500_000,
        raw(manifest_document(layers={})),
        raw(manifest_document(layers=[[]])),
        raw(manifest_document(config=None)),
        raw(manifest_document(layers=[{**DESCRIPTOR, "size": -1}])),
        raw(manifest_document(layers=[{**DESCRIPTOR, "size": True}])),
        raw(manifest_document(layers=[{**DESCRIPTOR, "size": 1.5}])),
        raw(manifest_document(layers=[{**DESCRIPTOR, "digest": "sha256:../../etc"}])),
        raw(manifest_document(annotations={"a": 1})),
        raw(manifest_document(manifests=[])),
        raw({"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": [], "layers": []}),
        raw(manifest_document(layers=[DESCRIPTOR] * (MAX_CHILDREN + 1))),
        b" " * (MAX_MANIFEST_SIZE + 1),
    ],
    ids=lambda body: repr(body[:30]),
)
def test_an_invalid_manifest_is_refused_with_the_place(body: bytes) -> None:
    with pytest.raises(InvalidManifest, match=r"^here: "):
        parse_manifest(body, what="here")


def test_a_document_that_disagrees_with_its_content_type_is_refused() -> None:
    with pytest.raises(InvalidManifest, match="served as"):
        parse_manifest(raw(manifest_document()), content_type=mediatype.OCI_INDEX)


@pytest.mark.parametrize(
    "document",
    [{"schemaVersion": 1, "name": "a"}, {"schemaVersion": 2, "mediaType": "application/x"}],
    ids=["schema 1", "another type"],
)
def test_other_kinds_of_manifest_are_named(document: dict[str, object]) -> None:
    with pytest.raises(UnsupportedMediaType):
        parse_manifest(raw(document))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_any_json_is_a_manifest_or_a_content_error(document: object) -> None:
    try:
        parse_manifest(raw(document))
        parse_config(raw(document))
    except ContentError:
        pass


def test_a_config_says_how_to_run_the_image() -> None:
    config = parse_config(
        raw(
            {
                "os": "linux",
                "architecture": "arm64",
                "variant": "v8",
                "created": "2026-01-02T03:04:05Z",
                "config": {"Env": ["A=b"], "User": "1:2", "Entrypoint": None, "Cmd": ["x"], "Labels": {"k": "v"}},
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{HEX}"]},
            }
        )
    )
    assert str(config.platform) == "linux/arm64"
    assert (config.env, config.user, config.entrypoint, config.cmd) == (("A=b",), "1:2", (), ("x",))
    assert config.labels == {"k": "v"}


def test_layers_are_paired_with_their_diff_ids_or_refused() -> None:
    manifest = parse_manifest(raw(manifest_document(layers=[DESCRIPTOR])))
    assert isinstance(manifest, Manifest)
    config = parse_config(raw({"rootfs": {"diff_ids": [f"sha256:{HEX}"]}}))
    (layer,) = Image(manifest=manifest, config=config).layers
    assert str(layer) == f"layer 1 of 1 (sha256:{HEX})"
    with pytest.raises(InvalidManifest, match="1 layers in the manifest, but 0 diff IDs"):
        _ = Image(manifest=manifest, config=parse_config(raw({"rootfs": {"diff_ids": []}}))).layers


def test_brackets_inside_strings_do_not_count_as_depth() -> None:
    assert parse_json(raw({"a": '[{"' * 100}), "here")


def test_errors_name_the_place_in_the_document() -> None:
    with pytest.raises(InvalidManifest, match=r"^here: a: expected a string, got a number$"):
        JSONReader({"a": 1}, "here").text("a")


def test_a_label_of_null_is_empty_and_of_anything_else_an_error() -> None:
    assert JSONReader({"a": {"b": None, "c": "d"}}, "here").text_map("a") == {"b": "", "c": "d"}
    with pytest.raises(InvalidManifest, match=r"^here: a: expected an object of strings, got a number in it$"):
        JSONReader({"a": {"b": 1}}, "here").text_map("a")
    with pytest.raises(InvalidManifest, match=r"^here: a: expected an object of strings, got an array$"):
        JSONReader({"a": []}, "here").text_map("a")


def test_quoted_text_stays_on_one_line_and_short() -> None:
    assert quote("a\x1b[2J\n" + "x" * 1000).isprintable()
    assert len(quote("x" * 1000)) < 250
    assert quote(b"\xff") == r"'\\xff'"


def test_a_descriptor_is_written_as_it_was_read_without_empty_fields() -> None:
    bare = {"mediaType": mediatype.OCI_LAYER, "digest": f"sha256:{HEX}", "size": 5}
    full = {
        **bare,
        "urls": ["https://example.com/a"],
        "artifactType": "application/x",
        "platform": {"architecture": "arm", "os": "linux", "variant": "v6"},
        "annotations": {"a": "1"},
    }
    for document in (bare, full):
        written = Descriptor.read(JSONReader(document, "entry")).as_json()
        assert written == document
        assert list(written) == list(document)


@pytest.mark.parametrize("kind", ["", None, "application/octet-stream", "application/json", "text/html", "text/plain"])
def test_what_old_dockers_called_a_config_is_an_images_in_a_docker_manifest_only(kind: str | None) -> None:
    config = {**DESCRIPTOR, "mediaType": kind}
    docker = parse_manifest(raw(manifest_document(mediaType=mediatype.DOCKER_MANIFEST, config=config)))
    oci = parse_manifest(raw(manifest_document(config=config)))
    assert isinstance(docker, Manifest)
    assert isinstance(oci, Manifest)
    assert (docker.is_image, oci.is_image) == (True, False)


def test_other_configs_are_no_images_in_a_docker_manifest_either() -> None:
    config = {**DESCRIPTOR, "mediaType": "application/vnd.docker.plugin.v1+json"}
    plugin = parse_manifest(raw(manifest_document(mediaType=mediatype.DOCKER_MANIFEST, config=config)))
    assert isinstance(plugin, Manifest)
    assert not plugin.is_image


@pytest.mark.parametrize("platform", [{}, None, {"os": "", "architecture": ""}, {"os": None}])
def test_a_platform_of_empty_words_is_none(platform: dict[str, object] | None) -> None:
    descriptor = Descriptor.read(JSONReader({**DESCRIPTOR, "platform": platform}, "it"))
    assert descriptor.platform is None


def test_features_of_the_system_are_kept() -> None:
    entry = {**DESCRIPTOR, "platform": {"architecture": "amd64", "os": "windows", "os.features": ["win32k"]}}
    descriptor = Descriptor.read(JSONReader(entry, "it"))
    assert descriptor.os_features == ("win32k",)
    assert descriptor.as_json() == entry


@pytest.mark.parametrize(
    "extra",
    [{"history": [{"created_by": "a", "Created_By": "b"}]}, {"config": {"Healthcheck": {"Test": [], "test": []}}}],
)
def test_keys_that_differ_in_case_only_are_refused_where_nothing_is_read_too(extra: dict[str, object]) -> None:
    with pytest.raises(InvalidManifest, match="ambiguous"):
        parse_config(raw({"rootfs": {"diff_ids": []}, **extra}))


def test_labels_volumes_and_annotations_may_differ_in_case_only() -> None:
    run = {
        "Labels": {"a": "1", "A": "2"},
        "Volumes": {"/data": {}, "/Data": {}},
        "ExposedPorts": {"1/tcp": {}, "1/TCP": {}},
    }
    assert parse_config(raw({"rootfs": {"diff_ids": []}, "config": run})).labels == {"a": "1", "A": "2"}
    notes = {"x": "1", "X": "2"}
    assert parse_manifest(raw(manifest_document(annotations=notes))).annotations == notes
