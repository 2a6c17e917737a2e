"""What waits while an image is unpacked: blobs ahead of their turn, and layers that inflate. All of it has a bound.

What is measured runs in a process of its own. Its content is made while it is read, so that only what waits takes
memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from backports import zstd

from registry_image.archive.zstdframe import WINDOW_LOG_MAX
from registry_image.oci.config import ImageConfig
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Buffer, Digest
from registry_image.oci.image import Image
from registry_image.oci.manifest import Manifest, parse_manifest
from registry_image.oci.platform import Platform
from registry_image.progress import Listener
from registry_image.rootfs.root import Root
from registry_image.transfer import fetch
from registry_image.transfer.inflate import Inflation
from registry_image.transfer.unpack import unpack
from registry_image.transfer.workers import WorkerGroup
from tests.support import tar
from tests.support.cost import cost
from tests.support.images import digest_of

MIB = 1024 * 1024
ZEROS = bytes(MIB)
#: Memory for what honest images look like, in MiB; a hostile one may take twice as much.
HONEST = 128
TIMEOUT = 30.0
#: MiB.
ZSTD_WINDOW = 2**WINDOW_LOG_MAX // MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A layer's blob: ``head``, then ``zeros`` MiB of NULs. ``diff_id`` is "" if that is the layer itself. Pieces of
    ``sent`` bytes are sent, if that is not 0."""

    head: bytes
    zeros: int = 0
    sent: int = 0
    diff_id: str = ""
    compression: str = "gzip"

    def pieces(self) -> Iterator[bytes]:
        yield self.head
        yield from [ZEROS] * self.zeros

    @property
    def size(self) -> int:
        return len(self.head) + self.zeros * MIB

    def digest(self) -> str:
        hasher = hashlib.sha256()
        for piece in self.pieces():
            hasher.update(piece)
        return f"sha256:{hasher.hexdigest()}"


def plain(number: int, mib: int = 8) -> Made:
    """The layer with one file of a little under ``mib`` MiB: just what is kept in memory."""
    size = (mib - 1) * MIB - 2048
    return Made(head=tar.header("file", size=size, uid=number), zeros=mib - 1)


def inflating(number: int) -> Made:
    """A few kB that inflate to almost all that one layer may have waiting."""
    data = tar.archive(tar.file("file", bytes(3 * MIB), uid=number))
    return Made(head=tar.gzip(data), diff_id=digest_of(data))


def crumbled(number: int) -> Made:
    """2 MiB in pieces of two bytes, as an answer in chunks of two bytes gives them: one takes fifty in memory."""
    return Made(head=tar.header("file", size=2 * MIB - 1536, uid=number), zeros=2, sent=2)


def windowed(number: int) -> Made:
    """A few kB that inflate to more than the largest window of zstd, and so fill it."""
    window = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: WINDOW_LOG_MAX})
    mib = ZSTD_WINDOW + 8
    pieces = [tar.header("file", size=mib * MIB - 1536, uid=number), *[ZEROS] * mib]
    hasher = hashlib.sha256()
    blob = b""
    for piece in pieces:
        hasher.update(piece)
        blob += window.compress(piece)
    return Made(head=blob + window.flush(), diff_id=f"sha256:{hasher.hexdigest()}", compression="zstd")


def many_files(number: int) -> Made:
    return Made(head=tar.archive(*(tar.file(f"{name}") for name in range(number))))


class Registry:
    """Serves ``layers``. The first blob is not sent before nothing else has moved for a moment."""

    def __init__(self, layers: list[Made]) -> None:
        self.opened: list[str] = []
        self._layers: dict[str, Made] = {}
        self._moved = threading.Event()
        entries, diff_ids = [], []
        known: dict[int, str] = {}
        for layer in layers:
            digest = known[id(layer)] if id(layer) in known else layer.digest()
            known[id(layer)] = digest
            self._layers[digest] = layer
            media_type = f"application/vnd.oci.image.layer.v1.tar{f'+{layer.compression}' if layer.diff_id else ''}"
            entries.append({"mediaType": media_type, "digest": digest, "size": layer.size})
            diff_ids.append(Digest.parse(layer.diff_id or digest))
        self._first = entries[0]["digest"]
        config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": self._first, "size": 2}
        document = {"schemaVersion": 2, "config": config, "layers": entries}
        manifest = parse_manifest(
            json.dumps({"mediaType": "application/vnd.oci.image.manifest.v1+json", **document}).encode()
        )
        assert isinstance(manifest, Manifest)
        self.image = Image(
            manifest=manifest,
            config=ImageConfig(raw=b"{}", platform=Platform("linux", "amd64"), diff_ids=tuple(diff_ids)),
        )

    @contextmanager
    def blob(self, descriptor: Descriptor) -> Iterator[Iterator[Buffer]]:
        self.opened.append(str(descriptor.digest))
        yield self._pieces(str(descriptor.digest))

    def _pieces(self, digest: str) -> Iterator[Buffer]:
        if digest == self._first:
            while self._moved.wait(0.5):
                self._moved.clear()
        layer = self._layers[digest]
        for piece in layer.pieces():
            self._moved.set()
            size = layer.sent or len(piece)
            yield from (bytes(bytearray(piece[at : at + size])) for at in range(0, len(piece), size))


IMAGES: dict[str, Callable[[], list[Made]]] = {
    "distinct": lambda: [plain(number) for number in range(40)],
    "repeated": lambda: [plain(0)] * 40,
    "crumbled": lambda: [plain(0), crumbled(1), crumbled(2)],
    "windows": lambda: [windowed(number) for number in range(3)],
    "inflating": lambda: [many_files(3000), *(inflating(number) for number in range(60))],
}


def unpack_and_tell(name: str) -> str:
    """Runs in the measured process: how many blobs were fetched."""
    registry = Registry(IMAGES[name]())
    with tempfile.TemporaryDirectory(prefix="waiting-") as place:
        Path(place, "rootfs").mkdir()
        with Root(f"{place}/rootfs") as root:
            unpack(registry, registry.image, root, Listener())
    return str(len(registry.opened))


@pytest.mark.parametrize(("name", "fetched"), [("distinct", 40), ("repeated", 1), ("inflating", 61), ("crumbled", 3)])
def test_what_waits_takes_no_more_memory_the_more_layers_there_are(name: str, fetched: int) -> None:
    done = cost("tests.security.test_waiting_cost:unpack_and_tell", name)
    assert done.said == str(fetched)
    assert done.peak < HONEST


def test_members_of_two_bytes_are_joined_before_they_wait(tmp_path: Path) -> None:
    """A piece of two bytes takes fifty in memory, and 4 MiB may wait."""
    data = tar.archive(tar.file("file", bytes(3000)))
    members = b"".join(tar.gzip(data[at : at + 2]) for at in range(0, len(data), 2))
    registry = Registry([Made(head=members, diff_id=digest_of(data))])
    with WorkerGroup() as group:
        downloads = fetch.Downloads(group, registry, registry.image.layers, os.fsencode(tmp_path))
        inflation = Inflation(group, downloads, registry.image.layers, Listener())
        downloads.start(1)
        inflation.start()
        pieces = [bytes(piece) for piece in inflation.read(registry.image.layers[0])]
    assert b"".join(pieces) == data
    assert [len(piece) for piece in pieces] == [4096, len(data) - 4096]


def test_windows_of_zstd_do_not_add_up() -> None:
    done = cost("tests.security.test_waiting_cost:unpack_and_tell", "windows")
    assert done.said == "3"
    assert ZSTD_WINDOW < done.peak < HONEST + ZSTD_WINDOW


def begun_before_the_first(monkeypatch: pytest.MonkeyPatch, layers: list[Made], place: Path) -> int:
    """How many blobs were begun when the first one was sent; all arrive in the end."""
    registry = Registry(layers)
    (place / "rootfs").mkdir(parents=True)
    begun = 0
    sent = registry._pieces

    def counting(digest: str) -> Iterator[Buffer]:
        nonlocal begun
        for piece in sent(digest):
            begun = begun or (len(registry.opened) if digest == registry.opened[0] else 0)
            yield piece

    monkeypatch.setattr(registry, "_pieces", counting)
    with Root(str(place / "rootfs")) as root:
        unpack(registry, registry.image, root, Listener())
    assert sorted(registry.opened) == sorted(str(layer.descriptor.digest) for layer in registry.image.layers)
    return begun


def test_no_layer_is_begun_while_too_much_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layers = [plain(number, 2) for number in range(8)]
    assert begun_before_the_first(monkeypatch, layers, tmp_path / "all") == 8
    size = layers[0].size
    monkeypatch.setattr(fetch, "LITTLE_MEMORY", 1000)
    monkeypatch.setattr(fetch, "MAX_IN_MEMORY", 2 * (size + fetch.OVERHEAD) + 1000 + fetch.OVERHEAD)
    assert begun_before_the_first(monkeypatch, layers, tmp_path / "memory") == 4
    monkeypatch.setattr(fetch, "MAX_IN_MEMORY", 0)
    assert begun_before_the_first(monkeypatch, layers, tmp_path / "one") == 1
    monkeypatch.undo()
    monkeypatch.setattr(fetch, "MAX_AHEAD", 2 * size)
    assert begun_before_the_first(monkeypatch, layers, tmp_path / "disk") == 3


def test_a_layer_that_is_listed_again_is_fetched_again_if_there_is_no_room_to_keep_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = plain(1, 2), plain(2, 2)
    monkeypatch.setattr(fetch, "MAX_KEPT", one.size)
    registry = Registry([one, two, one, two, one])
    (tmp_path / "rootfs").mkdir()
    with Root(str(tmp_path / "rootfs")) as root:
        unpack(registry, registry.image, root, Listener())
    digests = [str(layer.descriptor.digest) for layer in registry.image.layers[:2]]
    assert sorted(registry.opened) == sorted([digests[0], digests[1], digests[1]])
    assert (tmp_path / "rootfs/file").stat().st_size == MIB - 2048
