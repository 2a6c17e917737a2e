"""The parts of URLs that may be shown: those known to be harmless, never those that only look harmless."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from registry_image.errors import quote


def show_url(url: str) -> str:
    """Scheme, host, port and path, printable. The query of a presigned URL is a secret; user information may be."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(invalid address)"
    host = parts.hostname or ""
    return quote(f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}{parts.path}")[1:-1]


def show_host(url: str) -> str:
    """Host and port."""
    return show_url(url).partition("://")[2].partition("/")[0]


def secrets_in(authorization: str) -> Iterator[str]:
    """The secrets in a header that we send: its credentials, and for Basic also the password alone."""
    scheme, _, credentials = authorization.partition(" ")
    yield credentials
    if scheme == "Basic":
        import base64

        yield base64.b64decode(credentials).decode("utf-8", "replace").partition(":")[2]
