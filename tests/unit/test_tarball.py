"""Images in tars: docker-save tarballs, OCI archives, files that are neither, and the tarball for `docker load`."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from registry_image.errors import (
    ContentError,
    CorruptLayer,
    DigestMismatch,
    InvalidManifest,
    StorageError,
    UnsupportedMediaType,
)
from registry_image.oci import mediatype
from registry_image.oci.content import read_small_blob
from registry_image.oci.digest import Digest
from registry_image.oci.manifest import Index, Manifest, parse_manifest
from registry_image.storage.archive import Archive
from registry_image.storage.detect import open_image
from registry_image.storage.files import Directory, Region
from registry_image.storage.layout import LayoutReader
from registry_image.storage.loadable import LoadableTarball
from tests.support import tar
from tests.support.images import blob, digest_of, image, index, layer, manifest_of, on, write_layout

LAYER = tar.archive(tar.file("hello", b"world" * 1000))
OTHER = tar.archive(tar.directory("etc"), tar.file("etc/motd", b"welcome"))


def config_of(*layers: bytes) -> bytes:
    diff_ids = [digest_of(each) for each in layers]
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    return json.dumps(config).encode()


def saved(files: Mapping[str, bytes], config: bytes, layers: list[str], **more: object) -> bytes:
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    listing = [{"Config": name, "RepoTags": ["some:tag"], "Layers": layers, **more}]
    members = [tar.file(path, data) for path, data in files.items()]
    return tar.archive(*members, tar.file(name, config), tar.file("manifest.json", json.dumps(listing)))


PLAIN = saved({"a/layer.tar": LAYER, "b/layer.tar": OTHER}, config_of(LAYER, OTHER), ["a/layer.tar", "b/layer.tar"])


def put_down(tmp_path: Path, data: bytes) -> str:
    path = tmp_path / "image"
    path.write_bytes(data)
    return str(path)


def root_of(path: str) -> Manifest | Index:
    with open_image(path, "image") as stored:
        return stored.root


def image_of(path: str) -> tuple[Manifest, list[bytes]]:
    """The manifest and the blobs, config first."""
    with open_image(path, "image") as stored:
        assert isinstance(stored.root, Manifest)
        blobs = (stored.root.config, *stored.root.layers)
        return stored.root, [read_small_blob(stored.reader, each, "blob", limit=1 << 24) for each in blobs]


def test_only_the_blobs_of_a_docker_save_tarball_are_hashed_while_it_is_opened(tmp_path: Path) -> None:
    with open_image(put_down(tmp_path, PLAIN), "image") as stored:
        assert stored.verified
    write_layout(tmp_path / "layout", image(LAYER))
    with open_image(str(tmp_path / "layout"), "image") as stored:
        assert not stored.verified


def test_a_saved_image_gets_a_docker_manifest_of_gzipped_layers(tmp_path: Path) -> None:
    manifest, (config, *layers) = image_of(put_down(tmp_path, PLAIN))
    assert manifest.media_type == mediatype.DOCKER_MANIFEST
    assert manifest.config.media_type == mediatype.DOCKER_CONFIG
    assert config == config_of(LAYER, OTHER)
    assert [each.media_type for each in manifest.layers] == [mediatype.DOCKER_LAYER_GZIP] * 2
    assert [gzip.decompress(each) for each in layers] == [LAYER, OTHER]


def test_the_layers_gzip_header_has_no_time(tmp_path: Path) -> None:
    _, (_, first, _) = image_of(put_down(tmp_path, PLAIN))
    assert first[:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


def test_the_same_image_has_the_same_digest_however_it_is_packed(tmp_path: Path) -> None:
    digests = {root_of(put_down(tmp_path, pack(PLAIN))).digest for pack in (bytes, gzip.compress, tar.zstd, bytes)}
    # ADR 0060 promises this digest: it is the same on every machine and in every release.
    assert [str(digest) for digest in digests] == [
        "sha256:9e502f26cc01c7599da3dbc712c1f009ded6f785a64fcfb4d4551f5902038bd0"
    ]


def test_the_manifest_is_spelled_as_by_go_containerregistry(tmp_path: Path) -> None:
    config = config_of(LAYER)
    packed = gzip.compress(LAYER, mtime=0)
    manifest, _ = image_of(put_down(tmp_path, saved({"l.tar.gz": packed}, config, ["l.tar.gz"])))
    assert manifest.raw.decode() == (
        '{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json",'
        f'"config":{{"mediaType":"application/vnd.docker.container.image.v1+json","size":{len(config)},'
        f'"digest":"{digest_of(config)}"}},"layers":[{{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip",'
        f'"size":{len(packed)},"digest":"{digest_of(packed)}"}}]}}'
    )


def test_layers_that_are_compressed_already_are_pushed_as_they_are(tmp_path: Path) -> None:
    one, two = gzip.compress(LAYER, 9), tar.zstd(OTHER)
    data = saved({"1": one, "2": two}, config_of(LAYER, OTHER), ["1", "2"])
    manifest, (_, *layers) = image_of(put_down(tmp_path, data))
    assert layers == [one, two]
    assert [each.media_type.rpartition(".")[2] for each in manifest.layers] == ["gzip", "zstd"]


def test_a_layer_used_twice_is_one_blob(tmp_path: Path) -> None:
    data = saved({"1": LAYER}, config_of(LAYER, LAYER), ["1", "1"])
    manifest, _ = image_of(put_down(tmp_path, data))
    assert manifest.layers[0] == manifest.layers[1]


@pytest.mark.parametrize(
    "link", [tar.symlink("2/layer.tar", "../1/layer.tar"), tar.hardlink("2/layer.tar", "1/layer.tar")]
)
def test_a_layer_may_be_a_link_to_one_written_before(tmp_path: Path, link: bytes) -> None:
    config = config_of(LAYER, OTHER, LAYER)
    listing = [{"Config": "config", "Layers": ["1/layer.tar", "o", "2/layer.tar"]}]
    data = tar.archive(
        tar.file("1/layer.tar", LAYER),
        tar.file("o", OTHER),
        link,
        tar.file("config", config),
        tar.file("manifest.json", json.dumps(listing)),
    )
    manifest, _ = image_of(put_down(tmp_path, data))
    assert manifest.layers[0] == manifest.layers[2]


@pytest.mark.parametrize("target", ["loop", "../../../etc/passwd", "/etc/passwd", "nowhere"])
def test_a_link_to_nothing_in_the_tar_is_a_missing_layer(tmp_path: Path, target: str) -> None:
    listing = [{"Config": "config", "Layers": ["loop"]}]
    data = tar.archive(
        tar.symlink("loop", target),
        tar.file("config", config_of(LAYER)),
        tar.file("manifest.json", json.dumps(listing)),
    )
    with pytest.raises(ContentError, match="layer loop is missing"):
        root_of(put_down(tmp_path, data))


def test_foreign_layers_are_described_and_not_packed(tmp_path: Path) -> None:
    foreign = {
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "size": 1234,
        "digest": digest_of(b"somewhere else"),
        "urls": ["https://example.com/layer"],
    }
    plain = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "size": len(OTHER), "digest": digest_of(OTHER)}
    sources = {digest_of(LAYER): foreign, digest_of(OTHER): plain}
    data = saved({"2": OTHER}, config_of(LAYER, OTHER), ["1", "2"], LayerSources=sources)
    manifest = root_of(put_down(tmp_path, data))
    assert isinstance(manifest, Manifest)
    assert json.loads(manifest.raw)["layers"][0] == foreign
    assert manifest.layers[1].media_type == mediatype.DOCKER_LAYER_GZIP


def test_a_layer_that_does_not_match_the_config_is_refused(tmp_path: Path) -> None:
    for stored in (OTHER, gzip.compress(OTHER)):
        with pytest.raises(DigestMismatch, match="layer 1: digest mismatch"):
            root_of(put_down(tmp_path, saved({"1": stored}, config_of(LAYER), ["1"])))


def test_a_config_that_does_not_match_its_name_is_refused(tmp_path: Path) -> None:
    listing = [{"Config": "0" * 64 + ".json", "Layers": []}]
    data = tar.archive(tar.file("0" * 64 + ".json", config_of()), tar.file("manifest.json", json.dumps(listing)))
    with pytest.raises(DigestMismatch, match="config 0000"):
        root_of(put_down(tmp_path, data))


def test_layers_and_diff_ids_must_pair_up(tmp_path: Path) -> None:
    with pytest.raises(InvalidManifest, match="names 1 layers, but the config has 2 diff IDs"):
        root_of(put_down(tmp_path, saved({"1": LAYER}, config_of(LAYER, OTHER), ["1"])))


def test_several_images_in_one_tarball_are_named(tmp_path: Path) -> None:
    listing = [{"Config": name, "RepoTags": [f"{name}:1"], "Layers": []} for name in ("one", "two")]
    data = tar.archive(tar.file("manifest.json", json.dumps(listing)))
    with pytest.raises(ContentError, match=r"holds 2 images \('one:1, two:1'\): expected one"):
        root_of(put_down(tmp_path, data))


def pack_layout(tmp_path: Path, *, prefix: str = "") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as packed:
        packed.add(tmp_path / "layout", arcname=prefix or ".")
    return stream.getvalue()


@pytest.mark.parametrize("pack", [bytes, gzip.compress, tar.zstd])
def test_an_archive_of_a_layout_stands_for_its_one_entry(tmp_path: Path, pack: type[bytes]) -> None:
    both = index(on(image(LAYER), "amd64"), on(image(OTHER), "arm64"))
    write_layout(tmp_path / "layout", both)
    assert str(root_of(put_down(tmp_path, pack(pack_layout(tmp_path)))).digest) == both.digest


def test_an_archive_of_one_image_stands_for_the_image(tmp_path: Path) -> None:
    one = image(LAYER, OTHER)
    write_layout(tmp_path / "layout", one)
    manifest, (_, *layers) = image_of(put_down(tmp_path, pack_layout(tmp_path)))
    assert str(manifest.digest) == one.digest
    assert layers == [each.data for each in one.blobs[1:]]


def test_an_archive_that_lists_one_image_under_two_names_is_that_image(tmp_path: Path) -> None:
    one = image(LAYER)
    write_layout(tmp_path / "layout", one)
    (tmp_path / "layout" / "index.json").write_bytes(index(one, one).manifest.data)
    assert str(root_of(put_down(tmp_path, pack_layout(tmp_path))).digest) == one.digest


def test_a_tarball_that_is_also_a_layout_is_read_as_a_docker_save_tarball(tmp_path: Path) -> None:
    write_layout(tmp_path / "layout", image(layer(LAYER, "none")))
    config = config_of(LAYER)
    listing = [{"Config": "c", "Layers": [f"blobs/sha256/{digest_of(LAYER).removeprefix('sha256:')}"]}]
    (tmp_path / "layout" / "c").write_bytes(config)
    (tmp_path / "layout" / "manifest.json").write_text(json.dumps(listing))
    manifest, (_, packed) = image_of(put_down(tmp_path, pack_layout(tmp_path)))
    assert manifest.media_type == mediatype.DOCKER_MANIFEST
    assert gzip.decompress(packed) == LAYER


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "an empty file"),
        (b"BZh91AY", "bzip2 data"),
        (b"\xfd7zXZ\0more", "xz data"),
        (b"PK\x03\x04", "a zip file"),
        (b'{"errors": []}', "JSON"),
        (b"<html>", "HTML or XML"),
        (b"hello there", "not a sound tar: truncated tar: it ends at byte 11"),
        (b"hello there" * 100, "not a sound tar: an entry's header at byte 0: wrong header checksum"),
        (tar.archive(), "it has nothing"),
        (
            tar.archive(tar.file("etc/passwd"), tar.file("usr/bin/env")),
            "a root filesystem, as `docker export` writes it",
        ),
        (tar.archive(tar.file("repositories", b"{}"), tar.file("x/json", b"{}")), "`docker save` before 1.10"),
        (tar.archive(tar.file("./oci/index.json", b"{}")), "packed inside the folder 'oci'"),
        (tar.archive(tar.file("oci-layout", b"{}")), "an OCI archive that is incomplete"),
        (PLAIN[: len(LAYER) // 2], "not a sound tar: truncated tar: it ends at byte 3328, in entry 'a/layer.tar'"),
    ],
)
def test_a_file_that_is_not_an_image_is_recognised(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(ContentError) as caught:
        root_of(put_down(tmp_path, data))
    assert "image 'image'" in caught.value.message
    assert message in caught.value.message


def test_a_broken_gzip_is_not_taken_for_a_short_tar(tmp_path: Path) -> None:
    with pytest.raises(CorruptLayer):
        root_of(put_down(tmp_path, gzip.compress(PLAIN)[:-20]))


def test_a_disk_that_fails_is_not_taken_for_a_broken_tar(tmp_path: Path) -> None:
    descriptor = os.open(put_down(tmp_path, PLAIN), os.O_WRONLY)  # which no read takes
    try:
        with pytest.raises(StorageError, match="reading a tar: Bad file descriptor"):
            Archive(descriptor, "image")
        with pytest.raises(StorageError, match="reading image: Bad file descriptor"):
            Region(descriptor, 0, 512).start("image")
    finally:
        os.close(descriptor)


def test_a_missing_file_is_a_message(tmp_path: Path) -> None:
    with pytest.raises(ContentError, match="image 'image' is missing"):
        root_of(str(tmp_path / "nothing"))


def written(tmp_path: Path, name: str | None = "some/name:tag") -> tuple[bytes, Manifest]:
    """A loadable tarball of an image with a layer between two equal ones; its blobs are put in reverse order."""
    content = image(LAYER, OTHER, LAYER)
    if not (tmp_path / "layout").exists():
        write_layout(tmp_path / "layout", content)
    source = LayoutReader(Directory(str(tmp_path / "layout"), "layout"))
    manifest = source.manifest(Digest.parse(content.digest))
    assert isinstance(manifest, Manifest)
    path = tmp_path / "image.tar"
    with LoadableTarball(str(path), manifest, name) as target:
        for each in (manifest.layers[1], manifest.layers[0], manifest.config):
            assert target.put_blob(each, source) == each.size
    data = path.read_bytes()
    path.unlink()
    return data, manifest


def test_a_loadable_tarball_lists_its_image_by_repository_and_tag(tmp_path: Path) -> None:
    data, manifest = written(tmp_path)
    with tarfile.open(fileobj=io.BytesIO(data)) as packed:
        members = {member.name: packed.extractfile(member).read() for member in packed}  # type: ignore[union-attr]
    (listed,) = json.loads(members["manifest.json"])
    assert listed["RepoTags"] == ["some/name:tag"]
    assert digest_of(members[listed["Config"]]) == str(manifest.config.digest)
    assert [digest_of(members[name]) for name in listed["Layers"]] == [str(each.digest) for each in manifest.layers]
    assert [name.endswith(".tar.gz") for name in listed["Layers"]] == [True] * 3
    assert len(members) == 4


def test_a_loadable_tarball_without_a_tag_has_no_repo_tags(tmp_path: Path) -> None:
    data, _ = written(tmp_path, None)
    with tarfile.open(fileobj=io.BytesIO(data)) as packed:
        (listed,) = json.load(packed.extractfile("manifest.json"))  # type: ignore[arg-type]
    assert listed["RepoTags"] is None


def test_a_loadable_tarball_is_the_same_every_time_and_reads_back_as_the_same_layers(tmp_path: Path) -> None:
    data, manifest = written(tmp_path)
    assert written(tmp_path)[0] == data
    read, _ = image_of(put_down(tmp_path, data))
    assert [each.digest for each in read.layers] == [each.digest for each in manifest.layers]
    assert read.config.digest == manifest.config.digest


def test_zstd_layers_are_unpacked_in_a_loadable_tarball_and_read_back_as_they_came(tmp_path: Path) -> None:
    content = image(layer(LAYER, "zstd"), OTHER, layer(OTHER, "zstd"))
    write_layout(tmp_path / "layout", content)
    source = LayoutReader(Directory(str(tmp_path / "layout"), "layout"))
    manifest = source.manifest(Digest.parse(content.digest))
    assert isinstance(manifest, Manifest)
    written: list[bytes] = []
    for order in (1, -1):
        path = tmp_path / f"image{order}.tar"
        with LoadableTarball(str(path), manifest) as target:
            for each in (manifest.config, *manifest.layers)[::order]:
                target.put_blob(each, source)
            again = [read_small_blob(target, each, "layer", limit=1 << 24) for each in manifest.layers]
        assert again == [each.data for each in content.blobs[1:]]
        written.append(path.read_bytes())
    assert written[0] == written[1]
    with tarfile.open(fileobj=io.BytesIO(written[0])) as packed:
        members = {member.name: packed.extractfile(member).read() for member in packed}  # type: ignore[union-attr]
    (listed,) = json.loads(members["manifest.json"])
    assert [members[name] for name in listed["Layers"]] == [LAYER, content.blobs[2].data, OTHER]
    assert [name.endswith(".tar") for name in listed["Layers"]] == [True, False, True]


def test_a_loadable_tarball_takes_no_foreign_layers(tmp_path: Path) -> None:
    far = blob(b"far", "application/vnd.oci.image.layer.nondistributable.v1.tar", urls=["https://example.com"])
    manifest = parse_manifest(manifest_of(blob(b"{}", mediatype.OCI_CONFIG), [far]).manifest.data)
    assert isinstance(manifest, Manifest)
    with pytest.raises(UnsupportedMediaType, match="must not be distributed"):
        LoadableTarball(str(tmp_path / "image.tar"), manifest)
    assert not (tmp_path / "image.tar").exists()
