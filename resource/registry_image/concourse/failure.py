"""What the text of a failed step lacks. Imported only after a failure."""

from __future__ import annotations

from registry_image.concourse.request.source import Source
from registry_image.errors import DigestMismatch, RequestError, ResourceError, SizeMismatch

_VERBS = {"in": "get", "out": "put"}
_SERVED = (
    "try again; if it stays, the registry or a proxy in front of it serves damaged bytes: push the image again, or see "
    "`registry_mirror` and the worker's proxies"
)
_GIVEN = "the image to push is damaged: build or save it again, or, with `from`, push it to its repository again"


def complete(error: ResourceError, step: str, source: Source) -> None:
    """Puts the step, the repository and its host in front of the text of ``error`` unless they are in it."""
    if isinstance(error, RequestError):
        return  # about the request itself
    verb = _VERBS.get(step, step)
    # A bare ECR name has no host of its own: only AWS knows it, and errors of AWS name the service.
    name = source.name if source.clouds is not None else str(source.repository)
    if name not in error.message:
        error.args = (f"{verb} {name}: {error.message.removeprefix(f'{verb}: ')}",)
    elif not error.message.startswith((f"{verb}:", f"{verb} ")):
        error.args = (f"{verb}: {error.message}",)
    if isinstance(error, DigestMismatch | SizeMismatch):
        error.hint = error.hint or (_GIVEN if step == "out" else _SERVED)
