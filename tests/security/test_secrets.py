"""No secret of a source reaches the log, the answer or the disk, whatever fails, and whatever is switched on."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import pytest

from registry_image.errors import QUOTE_LIMIT
from tests.support import images, runner, tar
from tests.support.fakehttp import Ask, Reply
from tests.support.fakeregistry import Action, Answer, FakeRegistry, as_ever, fake_registry, redirect, status
from tests.support.faultproxy import talker
from tests.support.registry import Registry
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


def saying(spell: Callable[[str], str], code: int = 403, place: str = "message") -> Action:
    """A server that has read the password, and repeats it in ``place`` of its answer."""

    def act(ask: Ask, answer: Answer) -> Reply:
        text = spell(SECRET)
        documents = {
            "message": f'{{"errors": [{{"code": "DENIED", "message": "{text}"}}]}}',
            "code": f'{{"errors": [{{"code": "{text}"}}]}}',
            "plain text": text,
            "media type": json.dumps({"schemaVersion": 2, "mediaType": text}),
            "broken JSON": f'{{"{text}',
            "location": "",
            "content type": "{}",
        }
        kind = text if place == "content type" else "application/json"
        headers = {"location": text} if place == "location" else {}
        return status(code, documents[place], content_type=kind, **headers)(ask, answer)

    return act


def pushed_out(text: str, count: int) -> str:
    """``text`` behind so much else that a quotation ends ``count`` characters before its end."""
    return "x" * (QUOTE_LIMIT - len(text) + count) + text


def percent(text: str) -> str:
    return "".join(f"%{ord(char):02x}" for char in text)


def escaped(text: str) -> str:
    return "".join(f"\\u{ord(char):04x}" for char in text)


def shown_escaped(text: str) -> str:
    """JSON that holds JSON."""
    return escaped(text).replace("\\", "\\\\")


def in_base64(text: str) -> str:
    return base64.b64encode(f"somebody:{text}".encode()).decode()


FAILURES: dict[str, Action] = {
    "percent": saying(percent),
    "JSON": saying(escaped),
    "JSON in JSON": saying(shown_escaped),
    "base64": saying(in_base64),
    "code": saying(str, place="code"),
    "plain text": saying(percent, place="plain text"),
    "200 and no manifest": saying(str, 200, place="broken JSON"),
    "media type": saying(str, 200, place="media type"),
    "media type, JSON": saying(shown_escaped, 200, place="media type"),
    "content type": saying(str, 200, place="content type"),
    "refused location": saying(lambda text: f"gopher://127.0.0.1/{text}", 307, place="location"),
    "refused location, percent": saying(lambda text: f"ftp://host/{percent(text)}", 307, place="location"),
    "refused location, host": saying(lambda text: f"ftp://{text}.invalid/", 307, place="location"),
    "cut before its last character": saying(lambda text: pushed_out(text, 1)),
    "cut in its middle": saying(lambda text: pushed_out(text, 9)),
    "cut in the media type": saying(lambda text: pushed_out(text, 1), 200, place="media type"),
    "cut in an escape": saying(lambda text: pushed_out(percent(text), 4)),
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
    beginning = SECRET[:10]
    spellings = [beginning, percent(beginning), escaped(beginning), shown_escaped(beginning), ENCODED[9:20]]
    # In base64, three bytes are four characters: the beginning of `somebody:` is nine bytes.
    spellings.append(in_base64(beginning)[12:24])
    for text in (outcome.stderr, json.dumps(outcome.answer)):
        for spelling in spellings:
            assert spelling.lower() not in text.lower()
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


@pytest.mark.parametrize("login", ["user:SECRET", "SECRET", "SECRET:", "us%65r:SECRET", "user:PERCENT"])
def test_what_a_proxy_repeats_of_its_login_is_hidden(login: str) -> None:
    address = login.replace("SECRET", SECRET).replace("PERCENT", percent(SECRET))
    encoded = base64.b64encode(unquote(address).encode()).decode()
    request = {"source": {"repository": "registry.invalid/some/name", "tag": "latest", "debug": True}}
    for said in (SECRET, f"Basic {encoded}"):
        with talker(f"HTTP/1.1 407 wrong: {said}\r\n\r\n".encode()) as host:
            outcome = runner.check(request, {**IMPATIENT, "https_proxy": f"http://{address}@{host}"})
        assert "407 wrong: " in runner.failed(outcome)
        assert_kept(outcome, Path("/nonexistent"))
        assert encoded[6:20] not in outcome.stderr


FILES: dict[str, tuple[str, str, dict[str, object]]] = {
    "tags": ("tags", f"v1 {SECRET}/{SECRET} v2", {"image": "image.tar", "additional_tags": "file/tags"}),
    "tags that are not text": ("tags", f"{SECRET} \udcff", {"image": "image.tar", "additional_tags": "file/tags"}),
    "tar": ("image.tar", f"{SECRET} is no tar", {"image": "file/image.tar"}),
    "index": ("index.json", f"{SECRET} is no JSON", {"image": "file"}),
    "digest": ("single-image-digest", SECRET, {"image": "file"}),
}


@pytest.mark.parametrize("case", FILES)
def test_a_put_quotes_no_word_of_a_file_that_it_cannot_use(case: str, registry: Registry, tmp_path: Path) -> None:
    name, content, params = FILES[case]
    (tmp_path / "file").mkdir()
    (tmp_path / "file" / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (tmp_path / "file" / "index.json").write_text('{"schemaVersion": 2, "manifests": []}')
    (tmp_path / "file" / name).write_bytes(content.encode("utf-8", "surrogateescape"))
    outcome = runner.put({"source": registry.source("secrets/none", tag="a"), "params": params}, tmp_path)
    assert SECRET[:8] not in runner.failed(outcome, "image" if "image" in name else name.partition(".")[0])
