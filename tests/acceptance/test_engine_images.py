"""Images of a real Docker Engine: it builds and saves them, put pushes and get fetches them, it loads and runs them."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_engine import libraries_of
from tests.support import runner, tar, tree
from tests.support.engine import Engine
from tests.support.images import image, layer, push
from tests.support.registry import Registry

pytestmark = pytest.mark.xdist_group("engine")

DOCKERFILE = """\
FROM scratch
COPY tree /
RUN echo made by a build > /made
LABEL team=a
CMD ["/bin/sh", "-c", "read line < /made; echo $line"]
"""


@pytest.fixture(scope="module")
def built(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of an image with a shell that the engine built; a RUN made its last layer."""
    context = tmp_path_factory.mktemp("context")
    for path in map(Path, ("/bin/sh", *libraries_of("/bin/sh"))):
        copy = context / "tree" / path.relative_to("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path.resolve(), copy)
    (context / "Dockerfile").write_text(DOCKERFILE)
    engine.docker("build", "--network=none", "--tag=built:1", str(context))
    yield "built:1"
    engine.docker("image", "rm", "--force", "built:1")


def saved(engine: Engine, name: str, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(engine.docker("save", name))
    return path


def test_a_saved_image_comes_back_the_same_and_runs(
    engine: Engine, built: str, registry: Registry, repository_name: str, tmp_path: Path
) -> None:
    saved(engine, built, tmp_path / "build" / "image" / "image.tar")
    source = registry.source(repository_name, tag="v1")
    put = runner.put({"source": source, "params": {"image": "image/image.tar"}}, tmp_path / "build")
    got = runner.get({"source": source, "version": put.version, "params": {"format": "oci"}}, tmp_path / "get")
    assert got.status == 0, got.stderr

    name = f"{registry.host}/{repository_name}:v1"
    assert engine.docker("load", "--input", str(tmp_path / "get" / "image.tar")).decode() == f"Loaded image: {name}\n"
    run = engine.client.containers.run(name, network_mode="none", remove=True)
    assert run == b"made by a build\n"
    before, after = (json.loads(engine.docker("image", "inspect", each))[0] for each in (built, name))
    assert before["Id"] == after["Id"]
    assert json.loads((tmp_path / "get" / "labels.json").read_text()) == {"team": "a"}
    engine.docker("image", "rm", name)


def test_a_saved_image_gives_the_same_digest_every_time(
    engine: Engine, built: str, registry: Registry, repository_name: str, tmp_path: Path
) -> None:
    plain = saved(engine, built, tmp_path / "build" / "plain.tar")
    (tmp_path / "build" / "packed").write_bytes(gzip.compress(plain.read_bytes(), 1))
    saved(engine, built, tmp_path / "build" / "again.tar")
    source = registry.source(repository_name, tag="v1")
    digests = {
        runner.put({"source": source, "params": {"image": image}}, tmp_path / "build").version["digest"]
        for image in ("plain.tar", "packed", "again.tar")
    }
    assert len(digests) == 1


def test_the_engine_pulls_and_runs_what_was_put(
    engine: Engine, built: str, registry: Registry, repository_name: str, tmp_path: Path
) -> None:
    saved(engine, built, tmp_path / "build" / "image.tar")
    source = registry.source(repository_name, tag="v1")
    put = runner.put({"source": source, "params": {"image": "image.tar"}}, tmp_path / "build")
    name = f"{registry.host}/{repository_name}@{put.version['digest']}"
    engine.docker("pull", name)
    assert engine.client.containers.run(name, network_mode="none", remove=True) == b"made by a build\n"
    engine.docker("image", "rm", name)


def test_an_image_without_a_tag_is_loaded_without_one(
    engine: Engine, built: str, registry: Registry, repository_name: str, tmp_path: Path
) -> None:
    saved(engine, built, tmp_path / "build" / "image.tar")
    source = registry.source(repository_name, tag="v1")
    put = runner.put({"source": source, "params": {"image": "image.tar"}}, tmp_path / "build")
    request = {"source": source, "version": {"digest": put.version["digest"]}, "params": {"format": "oci"}}
    assert runner.get(request, tmp_path / "get").status == 0
    loaded = engine.docker("load", "--input", str(tmp_path / "get" / "image.tar")).decode()
    assert loaded.startswith("Loaded image ID: sha256:")


def test_a_saved_image_keeps_modes_and_hard_links(
    engine: Engine, registry: Registry, repository_name: str, tmp_path: Path
) -> None:
    tool = tar.file("bin/tool", b"#!", mode=0o4755)
    rootfs = tar.archive(tar.directory("bin"), tool, tar.hardlink("t", to="bin/tool"))
    engine.docker("import", "-", "imported:1", stdin=rootfs)
    saved(engine, "imported:1", tmp_path / "build" / "image.tar")
    source = registry.source(repository_name, tag="v1")
    put = runner.put({"source": source, "params": {"image": "image.tar"}}, tmp_path / "build")
    got = runner.get({"source": source, "version": put.version}, tmp_path / "get")
    assert got.version == put.version
    entries = tree.snapshot(tmp_path / "get" / "rootfs")
    assert entries[b"bin/tool"].mode == 0o4755
    assert entries[b"t"].names == {b"t", b"bin/tool"}
    engine.docker("image", "rm", "imported:1")


def test_several_images_in_one_tarball_are_refused_by_name(
    engine: Engine, built: str, registry: Registry, repository_name: str, tmp_path: Path
) -> None:
    other = engine.docker("build", "--quiet", "-", stdin=b"FROM built:1\nLABEL other=yes\n").decode().strip()
    engine.docker("tag", other, "other:1")
    (tmp_path / "image.tar").write_bytes(engine.docker("save", built, "other:1"))
    outcome = runner.put({"source": registry.source(repository_name), "params": {"image": "image.tar"}}, tmp_path)
    runner.failed(outcome, "holds 2 images", "built:1", "other:1")
    engine.docker("image", "rm", "other:1")


def test_zstd_layers_load_into_an_engine_that_cannot_read_them(
    engine: Engine, registry: Registry, repository_name: str, tmp_path: Path
) -> None:
    content = image(layer(tar.archive(tar.file("hello", b"world")), "zstd"))
    push(registry, repository_name, content, "v1")
    version = {"tag": "v1", "digest": content.digest}
    request = {"source": registry.source(repository_name), "version": version, "params": {"format": "oci"}}
    assert runner.get(request, tmp_path / "get").status == 0
    name = f"{registry.host}/{repository_name}:v1"
    assert engine.docker("load", "--input", str(tmp_path / "get" / "image.tar")).decode() == f"Loaded image: {name}\n"
    engine.docker("image", "rm", name)
