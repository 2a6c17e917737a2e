"""Everything that can go wrong, split by who must act.

    ResourceError                 the pipeline's author reads it: one clear text, exit 1, no traceback
    ├── RequestError              the request on stdin: its JSON, a field, a combination of fields
    ├── TransportError            no answer: DNS, connection, TLS, proxy, stall (retryable unless said)
    ├── RegistryError             an answer that says no
    │   ├── NotFound              404: no such repository, tag, manifest or blob
    │   ├── Unauthorized          401, 403: who we are is not enough
    │   ├── RateLimited           429 (retryable)
    │   └── Unavailable           5xx (retryable)
    ├── AuthError                 no usable credentials: token server, cloud, a username without a password
    ├── ContentError              content is not what was promised: trying again does not help
    │   ├── DigestMismatch
    │   ├── SizeMismatch
    │   ├── InvalidManifest       a manifest, index or config that breaks its specification
    │   ├── UnsupportedMediaType
    │   │   └── NotAnImage        an artifact, where an image is wanted
    │   └── NoMatchingPlatform
    ├── ExtractionError           the layers cannot be unpacked
    │   ├── UnsafePath            a name or link that climbs out, or is empty
    │   ├── InvalidWhiteout
    │   ├── CorruptLayer          compression or tar that breaks its format
    │   └── StorageError          the disk: full, read-only, refusing
    └── SignatureError

Messages read *what we were doing: what was wrong: expected, got*. Text that a user or a server wrote goes in
through ``repr`` (`quote`), secrets never go in. Any other exception that reaches the top is a bug of ours:
traceback, exit 70.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from errno import EDQUOT, EIO, EMFILE, ENOSPC

#: The most characters of untrusted text in a message: enough to recognise it, too little to flood a log.
QUOTE_LIMIT = 200


def quote(text: str | bytes, *, limit: int = QUOTE_LIMIT) -> str:
    """Untrusted text, made harmless to print: one line, in quotes, controls escaped, cut to ``limit`` characters."""
    shown = text.decode("utf-8", "backslashreplace") if isinstance(text, bytes) else text
    return repr(shown if len(shown) <= limit else shown[:limit] + "…")


def bare(text: str, *, limit: int = QUOTE_LIMIT) -> str:
    """`quote` without the quotation marks, for names that are ordinary almost always."""
    return quote(text, limit=limit)[1:-1]


class ResourceError(Exception):
    """A failure whose text is meant for the author of a pipeline.

    ``hint`` is what they can do about it. ``retryable`` says whether the same call may succeed later: it depends on
    where the failure came from, never on its text.
    """

    retryable = False

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint

    @property
    def message(self) -> str:
        return str(self.args[0])


class RequestError(ResourceError):
    """The request cannot be carried out as it was written. ``others`` are further mistakes in it."""

    def __init__(self, message: str, *, hint: str | None = None, others: Sequence[RequestError] = ()) -> None:
        super().__init__(message, hint=hint)
        self.others = tuple(others)


class TransportError(ResourceError):
    """No complete answer came. ``retryable`` is false where trying again cannot help (TLS, a refused redirect)."""

    def __init__(self, message: str, *, hint: str | None = None, retryable: bool = True) -> None:
        super().__init__(message, hint=hint)
        self.retryable = retryable


class RegistryError(ResourceError):
    """A registry answered, and the answer was no.

    ``status`` is the HTTP status; ``code`` the first code of the registry's error body (``NAME_UNKNOWN``), or "";
    ``retry_after`` the wait that the registry asked for, in seconds, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str = "",
        hint: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.code = code
        self.retry_after = retry_after


class NotFound(RegistryError):
    """404: there is no such repository, tag, manifest or blob, or we are not allowed to see it."""


class Unauthorized(RegistryError):
    """401 or 403, after every means of logging in was tried."""


class RateLimited(RegistryError):
    retryable = True


class Unavailable(RegistryError):
    retryable = True


class AuthError(ResourceError):
    """No usable credentials: the token server or the cloud refused, or a username lacks its password."""


class ContentError(ResourceError):
    """Content is not what was promised. Permanent: the same bytes would come again."""


class DigestMismatch(ContentError):
    """The bytes of ``what`` do not hash to the expected digest."""

    def __init__(self, what: str, *, expected: str, actual: str, hint: str | None = None) -> None:
        super().__init__(f"{what}: digest mismatch: expected {expected}, got {actual}", hint=hint)


class SizeMismatch(ContentError):
    """``what`` is longer or shorter, in bytes, than its descriptor says. ``actual`` may be a text such as "more"."""

    def __init__(self, what: str, *, expected: int, actual: int | str) -> None:
        super().__init__(f"{what}: size mismatch: expected {expected} bytes, got {actual}")


class InvalidManifest(ContentError):
    """A manifest, an index, a config or a layout that breaks its specification, or one of our bounds."""


class UnsupportedMediaType(ContentError):
    """Content of a kind that this operation does not support, such as a Docker schema 1 manifest."""


class NotAnImage(UnsupportedMediaType):
    """An artifact, such as a Helm chart, where an image is wanted."""


class NoMatchingPlatform(ContentError):
    """An index, or a single image to promote, has nothing for the wanted platform; the message lists what it has."""

    def __init__(self, what: str, *, wanted: str, available: list[str]) -> None:
        listed = ", ".join(available) or "nothing with a platform"
        super().__init__(f"{what}: no image for platform {wanted}: there is {listed}")
        self.available = available


class ExtractionError(ResourceError):
    """The layers cannot be unpacked into a root filesystem."""


class UnsafePath(ExtractionError):
    """A name or a link target that climbs above the root, or is invalid for any file (layers.md 17, 21, 27)."""


class InvalidWhiteout(ExtractionError):
    """A whiteout that hides no valid name (layers.md 31)."""


class CorruptLayer(ExtractionError):
    """A layer's compression or tar breaks its format. Never retried: the same bytes would come again (layers.md 8)."""


#: Advice by errno, whatever was being read or written.
_DISK_HINTS = {
    ENOSPC: "free space, or inodes (`df -i`), on the worker's disk",
    EDQUOT: "raise the quota of the worker's volume",
    EMFILE: "raise the limit of open files (`ulimit -n`)",
    EIO: "the disk reports a failure: see the kernel's log",
}


class StorageError(ExtractionError):
    """The disk refuses: full, read-only, quota, an immutable file. ``errno`` says which."""

    def __init__(self, message: str, *, errno: int | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint or _DISK_HINTS.get(errno or 0))
        self.errno = errno


def storage_error(error: OSError, doing: str, hints: Mapping[int, str] = _DISK_HINTS) -> StorageError:
    """A StorageError for ``error`` while ``doing``. ``hints``, by errno, take precedence over the general ones."""
    reason = error.strerror or str(error)
    return StorageError(f"{doing}: {reason}", errno=error.errno, hint=hints.get(error.errno or 0))


@contextmanager
def storage_errors(doing: str, hints: Mapping[int, str] = _DISK_HINTS) -> Iterator[None]:
    """Raises `storage_error` for an OSError inside.

    >>> with storage_errors("writing 'image.tar'"):
    ...     os.write(descriptor, data)
    StorageError: writing 'image.tar': No space left on device
    """
    try:
        yield
    except OSError as error:
        raise storage_error(error, doing, hints) from error


class SignatureError(ResourceError):
    """A signature is missing where one is required, or does not verify."""


class Cancelled(Exception):
    """Ends a thread whose work is no longer needed, as after another thread has failed. It is never reported."""
