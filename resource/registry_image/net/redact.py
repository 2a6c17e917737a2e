"""What of a URL may be shown: what we know to be harmless, never what merely looks so."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from registry_image.errors import quote


def show_url(url: str) -> str:
    """Scheme, host, port and path, fit to print. The query of a presigned URL is a password, and so may user
    information be."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(an address that is none)"
    host = parts.hostname or ""
    return quote(f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}{parts.path}")[1:-1]


def show_host(url: str) -> str:
    """Host and port alone."""
    return show_url(url).partition("://")[2].partition("/")[0]


def secrets_in(authorization: str) -> Iterator[str]:
    """What of an Authorization header that we send nobody may read: its credentials, and the password in Basic ones."""
    scheme, _, credentials = authorization.partition(" ")
    yield credentials
    if scheme == "Basic":
        import base64

        yield base64.b64decode(credentials).decode("utf-8", "replace").partition(":")[2]
