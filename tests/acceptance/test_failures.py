"""Whatever fails on the way to a registry, the error names the step, the repository, its host, and what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import images, runner, tar
from tests.support.fakeregistry import Action, FakeRegistry, body, drop, fake_registry, redirect, status
from tests.support.runner import Outcome, Step

CONTENT = images.image(images.layer(tar.archive(tar.file("a", "b"))))
ENVIRONMENT = {"REGISTRY_IMAGE_WAIT_SCALE": "0"}
FAILURES: dict[str, Action] = {
    "no connection": drop,
    "server error": status(500),
    "refusal": status(403),
    "no such thing": status(404),
    "a joke": status(418),
    "no manifest": status(200, "[]", content_type="application/json"),
    "web page": status(200, "<html>", content_type="text/html"),
    "redirect to nothing": redirect("gopher://elsewhere.invalid/"),
}


def run(step: Step, registry: FakeRegistry, directory: Path) -> Outcome:
    (directory / "image").mkdir(exist_ok=True)
    request: dict[str, object] = {"source": {"repository": f"{registry.host}/some/name", "tag": "latest"}}
    if step == "in":
        request["version"] = {"tag": "latest", "digest": CONTENT.digest}
    if step == "out":
        request["params"] = {"from": f"{registry.host}/some/name"}
    return runner.run(step, request, *(() if step == "check" else (directory / "image",)), environment=ENVIRONMENT)


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("step", ["check", "in", "out"])
def test_a_failure_names_the_step_the_repository_and_the_host(step: Step, failure: str, tmp_path: Path) -> None:
    with fake_registry() as registry:
        registry.add("some/name", CONTENT, "latest")
        for method in ("HEAD", "GET"):
            registry.script(method, "/manifests/", FAILURES[failure], always=True)
        outcome = run(step, registry, tmp_path)
    if (step, failure) == ("check", "no such thing"):
        assert outcome.answer == []
        return
    (line,) = [line for line in runner.failed(outcome).splitlines() if line.startswith("error: ")]
    verb = {"check": "check", "in": "get", "out": "put"}[step]
    assert line.startswith((f"error: {verb} ", f"error: {verb}: "))
    assert f"{registry.host}/some/name" in line


def test_wrong_bytes_are_an_error_with_the_repository_and_what_to_do(tmp_path: Path) -> None:
    with fake_registry() as registry:
        registry.add("some/name", CONTENT, "latest")
        blob = CONTENT.blobs[-1]
        registry.script("GET", blob.digest, body(b"x" * len(blob.data)), always=True)
        outcome = run("in", registry, tmp_path)
    said = runner.failed(outcome, f"error: get {registry.host}/some/name: ", "digest mismatch", "\nhint: try again; ")
    assert said.count(f"{registry.host}/some/name") >= 1


@pytest.mark.parametrize("code", [400, 402, 418, 451, 500, 503])
def test_the_words_of_a_refusal_are_asked_for_because_head_has_none(code: int) -> None:
    with fake_registry() as registry:
        registry.add("some/name", CONTENT, "latest")
        words = json.dumps({"errors": [{"code": "SOME", "message": "the reason is this"}]})
        registry.script("HEAD", "/manifests/", status(code), always=True)
        registry.script("GET", "/manifests/", status(code, words), always=True)
        outcome = runner.check({"source": {"repository": f"{registry.host}/some/name", "tag": "latest"}}, ENVIRONMENT)
        assert len(registry.asked("GET", "/manifests/")) == 1
    runner.failed(outcome, "the reason is this", str(code))


@pytest.mark.parametrize("code", [400, 503])
def test_a_registry_that_refuses_head_alone_is_asked_by_get(code: int) -> None:
    with fake_registry() as registry:
        registry.add("some/name", CONTENT, "latest")
        registry.script("HEAD", "/manifests/", status(code), always=True)
        outcome = runner.check({"source": {"repository": f"{registry.host}/some/name", "tag": "latest"}}, ENVIRONMENT)
    assert [version["digest"] for version in outcome.versions] == [CONTENT.digest]


def test_all_mistakes_of_a_request_are_shown_with_a_line_each() -> None:
    said = runner.failed(runner.check({"source": {"repository": "A@b", "tag": "a/b", "sort": "semver"}}))
    assert [line.partition(":")[0] for line in said.splitlines()] == ["error", "hint", "error", "hint"]


@pytest.mark.parametrize("rule", [{"tag_regex": "^v9"}, {"variant": "alpin"}, {"semver_constraint": ">= 9"}])
def test_a_rule_that_matches_no_tag_names_what_is_there(rule: dict[str, str]) -> None:
    with fake_registry() as registry:
        registry.add("some/name", CONTENT, "1.0.0-alpine", "1.0.0")
        outcome = runner.check({"source": {"repository": f"{registry.host}/some/name", "on_missing": "empty", **rule}})
    assert outcome.answer == []
    assert "has no tag that this source follows: it has '1.0.0', '1.0.0-alpine'" in outcome.stderr
