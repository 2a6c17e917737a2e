"""out, as Concourse runs it, against real registries: inputs, tags, promotion, repetition and errors."""

from __future__ import annotations

import gzip
import json
import re
import signal
import subprocess
import tarfile
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from registry_image.concourse.connect import WAIT_SCALE_VARIABLE
from registry_image.oci.digest import Digest
from registry_image.registry.referrers import fallback_tag
from tests.conftest import StartRegistry
from tests.support import images, parts, runner, tar
from tests.support.cutproxy import cut_proxy
from tests.support.fakehttp import Ask, Reply
from tests.support.fakeregistry import Answer, FakeRegistry, fake_registry, status
from tests.support.images import Content, blob, image, index, layer, manifest_of, on, write_layout
from tests.support.peak import peak_of
from tests.support.registry import Config, Registry

LAYER = tar.archive(tar.directory("etc"), tar.file("etc/motd", b"welcome\n" * 1000))
ONE = image(LAYER, tar.archive(tar.file("hello", b"world")), config={"Labels": {"team": "a"}})
TWO = image(LAYER, architecture="arm64")
BOTH = index(on(ONE, images.ARCHITECTURE), on(TWO, "s390x"))
ZSTD = image(layer(LAYER, "zstd"))


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    (tmp_path / "build" / "tags").mkdir(parents=True)
    return tmp_path / "build"


def digest_at(registry: Registry, name: str, tag: str) -> str | None:
    """The digest at ``tag``, according to check."""
    versions = runner.check({"source": {**registry.source(name), "tag": tag}}).versions
    return versions[-1]["digest"] if versions else None


def tags_of(registry: Registry, name: str) -> list[str]:
    credentials = [f"--creds={registry.username}:{registry.password}"] if registry.username else []
    command = [
        parts.need("skopeo"),
        "list-tags",
        "--tls-verify=false",
        *credentials,
        f"docker://{registry.host}/{name}",
    ]
    done = subprocess.run(command, check=True, capture_output=True, timeout=60)
    return sorted(json.loads(done.stdout)["Tags"])


def put(
    registry: Registry, name: str, artifacts: Path, params: Mapping[str, object], **source: object
) -> runner.Outcome:
    """``source`` overrides the registry's source, which then has no tag."""
    untagged = {key: value for key, value in registry.source(name).items() if key != "tag"}
    return runner.put({"source": untagged | source, "params": params}, artifacts)


def skopeo(*arguments: str) -> bytes:
    return subprocess.run([parts.need("skopeo"), *arguments], check=True, capture_output=True, timeout=60).stdout


FLAVOURS = {
    "open": Config(),
    "htpasswd": Config(auth="htpasswd"),
    "token": Config(auth="token"),
    "tls": Config(tls=True),
    "relative": Config(relative_urls=True),
}


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_an_index_is_pushed_byte_for_byte_under_every_tag(
    start_registry: StartRegistry, artifacts: Path, repository_name: str, flavour: str
) -> None:
    registry = start_registry(FLAVOURS[flavour])
    write_layout(artifacts / "image", index(BOTH))
    (artifacts / "tags" / "list").write_text("one two\nthree\n")
    params = {"image": "image", "version": "v1.2.3", "bump_aliases": True, "additional_tags": "tags/list"}
    outcome = put(registry, repository_name, artifacts, params, tag="edge")
    assert outcome.version == {"tag": "edge", "digest": BOTH.digest}
    assert outcome.metadata["tags"] == "edge 1.2.3 latest 1 1.2 one two three"
    assert {digest_at(registry, repository_name, tag) for tag in outcome.metadata["tags"].split()} == {BOTH.digest}
    assert tags_of(registry, repository_name) == sorted(outcome.metadata["tags"].split())


def test_the_metadata_describes_what_was_pushed(registry: Registry, artifacts: Path, repository_name: str) -> None:
    write_layout(artifacts / "image", index(BOTH))
    source = {"label_regex": "^team$"}
    outcome = put(registry, repository_name, artifacts, {"image": "image", "tags": ["a", "b"]}, **source)
    name = f"{registry.host}/{repository_name}"
    uploaded = sum({each.digest: each.size for content in (ONE, TWO) for each in content.blobs}.values())
    assert outcome.metadata == {
        "repository": name,
        "tag": "a",
        "digest": BOTH.digest,
        "image": f"{name}@{BOTH.digest}",
        "platform": f"linux/{images.ARCHITECTURE}",
        "created": images.CREATED,
        "size": str(sum(each.size for each in ONE.blobs)),
        "tags": "a b",
        "bytes_uploaded": str(uploaded),
        "blobs_reused": "0",
        "team": "a",
    }


def saved_by_skopeo(kind: str, directory: Path, content: Content) -> str:
    write_layout(directory / "layout", content, "v1")
    target = {"docker-archive": "image.tar", "oci-archive": "archive.tar", "oci": "oci"}[kind]
    skopeo("copy", "--all", f"oci:{directory}/layout:v1", f"{kind}:{directory}/{target}:some/name:v1")
    return target


@pytest.mark.parametrize("kind", ["oci", "oci-archive"])
def test_skopeo_s_layouts_and_archives_are_pushed_with_their_digest(
    registry: Registry, artifacts: Path, repository_name: str, kind: str
) -> None:
    target = saved_by_skopeo(kind, artifacts, BOTH)
    outcome = put(registry, repository_name, artifacts, {"image": target}, tag="v1")
    assert outcome.version == {"tag": "v1", "digest": BOTH.digest}


def test_a_docker_archive_of_skopeo_is_pushed_the_same_every_time(
    registry: Registry, artifacts: Path, repository_name: str, tmp_path: Path
) -> None:
    target = saved_by_skopeo("docker-archive", artifacts, ONE)
    first = put(registry, repository_name, artifacts, {"image": target}, tag="v1")
    (artifacts / "packed").write_bytes(gzip.compress((artifacts / target).read_bytes()))
    again = put(registry, f"{repository_name}/other", artifacts, {"image": "pack*"}, tag="v1")
    assert first.version == again.version
    reference = f"docker://{registry.host}/{repository_name}:v1"
    skopeo("copy", "--src-tls-verify=false", reference, f"oci:{tmp_path}/copy:v1")
    umoci = [parts.need("umoci"), "unpack", "--rootless", "--image", f"{tmp_path}/copy:v1", f"{tmp_path}/bundle"]
    subprocess.run(umoci, check=True, capture_output=True, timeout=60)
    assert (tmp_path / "bundle" / "rootfs" / "hello").read_text() == "world"
    assert (tmp_path / "bundle" / "rootfs" / "etc" / "motd").read_text() == "welcome\n" * 1000


SHAPES = {"image": ONE, "two": BOTH, "one": index(on(ONE, "amd64")), "nested": index(BOTH)}


@pytest.mark.parametrize("content", SHAPES.values(), ids=SHAPES)
def test_a_layout_that_get_wrote_is_put_with_the_same_digest(
    registry: Registry, artifacts: Path, repository_name: str, content: Content
) -> None:
    images.push(registry, repository_name, content, "v1")
    request = {
        "source": registry.source(repository_name),
        "version": {"tag": "v1", "digest": content.digest},
        "params": {"format": "oci-layout"},
    }
    assert runner.get(request, artifacts / "image").status == 0
    outcome = put(registry, f"{repository_name}/copy", artifacts, {"image": "image/oci"}, tag="v2")
    assert outcome.version == {"tag": "v2", "digest": content.digest}
    for child in content.children:
        raw = skopeo(
            "inspect", "--tls-verify=false", "--raw", f"docker://{registry.host}/{repository_name}/copy@{child.digest}"
        )
        assert raw == child.manifest.data


def test_a_layout_put_to_any_registry_can_be_got_back(
    any_registry: Registry, artifacts: Path, repository_name: str
) -> None:
    write_layout(artifacts / "image", ZSTD)
    outcome = put(any_registry, repository_name, artifacts, {"image": "image"}, tag="v1")
    source = any_registry.source(repository_name, tag="v1")
    assert runner.check({"source": source}).versions == [outcome.version]
    request = {"source": source, "version": outcome.version, "params": {"format": "oci-layout"}}
    got = runner.get(request, artifacts / "got")
    assert got.version == outcome.version
    again = put(any_registry, f"{repository_name}-copy", artifacts, {"image": "got/oci"}, tag="copied")
    assert again.version == {"tag": "copied", "digest": outcome.version["digest"]}


def test_the_same_image_again_is_success_and_writes_nothing(
    registry: Registry, artifacts: Path, repository_name: str
) -> None:
    write_layout(artifacts / "image", index(BOTH))
    params = {"image": "image", "version": "1.0.0", "bump_aliases": True}
    first = put(registry, repository_name, artifacts, params)
    before = registry.mark()
    again = put(registry, repository_name, artifacts, params)
    assert again.version == first.version
    assert again.metadata["tags"] == first.metadata["tags"] == "1.0.0 latest 1 1.0"
    assert again.metadata["bytes_uploaded"] == "0"
    assert {request.method for request in registry.requests(before)} <= {"HEAD", "GET"}


def test_an_older_version_moves_only_the_aliases_in_its_range(
    registry: Registry, artifacts: Path, repository_name: str
) -> None:
    write_layout(artifacts / "image", ONE)
    for version, tags in (("1.2.3", "1.2.3 latest 1 1.2"), ("1.1.9", "1.1.9 1.1")):
        params = {"image": "image", "version": version, "bump_aliases": True}
        assert put(registry, repository_name, artifacts, params).metadata["tags"] == tags


def test_only_the_tags_that_lack_the_digest_are_moved(
    registry: Registry, artifacts: Path, repository_name: str
) -> None:
    images.push(registry, repository_name, ONE, "v1")
    write_layout(artifacts / "image", ONE)
    (artifacts / "image" / "single-image-digest").write_text(ONE.digest)
    before = registry.mark()
    outcome = put(registry, repository_name, artifacts, {"image": "image", "tags": ["v1", "v2"]})
    assert outcome.metadata["tags"] == "v1 v2"
    assert outcome.metadata["blobs_reused"] == "3"
    written = [request.target for request in registry.requests(before) if request.method == "PUT"]
    assert [target.rpartition("/")[2] for target in written] == ["v2"]


@pytest.mark.parametrize(("if_exists", "status"), [("overwrite", 0), ("skip", 0), ("fail", 1)])
def test_a_tag_that_exists_is_overwritten_skipped_or_an_error(
    registry: Registry, artifacts: Path, repository_name: str, if_exists: str, status: int
) -> None:
    images.push(registry, repository_name, TWO, "old")
    write_layout(artifacts / "image", index(BOTH))
    before = registry.mark()
    outcome = put(
        registry, repository_name, artifacts, {"image": "image", "tags": ["old", "new"], "if_exists": if_exists}
    )
    assert outcome.status == status
    if if_exists == "overwrite":
        assert outcome.version == {"tag": "old", "digest": BOTH.digest}
    elif if_exists == "skip":
        assert outcome.version == {"tag": "new", "digest": BOTH.digest}
        assert outcome.metadata["tags"] == "new"
        assert digest_at(registry, repository_name, "old") == TWO.digest
    else:
        runner.failed(outcome, f"tags exist with another digest: old ({TWO.digest})", "if_exists: overwrite")
        assert {request.method for request in registry.requests(before)} <= {"HEAD", "GET"}


def test_a_put_whose_tags_are_all_skipped_answers_what_is_there(
    registry: Registry, artifacts: Path, repository_name: str
) -> None:
    images.push(registry, repository_name, TWO, "old")
    write_layout(artifacts / "image", index(BOTH))
    outcome = put(registry, repository_name, artifacts, {"image": "image", "if_exists": "skip"}, tag="old")
    assert outcome.version == {"tag": "old", "digest": TWO.digest}
    assert "tags" not in outcome.metadata


def test_a_dry_run_prints_the_plan_and_sends_nothing(registry: Registry, artifacts: Path, repository_name: str) -> None:
    images.push(registry, repository_name, ONE, "old")
    write_layout(artifacts / "image", index(BOTH))
    before = registry.mark()
    outcome = put(registry, repository_name, artifacts, {"image": "image", "tags": ["old", "new"], "dry_run": True})
    assert outcome.version == {"tag": "old", "digest": BOTH.digest}
    assert "dry run: would upload 1 of 4 blobs" in outcome.stderr
    assert "dry run: new: would be pushed" in outcome.stderr
    assert {request.method for request in registry.requests(before)} <= {"HEAD", "GET"}
    assert digest_at(registry, repository_name, "old") == ONE.digest


def test_the_log_of_an_unchanged_put_says_so(registry: Registry, artifacts: Path, repository_name: str) -> None:
    write_layout(artifacts / "image", ONE)
    first = put(registry, repository_name, artifacts, {"image": "image"}, tag="v1")
    outcome = put(registry, repository_name, artifacts, {"image": "image"}, tag="v1")
    digest = f"{first.version['digest'][:19]}…"
    *_, kept, last = outcome.stderr.splitlines()
    assert kept == f"already {digest}: v1"
    assert re.fullmatch(rf"done in \d+\.\d s: v1 at {digest}; nothing sent; \d+ requests?", last)


def test_a_put_that_fails_midway_says_how_far_it_was(artifacts: Path, tmp_path: Path) -> None:
    write_layout(artifacts / "image", ONE)
    with fake_registry() as registry:
        registry.script("PUT", "/blobs/uploads/", lambda ask, answer: Reply(403), always=True)
        source = {"repository": f"{registry.host}/some/name", "tag": "v1", "progress": "none"}
        outcome = runner.put({"source": source, "params": {"image": "image"}}, artifacts)
    assert outcome.status == 1
    assert re.match(
        r"failed after \d\.\d s, uploading .*: \d+ B verified, \d+ B sent\nerror: put: upload blob",
        outcome.stderr,
    ), outcome.stderr


def test_a_corrupt_layout_is_refused_before_anything_is_sent(
    registry: Registry, artifacts: Path, repository_name: str
) -> None:
    write_layout(artifacts / "image", index(BOTH))
    corrupt = ONE.blobs[1]
    (artifacts / "image" / "blobs" / "sha256" / corrupt.digest[7:]).write_bytes(corrupt.data[:-1] + b"?")
    before = registry.mark()
    outcome = put(registry, repository_name, artifacts, {"image": "image"}, tag="v1")
    runner.failed(outcome, corrupt.digest, "digest mismatch")
    assert {request.method for request in registry.requests(before)} <= {"HEAD", "GET"}


@pytest.mark.parametrize(("kind", "verified"), [("docker-archive", False), ("oci", True)])
def test_only_an_image_that_was_not_hashed_when_opened_is_read_before_the_push(
    registry: Registry, artifacts: Path, repository_name: str, kind: str, verified: bool
) -> None:
    target = saved_by_skopeo(kind, artifacts, ONE)
    outcome = put(registry, repository_name, artifacts, {"image": target}, tag="v1", debug=True)
    lines = outcome.stderr.splitlines()
    assert {line.split()[0] for line in lines if line.endswith(": done")} == {
        "upload",
        *(["verify"] if verified else []),
    }
    assert digest_at(registry, repository_name, "v1") == outcome.version["digest"]


@pytest.mark.parametrize(
    ("params", "source", "words"),
    [
        ({"image": "image"}, {}, ["no tag to push"]),
        ({}, {"tag": "v1"}, ["error: params: expected exactly one of `image`, `images` and `from`, got none"]),
        ({"image": "image", "from": "some/other"}, {"tag": "v1"}, ["got several"]),
        ({"image": "none/*"}, {"tag": "v1"}, ["nothing matches 'none/*'", "'image', 'tags'"]),
        ({"image": "*"}, {"tag": "v1"}, ["2 files match '*', expected one: 'image', 'tags'"]),
        ({"image": "../*"}, {"tag": "v1"}, ["is not a path inside the artifacts"]),
        ({"image": "tags"}, {"tag": "v1"}, ["image 'tags': a directory without index.json"]),
        ({"image": "image", "version": "1.2.3+4"}, {}, ["build metadata"]),
        ({"image": "image", "version": "latest"}, {}, ["is not a semantic version"]),
        ({"image": "image", "tags": ["a b"]}, {}, ["'a b' is not a tag"]),
        ({"image": "image", "tag_prefix": "x-"}, {"tag": "v1"}, ["tag_prefix"]),
        ({"image": "image", "additional_tags": "tags/none"}, {}, ["there is no file 'tags/none'"]),
        ({"image": "image"}, {"tag": "v1", "content_trust": {"server": "x"}}, ["retired", "cosign"]),
        ({"image": "image", "platforms": ["linux/amd64"]}, {"tag": "v1"}, ["only valid together with `from`"]),
        ({"version": "1.2.3", "bump_aliases": True}, {}, ["got none"]),
        ({"image": "a", "images": [{"path": "b"}], "version": "1", "bump_aliases": True}, {}, ["got several"]),
    ],
)
def test_an_invalid_put_is_explained_without_a_request(
    registry: Registry,
    artifacts: Path,
    repository_name: str,
    params: dict[str, object],
    source: dict[str, object],
    words: list[str],
) -> None:
    write_layout(artifacts / "image", ONE)
    before = registry.mark()
    runner.failed(put(registry, repository_name, artifacts, params, **source), *words)
    assert registry.requests(before) == []


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (["one", "none"], ["params.images[1].path: nothing matches 'none': the put was given "]),
        (["one", "../one"], ["params.images[1].path: '../one' is not a path inside the artifacts"]),
        (["one", "two"], [f"params.images: 'one' and 'two' are both for linux/{images.ARCHITECTURE}"]),
        (["one", "both"], ["params.images[1]: 'both' holds images of 2 platforms"]),
        (
            ["bare"],
            ["params.images[0]: 'bare': its config does not name a platform", "set `platform` beside its `path`"],
        ),
    ],
)
def test_a_wrong_image_of_several_is_named_with_its_directory(
    registry: Registry, artifacts: Path, repository_name: str, paths: list[str], words: list[str]
) -> None:
    other, bare = image(tar.archive(tar.file("f", b"1"))), image(tar.archive(tar.file("f", b"1")), os="")
    for name, content in {"one": ONE, "two": other, "both": BOTH, "bare": bare}.items():
        write_layout(artifacts / name, content)
    before = registry.mark()
    outcome = put(registry, repository_name, artifacts, {"images": [{"path": path} for path in paths]}, tag="v1")
    log = runner.failed(outcome, *words)
    assert "reading 0 images" not in log
    assert registry.requests(before) == []


def test_images_are_pushed_as_one_index(registry: Registry, artifacts: Path, repository_name: str) -> None:
    write_layout(artifacts / "one", ONE)
    (artifacts / "two").mkdir()
    saved_by_skopeo("oci-archive", artifacts / "two", TWO)
    parts_of = [{"path": "one"}, {"path": "two/*.tar", "platform": "linux/arm/v7"}]
    outcome = put(registry, repository_name, artifacts, {"images": parts_of}, tag="v1")
    raw = skopeo("inspect", "--tls-verify=false", "--raw", f"docker://{registry.host}/{repository_name}:v1")
    assert images.digest_of(raw) == outcome.version["digest"]
    assert json.loads(raw)["manifests"] == [
        {**ONE.manifest.descriptor, "platform": {"architecture": images.ARCHITECTURE, "os": "linux"}},
        {**TWO.manifest.descriptor, "platform": {"architecture": "arm", "os": "linux", "variant": "v7"}},
    ]


def test_images_for_versions_of_windows_are_told_apart(
    registry: Registry, artifacts: Path, repository_name: str
) -> None:
    """The version is in the config of the one, and in the index of the other."""
    windows: dict[str, Any] = {"architecture": "amd64", "os": "windows"}
    older = {**windows, "os.version": "10.0.17763.1"}
    newer = {**windows, "os.version": "10.0.20348.1", "os.features": ["win32k"]}
    one, two = image(LAYER, **older), image(LAYER, **windows)
    write_layout(artifacts / "older", one)
    (artifacts / "older" / "single-image-digest").write_text(one.digest)
    write_layout(artifacts / "newer", index(on(two, **newer)))
    outcome = put(registry, repository_name, artifacts, {"images": [{"path": "older"}, {"path": "newer"}]}, tag="v1")
    assert outcome.status == 0, outcome.stderr
    raw = skopeo("inspect", "--tls-verify=false", "--raw", f"docker://{registry.host}/{repository_name}:v1")
    assert [entry["platform"] for entry in json.loads(raw)["manifests"]] == [older, newer]


def test_annotations_change_the_digest_and_the_answer_says_so(
    registry: Registry, artifacts: Path, repository_name: str
) -> None:
    write_layout(artifacts / "image", index(BOTH))
    outcome = put(registry, repository_name, artifacts, {"image": "image", "annotations": {"a.b/c": "d"}}, tag="v1")
    assert outcome.version["digest"] != BOTH.digest
    assert outcome.metadata["changed_from"] == BOTH.digest
    assert f"{BOTH.digest} became {outcome.version['digest']}" in outcome.stderr
    raw = skopeo("inspect", "--tls-verify=false", "--raw", f"docker://{registry.host}/{repository_name}:v1")
    assert json.loads(raw)["annotations"] == {"a.b/c": "d"}


SIGNATURE = manifest_of(blob(b"{}"), [blob(b"signed")], subject=BOTH.manifest.descriptor)


@pytest.mark.parametrize("flavour", ["htpasswd", "open"])
def test_an_index_is_promoted_whole_with_its_signatures(
    start_registry: StartRegistry, artifacts: Path, repository_name: str, flavour: str
) -> None:
    origin, target = start_registry(FLAVOURS[flavour]), start_registry(FLAVOURS["token"])
    images.push(origin, repository_name, BOTH, "rc")
    images.push(origin, repository_name, SIGNATURE)
    listed = index(SIGNATURE)
    images.push(origin, repository_name, listed, fallback_tag(Digest.parse(BOTH.digest)))
    auths = {origin.host: {"username": origin.username, "password": origin.password}} if origin.username else {}
    outcome = put(
        target, repository_name, artifacts, {"from": f"{origin.host}/{repository_name}:rc"}, tag="v1", auths=auths
    )
    assert outcome.version == {"tag": "v1", "digest": BOTH.digest}
    assert "changed_from" not in outcome.metadata
    skopeo_at = f"docker://{target.host}/{repository_name}"
    creds = f"--creds={target.username}:{target.password}"
    for content in (BOTH, ONE, TWO, SIGNATURE):
        raw = skopeo("inspect", "--tls-verify=false", creds, "--raw", f"{skopeo_at}@{content.digest}")
        assert raw == content.manifest.data
    tag = fallback_tag(Digest.parse(BOTH.digest))
    raw = skopeo("inspect", "--tls-verify=false", creds, "--raw", f"{skopeo_at}:{tag}")
    assert [entry["digest"] for entry in json.loads(raw)["manifests"]] == [SIGNATURE.digest]


def test_a_put_that_names_no_image_says_so_and_asks_for_nothing(
    registry: Registry, artifacts: Path, repository_name: str
) -> None:
    before = registry.mark()
    for params in ({}, {"version": "1.2.3", "bump_aliases": True}):
        outcome = put(registry, repository_name, artifacts, params)
        runner.failed(outcome, "expected exactly one of `image`, `images` and `from`, got none")
        assert [line.partition(":")[0] for line in outcome.stderr.splitlines()] == ["error", "hint"]
    assert registry.requests(before) == []


@pytest.mark.parametrize("content", [index(), index(index())], ids=["listed", "nested"])
@pytest.mark.parametrize("form", ["directory", "archive", "promoted"])
def test_an_index_of_nothing_is_refused(artifacts: Path, content: Content, form: str) -> None:
    listed = content.children[0] if content.children else content
    write_layout(artifacts / "image", content)
    (artifacts / "image" / "index.json").write_bytes(content.manifest.data)
    with tarfile.open(artifacts / "image.tar", "w") as packed:
        packed.add(artifacts / "image", arcname=".")
    with fake_registry() as registry:
        registry.add("from/name", listed, "rc")
        source = {"repository": f"{registry.host}/some/name", "tag": "a"}
        params = {
            "directory": {"image": "image"},
            "archive": {"image": "image.tar"},
            "promoted": {"from": f"{registry.host}/from/name:rc"},
        }
        runner.failed(runner.put({"source": source, "params": params[form]}, artifacts), "its index lists no image")
        assert manifests_put(registry) == []


def manifests_put(registry: FakeRegistry) -> list[str]:
    """What each manifest was put under, in order."""
    return [ask.target.rpartition("/")[2] for ask in registry.asked("PUT", "/manifests/")]


@pytest.mark.parametrize("content", [ONE, BOTH], ids=["image", "index"])
def test_the_root_is_put_straight_under_its_first_tag(artifacts: Path, content: Content) -> None:
    write_layout(artifacts / "image", content)
    (artifacts / "image" / "single-image-digest").write_text(content.digest)
    children = [] if content is ONE else [ONE.digest, TWO.digest]
    with fake_registry() as registry:
        source = {"repository": f"{registry.host}/some/name", "tag": "a"}
        outcome = runner.put({"source": source, "params": {"image": "image", "tags": ["b"]}}, artifacts)
        assert outcome.version == {"tag": "a", "digest": content.digest}
        assert manifests_put(registry) == [*children, "a", "b"]


@pytest.mark.parametrize("if_exists", ["overwrite", "skip", "fail"])
def test_a_tag_that_the_registry_cannot_tell_about_is_overwritten_and_never_skipped(
    artifacts: Path, if_exists: str
) -> None:
    write_layout(artifacts / "image", ONE)
    with fake_registry() as registry:
        registry.script("HEAD", "/manifests/a$", status(404), always=True)
        registry.script("GET", "/manifests/a$", status(500), always=True)
        source = {"repository": f"{registry.host}/some/name", "tag": "a"}
        request = {"source": source, "params": {"image": "image", "if_exists": if_exists}}
        outcome = runner.put(request, artifacts, environment={WAIT_SCALE_VARIABLE: "0"})
        if if_exists == "overwrite":
            assert outcome.version["tag"] == "a"
            assert manifests_put(registry)[-1] == "a"
            assert len(registry.asked("GET", "/manifests/a$")) == 1
        else:
            runner.failed(outcome, "500")
            assert manifests_put(registry) == []


def test_a_put_whose_first_tag_is_refused_leaves_no_untagged_image(artifacts: Path) -> None:
    write_layout(artifacts / "image", ONE)
    (artifacts / "image" / "single-image-digest").write_text(ONE.digest)
    with fake_registry() as registry:
        registry.script("PUT", "/manifests/", status(403), always=True)
        source = {"repository": f"{registry.host}/some/name", "tag": "a"}
        outcome = runner.put({"source": source, "params": {"image": "image"}}, artifacts)
        runner.failed(outcome, "tags pushed: none; not pushed: a")
        assert manifests_put(registry) == ["a"]


def test_a_root_that_has_signatures_is_put_before_them_and_tagged_last(artifacts: Path) -> None:
    by_tag = manifest_of(blob(b"{}"), [blob(b"signed by cosign")])
    cosign_tag, fallback = f"sha256-{BOTH.digest[7:]}.sig", fallback_tag(Digest.parse(BOTH.digest))
    for signature, tags, written in (
        (SIGNATURE, [], [SIGNATURE.digest, fallback]),
        (by_tag, [cosign_tag], [cosign_tag]),
    ):
        with fake_registry() as registry:
            registry.add("from/name", BOTH, "rc")
            registry.add("from/name", signature, *tags)
            source = {"repository": f"{registry.host}/some/name", "tag": "a"}
            outcome = runner.put({"source": source, "params": {"from": f"{registry.host}/from/name:rc"}}, artifacts)
            assert outcome.version == {"tag": "a", "digest": BOTH.digest}
            assert manifests_put(registry) == [ONE.digest, TWO.digest, BOTH.digest, *written, "a"]


def test_cosign_s_tagged_signatures_are_promoted_too(registry: Registry, artifacts: Path, repository_name: str) -> None:
    images.push(registry, repository_name, BOTH, "rc")
    signature = manifest_of(blob(b"{}"), [blob(b"signed by cosign")])
    tag = f"sha256-{BOTH.digest[7:]}.sig"
    images.push(registry, repository_name, signature, tag)
    target = f"{repository_name}/promoted"
    outcome = put(registry, target, artifacts, {"from": f"{registry.host}/{repository_name}:rc"}, tag="v1")
    assert outcome.metadata["blobs_reused"] == "6"
    assert tags_of(registry, target) == [tag, "v1"]
    assert digest_at(registry, target, tag) == signature.digest


def test_signatures_of_an_indexs_platforms_are_promoted_too(
    registry: Registry, artifacts: Path, repository_name: str
) -> None:
    images.push(registry, repository_name, BOTH, "rc")
    tags = {}
    for content in (ONE, TWO):
        tags[f"sha256-{content.digest[7:]}.sig"] = manifest_of(blob(b"{}"), [blob(content.digest.encode())])
    for tag, signature in tags.items():
        images.push(registry, repository_name, signature, tag)
    params = {"from": f"{registry.host}/{repository_name}:rc"}
    first, second = f"{repository_name}/promoted", f"{repository_name}/signed-later"
    images.push(registry, second, BOTH, "v1")
    for target in (first, second):
        assert put(registry, target, artifacts, params, tag="v1").version["digest"] == BOTH.digest
        assert tags_of(registry, target) == sorted([*tags, "v1"])
        for tag, signature in tags.items():
            assert digest_at(registry, target, tag) == signature.digest


def test_a_platform_that_a_promotion_selects_keeps_its_signatures(
    registry: Registry, artifacts: Path, repository_name: str
) -> None:
    images.push(registry, repository_name, BOTH, "rc")
    params = {"from": f"{registry.host}/{repository_name}:rc", "platforms": ["linux/s390x"]}
    target = f"{repository_name}/thin"
    reduced = put(registry, target, artifacts, params, tag="v1").version
    for content in (BOTH, ONE, TWO):
        tag = f"sha256-{content.digest[7:]}.sig"
        images.push(registry, repository_name, manifest_of(blob(b"{}"), [blob(content.digest.encode())]), tag)
    for name in (f"{repository_name}/again", target):
        assert put(registry, name, artifacts, params, tag="v1").version == reduced
        assert tags_of(registry, name) == [f"sha256-{TWO.digest[7:]}.sig", "v1"]


def test_a_promotion_of_what_is_there_already_brings_its_missing_signatures(
    registry: Registry, artifacts: Path, repository_name: str
) -> None:
    target = f"{repository_name}/promoted"
    for name in (repository_name, target):
        images.push(registry, name, BOTH, "v1")
    images.push(registry, repository_name, SIGNATURE)
    images.push(registry, repository_name, index(SIGNATURE), fallback_tag(Digest.parse(BOTH.digest)))
    signature = manifest_of(blob(b"{}"), [blob(b"signed by cosign")])
    tag = f"sha256-{BOTH.digest[7:]}.sig"
    images.push(registry, repository_name, signature, tag)
    params = {"from": f"{registry.host}/{repository_name}:v1"}
    outcome = put(registry, target, artifacts, params, tag="v1")
    assert outcome.version == {"tag": "v1", "digest": BOTH.digest}
    assert digest_at(registry, target, tag) == signature.digest
    assert tags_of(registry, target) == sorted([tag, fallback_tag(Digest.parse(BOTH.digest)), "v1"])

    before = registry.mark()
    assert put(registry, target, artifacts, params, tag="v1").status == 0
    assert {request.method for request in registry.requests(before)} <= {"HEAD", "GET"}


def test_existing_signatures_are_not_replaced(registry: Registry, artifacts: Path, repository_name: str) -> None:
    tag = f"sha256-{BOTH.digest[7:]}.sig"
    signatures = [manifest_of(blob(b"{}"), [blob(text)]) for text in (b"signed by us", b"signed by them")]
    target = f"{repository_name}/promoted"
    for name, signature in zip((repository_name, target), signatures, strict=True):
        images.push(registry, name, BOTH, "rc")
        images.push(registry, name, signature, tag)
    outcome = put(registry, target, artifacts, {"from": f"{registry.host}/{repository_name}:rc"}, tag="v1")
    assert f"warning: {tag} is not replaced" in outcome.stderr
    assert digest_at(registry, target, tag) == signatures[1].digest


def test_a_mount_from_another_registry_gives_a_warning(
    registry: Registry, artifacts: Path, repository_name: str
) -> None:
    write_layout(artifacts / "image", ONE)
    outcome = put(registry, repository_name, artifacts, {"image": "image", "mount_from": ["org/base"]}, tag="v1")
    assert "warning: params.mount_from: index.docker.io/org/base is not on 127.0.0.1" in outcome.stderr


def test_within_one_registry_blobs_are_mounted(registry: Registry, artifacts: Path, repository_name: str) -> None:
    images.push(registry, repository_name, BOTH, "rc")
    before = registry.mark()
    source = f"{registry.host}/{repository_name}@{BOTH.digest}"
    outcome = put(registry, f"{repository_name}/promoted", artifacts, {"from": source}, tag="v1")
    assert outcome.version == {"tag": "v1", "digest": BOTH.digest}
    assert (outcome.metadata["bytes_uploaded"], outcome.metadata["blobs_reused"]) == ("0", "4")
    blobs = [
        (each.method, each.target.partition("/blobs/")[2][:8])
        for each in registry.requests(before)
        if "/blobs/" in each.target
    ]
    assert ("PUT", "uploads/") not in blobs
    # Only the config is read, for the metadata.
    assert len([method for method, _ in blobs if method == "GET"]) == 1


def test_a_promotion_may_select_platforms(registry: Registry, artifacts: Path, repository_name: str) -> None:
    images.push(registry, repository_name, BOTH, "rc")
    params = {"from": f"{registry.host}/{repository_name}:rc", "platforms": ["linux/s390x"]}
    outcome = put(registry, f"{repository_name}/thin", artifacts, params, tag="v1")
    assert outcome.metadata["changed_from"] == BOTH.digest
    raw = skopeo("inspect", "--tls-verify=false", "--raw", f"docker://{registry.host}/{repository_name}/thin:v1")
    assert [entry["digest"] for entry in json.loads(raw)["manifests"]] == [TWO.digest]


def test_a_promotion_of_one_image_is_refused_for_a_platform_that_it_is_not_for(
    registry: Registry, artifacts: Path, repository_name: str
) -> None:
    images.push(registry, repository_name, TWO, "rc")
    target = f"{repository_name}/thin"
    for wanted in (["linux/s390x"], ["linux/arm64", "linux/s390x"]):
        params = {"from": f"{registry.host}/{repository_name}:rc", "platforms": wanted}
        outcome = put(registry, target, artifacts, params, tag="v1")
        runner.failed(outcome, "no image for platform linux/s390x: there is linux/arm64")
        assert digest_at(registry, target, "v1") is None
    params = {"from": f"{registry.host}/{repository_name}:rc", "platforms": ["linux/arm64/v8"]}
    assert put(registry, target, artifacts, params, tag="v1").version["digest"] == TWO.digest


def test_promoting_a_missing_tag_is_explained(registry: Registry, artifacts: Path, repository_name: str) -> None:
    params = {"from": f"{registry.host}/{repository_name}/none:rc"}
    outcome = put(registry, repository_name, artifacts, params, tag="v1")
    runner.failed(outcome, "params.from:", "has no tag 'rc'")


def test_layers_are_mounted_from_the_repositories_named(
    registry: Registry, artifacts: Path, repository_name: str
) -> None:
    base = f"{repository_name}/base"
    images.push(registry, base, image(LAYER), "v1")
    write_layout(artifacts / "image", ONE)
    params = {"image": "image", "mount_from": [f"{registry.host}/{base}"]}
    outcome = put(registry, repository_name, artifacts, params, tag="v1")
    assert outcome.metadata["blobs_reused"] == "1"


def test_a_wrong_password_is_explained(htpasswd_registry: Registry, artifacts: Path, repository_name: str) -> None:
    write_layout(artifacts / "image", ONE)
    outcome = put(htpasswd_registry, repository_name, artifacts, {"image": "image"}, tag="v1", password="s3cret")
    assert "s3cret" not in runner.failed(outcome, "401 Unauthorized", "does not take the credentials of 'concourse'")


@pytest.mark.parametrize("kind", ["oci", "oci-archive"])
def test_an_image_may_be_a_link_to_another_artifact(
    registry: Registry, artifacts: Path, repository_name: str, kind: str
) -> None:
    (artifacts / "built").mkdir()
    target = saved_by_skopeo(kind, artifacts / "built", ONE)
    (artifacts / "tags" / "link").symlink_to(f"../built/{target}")
    outcome = put(registry, repository_name, artifacts, {"image": "tags/link"}, tag="v1")
    assert outcome.status == 0, outcome.stderr


def test_docker_media_types_are_kept(registry: Registry, artifacts: Path, repository_name: str) -> None:
    docker = index(on(image(layer(LAYER, docker=True), docker=True), images.ARCHITECTURE), docker=True)
    write_layout(artifacts / "image", index(docker))
    assert put(registry, repository_name, artifacts, {"image": "image"}, tag="v1").version["digest"] == docker.digest


def test_a_put_that_breaks_off_moves_no_tag(registry: Registry, artifacts: Path, repository_name: str) -> None:
    write_layout(artifacts / "image", index(BOTH))

    def broken_put(name: str, *cuts: int) -> tuple[runner.Outcome, int]:
        images.push(registry, name, image(), "v1")
        with cut_proxy(registry.host, *cuts, dead=True) as proxy:
            source = {"repository": f"{proxy.host}/{name}", "tag": "v1"}
            request = {"source": source, "params": {"image": "image"}}
            return runner.put(request, artifacts, environment={"REGISTRY_IMAGE_WAIT_SCALE": "0"}), proxy.sent

    whole, total = broken_put(f"{repository_name}/whole")
    assert whole.status == 0
    for number in range(1, 6):
        name = f"{repository_name}/{number}"
        outcome, _ = broken_put(name, total * number // 6)
        runner.failed(outcome, "giving up after")
        assert digest_at(registry, name, "v1") == image().digest


def peak_of_put(registry: Registry, name: str, artifacts: Path, pattern: str) -> int:
    """The peak memory of the put of ``pattern``, in MiB."""
    outcome, peak = peak_of("out", {"source": registry.source(name), "params": {"image": pattern}}, artifacts)
    assert outcome.status == 0, outcome.stderr
    return peak


@pytest.mark.parametrize("form", ["layout", "saved"])
def test_memory_does_not_grow_with_a_layer(
    registry: Registry, artifacts: Path, repository_name: str, form: str
) -> None:
    small, large = (image(layer(tar.archive(tar.file("zeros", bytes(size << 20))), "none")) for size in (1, 96))
    for name, content in (("small", small), ("large", large)):
        write_layout(artifacts / name, content)
        if form == "saved":
            skopeo("copy", f"oci:{artifacts}/{name}:latest", f"docker-archive:{artifacts}/{name}.tar:a/b:c")
    suffix = ".tar" if form == "saved" else ""
    peaks = [peak_of_put(registry, repository_name, artifacts, f"{name}{suffix}") for name in ("small", "large")]
    assert peaks[1] - peaks[0] < 24
    assert peaks[1] < 128


def test_a_signal_ends_a_put(artifacts: Path) -> None:
    write_layout(artifacts / "image", ONE)
    with fake_registry() as fake:
        sending = threading.Event()

        def hold(ask: Ask, answer: Answer) -> Reply:
            sending.set()
            return replace(answer(), stall_after=0, body=b"never sent")

        fake.script("PUT", "/uploads/", hold, always=True)
        request = {"source": {"repository": f"{fake.host}/some/name", "tag": "v1"}, "params": {"image": "image"}}
        process = runner.start("out", request, artifacts)
        assert sending.wait(120)
        process.terminate()
        outcome = runner.finish(process, timeout=9)
        assert outcome.status == 128 + signal.SIGTERM
        assert fake.repositories["some/name"].tags == {}
