"""out, as Concourse runs it, against real registries: what Docker, skopeo and this resource's own get made."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.support import images, parts, runner, tar, tree
from tests.support.engine import Engine
from tests.support.registry import Registry

FLAVOURS = ("registry", "htpasswd_registry", "tls_registry", "token_registry")

IMAGE = images.image(
    tar.archive(tar.directory("etc"), tar.file("etc/motd", b"lower")),
    images.layer(tar.archive(tar.file("etc/motd", b"upper", mode=0o600)), "zstd"),
    config={"Env": ["A=b"], "User": "nobody"},
)


def put(registry: Registry, repository: str, sources: Path, **params: object) -> runner.Outcome:
    return runner.put({"source": registry.source(repository), "params": params}, sources)


def manifest(registry: Registry, repository: str, reference: str) -> bytes:
    """The bytes that the registry has at ``reference``."""
    accept = ["vnd.oci.image.manifest.v1", "vnd.oci.image.index.v1", "vnd.docker.distribution.manifest.v2"]
    request = urllib.request.Request(  # noqa: S310 (our own server)
        f"{registry.url}/v2/{repository}/manifests/{reference}",
        headers={"Accept": ", ".join(f"application/{kind}+json" for kind in accept)},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return bytes(answer.read())


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_layout_put_to_any_registry_can_be_got_back(
    flavour: str, repository_name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    chosen: Registry = request.getfixturevalue(flavour)
    images.push(chosen, repository_name, IMAGE, "latest")
    source = chosen.source(repository_name)
    got = runner.get(
        {"source": source, "version": {"tag": "latest", "digest": IMAGE.digest}, "params": {"format": "oci-layout"}},
        tmp_path / "image",
    )
    assert got.status == 0, got.stderr
    copy = {**source, "repository": f"{chosen.host}/{repository_name}-copy", "tag": "copied"}
    outcome = runner.put({"source": copy, "params": {"image": "image/oci"}}, tmp_path)
    assert outcome.version == {"tag": "copied", "digest": IMAGE.digest}
    assert runner.check({"source": copy}).versions == [outcome.version]


def test_what_skopeo_archived_is_put_byte_for_byte(registry: Registry, repository_name: str, tmp_path: Path) -> None:
    images.write_layout(tmp_path / "layout", IMAGE, "it")
    copy = [
        parts.need("skopeo"),
        "copy",
        "--quiet",
        f"oci:{tmp_path}/layout:it",
        f"oci-archive:{tmp_path}/image.tar:it",
    ]
    subprocess.run(copy, check=True)
    outcome = put(registry, repository_name, tmp_path, image="*.tar")
    assert images.digest_of(manifest(registry, repository_name, "latest")) == outcome.version["digest"]
    listed = json.loads(manifest(registry, repository_name, "latest"))["layers"]
    assert [each["digest"] for each in listed] == [blob.digest for blob in IMAGE.blobs[1:]]


@pytest.mark.xdist_group("engine")
def test_what_docker_saved_is_put_and_got_as_it_was(
    engine: Engine, registry: Registry, repository_name: str, tmp_path: Path
) -> None:
    rootfs = tar.archive(
        tar.directory("bin"), tar.file("bin/tool", b"#!", mode=0o4755), tar.hardlink("t", to="bin/tool")
    )
    name = f"{repository_name}:1"
    engine.docker("import", "--change", "ENV A=b", "-", name, stdin=rootfs)
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "image.tar").write_bytes(engine.docker("save", name))
    outcome = put(registry, repository_name, sources, image="image.tar")
    got = runner.get({"source": registry.source(repository_name), "version": outcome.version}, tmp_path / "got")
    assert got.status == 0, got.stderr
    entries = tree.snapshot(tmp_path / "got/rootfs")
    assert entries[b"bin/tool"].mode == 0o4755
    assert entries[b"t"].names == {b"t", b"bin/tool"}
    assert json.loads((tmp_path / "got/metadata.json").read_text())["env"] == ["A=b"]
    again = put(registry, repository_name, sources, image="image.tar")
    assert again.version == outcome.version


@pytest.mark.xdist_group("engine")
def test_an_image_got_as_oci_is_loaded_by_docker_under_its_name(
    engine: Engine, registry: Registry, repository_name: str, tmp_path: Path
) -> None:
    content = images.image(tar.archive(tar.file("etc/motd", b"hello")), config={"Env": ["A=b"]})
    images.push(registry, repository_name, content, "latest")
    request = {
        "source": registry.source(repository_name),
        "version": {"tag": "latest", "digest": content.digest},
        "params": {"format": "oci"},
    }
    assert runner.get(request, tmp_path).status == 0
    assert "image.tar" in os.listdir(tmp_path)
    engine.docker("load", stdin=(tmp_path / "image.tar").read_bytes())
    loaded = engine.client.images.get(f"{registry.host}/{repository_name}:latest")
    assert loaded.attrs["Config"]["Env"] == ["A=b"]
    assert loaded.attrs["RootFS"]["Layers"] == [images.digest_of(tar.archive(tar.file("etc/motd", b"hello")))]


def test_a_version_moves_its_aliases(registry: Registry, repository_name: str, tmp_path: Path) -> None:
    images.write_layout(tmp_path / "image", IMAGE, "it")
    first = put(registry, repository_name, tmp_path, image="image", version="1.2.3", bump_aliases=True)
    assert first.metadata["tags"] == "latest 1.2.3 1 1.2"
    older = put(registry, repository_name, tmp_path, image="image", version="1.1.9", bump_aliases=True)
    assert older.metadata["tags"] == "latest 1.1.9 1.1"


def test_nothing_is_pushed_when_the_request_is_wrong(registry: Registry, repository_name: str, tmp_path: Path) -> None:
    images.write_layout(tmp_path / "image", IMAGE, "it")
    before = registry.mark()
    runner.failed(put(registry, repository_name, tmp_path, image="image", version="1.x"), "1.x")
    runner.failed(put(registry, repository_name, tmp_path, image="nothing-*"), "nothing-*")
    assert [asked for asked in registry.requests(before) if asked.method not in {"GET", "HEAD"}] == []
