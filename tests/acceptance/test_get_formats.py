"""in beyond the rootfs: formats, platforms, small files, metadata, mirrors and progress."""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path

import pytest

from tests.support import images, runner, tar
from tests.support.fakeregistry import body, cut, drop, fake_registry
from tests.support.images import Content
from tests.support.registry import Registry
from tests.support.runner import failed

CONFIG = {"Env": ["A=b"], "User": "someone", "Labels": {"org.a": "1", "org.b": "2", "digest": "no", "x": "3"}}
AMD = images.image(tar.archive(tar.file("hello", b"amd64")), config=CONFIG, annotations={"org.c": "4", "y": "5"})
ARM = images.image(tar.archive(tar.file("hello", b"arm")), architecture="arm", variant="v6")
BOTH = images.index(images.on(AMD, "amd64"), images.on(ARM, "arm", variant="v6"))
CHART = images.manifest_of(
    images.blob(b'{"name": "chart"}', "application/vnd.cncf.helm.config.v1+json"),
    [images.blob(b"a chart", "application/vnd.cncf.helm.chart.content.v1.tar+gzip")],
)
SMALL = {"repository", "tag", "digest", "labels.json", "manifest.json", "config.json"}


def get(
    registry: Registry, repository: str, content: Content, destination: Path, params: object = None, **fields: object
) -> runner.Outcome:
    """Push ``content`` as ``latest`` and get it by digest, for linux/amd64 unless ``fields`` say otherwise."""
    images.push(registry, repository, content, "latest")
    source = registry.source(repository, **{"platform": "linux/amd64", "progress": "none", **fields})
    version = {"tag": "latest", "digest": content.digest}
    return runner.get({"source": source, "version": version, "params": params}, destination)


def names(directory: Path) -> set[str]:
    return {each.name for each in directory.iterdir()}


def fetched(registry: Registry, since: int, kind: str) -> list[str]:
    """The blobs or manifests (``kind``) that were requested, in order."""
    asked = [request.target for request in registry.requests(since) if f"/{kind}/" in request.target]
    return [target.rpartition("/")[2] for target in asked]


def test_several_formats_come_of_one_download(registry: Registry, repository_name: str, tmp_path: Path) -> None:
    images.push(registry, repository_name, BOTH, "latest")
    since = registry.mark()
    outcome = get(registry, repository_name, BOTH, tmp_path, {"formats": ["rootfs", "oci", "oci-layout"]})
    assert outcome.status == 0, outcome.stderr
    assert names(tmp_path) == SMALL | {"index.json", "metadata.json", "rootfs", "image.tar", "oci"}
    assert (tmp_path / "rootfs/hello").read_bytes() == b"amd64"
    assert (tmp_path / "oci/index.json").read_bytes() == BOTH.manifest.data
    with tarfile.open(tmp_path / "image.tar") as archive:
        listing = archive.extractfile("manifest.json")
        assert listing is not None
        assert json.load(listing)[0]["RepoTags"] == [f"{registry.host}/{repository_name}:latest"]
    got = [each for each in fetched(registry, since, "blobs") if each.startswith("sha256:")]
    assert len(got) == len(set(got))
    assert set(got) == {each.digest for each in (*AMD.blobs, *ARM.blobs)}
    asked = fetched(registry, since, "manifests")
    assert len(set(asked) - {"latest"}) == 3
    assert sum(each in (AMD.digest, ARM.digest) for each in asked) == 4  # each pushed once and fetched once


@pytest.mark.parametrize(
    ("form", "product"), [("rootfs", {"rootfs", "metadata.json"}), ("oci", {"image.tar"}), ("oci-layout", {"oci"})]
)
def test_a_format_leaves_its_product_and_the_small_files(
    registry: Registry, repository_name: str, tmp_path: Path, form: str, product: set[str]
) -> None:
    assert get(registry, repository_name, AMD, tmp_path, {"format": form}).status == 0
    assert names(tmp_path) == SMALL | product


def test_the_documents_are_written_byte_for_byte(registry: Registry, repository_name: str, tmp_path: Path) -> None:
    assert get(registry, repository_name, BOTH, tmp_path).status == 0
    assert (tmp_path / "index.json").read_bytes() == BOTH.manifest.data
    assert (tmp_path / "manifest.json").read_bytes() == AMD.manifest.data
    assert (tmp_path / "config.json").read_bytes() == AMD.blobs[0].data
    assert json.loads((tmp_path / "labels.json").read_text()) == CONFIG["Labels"]
    assert json.loads((tmp_path / "metadata.json").read_text()) == {
        "env": ["A=b"],
        "user": "someone",
        "entrypoint": [],
        "cmd": [],
    }
    for name, text in (
        ("repository", f"{registry.host}/{repository_name}"),
        ("tag", "latest"),
        ("digest", BOTH.digest),
    ):
        assert (tmp_path / name).read_text() == text


def test_metadata_describes_the_image_and_labels_replace_nothing(
    registry: Registry, repository_name: str, tmp_path: Path
) -> None:
    fields = {"label_regex": "^org|digest", "annotation_regex": "^org"}
    outcome = get(registry, repository_name, BOTH, tmp_path, **fields)
    name = f"{registry.host}/{repository_name}"
    assert list(outcome.metadata.items()) == [
        ("repository", name),
        ("tag", "latest"),
        ("digest", BOTH.digest),
        ("image", f"{name}@{BOTH.digest}"),
        ("platform", "linux/amd64"),
        ("created", images.CREATED),
        ("size", str(sum(each.size for each in AMD.blobs))),
        ("org.a", "1"),
        ("org.b", "2"),
        ("org.c", "4"),
    ]


def test_an_invalid_expression_is_refused_before_any_download(
    registry: Registry, repository_name: str, tmp_path: Path
) -> None:
    failed(
        get(registry, repository_name, AMD, tmp_path, label_regex="("),
        "source.label_regex",
        "not a valid RE2 expression",
    )
    failed(get(registry, repository_name, AMD, tmp_path, annotation_regex="(?=x)"), "source.annotation_regex")
    assert names(tmp_path) == set()


def test_a_version_without_a_tag_leaves_an_empty_file_and_no_repo_tags(
    registry: Registry, repository_name: str, tmp_path: Path
) -> None:
    images.push(registry, repository_name, AMD, "latest")
    source = registry.source(repository_name, progress="none")
    outcome = runner.get({"source": source, "version": {"digest": AMD.digest}, "params": {"format": "oci"}}, tmp_path)
    assert outcome.version == {"digest": AMD.digest}
    assert list(outcome.metadata.items())[:2] == [("repository", source["repository"]), ("tag", "")]
    assert (tmp_path / "tag").read_bytes() == b""
    with tarfile.open(tmp_path / "image.tar") as archive:
        listing = archive.extractfile("manifest.json")
        assert listing is not None
        assert not json.load(listing)[0]["RepoTags"]


@pytest.mark.parametrize("platform", ["linux/arm/v7", {"os": "linux", "architecture": "arm", "variant": "v6"}])
def test_the_platform_of_params_wins_and_arm_falls_back_downwards(
    registry: Registry, repository_name: str, tmp_path: Path, platform: object
) -> None:
    outcome = get(registry, repository_name, BOTH, tmp_path, {"platform": platform})
    assert outcome.metadata["platform"] == "linux/arm/v6"
    assert (tmp_path / "rootfs/hello").read_bytes() == b"arm"


@pytest.mark.parametrize("form", ["rootfs", "oci"])
def test_no_matching_platform_lists_the_available_ones(
    registry: Registry, repository_name: str, tmp_path: Path, form: str
) -> None:
    outcome = get(registry, repository_name, BOTH, tmp_path, {"format": form}, platform="linux/s390x")
    failed(
        outcome,
        f"{registry.host}/{repository_name}@{BOTH.digest}: "
        "no image for platform linux/s390x: there is linux/amd64, linux/arm/v6",
    )
    assert names(tmp_path) == set()


def test_a_single_image_of_another_platform_is_taken_with_a_note(
    registry: Registry, repository_name: str, tmp_path: Path
) -> None:
    outcome = get(registry, repository_name, ARM, tmp_path)
    assert outcome.metadata["platform"] == "linux/arm/v6"
    assert "the image is for linux/arm/v6, not linux/amd64" in outcome.stderr


def test_skip_download_fetches_no_layer(registry: Registry, repository_name: str, tmp_path: Path) -> None:
    images.push(registry, repository_name, BOTH, "latest")
    since = registry.mark()
    outcome = get(registry, repository_name, BOTH, tmp_path, {"skip_download": True})
    assert outcome.metadata["platform"] == "linux/amd64"
    assert names(tmp_path) == SMALL | {"index.json"}
    got = [request for request in registry.requests(since) if "/blobs/sha256" in request.target]
    assert [request.target.rpartition("/")[2] for request in got] == [AMD.blobs[0].digest]


@pytest.mark.parametrize("params", [{"skip_download": True}, {"format": "oci-layout"}])
@pytest.mark.parametrize("content", [CHART, images.index(images.on(ARM, "arm"))], ids=["chart", "other-platform"])
def test_an_artifact_or_other_platform_passes_if_no_rootfs_is_wanted(
    registry: Registry, repository_name: str, tmp_path: Path, params: dict[str, object], content: Content
) -> None:
    outcome = get(registry, repository_name, content, tmp_path, params)
    assert outcome.status == 0, outcome.stderr
    assert "platform" not in outcome.metadata
    assert outcome.metadata["digest"] == content.digest
    document = "manifest.json" if content is CHART else "index.json"
    assert names(tmp_path) == {"repository", "tag", "digest", document} | ({"oci"} if "format" in params else set())


def test_a_rootfs_of_an_artifact_is_an_error(registry: Registry, repository_name: str, tmp_path: Path) -> None:
    failed(get(registry, repository_name, CHART, tmp_path), "not an image but an artifact", "oci-layout")
    assert names(tmp_path) == set()


@pytest.mark.parametrize("name", ["rootfs", "metadata.json", "repository", "index.json"])
def test_an_existing_name_is_an_error_before_any_request(
    registry: Registry, repository_name: str, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / "unrelated").write_text("untouched")
    images.push(registry, repository_name, AMD, "latest")
    since = registry.mark()
    version = {"tag": "latest", "digest": AMD.digest}
    failed(runner.get({"source": registry.source(repository_name), "version": version}, tmp_path), repr(name))
    assert registry.requests(since) == []
    assert names(tmp_path) == {name, "unrelated"}
    assert (tmp_path / "unrelated").read_text() == "untouched"


def test_a_mirror_serves_everything_and_the_origin_gets_no_request(
    registry: Registry, htpasswd_registry: Registry, repository_name: str, tmp_path: Path
) -> None:
    for each in (registry, htpasswd_registry):
        images.push(each, repository_name, AMD, "latest")
    since = htpasswd_registry.mark()
    mirrors = {htpasswd_registry.host: {"host": registry.url}}
    source = htpasswd_registry.source(repository_name, registry_mirrors=mirrors, progress="none")
    version = {"tag": "latest", "digest": AMD.digest}
    outcome = runner.get({"source": source, "version": version}, tmp_path)
    assert outcome.metadata["repository"] == f"{htpasswd_registry.host}/{repository_name}"
    assert (tmp_path / "repository").read_text() == outcome.metadata["repository"]
    assert htpasswd_registry.requests(since) == []
    assert (tmp_path / "rootfs/hello").read_bytes() == b"amd64"


@pytest.mark.parametrize("prefix", ["", "cache/hub"])
def test_a_mirror_of_docker_hub_serves_names_in_their_full_form(
    registry: Registry, repository_name: str, tmp_path: Path, prefix: str
) -> None:
    short = repository_name.replace("/", "-")
    digest = images.push(registry, f"{prefix}/library/{short}".strip("/"), AMD, "latest")
    source = {
        "repository": short,
        "tag": "latest",
        "registry_mirror": {"host": f"{registry.url}/{prefix}"},
        "platform": "linux/amd64",
    }
    version = {"tag": "latest", "digest": digest}
    assert runner.check({"source": source}).versions == [version]
    outcome = runner.get({"source": source, "version": version, "params": {"format": "oci"}}, tmp_path)
    assert outcome.metadata["repository"] == short
    with tarfile.open(tmp_path / "image.tar") as archive:
        listing = archive.extractfile("manifest.json")
        assert listing is not None
        assert json.load(listing)[0]["RepoTags"] == [f"{short}:latest"]


def test_a_mirror_without_the_image_is_a_warning(
    registry: Registry, htpasswd_registry: Registry, repository_name: str, tmp_path: Path
) -> None:
    images.push(htpasswd_registry, repository_name, AMD, "latest")
    mirrors = {htpasswd_registry.host: {"host": registry.host}}
    source = htpasswd_registry.source(repository_name, registry_mirrors=mirrors, progress="none")
    outcome = runner.get({"source": source, "version": {"digest": AMD.digest}}, tmp_path)
    assert outcome.version == {"digest": AMD.digest}
    assert outcome.stderr.count("warning: mirror") == 1


def test_a_cache_that_lacks_the_digest_is_asked_for_the_tag_once(
    registry: Registry, cache_registry: Registry, repository_name: str, tmp_path: Path
) -> None:
    images.push(registry, repository_name, AMD, "latest")
    since = cache_registry.mark()
    mirrors = {registry.host: {"host": cache_registry.host}}
    source = registry.source(repository_name, registry_mirrors=mirrors, progress="none")
    outcome = runner.get({"source": source, "version": {"tag": "latest", "digest": AMD.digest}}, tmp_path)
    assert outcome.metadata["digest"] == AMD.digest
    assert any("/blobs/" in request.target for request in cache_registry.requests(since))


def test_a_mirror_that_fails_amid_a_layer_costs_no_byte_twice(tmp_path: Path) -> None:
    content = images.image(images.layer(tar.archive(tar.file("hello", b"world" * 100_000)), "none"))
    layer = content.blobs[1]
    with fake_registry() as origin, fake_registry() as mirror:
        for each in (origin, mirror):
            each.add("some/name", content, "latest")
        mirror.script("GET", layer.digest, cut(200_000))
        mirror.script("GET", layer.digest, drop, always=True)
        source = {
            "repository": f"{origin.host}/some/name",
            "registry_mirrors": {origin.host: {"host": mirror.host}},
            "progress": "none",
        }
        outcome = runner.get({"source": source, "version": {"digest": content.digest}}, tmp_path)
        asked = origin.asked("GET", "")
    assert outcome.status == 0, outcome.stderr
    assert (tmp_path / "rootfs/hello").read_bytes() == b"world" * 100_000
    assert outcome.stderr.count("warning: mirror") == 1
    assert [(ask.target.rpartition("/")[2], ask.headers["range"]) for ask in asked] == [(layer.digest, "bytes=200000-")]


def test_the_first_line_is_the_request_and_the_last_line_the_result(
    registry: Registry, repository_name: str, tmp_path: Path
) -> None:
    outcome = get(registry, repository_name, AMD, tmp_path, progress="bars")
    first, last = lines_of(outcome)
    name = f"{registry.host}/{repository_name}:latest@{AMD.digest[:19]}…"
    assert re.fullmatch(rf"getting {name} for linux/amd64: 1 layer, \d+ B", first)
    assert re.fullmatch(r"done in \d+\.\d s: 1 file, 5 B, every digest verified; 3 requests", last)


def lines_of(outcome: runner.Outcome) -> list[str]:
    return [line for line in outcome.stderr.splitlines() if not line.startswith("warning: not root")]


@pytest.mark.parametrize(("progress", "lines"), [("bars", 2), ("plain", 2), ("none", 1)])
def test_a_short_get_shows_no_progress(
    registry: Registry, repository_name: str, tmp_path: Path, progress: str, lines: int
) -> None:
    outcome = get(registry, repository_name, AMD, tmp_path, progress=progress)
    assert outcome.status == 0
    assert len(lines_of(outcome)) == lines
    assert lines_of(outcome)[-1].startswith("done in ")
    assert "\x1b" not in outcome.stderr


@pytest.mark.parametrize(
    ("formats", "what"),
    [
        (["oci"], " for linux/amd64: 1 layer, "),
        (["oci-layout"], "…: 2 manifests, 4 blobs, "),
        (["oci-layout", "oci", "rootfs"], "…: 2 manifests, 4 blobs, "),
    ],
)
def test_the_first_line_says_what_the_formats_need_and_of_which_platform(
    registry: Registry, repository_name: str, tmp_path: Path, formats: list[str], what: str
) -> None:
    outcome = get(registry, repository_name, BOTH, tmp_path, {"formats": formats}, progress="plain")
    assert what in lines_of(outcome)[0]
    assert ("linux/amd64" in lines_of(outcome)[0]) == ("layer, " in what)
    assert "every digest verified" in lines_of(outcome)[-1]


def test_a_get_of_no_layer_says_so(registry: Registry, repository_name: str, tmp_path: Path) -> None:
    outcome = get(registry, repository_name, AMD, tmp_path, {"skip_download": True}, progress="plain")
    first, last = lines_of(outcome)
    assert first.endswith(" for linux/amd64: nothing is downloaded")
    assert re.fullmatch(r"done in \d+\.\d s: nothing is downloaded; 2 requests", last)


@pytest.mark.parametrize("progress", ["bars", "plain", "none"])
def test_a_get_that_fails_midway_says_how_far_it_was(tmp_path: Path, progress: str) -> None:
    content = images.image(tar.archive(tar.file("hello", b"world")))
    layer = content.blobs[1]
    with fake_registry() as registry:
        registry.add("some/name", content, "latest")
        registry.script("GET", layer.digest, body(bytes(layer.size)), always=True)
        source = {"repository": f"{registry.host}/some/name", "progress": progress}
        outcome = runner.get({"source": source, "version": {"digest": content.digest}}, tmp_path)
    assert outcome.status == 1
    standing, error = [line for line in lines_of(outcome) if not line.startswith(("getting", "hint"))]
    part = layer.digest[7:19]
    # Whether unpacking has begun by then is up to the threads.
    assert re.fullmatch(
        rf"failed after \d\.\d s, downloading {part}(; unpacking {part})?: "
        rf"{layer.size} of {layer.size} B downloaded(, \d+ B unpacked)?",
        standing,
    )
    assert error.startswith("error: ")


def test_debug_writes_lines_instead_of_bars(registry: Registry, repository_name: str, tmp_path: Path) -> None:
    outcome = get(registry, repository_name, AMD, tmp_path, progress="bars", debug=True)
    part = AMD.blobs[1].digest.removeprefix("sha256:")[:12]
    assert f"download {part}: done" in outcome.stderr
    assert f"unpack {part}: done" in outcome.stderr
    assert "\x1b[" not in outcome.stderr
