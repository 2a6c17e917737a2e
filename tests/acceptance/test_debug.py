"""debug: true shows the whole conversation with a registry, and no secret; a check tells when pulls run out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from registry_image.version import VERSION
from tests.support import images, runner, tar
from tests.support.fakeregistry import fake_registry, redirect, status
from tests.support.runner import Step

CONTENT = images.image(images.layer(tar.archive(tar.file("a", "b"))))
SECRET = "hunter2-never-shown"
LINE = re.compile(
    r"\d\d:\d\d:\d\d (HEAD|GET|POST|PUT) (http://\S+)( as '\w+')?(?:, the mirror)?: \d{3}, "
    r"(?:\d+ bytes|no length) announced, \d+ ms.*"
)


@pytest.mark.parametrize("step", ["check", "in", "out"])
def test_every_request_has_a_line_in_every_step(step: Step, tmp_path: Path) -> None:
    request: dict[str, object] = {"version": {"tag": "latest", "digest": CONTENT.digest}} if step == "in" else {}
    with fake_registry() as registry:
        registry.auth = "basic"
        registry.accounts = {"robot": SECRET}
        registry.add("some/name", CONTENT, "latest")
        source = {"repository": f"{registry.host}/some/name", "tag": "latest", "username": "robot", "password": SECRET}
        if step == "out":
            request["params"] = {"from": f"{registry.host}/some/name"}
        arguments = () if step == "check" else (tmp_path,)
        outcome = runner.run(step, {"source": {**source, "debug": True}, **request}, *arguments)
        asked = [f"{ask.method} http://{registry.host}{ask.target.partition('?')[0]}" for ask in registry.log]
    assert outcome.status == 0, outcome.stderr
    first, *lines = outcome.stderr.splitlines()
    version = re.escape(VERSION)
    assert re.fullmatch(rf"{step} \(registry-image-resource\) {version}, Python 3\.\d+\.\d+, Linux \w+", first)
    told = [match for match in map(LINE.fullmatch, lines) if match]
    assert sorted(f"{match[1]} {match[2]}" for match in told) == sorted(asked)
    assert " as 'robot'" in outcome.stderr
    assert "401, " in outcome.stderr
    assert SECRET not in outcome.stderr


def test_queries_stay_out_and_redirects_retries_and_failures_are_shown() -> None:
    with fake_registry() as registry:
        registry.add("some/name", CONTENT, "latest")
        signed = f"http://{registry.host}/v2/some/name/manifests/{CONTENT.digest}?X-Signature={SECRET}"
        relative = f"/v2/some/name/manifests/{CONTENT.digest}"
        registry.script("HEAD", "/manifests/", status(503), redirect(relative), redirect(signed), redirect(signed[5:]))
        source = {"repository": f"{registry.host}/some/name", "tag": "latest", "debug": True}
        outcome = runner.check({"source": source}, {"REGISTRY_IMAGE_WAIT_SCALE": "0"})
    assert outcome.versions
    assert SECRET not in outcome.stderr
    assert ": 503, " in outcome.stderr
    assert "trying again in" in outcome.stderr
    assert re.findall("redirected to ([^,]+)$", outcome.stderr, re.MULTILINE) == ["itself", *[registry.host] * 2]


@pytest.mark.parametrize(("left", "debug", "told"), [("19", False, True), ("20", False, False), ("90", True, True)])
def test_a_check_tells_the_quota_when_little_is_left(left: str, debug: bool, told: bool) -> None:
    headers = {
        "docker-content-digest": CONTENT.digest,
        "content-type": "application/vnd.oci.image.manifest.v1+json",
        "ratelimit-remaining": f"{left};w=21600",
        "ratelimit-limit": "100;w=21600",
    }
    with fake_registry() as registry:
        registry.add("some/name", CONTENT, "latest")
        registry.script("HEAD", "/manifests/", status(200, **headers), always=True)
        source = {"repository": f"{registry.host}/some/name", "tag": "latest", "debug": debug}
        outcome = runner.check({"source": source})
    assert outcome.versions
    assert (f"allows {left} of 100 more pulls" in outcome.stderr) == told


def test_the_quota_of_a_mirror_is_not_told_as_the_registry_s() -> None:
    with fake_registry() as registry, fake_registry() as mirror:
        registry.add("some/name", CONTENT, "latest")
        mirror.quota = "1;w=60"
        source = {"repository": f"{registry.host}/some/name", "tag": "latest", "debug": True}
        outcome = runner.check({"source": {**source, "registry_mirrors": {registry.host: mirror.url}}})
        assert outcome.versions
        assert "1 pulls left" in outcome.stderr
        assert "more pulls" not in outcome.stderr
        registry.quota = "7"
        outcome = runner.check({"source": {**source, "registry_mirrors": {registry.host: mirror.url}}})
        assert f"{registry.host} allows 7 more pulls" in outcome.stderr


@pytest.mark.parametrize("login", [{}, {"username": "robot", "password": SECRET}])
def test_the_mirror_and_its_login_are_called_so(login: dict[str, str]) -> None:
    with fake_registry() as registry, fake_registry() as mirror:
        mirror.auth = "basic" if login else "none"
        mirror.accounts = {"robot": SECRET}
        mirror.add("cache/some/name", CONTENT, "other")
        registry.add("some/name", CONTENT, "latest")
        mirrors = {registry.host: {"host": f"http://{mirror.host}/cache", **login}}
        source = {"repository": f"{registry.host}/some/name", "tag": "latest", "registry_mirrors": mirrors}
        outcome = runner.check({"source": {**source, "debug": True}})
        assert mirror.asked("HEAD")
        assert registry.asked("HEAD")
    assert outcome.versions
    named = f"{mirror.host}/cache/some/name"
    assert f"the mirror {named} is asked before {registry.host}/some/name\n" in outcome.stderr
    lines = [line for line in outcome.stderr.splitlines() if LINE.fullmatch(line)]
    for line in lines:
        assert (", the mirror: " in line) == (f"http://{mirror.host}/" in line)
    user = " as 'robot'" if login else ""
    assert any(
        f" HEAD http://{mirror.host}/v2/cache/some/name/manifests/latest{user}, the mirror: " in x for x in lines
    )
    assert SECRET not in outcome.stderr


def test_without_debug_a_check_says_nothing() -> None:
    with fake_registry() as registry:
        registry.add("some/name", CONTENT, "latest")
        outcome = runner.check({"source": {"repository": f"{registry.host}/some/name", "tag": "latest"}})
    assert outcome.stderr == ""
