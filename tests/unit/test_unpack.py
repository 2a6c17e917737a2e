"""Unpacking whole images: layers in order, all bytes verified, blobs in parallel, all ended by the first error."""

from __future__ import annotations

import _thread
import gc
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from registry_image.errors import (
    ContentError,
    CorruptLayer,
    DigestMismatch,
    InvalidManifest,
    InvalidWhiteout,
    SizeMismatch,
    TransportError,
    UnsafePath,
)
from registry_image.oci.digest import Buffer, Digest
from registry_image.oci.image import Layer
from registry_image.oci.platform import Platform
from registry_image.oci.progress_reader import ProgressReader
from registry_image.rootfs.root import Root
from registry_image.transfer import fetch, inflate
from registry_image.transfer.select import select_image
from registry_image.transfer.unpack import Unpacked, unpack
from tests.support import images, tar
from tests.support.ear import Ear
from tests.support.memory import MemoryReader

#: Seconds after which a test that waits has failed.
TIMEOUT = 30.0
NOISE = random.Random(1).randbytes(1_000_000)


@pytest.fixture(params=[inflate.MEMORY, 1], ids=["room", "no-room"], autouse=True)
def room(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The idle thread hashes: without room in memory mostly the one that decompresses. Every test holds for both."""
    monkeypatch.setattr(inflate, "MEMORY", request.param)


def unpacked(reader: MemoryReader, content: images.Content, into: Path, listener: Ear | None = None) -> Unpacked:
    """``content`` unpacked to ``into``/rootfs; checks that nothing else is left in ``into``, even after an error."""
    image = select_image(reader, reader.manifest(Digest.parse(content.digest)), Platform.of_this_machine())
    ear = listener or Ear()
    (into / "rootfs").mkdir(parents=True)
    try:
        with Root(str(into / "rootfs")) as root:
            return unpack(ProgressReader(reader, ear, "download"), image, root, ear, parallel=4)
    finally:
        assert [path.name for path in into.iterdir()] == ["rootfs"]


def files(into: Path) -> dict[str, bytes]:
    root = into / "rootfs"
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def layer(*members: bytes, compression: images.Compression = "gzip") -> images.Layer:
    return images.layer(tar.archive(*members), compression)


def test_layers_are_applied_oldest_first(tmp_path: Path) -> None:
    content = images.image(
        layer(tar.file("a", "1"), tar.file("b", "1"), tar.file("c", "1")),
        layer(tar.file("a", "22"), tar.whiteout("b"), compression="zstd"),
        layer(tar.file("a", "333"), compression="none"),
    )
    assert unpacked(MemoryReader(content), content, tmp_path) == Unpacked(entries=6, bytes_written=8)
    assert files(tmp_path) == {"a": b"333", "c": b"1"}


def test_an_image_without_layers_gives_an_empty_root(tmp_path: Path) -> None:
    content = images.image()
    assert unpacked(MemoryReader(content), content, tmp_path) == Unpacked(entries=0, bytes_written=0)
    assert files(tmp_path) == {}


def test_a_layer_of_no_bytes_is_fine(tmp_path: Path) -> None:
    content = images.image(images.layer(b"", "none"), layer(tar.file("a", "1")), images.layer(b"", "gzip"))
    unpacked(MemoryReader(content), content, tmp_path)
    assert files(tmp_path) == {"a": b"1"}


def test_the_same_layer_twice_is_applied_twice(tmp_path: Path) -> None:
    twice = layer(tar.file("a", "1"))
    content = images.image(twice, layer(tar.file("a", "2")), twice)
    unpacked(MemoryReader(content), content, tmp_path)
    assert files(tmp_path) == {"a": b"1"}


def test_more_than_memory_holds_of_every_layer_is_kept_and_arrives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "MEMORY", 1000)
    content = images.image(*(layer(tar.file(f"f{number}", NOISE[number:]), compression="none") for number in range(8)))
    unpacked(MemoryReader(content), content, tmp_path)
    assert files(tmp_path) == {f"f{number}": NOISE[number:] for number in range(8)}


# Errors name the cause

PLAIN = tar.archive(tar.file("a", NOISE[:200_000]), tar.file("b", NOISE[:10]))
CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "a bit in the middle": lambda data: data[:100_000] + bytes([data[100_000] ^ 1]) + data[100_001:],
    "its first byte": lambda data: b"\0" + data[1:],
    "its last byte": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "other bytes of its length": lambda data: NOISE[: len(data)],
    "another layer of its length": lambda data: tar.gzip(tar.archive(tar.file("x"))).ljust(len(data), b"\0"),
}


@pytest.mark.rule(1)
@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_blob_with_wrong_bytes_is_a_digest_mismatch_whatever_else_it_breaks(
    tmp_path: Path, compression: images.Compression, change: Callable[[bytes], bytes]
) -> None:
    content = images.image(layer(tar.file("z")), images.layer(PLAIN, compression))
    reader = MemoryReader(content, piece=1000)
    digest = content.blobs[2].digest
    reader.blobs[digest] = change(reader.blobs[digest])
    with pytest.raises(DigestMismatch, match=rf"^layer 2 of 2 \({digest}\): digest mismatch: expected {digest}, got"):
        unpacked(reader, content, tmp_path)


@pytest.mark.rule(3)
@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda data: data[:1000], lambda data: b"", lambda data: data + b"\0"]
)
def test_a_blob_of_another_length_is_a_size_mismatch(
    tmp_path: Path, compression: images.Compression, change: Callable[[bytes], bytes]
) -> None:
    content = images.image(images.layer(PLAIN, compression))
    reader = MemoryReader(content, piece=1000)
    digest = content.blobs[1].digest
    reader.blobs[digest] = change(reader.blobs[digest])
    with pytest.raises(SizeMismatch, match=r"^layer 1 of 1 "):
        unpacked(reader, content, tmp_path)


@pytest.mark.rule(2)
@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_a_wrong_diff_id_is_a_digest_mismatch_of_the_uncompressed_bytes(
    tmp_path: Path, compression: images.Compression
) -> None:
    wrong = images.digest_of(b"other")
    made = images.layer(PLAIN, compression)
    content = images.image(images.Layer(blob=made.blob, diff_id=wrong))
    with pytest.raises(DigestMismatch, match=rf"^layer 1 of 1 .*: uncompressed: digest mismatch: expected {wrong}"):
        unpacked(MemoryReader(content), content, tmp_path)


@pytest.mark.rule(2)
def test_bytes_after_the_end_of_the_tar_count_for_the_diff_id(tmp_path: Path) -> None:
    data = PLAIN + b"trailing"
    made = images.layer(data)
    content = images.image(made)
    unpacked(MemoryReader(content), content, tmp_path / "right")
    content = images.image(images.Layer(blob=made.blob, diff_id=images.digest_of(PLAIN)))
    with pytest.raises(DigestMismatch, match="uncompressed"):
        unpacked(MemoryReader(content), content, tmp_path / "wrong")


@pytest.mark.rule(2)
def test_layers_and_diff_ids_that_do_not_pair_up_are_found_before_anything_is_fetched(tmp_path: Path) -> None:
    content = images.image(layer(tar.file("a")))
    broken = images.manifest_of(content.blobs[0], [*content.blobs[1:], *content.blobs[1:]])
    reader = MemoryReader(broken)
    with pytest.raises(InvalidManifest):
        select_image(reader, reader.manifest(Digest.parse(broken.digest)), Platform.of_this_machine())
    assert reader.opened == [content.blobs[0].digest]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (tar.file("a") + tar.header("b", checksum=b"0") + tar.END, CorruptLayer),
        (tar.archive(tar.file("../a")), UnsafePath),
        (tar.archive(tar.file("a/.wh.")), InvalidWhiteout),
        (tar.file("a", b"x" * 5000)[:3000], CorruptLayer),
        (b"<html>" * 200, CorruptLayer),
    ],
)
@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_a_broken_layer_of_the_right_digest_is_reported_as_broken(
    tmp_path: Path, data: bytes, error: type[Exception], compression: images.Compression
) -> None:
    content = images.image(layer(tar.file("z")), images.layer(data, compression), layer(tar.file("y", NOISE)))
    with pytest.raises(error):
        unpacked(MemoryReader(content, piece=100), content, tmp_path)


@pytest.mark.parametrize("form", ["gzip", "zstd"])
def test_truncated_compression_of_the_right_digest_is_a_corrupt_layer(tmp_path: Path, form: images.Compression) -> None:
    made = images.layer(PLAIN, form)
    cut = images.blob(made.blob.data[:-20], made.blob.media_type)
    content = images.image(images.Layer(blob=cut, diff_id=made.diff_id))
    with pytest.raises(CorruptLayer, match=rf"^layer 1 of 1 .*: truncated {form} data"):
        unpacked(MemoryReader(content), content, tmp_path)


def corrupt_before_its_end(
    monkeypatch: pytest.MonkeyPatch, rest: Callable[[bytes], Iterator[Buffer]]
) -> tuple[MemoryReader, images.Content]:
    """A layer of garbage; ``rest`` gives the bytes after the first ones, once these have been found not to be a tar."""
    data = b"rubbish" * 300_000
    content = images.image(images.layer(data, "none"))
    reader = MemoryReader(content)
    found = threading.Event()
    verdict = fetch.Downloads.verdict

    def noticed(self: fetch.Downloads, layer: Layer) -> ContentError | None:
        found.set()
        return verdict(self, layer)

    def in_two_parts(data: bytes) -> Iterator[Buffer]:
        yield data[:2_000_000]
        assert found.wait(TIMEOUT)
        yield from rest(data[2_000_000:])

    monkeypatch.setattr(fetch.Downloads, "verdict", noticed)
    reader.pieces[content.blobs[1].digest] = in_two_parts
    return reader, content


def test_a_corrupt_layer_is_downloaded_whole_to_check_its_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, content = corrupt_before_its_end(monkeypatch, lambda rest: iter([rest]))
    with pytest.raises(CorruptLayer):
        unpacked(reader, content, tmp_path / "right")
    reader, content = corrupt_before_its_end(monkeypatch, lambda rest: iter([bytes(len(rest))]))
    with pytest.raises(DigestMismatch, match=r"^layer 1 of 1 .*: digest mismatch") as caught:
        unpacked(reader, content, tmp_path / "wrong")
    assert isinstance(caught.value.__cause__, CorruptLayer)


def test_if_the_network_fails_while_a_corrupt_layer_is_downloaded_whole_the_corruption_stays_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(rest: bytes) -> Iterator[Buffer]:
        yield rest[:10]
        raise TransportError("gone")

    reader, content = corrupt_before_its_end(monkeypatch, breaks)
    with pytest.raises(CorruptLayer):
        unpacked(reader, content, tmp_path)


# In parallel


def test_as_many_blobs_as_allowed_are_downloaded_at_once_and_no_more(tmp_path: Path) -> None:
    content = images.image(*(layer(tar.file(f"f{number}", str(number))) for number in range(9)))
    reader = MemoryReader(content)
    together = threading.Barrier(4, timeout=TIMEOUT)

    def meets_others(data: bytes) -> Iterator[Buffer]:
        together.wait()
        yield data

    for blob in content.blobs[1:9]:
        reader.pieces[blob.digest] = meets_others
    unpacked(reader, content, tmp_path)
    assert reader.most_open == 4
    assert len(files(tmp_path)) == 9


def test_the_first_layer_is_unpacked_before_the_last_is_downloaded(tmp_path: Path) -> None:
    content = images.image(layer(tar.file("a")), layer(tar.file("b")))
    reader = MemoryReader(content)
    first = content.blobs[1].digest.removeprefix("sha256:")[:12]
    done = threading.Event()

    class Watching(Ear):
        def finish(self, step: str, part: str) -> None:
            super().finish(step, part)
            if (step, part) == ("unpack", first):
                done.set()

    def late(data: bytes) -> Iterator[Buffer]:
        assert done.wait(TIMEOUT)
        yield data

    reader.pieces[content.blobs[2].digest] = late
    unpacked(reader, content, tmp_path, Watching())
    assert set(files(tmp_path)) == {"a", "b"}


def test_the_listener_hears_of_every_byte(tmp_path: Path) -> None:
    content = images.image(layer(tar.file("a", NOISE)), layer(tar.file("b")))
    ear = Ear()
    unpacked(MemoryReader(content), content, tmp_path, ear)
    sizes = {blob.digest.removeprefix("sha256:")[:12]: blob.size for blob in content.blobs[1:]}
    expected = {(step, part): size for step in ("download", "unpack") for part, size in sizes.items()}
    assert ear.totals == expected
    assert ear.counts == expected
    assert sorted(ear.finished) == sorted(expected)


# The end of everything


def test_an_error_in_a_later_layer_ends_everything_at_once(tmp_path: Path) -> None:
    content = images.image(layer(tar.file("a", NOISE)), layer(tar.file("b")), layer(tar.file("c", NOISE[1:])))
    reader = MemoryReader(content)
    release = threading.Event()

    def stalls(data: bytes) -> Iterator[Buffer]:
        yield data[:1000]
        release.wait(TIMEOUT)
        yield data[1000:]

    def fails(data: bytes) -> Iterator[Buffer]:
        raise TransportError("connection refused")
        yield data

    reader.pieces[content.blobs[1].digest] = stalls
    reader.pieces[content.blobs[2].digest] = fails
    started = time.monotonic()
    with pytest.raises(TransportError, match="connection refused"):
        unpacked(reader, content, tmp_path)
    assert time.monotonic() - started < TIMEOUT / 2
    release.set()


def test_a_wrong_digest_in_a_later_layer_ends_everything_at_once(tmp_path: Path) -> None:
    content = images.image(layer(tar.file("a", NOISE)), layer(tar.file("b")))
    reader = MemoryReader(content)
    release = threading.Event()

    def stalls(data: bytes) -> Iterator[Buffer]:
        release.wait(TIMEOUT)
        yield data

    reader.pieces[content.blobs[1].digest] = stalls
    reader.blobs[content.blobs[2].digest] = b"x" * content.blobs[2].size
    with pytest.raises(ContentError, match="layer 2 of 2"):
        unpacked(reader, content, tmp_path)
    release.set()


@pytest.mark.parametrize("at", ["the start", "the middle"])
def test_an_interrupt_ends_everything_although_a_download_hangs(tmp_path: Path, at: str) -> None:
    content = images.image(*(layer(tar.file(f"f{number}", NOISE[number:])) for number in range(6)))
    reader = MemoryReader(content)
    release = threading.Event()
    interrupted: list[float] = []

    def interrupts(data: bytes) -> Iterator[Buffer]:
        if at == "the middle":
            yield data[: len(data) // 2]
        interrupted.append(time.monotonic())
        _thread.interrupt_main()
        release.wait(TIMEOUT)
        yield data

    reader.pieces[content.blobs[1].digest] = interrupts
    gc.collect()  # an interrupt that comes while another test's garbage is finalized is lost
    with pytest.raises(KeyboardInterrupt):
        unpacked(reader, content, tmp_path)
    assert time.monotonic() - interrupted[0] < TIMEOUT / 2
    release.set()


def test_an_error_leaves_no_thread_and_no_file_behind(tmp_path: Path) -> None:
    content = images.image(
        images.layer(b"rubbish" * 1000, "none"), *(layer(tar.file(f"f{n}", NOISE[n:])) for n in range(5))
    )
    before = set(threading.enumerate())
    with pytest.raises(CorruptLayer):
        unpacked(MemoryReader(content, piece=1000), content, tmp_path)
    assert set(threading.enumerate()) <= before
    gc.collect()
    open_files = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
    assert [path for path in open_files if path.startswith(str(tmp_path))] == []
