"""What Concourse sends on stdin, held against the schemas, then typed: past this door there is no bare JSON.

Here is what all steps share, and check's; get's and put's stand beside it, for a check not to import them.
"""

from __future__ import annotations

from dataclasses import dataclass

from registry_image.concourse.request.source import Source, read_source
from registry_image.concourse.request.validation import Kind, read_document
from registry_image.concourse.request.version import Cursor
from registry_image.decode import JSONReader
from registry_image.errors import InvalidManifest
from registry_image.oci.digest import Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRequest:
    """``version`` is None at the first check."""

    source: Source
    version: Cursor | None = None


def parse_check(raw: bytes) -> CheckRequest:
    """Raises RequestError."""
    source, _, version = read_request(raw, "check")
    cursor = Cursor(tag=version.text("tag", ""), digest=_well_formed(version.text("digest", "")))
    return CheckRequest(source=source, version=cursor if cursor.tag or cursor.digest else None)


def read_request(raw: bytes, kind: Kind) -> tuple[Source, JSONReader, JSONReader]:
    """The source, and readers of the params and the version, empty if absent. Raises RequestError."""
    document = read_document(raw, kind)
    source, params, version = (JSONReader(document.get(key, {}), key) for key in ("source", "params", "version"))
    return read_source(source), params, version


def _well_formed(digest: str) -> Digest | None:
    try:
        return Digest.parse(digest)
    except InvalidManifest:
        return None
