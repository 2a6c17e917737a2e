"""OCI layout directories: their root, what is refused, and that a written layout reads back the same."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from registry_image.errors import ContentError, DigestMismatch, InvalidManifest, NotFound, SizeMismatch, StorageError
from registry_image.oci.content import read_small_blob
from registry_image.oci.digest import Digest
from registry_image.oci.manifest import Index, Manifest
from registry_image.storage.detect import open_image
from registry_image.storage.files import Directory
from registry_image.storage.layout import LayoutDirectory, LayoutReader
from tests.support import tar
from tests.support.images import Content, image, index, on, write_layout

LAYER = tar.archive(tar.file("hello", b"world"))
ONE = image(LAYER)
TWO = image(LAYER, architecture="arm64")
BOTH = index(on(ONE, "amd64"), on(TWO, "arm64"))


def blob_path(layout: Path, digest: str) -> Path:
    return layout / "blobs" / "sha256" / digest.removeprefix("sha256:")


def as_index_json(layout: Path, content: Content) -> None:
    """An index as a get writes it: as index.json itself."""
    write_layout(layout, content)
    (layout / "index.json").write_bytes(content.manifest.data)
    blob_path(layout, content.digest).unlink()


def root_of(layout: Path) -> Manifest | Index:
    with open_image(str(layout), "image") as stored:
        return stored.root


def reader_of(layout: Path) -> LayoutReader:
    return LayoutReader(Directory(str(layout), "OCI layout 'image'"))


def test_a_directory_stands_for_its_index_json_byte_for_byte(tmp_path: Path) -> None:
    as_index_json(tmp_path, BOTH)
    root = root_of(tmp_path)
    assert str(root.digest) == BOTH.digest
    assert root.raw == BOTH.manifest.data


def test_an_index_of_one_image_is_not_unwrapped(tmp_path: Path) -> None:
    alone = index(on(ONE, "amd64"))
    as_index_json(tmp_path, alone)
    assert str(root_of(tmp_path).digest) == alone.digest


def test_an_index_whose_only_entry_is_an_index_stands_for_that(tmp_path: Path) -> None:
    write_layout(tmp_path, index(BOTH))
    assert str(root_of(tmp_path).digest) == BOTH.digest


def test_single_image_digest_names_what_the_layout_stands_for(tmp_path: Path) -> None:
    write_layout(tmp_path, BOTH)
    (tmp_path / "single-image-digest").write_text(TWO.digest)
    assert str(root_of(tmp_path).digest) == TWO.digest


def test_an_invalid_single_image_digest_is_named_in_the_error(tmp_path: Path) -> None:
    write_layout(tmp_path, ONE)
    (tmp_path / "single-image-digest").write_text("latest")
    with pytest.raises(InvalidManifest, match=r"single-image-digest holds no digest$"):
        root_of(tmp_path)


def test_nested_indexes_are_bounded(tmp_path: Path) -> None:
    deep = BOTH
    for _ in range(12):
        deep = index(deep)
    write_layout(tmp_path, deep)
    with pytest.raises(InvalidManifest, match="more than 8 indexes"):
        root_of(tmp_path)


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    write_layout(tmp_path, index(BOTH))
    blob_path(tmp_path, BOTH.digest).unlink()
    with pytest.raises(NotFound, match=rf"'image': manifest {BOTH.digest} is missing"):
        root_of(tmp_path)


def test_a_changed_manifest_is_refused(tmp_path: Path) -> None:
    write_layout(tmp_path, index(BOTH))
    blob_path(tmp_path, BOTH.digest).write_bytes(BOTH.manifest.data + b" ")
    with pytest.raises(DigestMismatch):
        root_of(tmp_path)


def test_a_changed_blob_is_refused(tmp_path: Path) -> None:
    write_layout(tmp_path, ONE)
    config = ONE.blobs[0]
    blob_path(tmp_path, config.digest).write_bytes(b"x" * config.size)
    manifest = reader_of(tmp_path).manifest(Digest.parse(ONE.digest))
    assert isinstance(manifest, Manifest)
    with pytest.raises(DigestMismatch):
        read_small_blob(reader_of(tmp_path), manifest.config, "config", limit=1 << 20)


def test_a_link_out_of_the_layout_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text('{"manifests": []}')
    layout = tmp_path / "layout"
    write_layout(layout, ONE)
    (layout / "index.json").unlink()
    (layout / "index.json").symlink_to(secret)
    with pytest.raises(ContentError, match=r"index\.json is a symbolic link that leads out of the directory"):
        root_of(layout)


def test_a_linked_directory_of_blobs_is_not_followed_out_of_the_layout(tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    write_layout(layout, ONE)
    (layout / "blobs").rename(tmp_path / "elsewhere")
    (layout / "blobs").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ContentError, match="leads out of the directory"):
        reader_of(layout).manifest(Digest.parse(ONE.digest))


def test_a_link_within_the_layout_is_followed(tmp_path: Path) -> None:
    write_layout(tmp_path, ONE)
    (tmp_path / "index.json").rename(tmp_path / "real.json")
    (tmp_path / "index.json").symlink_to("real.json")
    assert isinstance(root_of(tmp_path), Index)


def test_a_fifo_in_place_of_a_file_does_not_make_us_wait(tmp_path: Path) -> None:
    write_layout(tmp_path, ONE)
    (tmp_path / "index.json").unlink()
    os.mkfifo(tmp_path / "index.json")
    with pytest.raises(ContentError, match="is not a regular file"):
        root_of(tmp_path)


@pytest.mark.parametrize(
    ("names", "message", "hint"),
    [
        ((), "it has nothing", None),
        (("rootfs/bin", "metadata.json"), "get with `format: rootfs`", "format: oci-layout"),
        (("oci/index.json", "tag"), "get with `format: oci-layout`", "set `image` to image/oci"),
        (("image.tar", "tag"), "seems to hold a tarball", "set `image` to image/image.tar"),
        (("manifest.json",), "an unpacked docker-save tarball", "push the tarball itself"),
        (("manifest.json", "version", "0" * 64), "skopeo or buildah writes to `dir:`", "`oci:`"),
        (("oci-layout", "blobs/sha256/x"), "an OCI layout that is incomplete", None),
    ],
)
def test_a_directory_that_is_not_a_layout_is_recognised(
    tmp_path: Path, names: tuple[str, ...], message: str, hint: str | None
) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    with pytest.raises(ContentError) as caught:
        root_of(tmp_path)
    assert "image 'image': a directory without index.json" in caught.value.message
    assert message in caught.value.message
    assert (caught.value.hint is None) if hint is None else hint in (caught.value.hint or "")


def copy_into(target: LayoutDirectory, source: LayoutReader, content: Content) -> Manifest | Index:
    """Everything below ``content``, collected without the product's code."""
    root = source.manifest(Digest.parse(content.digest))
    if isinstance(root, Index):
        for child in content.children:
            target.put_manifest(copy_into(target, source, child))
    else:
        for each in {each.digest: each for each in (root.config, *root.layers)}.values():
            target.put_blob(each, source)
    return root


@pytest.mark.parametrize(
    "content", [ONE, BOTH, index(on(ONE, "amd64")), index(BOTH)], ids=["image", "two", "one", "nested"]
)
def test_what_is_written_reads_back_with_the_same_digest(tmp_path: Path, content: Content) -> None:
    write_layout(tmp_path / "from", content)
    target = LayoutDirectory(str(tmp_path / "to"))
    target.seal(copy_into(target, reader_of(tmp_path / "from"), content))
    root = root_of(tmp_path / "to")
    assert root.raw == content.manifest.data
    assert json.loads((tmp_path / "to" / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    if content.children:
        assert (tmp_path / "to" / "index.json").read_bytes() == content.manifest.data


def test_an_image_is_written_with_its_digest_in_a_file_without_a_newline(tmp_path: Path) -> None:
    write_layout(tmp_path / "from", ONE)
    target = LayoutDirectory(str(tmp_path / "to"))
    target.seal(copy_into(target, reader_of(tmp_path / "from"), ONE))
    assert (tmp_path / "to" / "single-image-digest").read_text() == ONE.digest
    listed = json.loads((tmp_path / "to" / "index.json").read_text())["manifests"]
    assert listed == [ONE.manifest.descriptor]


def test_a_blob_that_does_not_verify_leaves_nothing(tmp_path: Path) -> None:
    write_layout(tmp_path / "from", ONE)
    config = ONE.blobs[0]
    manifest = reader_of(tmp_path / "from").manifest(Digest.parse(ONE.digest))
    assert isinstance(manifest, Manifest)
    target = LayoutDirectory(str(tmp_path / "to"))
    for wrong, error in ((b"x" * config.size, DigestMismatch), (config.data + b"x", SizeMismatch), (b"", SizeMismatch)):
        blob_path(tmp_path / "from", config.digest).write_bytes(wrong)
        with pytest.raises(error):
            target.put_blob(manifest.config, reader_of(tmp_path / "from"))
        assert not target.has(manifest.config)
        assert [each for each in (tmp_path / "to").rglob("*") if each.is_file()] == []


def test_a_layout_is_not_written_over_another(tmp_path: Path) -> None:
    LayoutDirectory(str(tmp_path / "to"))
    with pytest.raises(StorageError, match=r"creating OCI layout .*: File exists"):
        LayoutDirectory(str(tmp_path / "to"))


@pytest.mark.parametrize("form", ["nested", "archive"])
def test_what_index_json_lists_has_the_size_and_the_type_that_it_says(tmp_path: Path, form: str) -> None:
    def listing(**changes: object) -> None:
        entry = {**BOTH.manifest.descriptor, **changes}
        (tmp_path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))

    def root() -> Manifest | Index:
        reader = reader_of(tmp_path)
        return reader.directory_root() if form == "nested" else reader.archive_root()

    write_layout(tmp_path, BOTH)
    listing()
    assert str(root().digest) == BOTH.digest
    listing(size=BOTH.manifest.size + 1)
    with pytest.raises(SizeMismatch, match=BOTH.digest):
        root()
    listing(mediaType="application/vnd.docker.distribution.manifest.list.v2+json")
    with pytest.raises(InvalidManifest, match="its entry says"):
        root()
