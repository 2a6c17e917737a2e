"""The request of get."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from registry_image.concourse.request.document import read_request
from registry_image.concourse.request.pattern import require_patterns
from registry_image.concourse.request.source import Source, parse_digest, read_platform, shown
from registry_image.concourse.request.validation import Mistakes
from registry_image.concourse.request.version import Version
from registry_image.decode import JSONReader
from registry_image.errors import RequestError
from registry_image.oci.digest import Digest
from registry_image.oci.platform import Platform
from registry_image.record import record

Format: TypeAlias = Literal["rootfs", "oci", "oci-layout"]
#: The name of each format's result in the destination.
PRODUCTS: dict[Format, str] = {"rootfs": "rootfs", "oci": "image.tar", "oci-layout": "oci"}

#: Stands for a digest that is a mistake.
_NONE = Digest.of(b"")


@record(kw_only=True)
class GetRequest:
    """``platform`` is the params' or else the source's."""

    source: Source
    version: Version
    destination: str
    formats: tuple[Format, ...] = ("rootfs",)
    platform: Platform
    skip_download: bool = False


def parse_get(raw: bytes, destination: str) -> GetRequest:
    """Raises RequestError."""
    mistakes = Mistakes()
    source, params, version = read_request(raw, "get", mistakes)
    none: tuple[Format, ...] = ()
    formats = mistakes.keep(lambda: _formats(params), none)
    platform = source.platform
    if params.has("platform"):
        platform = mistakes.keep(lambda: read_platform(params), platform, "params.platform")
    digest = mistakes.keep(lambda: parse_digest(version.text("digest"), "version.digest"), _NONE)
    require_patterns(shown(source), mistakes)
    mistakes.report()
    return GetRequest(
        source=source,
        version=Version(tag=version.text("tag", ""), digest=digest),
        destination=destination,
        formats=formats,
        platform=platform,
        skip_download=params.boolean("skip_download"),
    )


def _formats(params: JSONReader) -> tuple[Format, ...]:
    if params.has("formats") and params.has("format"):
        raise RequestError("params: `format` and `formats` are both set", hint="list all in `formats`")
    wanted = params.texts("formats") or (params.text("format", "rootfs"),)
    return tuple(form for form in get_args(Format) if form in wanted)
