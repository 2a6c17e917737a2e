"""in and check with faulty registries and images: the right result, or one error and nothing left.

The fake registry breaks and lies on demand; it passes the same conformance tests as the real one.
"""

from __future__ import annotations

import gzip
import lzma
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import images, runner, tar
from tests.support.fakeregistry import (
    Action,
    FakeRegistry,
    as_ever,
    body,
    cut,
    drop,
    fake_registry,
    header,
    status,
    without_ranges,
)

DATA = bytes(range(256)) * 800
LOWER = images.layer(tar.archive(tar.file("lower", DATA)))
TAR = tar.archive(tar.file("upper", DATA[::-1]))
UPPER = images.layer(TAR)
IMAGE = images.image(LOWER, UPPER)
NO_WAITING = {"REGISTRY_IMAGE_WAIT_SCALE": "0"}


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as running:
        yield running


@pytest.fixture
def destination(tmp_path: Path) -> Iterator[Path]:
    """A destination with a file in it and a file beside it; asserts afterwards that both are untouched."""
    inner = tmp_path / "outside" / "destination"
    inner.mkdir(parents=True)
    for canary in (inner / "mine", tmp_path / "outside" / "canary"):
        canary.write_bytes(b"untouched")
    yield inner
    assert sorted(os.listdir(tmp_path / "outside")) == ["canary", "destination"]
    assert (tmp_path / "outside" / "canary").read_bytes() == b"untouched"
    assert (inner / "mine").read_bytes() == b"untouched"


def get(registry: FakeRegistry, content: images.Content, destination: Path) -> runner.Outcome:
    registry.add("some/name", content, "latest")
    source = {"repository": f"{registry.host}/some/name", "tag": "latest", "insecure": True}
    version = {"tag": "latest", "digest": content.digest}
    return runner.get({"source": source, "version": version}, destination, environment=NO_WAITING)


def assert_refused(outcome: runner.Outcome, destination: Path, *words: str) -> None:
    runner.failed(outcome, *words)
    assert os.listdir(destination) == ["mine"]


def named(content: images.Blob) -> str:
    """How messages name a layer or config: at least by the beginning of its digest."""
    return content.digest.removeprefix("sha256:")[:12]


def flipped(data: bytes) -> bytes:
    """``data`` with one bit changed in its middle."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def layer_of(packed: bytes, unpacked: bytes = TAR, media_type: str = UPPER.blob.media_type) -> images.Layer:
    """A layer of exactly these bytes, with right digests."""
    return images.Layer(blob=images.blob(packed, media_type), diff_id=images.digest_of(unpacked))


@pytest.mark.parametrize(
    "target",
    [IMAGE.manifest, IMAGE.blobs[0], LOWER.blob, UPPER.blob],
    ids=["manifest", "config", "first-layer", "last-layer"],
)
@pytest.mark.parametrize(
    "lie",
    [flipped, lambda data: data[:-1], lambda data: data + b"\0", lambda data: b"", lambda data: b"<html>" + data[6:]],
    ids=["a-bit", "too-short", "too-long", "empty", "html"],
)
def test_bytes_that_are_not_what_the_digest_says_are_refused(
    target: images.Blob, lie: Callable[[bytes], bytes], registry: FakeRegistry, destination: Path
) -> None:
    registry.script("GET", target.digest, body(lie(target.data)), always=True)
    assert_refused(get(registry, IMAGE, destination), destination, named(target))


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(layer_of(UPPER.blob.data[:-8] + bytes(4) + UPPER.blob.data[-4:]), id="gzip-crc"),
        pytest.param(layer_of(UPPER.blob.data[:-1] + b"\xff"), id="gzip-size"),
        pytest.param(layer_of(UPPER.blob.data[:-8]), id="gzip-without-trailer"),
        pytest.param(layer_of(UPPER.blob.data[:-20]), id="gzip-truncated"),
        pytest.param(layer_of(images.compressed(TAR, "zstd")[:-4]), id="zstd-truncated"),
        pytest.param(layer_of(flipped(images.compressed(TAR, "zstd"))), id="zstd-corrupt"),
        pytest.param(layer_of(lzma.compress(TAR)), id="xz"),
        pytest.param(layer_of(b"<!DOCTYPE html><html>Sign in to the network</html>"), id="html"),
        pytest.param(layer_of(UPPER.blob.data, TAR + b"\0"), id="another-diff-id"),
        pytest.param(layer_of(TAR[:700], TAR[:700]), id="tar-truncated"),
        pytest.param(layer_of(flipped(TAR[:512]) + TAR[512:]), id="tar-checksum"),
    ],
)
def test_an_archive_that_is_broken_is_refused_and_not_fetched_again(
    broken: images.Layer, registry: FakeRegistry, destination: Path
) -> None:
    assert_refused(get(registry, images.image(LOWER, broken), destination), destination, named(broken.blob))
    assert len(registry.asked("GET", broken.blob.digest)) == 1


@pytest.mark.parametrize("count", [1, 3])
def test_another_number_of_layers_than_diff_ids_is_refused(
    count: int, registry: FakeRegistry, destination: Path
) -> None:
    diff_ids = [LOWER.diff_id, UPPER.diff_id, UPPER.diff_id][:count]
    content = images.image(LOWER, UPPER, rootfs={"type": "layers", "diff_ids": diff_ids})
    assert_refused(get(registry, content, destination), destination, "diff")


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(
            layer_of(gzip.compress(TAR[:5000]) + gzip.compress(b"") + gzip.compress(TAR[5000:])), id="members"
        ),
        pytest.param(layer_of(UPPER.blob.data + bytes(1000)), id="gzip-then-nulls"),
        pytest.param(
            layer_of(tar.zstd_skippable() + images.compressed(TAR, "zstd") + tar.zstd_skippable()), id="zstd-skippable"
        ),
        pytest.param(layer_of(images.compressed(TAR, "zstd")), id="zstd-called-gzip"),
        pytest.param(layer_of(TAR), id="tar-called-gzip"),
        pytest.param(layer_of(TAR[:-1024], TAR[:-1024]), id="no-end-of-archive"),
        pytest.param(layer_of(TAR + b"trailing", TAR + b"trailing"), id="trailing-bytes"),
    ],
)
def test_what_is_odd_but_legal_is_unpacked(odd: images.Layer, registry: FakeRegistry, destination: Path) -> None:
    outcome = get(registry, images.image(LOWER, odd), destination)
    assert outcome.status == 0, outcome.stderr
    assert (destination / "rootfs/upper").read_bytes() == DATA[::-1]
    assert (destination / "rootfs/lower").read_bytes() == DATA


@pytest.mark.parametrize(
    "empty",
    [layer_of(b"", b""), layer_of(tar.archive(), tar.archive()), layer_of(gzip.compress(b""), b"")],
    ids=["no-bytes", "no-entries", "gzip-of-nothing"],
)
def test_a_layer_with_nothing_in_it_changes_nothing(
    empty: images.Layer, registry: FakeRegistry, destination: Path
) -> None:
    assert get(registry, images.image(LOWER, empty), destination).status == 0
    assert os.listdir(destination / "rootfs") == ["lower"]


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param([cut(0), cut(100), cut(1000)], id="cut"),
        pytest.param([cut(100, reset=True), cut(1, reset=True)], id="reset"),
        pytest.param([drop, drop], id="dropped"),
        pytest.param([status(500), status(502), status(503), status(504)], id="5xx"),
        pytest.param([status(429, retry_after="1"), status(429)], id="429"),
        pytest.param([cut(1000), without_ranges], id="no-ranges"),
        pytest.param([cut(10), header("etag", "other"), cut(50), as_ever], id="cut-again"),
    ],
)
@pytest.mark.parametrize(
    "target",
    [IMAGE.manifest, IMAGE.blobs[0], LOWER.blob, UPPER.blob],
    ids=["manifest", "config", "first-layer", "last-layer"],
)
def test_what_a_network_does_is_survived(
    target: images.Blob, faults: list[Action], registry: FakeRegistry, destination: Path
) -> None:
    registry.script("GET", target.digest, *faults)
    outcome = get(registry, IMAGE, destination)
    assert outcome.status == 0, outcome.stderr
    assert (destination / "rootfs/lower").read_bytes() == DATA
    assert (destination / "rootfs/upper").read_bytes() == DATA[::-1]


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        (status(500, b"<html>the database is down</html>"), "500"),
        (status(429), "429"),
        (drop, ""),
        (cut(10), ""),
        (status(403, b'{"errors":[{"code":"DENIED","message":"not yours"}]}'), "not yours"),
        (status(404, b'{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown"}]}'), named(UPPER.blob)),
    ],
    ids=["500", "429", "dropped", "cut", "403", "404"],
)
def test_what_never_gets_better_is_an_error_in_the_end(
    fault: Action, word: str, registry: FakeRegistry, destination: Path
) -> None:
    registry.script("GET", UPPER.blob.digest, fault, always=True)
    assert_refused(get(registry, IMAGE, destination), destination, registry.host, word)


def test_a_descriptor_that_lies_about_the_size_is_refused(registry: FakeRegistry, destination: Path) -> None:
    for size in (UPPER.blob.size - 1, UPPER.blob.size + 1):
        content = images.image(LOWER, replace(UPPER, blob=replace(UPPER.blob, size=size)))
        assert_refused(get(registry, content, destination), destination, named(UPPER.blob))


@pytest.mark.parametrize("code", [429, 500, 503])
def test_check_gives_up_cleanly(code: int, registry: FakeRegistry) -> None:
    registry.add("some/name", IMAGE, "latest")
    for method in ("HEAD", "GET"):
        registry.script(method, "/manifests/", status(code), always=True)
    source = {"repository": f"{registry.host}/some/name", "tag": "latest", "insecure": True}
    runner.failed(runner.check({"source": source}, NO_WAITING), str(code), registry.host)
    assert len(registry.asked("GET", "/manifests/")) == (code != 429)  # for the reason, which HEAD does not give


@pytest.mark.parametrize("formats", [["rootfs"], ["oci"], ["oci-layout"], ["rootfs", "oci", "oci-layout"]])
@pytest.mark.parametrize("part", ["config", "layer"])
def test_a_mirror_with_wrong_bytes_is_dropped(
    registry: FakeRegistry, destination: Path, part: str, formats: list[str]
) -> None:
    wrong = IMAGE.blobs[0 if part == "config" else 2]
    registry.add("some/name", IMAGE, "latest")
    with fake_registry() as mirror:
        mirror.add("some/name", IMAGE, "latest")
        mirror.script("GET", wrong.digest, body(flipped(wrong.data)), always=True)
        mirrors = {registry.host: {"host": mirror.url}}
        source = {"repository": f"{registry.host}/some/name", "registry_mirrors": mirrors}
        version = {"tag": "latest", "digest": IMAGE.digest}
        request = {"source": source, "version": version, "params": {"formats": formats}}
        outcome = runner.get(request, destination, environment=NO_WAITING)
        assert outcome.version == version
        assert len(mirror.asked("GET", wrong.digest)) == 1
    (warning,) = [line for line in outcome.stderr.splitlines() if "warning" in line]
    assert "digest mismatch" in warning
    assert f"starting over without mirror {mirror.host}" in warning
    if "rootfs" in formats:
        assert (destination / "rootfs/lower").read_bytes() == DATA
        assert (destination / "rootfs/upper").read_bytes() == DATA[::-1]
    assert not [name for name in os.listdir(destination) if name.startswith(".")]


def test_wrong_bytes_at_both_mirror_and_origin_are_refused(registry: FakeRegistry, destination: Path) -> None:
    layer = IMAGE.blobs[2]
    registry.add("some/name", IMAGE, "latest")
    registry.script("GET", layer.digest, body(flipped(layer.data)), always=True)
    with fake_registry() as mirror:
        mirror.add("some/name", IMAGE, "latest")
        mirror.script("GET", layer.digest, body(flipped(layer.data)), always=True)
        mirrors = {registry.host: {"host": mirror.url}}
        source = {"repository": f"{registry.host}/some/name", "registry_mirrors": mirrors}
        request = {"source": source, "version": {"digest": IMAGE.digest}}
        outcome = runner.get(request, destination, environment=NO_WAITING)
        assert [len(each.asked("GET", layer.digest)) for each in (mirror, registry)] == [1, 1]
    assert_refused(outcome, destination, "digest mismatch", named(layer))
