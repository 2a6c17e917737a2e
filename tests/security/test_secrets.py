"""No secret of a source reaches the log, the answer or the disk, whatever fails, and whatever is switched on."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from tests.support import images, runner, tar
from tests.support.fakehttp import Ask, Reply
from tests.support.fakeregistry import Action, Answer, FakeRegistry, as_ever, fake_registry, redirect, status
from tests.support.runner import Outcome, Step

SECRET = "hunter2-never-shown"
ENCODED = base64.b64encode(f"user:{SECRET}".encode()).decode()
CONTENT = images.image(images.layer(tar.archive(tar.file("a", "b"))))
IMPATIENT = {"REGISTRY_IMAGE_WAIT_SCALE": "0"}
LOGINS: dict[str, dict[str, object]] = {
    "password": {"username": "user", "password": SECRET},
    "auths": {"auths": {"HOST": {"username": "user", "password": SECRET}}},
    "identity token": {"auths": {"HOST": {"identity_token": SECRET}}},
    "docker config": {"docker_config_json": {"auths": {"HOST": {"auth": ENCODED}}}},
    "half": {"password": SECRET},
}


def repeating(ask: Ask, answer: Answer) -> Reply:
    """A server that repeats the request, also decoded."""
    sent = ask.headers.get("authorization", "") + ask.body.decode()
    decoded = base64.b64decode(sent.removeprefix("Basic ")).decode() if sent.startswith("Basic ") else ""
    return status(403, json.dumps({"errors": [{"code": "DENIED", "message": f"no: {sent} {decoded}"}]}))(ask, answer)


FAILURES: dict[str, Action] = {
    "nothing": as_ever,
    "server error": status(500),
    "redirect": redirect(f"http://127.0.0.1:1/blob?X-Amz-Signature={SECRET}"),
    "not found": status(404),
    "denied": status(403),
    "repeated": repeating,
    "web page": status(200, "<html>", content_type="text/html"),
}


def logged_in(action: Action) -> Action:
    """``action``, but only for requests with credentials."""

    def act(ask: Ask, answer: Answer) -> Reply:
        return action(ask, answer) if "authorization" in ask.headers else answer()

    return act


def assert_kept(outcome: Outcome, directory: Path) -> None:
    for text in (outcome.stderr, json.dumps(outcome.answer)):
        assert SECRET not in text
        assert ENCODED not in text
    for path in directory.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes()


def run(step: Step, registry: FakeRegistry, login: dict[str, object], directory: Path) -> Outcome:
    fields = json.loads(json.dumps(login).replace("HOST", registry.host))
    source = {"repository": f"{registry.host}/some/name", "tag": "latest", "debug": True, **fields}
    request: dict[str, object] = {"source": source}
    if step == "in":
        request["version"] = {"tag": "latest", "digest": CONTENT.digest}
    if step == "out":
        request["params"] = {"image": "none.tar"}
    arguments = () if step == "check" else (directory,)
    return runner.run(step, request, *arguments, environment=IMPATIENT)


@pytest.mark.parametrize("auth", ["basic", "token"])
@pytest.mark.parametrize("login", LOGINS)
@pytest.mark.parametrize("step", ["check", "in", "out"])
def test_wrong_credentials_are_refused_without_being_told(step: Step, login: str, auth: str, tmp_path: Path) -> None:
    with fake_registry() as registry:
        registry.auth = "basic" if auth == "basic" else "token"
        registry.accounts = {"somebody": "else"}
        registry.add("some/name", CONTENT, "latest")
        outcome = run(step, registry, LOGINS[login], tmp_path)
    # The token server lets anybody pull without credentials.
    assert outcome.status == (0 if (login, auth) == ("half", "token") and step != "out" else 1)
    assert_kept(outcome, tmp_path)


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("step", ["check", "in"])
def test_right_credentials_are_told_to_nobody_when_something_fails(step: Step, failure: str, tmp_path: Path) -> None:
    with fake_registry() as registry:
        registry.auth = "basic"
        registry.accounts = {"user": SECRET}
        registry.add("some/name", CONTENT, "latest")
        for method, path in (("HEAD", "/manifests/"), ("GET", "/manifests/" if step == "check" else "/blobs/")):
            registry.script(method, path, logged_in(FAILURES[failure]), always=True)
        outcome = run(step, registry, LOGINS["password"], tmp_path)
        given = [ask.headers["authorization"] for ask in registry.log if "authorization" in ask.headers]
    assert set(given) == {f"Basic {ENCODED}"}  # else the test had no secret to find
    assert outcome.status == (0 if failure == "nothing" else 1) or (step, failure) == ("check", "not found")
    assert_kept(outcome, tmp_path)


@pytest.mark.parametrize(
    "proxy",
    ["http://user:SECRET@127.0.0.1:1", "http://user:SECRET@127.0.0.1:99999", "http://user:x/SECRET@["],
)
def test_the_password_of_a_proxy_stays_in_its_variable(proxy: str) -> None:
    request = {"source": {"repository": "registry.invalid/some/name", "tag": "latest", "debug": True}}
    environment = {**IMPATIENT, "https_proxy": proxy.replace("SECRET", SECRET)}
    assert SECRET not in runner.failed(runner.check(request, environment), "https_proxy")
