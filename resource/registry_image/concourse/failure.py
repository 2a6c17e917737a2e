"""What the text of a failed step lacks. Imported only after a failure."""

from __future__ import annotations

import re

from registry_image.auth.ecrhost import is_ecr
from registry_image.concourse.request.source import Source
from registry_image.errors import (
    DigestMismatch,
    NoMatchingPlatform,
    NotAnImage,
    NotFound,
    RateLimited,
    RequestError,
    ResourceError,
    SizeMismatch,
)

_VERBS = {"in": "get", "out": "put"}
_SERVED = (
    "try again; if it stays, the registry or a proxy in front of it serves damaged bytes: push the image again, or see "
    "the worker's proxies"
)
_GIVEN = (
    "the image to push is damaged: build or save it again; with `from`, try again, and if it stays, push the image to "
    "its repository again"
)
_CREATE = "`create_repository: true` in params creates it"
_PLATFORM = "set `platform` to one of these (params of the get go before source)"
_PLATFORMS = "`params.platforms` takes the platforms that are there"
_ARTIFACT = "to get an artifact, set `format: oci-layout`, or `skip_download: true`"


def complete(error: ResourceError, step: str, source: Source) -> None:
    """Puts the step, the repository and its host in front of the text of ``error`` unless they are in it."""
    if isinstance(error, RequestError):
        return  # about the request itself
    verb = _VERBS.get(step, step)
    # A bare ECR name has no host of its own: only AWS knows it, and errors of AWS name the service.
    name = source.name if source.clouds is not None else str(source.repository)
    # A bare name may be short: "app.example" and "apps" do not name "app", the full name of ECR does.
    is_own = re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w/-]|\.\w)", error.message) is not None
    if not is_own:
        error.args = (f"{verb} {name}: {error.message.removeprefix(f'{verb}: ')}",)
    elif not error.message.startswith((f"{verb}:", f"{verb} ")):
        error.args = (f"{verb}: {error.message}",)
    error.hint = _hint(error, step, source)
    if (
        is_own
        and step == "out"
        and isinstance(error, NotFound)
        and error.code == "NAME_UNKNOWN"
        and _may_create(source)
    ):
        error.hint = f"{error.hint}; {_CREATE}"


def _may_create(source: Source) -> bool:
    """Whether `create_repository` works: where we log in to ECR ourselves."""
    aws = source.clouds is not None and bool(source.clouds.aws.region)
    return aws or (source.credentials is None and is_ecr(source.repository.host))


def _hint(error: ResourceError, step: str, source: Source) -> str | None:
    """What only the step and the source tell."""
    if isinstance(error, DigestMismatch | SizeMismatch):
        return error.hint or (_GIVEN if step == "out" else _SERVED)
    if isinstance(error, RateLimited) and step != "out" and source.repository.host not in source.registry_mirrors:
        field = "`registry_mirror`" if source.repository.is_docker_hub else "`registry_mirrors`"
        return f"{error.hint}; a mirror would take requests off it ({field})"
    if isinstance(error, NoMatchingPlatform) and error.available:
        return _PLATFORM if step == "in" else _PLATFORMS
    if step == "in" and isinstance(error, NotAnImage):
        return _ARTIFACT
    return error.hint
