"""Copies between layout directories: what is copied, in which order, and the state after an error."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from registry_image.decode import JSONReader
from registry_image.errors import (
    ContentError,
    DigestMismatch,
    InvalidManifest,
    NotFound,
    RegistryError,
    SizeMismatch,
)
from registry_image.oci import mediatype
from registry_image.oci.content import BlobSource
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Buffer, Digest
from registry_image.oci.manifest import Index, Manifest
from registry_image.storage.files import Directory
from registry_image.storage.layout import LayoutDirectory, LayoutReader
from registry_image.transfer import copy
from registry_image.transfer.copy import copy_graph, for_each_blob, graph_of, put_tags, verify_graph
from tests.support import tar
from tests.support.images import Content, blob, image, index, manifest_of, on, write_layout
from tests.support.memory import MemoryReader

LAYER = tar.archive(tar.file("hello", b"world"))
OTHER = tar.archive(tar.file("other", b"x" * 5000))
ONE = image(LAYER, OTHER)
TWO = image(LAYER, architecture="arm64")
INDEX = index().manifest.media_type
BOTH = index(on(ONE, "amd64"), on(TWO, "arm64"))


class Diary:
    """A writer into a layout that records the calls."""

    def __init__(self, directory: Path) -> None:
        self.inner = LayoutDirectory(str(directory))
        self.events: list[str] = []
        self.lock = threading.Lock()

    def has(self, descriptor: Descriptor) -> bool:
        return self.inner.has(descriptor)

    def put_blob(self, descriptor: Descriptor, source: BlobSource) -> int:
        size = self.inner.put_blob(descriptor, source)
        with self.lock:
            self.events.append(f"blob {descriptor.digest}")
        return size

    def put_manifest(self, manifest: Manifest | Index, *, tag: str | None = None) -> None:
        if tag == "refused":
            raise RegistryError("push some/name:refused: 400 Bad Request", status=400)
        self.events.append(f"tag {tag}" if tag else f"manifest {manifest.digest}")
        self.inner.put_manifest(manifest)


def layout(directory: Path, content: Content) -> tuple[LayoutReader, Manifest | Index]:
    write_layout(directory, content)
    reader = LayoutReader(Directory(str(directory), "layout"))
    return reader, reader.manifest(Digest.parse(content.digest))


def test_blobs_come_first_then_children_then_the_index_and_each_once(tmp_path: Path) -> None:
    reader, root = layout(tmp_path / "from", BOTH)
    writer = Diary(tmp_path / "to")
    copied = copy_graph(reader, writer, graph_of(reader, root))
    put_tags(writer, root, ["a", "b"])
    blobs, rest = writer.events[:4], writer.events[4:]
    wanted = {f"blob {each.digest}" for content in (ONE, TWO) for each in content.blobs}
    assert len(wanted) == 4
    assert set(blobs) == wanted
    assert rest == [*(f"manifest {each.digest}" for each in (ONE, TWO, BOTH)), "tag a", "tag b"]
    assert (copied.blobs_uploaded, copied.blobs_reused) == (4, 0)
    assert copied.bytes_uploaded == sum({each.digest: each.size for c in (ONE, TWO) for each in c.blobs}.values())


def test_a_root_that_is_left_to_its_tags_is_not_written_before_them(tmp_path: Path) -> None:
    reader, root = layout(tmp_path / "from", BOTH)
    writer = Diary(tmp_path / "to")
    graph = graph_of(reader, root)
    graph.leave_to_tags(root.digest)
    copy_graph(reader, writer, graph)
    put_tags(writer, root, ["a", "b"])
    assert writer.events[4:] == [*(f"manifest {each.digest}" for each in (ONE, TWO)), "tag a", "tag b"]


def test_blobs_that_are_there_already_are_not_copied_again(tmp_path: Path) -> None:
    reader, root = layout(tmp_path / "from", BOTH)
    writer = Diary(tmp_path / "to")
    copy_graph(reader, writer, graph_of(reader, reader.manifest(Digest.parse(ONE.digest))))
    copied = copy_graph(reader, writer, graph_of(reader, root))
    assert (copied.blobs_uploaded, copied.blobs_reused) == (1, 3)


def test_foreign_layers_are_left_where_they_are(tmp_path: Path) -> None:
    far = blob(b"far", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", urls=["https://example.com"])
    content = manifest_of(blob(b"{}", mediatype.OCI_CONFIG), [far])
    reader, root = layout(tmp_path / "from", content)
    writer = Diary(tmp_path / "to")
    copy_graph(reader, writer, graph_of(reader, root))
    assert f"blob {far.digest}" not in writer.events
    assert writer.inner.manifest(root.digest).raw == content.manifest.data


def test_an_index_may_list_blobs(tmp_path: Path) -> None:
    layer = blob(b"cached", mediatype.OCI_LAYER_GZIP)
    content = index(Content(manifest=layer), ONE)
    reader, root = layout(tmp_path / "from", content)
    assert Digest.parse(layer.digest) in graph_of(reader, root).blobs


def test_referrers_are_copied_after_their_subjects(tmp_path: Path) -> None:
    signature = manifest_of(blob(b"{}"), [blob(b"signature")], subject=ONE.manifest.descriptor)
    countersignature = manifest_of(blob(b"{}"), [], subject=signature.manifest.descriptor)
    write_layout(tmp_path / "from", index(ONE, signature, countersignature))
    (tmp_path / "from" / "index.json").write_bytes(index(ONE, signature, countersignature).manifest.data)
    reader = LayoutReader(Directory(str(tmp_path / "from"), "layout"))
    root = reader.manifest(Digest.parse(ONE.digest))
    assert [str(each) for each in graph_of(reader, root).manifests] == [ONE.digest]
    subjects = {ONE.digest: [signature], signature.digest: [countersignature]}

    def referrers(digest: Digest) -> list[Descriptor]:
        return [reader.manifest(Digest.parse(each.digest)).descriptor for each in subjects.get(str(digest), [])]

    with_them = graph_of(reader, root, referrers)
    assert [str(each) for each in with_them.manifests] == [ONE.digest, signature.digest, countersignature.digest]
    assert len(with_them.blobs) == 5
    with_them.leave_to_tags(root.digest)
    assert [str(each) for each in with_them.manifests] == [ONE.digest, signature.digest, countersignature.digest]


def test_a_graph_without_end_is_refused(tmp_path: Path) -> None:
    deep = ONE
    for _ in range(10):
        deep = index(deep)
    reader, root = layout(tmp_path, deep)
    with pytest.raises(InvalidManifest, match="nested more than 8 deep"):
        graph_of(reader, root)


def test_a_missing_child_is_named_before_anything_is_written(tmp_path: Path) -> None:
    reader, root = layout(tmp_path / "from", BOTH)
    (tmp_path / "from" / "blobs" / "sha256" / TWO.digest[7:]).unlink()
    with pytest.raises(NotFound, match=TWO.digest):
        graph_of(reader, root)


def test_a_wrong_blob_is_found_by_verifying_and_by_copying(tmp_path: Path) -> None:
    reader, root = layout(tmp_path / "from", BOTH)
    spoiled = ONE.blobs[2]
    (tmp_path / "from" / "blobs" / "sha256" / spoiled.digest[7:]).write_bytes(b"x" * spoiled.size)
    graph = graph_of(reader, root)
    writer = Diary(tmp_path / "to")
    with pytest.raises(DigestMismatch, match=spoiled.digest):
        verify_graph(reader, graph)
    with pytest.raises(DigestMismatch, match=spoiled.digest):
        copy_graph(reader, writer, graph)
    assert not [event for event in writer.events if event.startswith(("manifest", "tag"))]


def test_an_error_at_a_tag_says_which_were_pushed(tmp_path: Path) -> None:
    _, root = layout(tmp_path / "from", ONE)
    writer = Diary(tmp_path / "to")
    with pytest.raises(RegistryError, match="400 Bad Request: tags pushed: a, b; not pushed: refused, c"):
        put_tags(writer, root, ["a", "b", "refused", "c"])


def test_no_more_blobs_than_allowed_are_copied_at_once(tmp_path: Path) -> None:
    reader, root = layout(tmp_path, BOTH)
    running: set[Digest] = set()
    most = 0
    gate = threading.Barrier(2, timeout=10)

    def act(descriptor: Descriptor, source: BlobSource) -> None:
        nonlocal most
        running.add(descriptor.digest)
        most = max(most, len(running))
        gate.wait()  # four blobs, two by two: fewer or more at once would wait for ever
        running.discard(descriptor.digest)

    for_each_blob(reader, graph_of(reader, root), act, 2)
    assert most == 2


class Endless:
    """A source whose blobs never end."""

    def __init__(self, started: threading.Event) -> None:
        self.started = started

    @contextmanager
    def blob(self, descriptor: Descriptor) -> Iterator[Iterator[Buffer]]:
        def pieces() -> Iterator[Buffer]:
            while True:
                self.started.set()
                yield b"x"

        yield pieces()


def test_one_failure_ends_the_other_threads(tmp_path: Path) -> None:
    inner, root = layout(tmp_path, BOTH)
    started = threading.Event()
    begun: list[Digest] = []
    ended: list[Digest] = []
    fails = Digest.parse(ONE.blobs[0].digest)

    def act(descriptor: Descriptor, source: BlobSource) -> None:
        if descriptor.digest == fails:
            assert started.wait(10)
            raise RegistryError("no", status=400)
        begun.append(descriptor.digest)
        try:
            with source.blob(descriptor) as pieces:
                for _ in pieces:
                    pass
        finally:
            ended.append(descriptor.digest)

    with pytest.raises(RegistryError, match="no"):
        for_each_blob(Endless(started), graph_of(inner, root), act, 4)
    assert begun
    assert sorted(map(str, ended)) == sorted(map(str, begun))


def test_a_child_that_is_listed_twice_is_what_both_entries_say(tmp_path: Path) -> None:
    other = replace(ONE, manifest=replace(ONE.manifest, size=1))
    reader, root = layout(tmp_path / "size", index(ONE, other))
    with pytest.raises(SizeMismatch, match=ONE.digest):
        graph_of(reader, root)
    reader, root = layout(tmp_path / "type", index(ONE, replace(ONE, manifest=replace(ONE.manifest, media_type=INDEX))))
    with pytest.raises(InvalidManifest, match="its entry says"):
        graph_of(reader, root)


@pytest.mark.parametrize("child", [image(LAYER), index(on(image(LAYER), "amd64"))], ids=["image", "index"])
def test_an_entry_without_a_type_is_refused_and_not_copied_as_a_blob(tmp_path: Path, child: Content) -> None:
    unnamed = replace(child, manifest=replace(child.manifest, extra={"mediaType": ""}))
    reader, root = layout(tmp_path, index(unnamed))
    with pytest.raises(InvalidManifest, match=f"its entry {child.digest} has no mediaType"):
        graph_of(reader, root)


def test_a_blob_has_one_size(tmp_path: Path) -> None:
    layer = ONE.blobs[1]
    content = manifest_of(ONE.blobs[0], [layer, replace(layer, size=layer.size + 1)])
    reader, root = layout(tmp_path, content)
    with pytest.raises(SizeMismatch, match=layer.digest):
        graph_of(reader, root)


def listing(*referrers: Content) -> Callable[[Digest], list[Descriptor]]:
    """Lists ``referrers`` for every digest."""
    entries = [Descriptor.read(JSONReader(each.manifest.descriptor, "entry")) for each in referrers]
    return lambda _: entries


def test_what_is_listed_as_a_referrer_and_is_none_is_left_out() -> None:
    signature = manifest_of(blob(b"{}"), [], subject=ONE.manifest.descriptor)
    of_another = manifest_of(blob(b"{}"), [], subject=TWO.manifest.descriptor)
    of_none = manifest_of(blob(b"{}"), [blob(b"none")])
    reader = MemoryReader(ONE, signature, of_another, of_none)
    root = reader.manifest(Digest.parse(ONE.digest))
    graph = graph_of(reader, root, listing(of_another, signature, of_none))
    assert [str(each) for each in graph.manifests] == [ONE.digest, signature.digest]
    assert {str(each) for each in graph.unrelated} == {of_another.digest, of_none.digest}


def test_what_a_referrer_says_of_its_size_and_type_must_be_right() -> None:
    signature = manifest_of(blob(b"{}"), [], subject=ONE.manifest.descriptor)
    reader = MemoryReader(ONE, signature)
    root = reader.manifest(Digest.parse(ONE.digest))
    for wrong in (replace(signature.manifest, size=1), replace(signature.manifest, media_type=INDEX)):
        with pytest.raises(ContentError, match=signature.digest):
            graph_of(reader, root, listing(replace(signature, manifest=wrong)))


def test_an_index_as_referrer_carries_nothing_that_belongs_to_another_image() -> None:
    of_another = manifest_of(blob(b"{}"), [], subject=TWO.manifest.descriptor)
    bundle = index(of_another, subject=ONE.manifest.descriptor)
    reader = MemoryReader(ONE, bundle)
    with pytest.raises(InvalidManifest, match=f"{of_another.digest}: it belongs to {TWO.digest}"):
        graph_of(reader, reader.manifest(Digest.parse(ONE.digest)), listing(bundle))


def test_referrers_without_an_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    strangers = [manifest_of(blob(f"{number}".encode()), []) for number in range(5)]
    reader = MemoryReader(ONE, *strangers)
    root = reader.manifest(Digest.parse(ONE.digest))
    monkeypatch.setattr(copy, "MAX_CHILDREN", 5)
    with pytest.raises(InvalidManifest, match="more than 5 parts"):
        graph_of(reader, root, listing(*strangers))
    monkeypatch.setattr(copy, "MAX_CHILDREN", 10)
    monkeypatch.setattr(copy, "MAX_MANIFESTS_SIZE", len(root.raw) + 1000)
    with pytest.raises(InvalidManifest, match="the manifests have more than"):
        graph_of(reader, root, listing(*strangers))
