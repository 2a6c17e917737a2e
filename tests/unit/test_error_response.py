"""Errors name the request, the registry's own message and the likely cause."""

from __future__ import annotations

import json

import pytest

from registry_image.errors import NotFound, RateLimited, RegistryError, Unauthorized, Unavailable
from registry_image.net.error_response import registry_error
from registry_image.net.http import Headers, Reply

NOW = 1_800_000_000.0
WHAT = "resolve ghcr.io/a/b:1: ghcr.io"


def refuse(status: int, data: bytes = b"", refusal: str = "", **headers: str) -> RegistryError:
    lines = [(name.replace("_", "-"), value) for name, value in headers.items()]
    reply = Reply(status=status, headers=Headers(lines), body=data, url="https://ghcr.io/")
    return registry_error(WHAT, reply, refusal=refusal, now=NOW)


def body(code: str, message: str) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message, "detail": {"x": 1}}]}).encode()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RegistryError),
        (401, Unauthorized),
        (403, Unauthorized),
        (404, NotFound),
        (429, RateLimited),
        (500, Unavailable),
        (502, Unavailable),
        (503, Unavailable),
        (504, Unavailable),
        (408, Unavailable),
        (499, Unavailable),
        (519, RegistryError),
        (520, Unavailable),
        (522, Unavailable),
        (524, Unavailable),
        (525, RegistryError),
        (501, RegistryError),
        (505, RegistryError),
    ],
)
def test_each_status_has_its_kind(status: int, kind: type[RegistryError]) -> None:
    error = refuse(status)
    assert type(error) is kind
    assert error.status == status
    assert error.retryable == (kind in (RateLimited, Unavailable))


@pytest.mark.parametrize(
    ("raw", "words", "code"),
    [
        (
            body("NAME_UNKNOWN", "repository name not known to registry"),
            "'repository name not known to registry'",
            "NAME_UNKNOWN",
        ),
        (b'{"error":"invalid_grant","error_description":"token expired"}', "'token expired'", "invalid_grant"),
        (b'{"details":"incorrect username or password"}', "'incorrect username or password'", ""),
        (b'{"errors":"gone"}', "", ""),
        (b'{"errors":["gone"]}', "'gone'", ""),
        (b'{"errors":[{"code":7,"message":null}]}', "", ""),
        (b"404 page not found\n", "'404 page not found'", ""),
        (b"", "", ""),
        (b"{", "'{'", ""),
        (b"[" * 100_000, "", ""),
        (b"{" * 100_000, "", ""),
        (b"\x1b[31m\xff\n", "\\x1b[31m", ""),
    ],
)
def test_the_registrys_own_message_is_found(raw: bytes, words: str, code: str) -> None:
    error = refuse(404, raw)
    assert error.message.startswith(f"{WHAT}: 404 Not Found")
    assert words in error.message
    assert error.code == code
    assert len(error.message) < 1000
    assert error.message.isprintable()


def test_a_web_page_is_not_repeated_but_hinted_at() -> None:
    for page in (b"<!DOCTYPE html><html>Sign in", b"\n <html><body>", b"<HTML>"):
        error = refuse(404, page)
        assert "Sign in" not in error.message
        assert error.hint is not None
        assert "web page" in error.hint


@pytest.mark.parametrize("status", [401, 403])
def test_what_became_of_the_login_is_said_of_a_refusal_only(status: int) -> None:
    assert refuse(status, refusal="REFUSED").hint == "REFUSED"
    assert refuse(status).hint is None
    assert "REFUSED" not in (refuse(404, refusal="REFUSED").hint or "")


def test_a_rate_limit_names_the_wait_it_asks_for() -> None:
    error = refuse(429, body("TOOMANYREQUESTS", "too many"), retry_after="30")
    assert error.retry_after == 30.0
    assert error.message.endswith(": it may be asked again in 30 s")
    assert "ask less often" in (error.hint or "")


@pytest.mark.parametrize(
    ("retry_after", "told"),
    [
        ("0.000237", "in 0.000237 s"),
        ("59", "in 59 s"),
        ("3600", "in 3600 s, at 2027-01-15 09:00 UTC"),
        ("Fri, 15 Jan 2027 21:00:00 GMT", "in 46800 s, at 2027-01-15 21:00 UTC"),
        ("1e300", "in 1e+300 s"),
        ("1e12", "in 1e+12 s"),
    ],
)
def test_a_rate_limit_says_when_the_registry_may_be_asked_again(retry_after: str, told: str) -> None:
    assert refuse(429, retry_after=retry_after).message.endswith(f": it may be asked again {told}")


def test_a_web_page_is_known_by_its_content_type_where_head_brings_no_body() -> None:
    assert "web page" in (refuse(404, content_type="text/html; charset=utf-8").hint or "")
    assert refuse(404, content_type="application/json").hint is None


@pytest.mark.parametrize("status", [499, 502, 522])
def test_a_web_page_with_a_server_error_may_be_a_proxys(status: int) -> None:
    hint = refuse(status, b"<html>", content_type="text/html").hint or ""
    assert "web page" not in hint
    assert "problem of its own" in hint


def test_a_web_page_that_asks_to_log_in_gets_both_hints() -> None:
    hint = refuse(401, b"<html>", "REFUSED", content_type="text/html").hint or ""
    assert hint.startswith("REFUSED; ")
    assert "web page" in hint


def errors(*pairs: tuple[str, str]) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message} for code, message in pairs]}).encode()


def test_all_errors_of_an_answer_are_told() -> None:
    error = refuse(400, errors(("UNKNOWN", "unknown error"), ("MANIFEST_BLOB_UNKNOWN", "blob unknown to registry")))
    assert error.message == (
        f"{WHAT}: 400 Bad Request: 'unknown error' (UNKNOWN); 'blob unknown to registry' (MANIFEST_BLOB_UNKNOWN)"
    )
    assert error.code == "UNKNOWN"


def test_many_errors_are_counted() -> None:
    message = refuse(400, errors(*[("X", f"number {number}") for number in range(1000)])).message
    assert "'number 4' (X); and 995 more" in message
    assert "number 5" not in message


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize(
    "code",
    ["MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_INVALID", "NAME_INVALID", "UNSUPPORTED", "DENIED"],
)
def test_a_5xx_with_a_code_that_cannot_pass_is_not_retried(status: int, code: str) -> None:
    refused = refuse(status, errors(("UNKNOWN", "x"), (code, "y")))
    assert not refused.retryable
    assert "problem of its own" not in (refused.hint or "")
    assert refuse(status, errors(("UNKNOWN", "x"), ("TOOMANYREQUESTS", "y"))).retryable


def test_a_body_that_is_too_large_names_the_limit_of_the_proxy() -> None:
    page = b"<html><head><title>413 Request Entity Too Large</title></head></html>"
    for data in (page, b"", errors(("SIZE_INVALID", "too large"))):
        assert "client_max_body_size" in (refuse(413, data, content_type="text/html").hint or "")
