"""An answer that says no, made into the error that says why, in the registry's own words where it has any."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

from registry_image.decode import parse_json
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
    "NAME_UNKNOWN": "there is no such repository, or these credentials may not see it",
    "MANIFEST_UNKNOWN": "the repository has no such tag or digest",
    "BLOB_UNKNOWN": "the registry lost a part of this image: push it again",
    "TOOMANYREQUESTS": "wait, log in for a higher limit, or use a `registry_mirror`",
}
_KINDS: dict[int, type[RegistryError]] = {
    401: Unauthorized,
    403: Unauthorized,
    404: NotFound,
    429: RateLimited,
    500: Unavailable,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}
#: What stands for a secret in a registry's words.
REDACTED = "((redacted))"
#: The hint of every refusal that came as a web page.
NOT_A_REGISTRY = "the host answered with a web page: it does not look like a registry"


def registry_error(
    begin: str, answer: Reply, *, login: str = "", now: float = 0.0, secrets: Iterable[str] = ()
) -> RegistryError:
    """The error that ``answer`` is. ``begin`` says what was being done, and where; ``login`` says as whom, or is "";
    ``now`` is the Unix time, for a Retry-After that is a date. Of ``secrets``, words show none.
    """
    code, words = _words(answer.body)
    for secret in sorted(secrets, key=len, reverse=True):
        if secret:
            code, words = code.replace(secret, REDACTED), words.replace(secret, REDACTED)
    status = answer.status
    message = f"{begin}: {status} {_phrase(status)}"
    if words:
        message += f": {quote(words)}"
    if code and code.lower() != words.lower():
        message += f" ({code})"
    retry_after = parse_retry_after(answer.headers.get("retry-after"), now)
    if retry_after is not None:
        message += f": it asks to wait {retry_after:.3g} s"
    return _KINDS.get(status, RegistryError)(
        message, status=status, code=code, hint=_hint(answer, code, login), retry_after=retry_after
    )


def _hint(answer: Reply, code: str, login: str) -> str | None:
    page = answer.headers.get("content-type").startswith("text/html") or answer.body.lstrip()[:14].lower().startswith(
        (b"<!doctype html", b"<html")
    )
    if answer.status in (401, 403):
        return _login_hint(answer.status, login) + (f"; {NOT_A_REGISTRY}" if page else "")
    if answer.status == 429:
        return _HINTS["TOOMANYREQUESTS"]
    if page and answer.status < 500:  # what stands before a registry in trouble may well answer with a page
        return NOT_A_REGISTRY
    return _HINTS.get(code)


def _login_hint(status: int, login: str) -> str:
    if not login:
        return "no credentials are set: if the repository is private, give `username` and `password`; it may not exist"
    if status == 401:
        return f"the registry does not take the credentials of {quote(login)}: wrong, expired, or of another registry"
    return f"{quote(login)} is logged in but may not do this: see its permissions; the repository may not exist"


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "(a status that HTTP does not know)"


def _words(body: bytes) -> tuple[str, str]:
    """Code and message of an error body: the distribution spec's ("Error Codes"), OAuth's, or a first plain line."""
    text = body.strip()
    if not text.startswith(b"{"):
        return "", "" if text.startswith(b"<") else text[:400].decode("utf-8", "backslashreplace").partition("\n")[0]
    try:
        document = parse_json(body, "error body")
    except InvalidManifest:
        return "", text[:400].decode("utf-8", "backslashreplace")
    if not isinstance(document, dict):
        return "", ""
    errors = document.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else document
    if not isinstance(first, dict):
        return "", str(first)[:400]
    code = next((value for key in ("code", "error") if isinstance(value := first.get(key), str)), "")
    keys = ("message", "error_description", "details", "detail", "error")
    words = next((value for key in keys if isinstance(value := first.get(key), str) and value), "")
    return (code if len(code) <= 64 and code.isprintable() else ""), words
