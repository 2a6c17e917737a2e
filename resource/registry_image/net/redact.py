"""The parts of URLs that may be shown: those known to be harmless, never those that only look harmless."""

from __future__ import annotations

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
