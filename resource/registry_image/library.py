"""The library: an image laid out by digest, exactly as ``in`` does it, for programs that are no Concourse resource.

>>> from registry_image import pull
>>> pulled = pull("alpine@sha256:…", "/tmp/alpine")  # doctest: +SKIP
>>> pulled.rootfs  # doctest: +SKIP
'/tmp/alpine/rootfs'
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from registry_image.concourse.console.console import Console
from registry_image.concourse.console.tally import Tally
from registry_image.concourse.get import get
from registry_image.concourse.request.get import PRODUCTS, parse_get
from registry_image.errors import RequestError, ResourceError, quote
from registry_image.net.secrets import SECRETS
from registry_image.oci.reference import Reference

Log = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """``rootfs`` is the root filesystem's directory. ``metadata`` is what a get tells: ``repository``, ``digest``,
    ``image``, ``platform``, ``size`` and so on, each as text."""

    rootfs: str
    metadata: Mapping[str, str]


def pull(
    reference: str,
    directory: str | os.PathLike[str],
    *,
    credentials: tuple[str, str] | None = None,
    platform: str = "",
    source: Mapping[str, object] | None = None,
    log: Log | None = None,
) -> Pulled:
    """Downloads ``reference`` and lays out its root filesystem in ``directory``, which has to exist.

    ``reference`` is ``name@sha256:…``: a tag alone names no fixed content. ``credentials`` are a username and a
    password. ``platform`` is ``os/architecture[/variant]``, by default this machine's. ``source`` has further fields of
    a resource's source (docs/reference.md), such as ``{"ca_certs": […]}``. ``log`` receives warnings, each a line of
    text.

    Every byte is verified against the digest before ``rootfs`` appears. If anything fails, a `ResourceError` is
    raised, and ``directory`` is as it was.
    """
    parsed = Reference.parse(reference)
    if parsed.digest is None:
        raise RequestError(f"pull {quote(reference)}: expected a digest, as in name@sha256:…")
    if not os.path.isdir(directory):
        raise RequestError(f"pull: {quote(os.fspath(directory))} is not a directory")
    fields: dict[str, object] = {**(source or {}), "repository": parsed.name}
    if credentials is not None:
        fields["username"], fields["password"] = credentials
    if platform:
        fields["platform"] = platform
    document = {"source": fields, "version": {"digest": str(parsed.digest)}}
    request = parse_get(json.dumps(document).encode(), os.path.realpath(directory))
    console = _Quiet(log or _ignore)
    for warning in request.source.warnings:
        console.note(f"warning: {warning}")
    try:
        result = get(request, console)
    except ResourceError as error:
        # A server may repeat what it was told, and a program may log what it catches.
        error.args, error.hint = (SECRETS.hide(error.message),), error.hint and SECRETS.hide(error.hint)
        raise
    return Pulled(rootfs=os.path.join(request.destination, PRODUCTS["rootfs"]), metadata=result.metadata)


class _Quiet(Console):
    """Writes nothing; notes go to ``log``."""

    def __init__(self, log: Log) -> None:
        super().__init__(Tally())
        self._log = log

    def note(self, message: str) -> None:
        self._log(SECRETS.hide(message))

    def done(self, message: str) -> None:
        """The caller has the result."""


def _ignore(_message: str) -> None:
    """The default of ``log``."""
