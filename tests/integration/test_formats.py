"""get's `oci-layout` and `oci` out of a real registry: read by us and by other tools, with every blob fetched once."""

from __future__ import annotations

import json
import subprocess
import tarfile
from pathlib import Path

from registry_image.concourse.formats import write_formats
from registry_image.concourse.metadata import Taken
from registry_image.concourse.request.get import Format, parse_get
from registry_image.oci.content import read_small_blob
from registry_image.oci.digest import Digest
from registry_image.oci.platform import Platform
from registry_image.progress import Listener
from registry_image.storage.detect import open_image
from registry_image.transfer.select import select_image
from tests.support import parts, tar
from tests.support.clients import a_repository
from tests.support.images import Content, blob, image, index, manifest_of, on, push
from tests.support.registry import Registry

ONE = image(tar.archive(tar.file("hello", b"world")), tar.archive(tar.file("more", b"x" * 1000)))
TWO = image(tar.archive(tar.file("hello", b"world")), architecture="arm64")
ATTESTATION = manifest_of(blob(b"{}", "application/vnd.oci.image.config.v1+json"), [blob(b"in-toto")])
BOTH = index(on(ONE, "amd64"), index(on(TWO, "arm64")), on(ATTESTATION, "unknown", "unknown"))


class Ledger(Listener):
    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.bytes = 0

    def begin(self, step: str, part: str, total: int | None) -> None:
        self.events.append((f"begin {step}", part))

    def advance(self, step: str, part: str, count: int) -> None:
        self.bytes += count

    def finish(self, step: str, part: str) -> None:
        self.events.append((f"finish {step}", part))


def written(registry: Registry, name: str, content: Content, directory: Path, *formats: Format) -> Ledger:
    """``content`` pushed, then written to ``directory``; its first image is the platform's."""
    push(registry, name, content, "v1")
    repository = a_repository(registry, name)
    root = repository.manifest(Digest.parse(content.digest))
    image = select_image(repository, root, Platform("linux", "amd64"))
    version = {"tag": "v1", "digest": content.digest}
    source = {"repository": f"{registry.host}/{name}", "max_concurrent_downloads": 2}
    document = {"source": source, "version": version, "params": {"formats": formats}}
    request = parse_get(json.dumps(document).encode(), str(directory))
    taken = Taken(name=request.source.name, version=request.version, root=root, image=image)
    ledger = Ledger()
    directory.mkdir()
    with write_formats(request, repository, taken, str(directory), ledger) as near:
        for each in (image.manifest.config, *image.manifest.layers):
            assert read_small_blob(near, each, "blob", limit=1 << 20)
    return ledger


def test_an_index_is_kept_whole_with_nested_indexes_and_attestations(
    registry: Registry, tmp_path: Path, repository_name: str
) -> None:
    written(registry, repository_name, BOTH, tmp_path / "get", "oci-layout")
    assert (tmp_path / "get" / "oci" / "index.json").read_bytes() == BOTH.manifest.data
    assert not (tmp_path / "get" / "oci" / "single-image-digest").exists()
    kept = {each.name: each.read_bytes() for each in (tmp_path / "get" / "oci" / "blobs" / "sha256").iterdir()}
    inner = BOTH.children[1]
    below = [inner.manifest, ONE.manifest, TWO.manifest, ATTESTATION.manifest]
    below += [each for content in (ONE, TWO, ATTESTATION) for each in content.blobs]
    assert kept == {each.digest[7:]: each.data for each in below}
    with open_image(str(tmp_path / "get" / "oci"), "oci") as stored:
        assert str(stored.root.digest) == BOTH.digest


def test_an_image_is_read_back_by_others(registry: Registry, tmp_path: Path, repository_name: str) -> None:
    written(registry, repository_name, ONE, tmp_path / "get", "oci-layout")
    assert (tmp_path / "get" / "oci" / "single-image-digest").read_text() == ONE.digest
    layout = f"oci:{tmp_path}/get/oci"
    for command in (
        [parts.need("skopeo"), "inspect", layout],
        [parts.need("skopeo"), "copy", "--preserve-digests", layout, f"oci:{tmp_path}/copy:v1"],
        [parts.need("umoci"), "unpack", "--rootless", "--image", f"{tmp_path}/copy:v1", f"{tmp_path}/bundle"],
    ):
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    assert (tmp_path / "bundle" / "rootfs" / "hello").read_text() == "world"
    assert (tmp_path / "copy" / "blobs" / "sha256" / ONE.digest[7:]).exists()


def test_several_formats_come_from_one_download(registry: Registry, tmp_path: Path, repository_name: str) -> None:
    ledger = written(registry, repository_name, BOTH, tmp_path / "get", "oci-layout", "oci", "rootfs")
    blobs = {each.digest: each for content in (ONE, TWO, ATTESTATION) for each in content.blobs}
    assert sorted(ledger.events) == sorted(
        (f"{word} download", digest[7:19]) for word in ("begin", "finish") for digest in blobs
    )
    assert ledger.bytes == sum(each.size for each in blobs.values())


def test_a_tarball_serves_the_formats_after_it(registry: Registry, tmp_path: Path, repository_name: str) -> None:
    ledger = written(registry, repository_name, ONE, tmp_path / "get", "oci", "rootfs")
    assert ledger.bytes == sum(each.size for each in ONE.blobs)


def test_a_tarball_is_read_by_others_under_its_tag(registry: Registry, tmp_path: Path, repository_name: str) -> None:
    written(registry, repository_name, BOTH, tmp_path / "get", "oci")
    archive = f"docker-archive:{tmp_path}/get/image.tar"
    command = [parts.need("skopeo"), "inspect", "--format={{.RepoTags}} {{len .Layers}}", archive]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    with tarfile.open(tmp_path / "get" / "image.tar") as packed:
        (listed,) = json.load(packed.extractfile("manifest.json"))  # type: ignore[arg-type]
    assert listed["RepoTags"] == [f"{registry.host}/{repository_name}:v1"]
    for command in (
        [parts.need("skopeo"), "copy", archive, f"oci:{tmp_path}/copy:v1"],
        [parts.need("umoci"), "unpack", "--rootless", "--image", f"{tmp_path}/copy:v1", f"{tmp_path}/bundle"],
    ):
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    assert (tmp_path / "bundle" / "rootfs" / "hello").read_text() == "world"
