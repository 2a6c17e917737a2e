"""Turns an HTTP error into an exception with the registry's own message."""

from __future__ import annotations

import time
from http import HTTPStatus

from registry_image.decode import parse_object
from registry_image.errors import (
    InvalidManifest,
    NotFound,
    RateLimited,
    RegistryError,
    Unauthorized,
    Unavailable,
    quote,
)
from registry_image.net.http import Reply
from registry_image.net.retry import parse_retry_after

_HINTS = {
    "NAME_UNKNOWN": "there is no such repository, or it is hidden from whoever lacks the right to see it",
    "MANIFEST_UNKNOWN": "the repository has no such tag or digest",
    "BLOB_UNKNOWN": "the registry lost a part of this image: push it again",
    "TOOMANYREQUESTS": "wait, or ask less often; another account, or any login at all, may have a higher limit",
}
_STATUS_HINTS = {
    402: "the registry wants to be paid: see the plan and the quota of the account",
    407: "the proxy wants a login: put it into the worker's variables http_proxy and https_proxy",
}
_UNWELL = "this host, or a proxy on the way to it, has a problem of its own: its operators or a status page know more"
_TOO_LARGE = "the registry, or a proxy in front of it (nginx: `client_max_body_size`), limits the size of what it takes"
_KINDS: dict[int, type[RegistryError]] = {401: Unauthorized, 403: Unauthorized, 404: NotFound, 429: RateLimited}
#: 408 by a server that waited too long for the request (RFC 9110, 15.5.9), 499 by nginx as a proxy, 520 to 524 by
#: Cloudflare, which cannot reach the registry or got no sound answer from it.
_TROUBLE = (408, 499, 500, 502, 503, 504, *range(520, 525))
_KINDS |= dict.fromkeys(_TROUBLE, Unavailable)
#: The longest Retry-After in seconds (a year) that is shown as a date too.
_MAX_SPAN = 366 * 86_400
#: Codes by which a 5xx says that the same request will fail again: docker-registry 2.8 answers a foreign layer that it
#: does not allow with 500 and two errors, the second of them MANIFEST_BLOB_UNKNOWN.
_PERMANENT = frozenset(
    {"BLOB_UNKNOWN", "DENIED", "MANIFEST_BLOB_UNKNOWN", "MANIFEST_INVALID", "NAME_INVALID", "UNSUPPORTED"}
)
#: The most errors of one answer that are shown.
MAX_ERRORS = 5
NOT_A_REGISTRY = (
    "the answer is a web page, which registries do not send: is it the right host, or does a proxy or firewall answer "
    "in its place?"
)


def registry_error(prefix: str, reply: Reply, *, refusal: str = "", now: float = 0.0) -> RegistryError:
    """``prefix`` says what was being done, and where; ``refusal`` is the hint for a 401 or 403, if there is one.
    ``now`` is the Unix time, for a Retry-After that is a date."""
    errors = _errors(reply.body)
    status = reply.status
    message = f"{prefix}: {status} {_phrase(status)}"
    shown = [_show(code, text) for code, text in errors[:MAX_ERRORS] if code or text]
    if shown:
        message += f": {'; '.join(shown)}"
    if len(errors) > MAX_ERRORS:
        message += f"; and {len(errors) - MAX_ERRORS} more"
    code = errors[0][0]
    final = status >= 500 and any(code in _PERMANENT for code, _ in errors)
    retry_after = parse_retry_after(reply.headers.get("retry-after"), now)
    if retry_after is not None:
        message += f": it may be asked again in {_span(retry_after, now)}"
    kind = RegistryError if final else _KINDS.get(status, RegistryError)
    hint = _HINTS.get(code) if final else _hint(reply, code, refusal)
    return kind(message, status=status, code=code, hint=hint, retry_after=retry_after)


def _span(seconds: float, now: float) -> str:
    """``seconds`` from ``now`` on, with the time of day if the reader would have to calculate it."""
    if seconds < 10:
        return f"{seconds:.3g} s"
    text = f"{round(seconds):.10g} s"
    if 60 < seconds < _MAX_SPAN:
        text += time.strftime(", at %Y-%m-%d %H:%M UTC", time.gmtime(now + seconds))
    return text


def _hint(reply: Reply, code: str, refusal: str) -> str | None:
    is_html = reply.body.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html"))
    page = is_html or reply.headers.get("content-type").startswith("text/html")
    if reply.status in (401, 403):
        return "; ".join(filter(None, (refusal, NOT_A_REGISTRY if page else ""))) or None
    if reply.status == 429:
        return _HINTS["TOOMANYREQUESTS"]
    if reply.status == 413:
        return _TOO_LARGE
    if reply.status in _TROUBLE:
        return _UNWELL
    if page and reply.status < 500:  # a proxy in front of a failing registry may answer with a page, too
        return NOT_A_REGISTRY
    return _HINTS.get(code) or _STATUS_HINTS.get(reply.status)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "(not a status of HTTP)"


def _show(code: str, text: str) -> str:
    if not text or code.lower() == text.lower():
        return f"({code})" if code and not text else quote(text)
    return f"{quote(text)} ({code})" if code else quote(text)


def _errors(body: bytes) -> list[tuple[str, str]]:
    """Codes and messages, at least one pair: from JSON of the distribution spec ("Error Codes") or of OAuth, else the
    first line of plain text."""
    stripped = body.strip()
    if not stripped.startswith(b"{"):
        line = b"" if stripped.startswith(b"<") else stripped.partition(b"\n")[0]
        return [("", line.decode("utf-8", "backslashreplace"))]
    try:
        document = parse_object(body, "error body")
    except InvalidManifest:
        return [("", stripped.decode("utf-8", "backslashreplace"))]
    errors = document.get("errors")
    return [_code_and_message(error) for error in (errors if isinstance(errors, list) and errors else [document])]


def _code_and_message(error: object) -> tuple[str, str]:
    if not isinstance(error, dict):
        return "", str(error)
    code = next((value for key in ("code", "error") if isinstance(value := error.get(key), str)), "")
    keys = ("message", "error_description", "details", "detail", "error")
    message = next((value for key in keys if isinstance(value := error.get(key), str) and value), "")
    return (code if len(code) <= 64 and code.isprintable() else ""), message
