"""Everything that can go wrong, split by who must act.

    ResourceError                 the pipeline's author reads it: one clear text, exit 1, no traceback
    ├── RequestError              the request on stdin: its JSON, a field, a combination of fields
    ├── TransportError            no answer: DNS, connection, TLS, proxy, stall (retryable unless said)
    ├── RegistryError             an answer that says no
    │   ├── NotFound              404: no such repository, tag, manifest or blob
    │   ├── Unauthorized          401, 403: who we are is not enough
    │   ├── RateLimited           429 (retryable)
    │   └── Unavailable           5xx (retryable)
    ├── AuthError                 no credentials could be had: token server, cloud, half a pair
    ├── ContentError              what came is not what was promised: permanent, whoever sent it
    │   ├── DigestMismatch
    │   ├── SizeMismatch
    │   ├── InvalidManifest       a manifest, index or config that breaks its specification
    │   ├── UnsupportedMediaType
    │   └── NoMatchingPlatform
    ├── ExtractionError           the layers cannot be laid out
    │   ├── UnsafePath            a name or link that climbs out, or is empty
    │   ├── InvalidWhiteout
    │   ├── CorruptLayer          compression or tar that breaks its format
    │   └── StorageError          the disk below us: full, read-only, refusing
    └── SignatureError

Messages read *what we were doing: what was wrong: expected, got*. Text that a user or a server wrote goes in
through ``repr`` (`quote`), secrets never go in. Any other exception that reaches the top is a bug of ours:
traceback, exit 70.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from errno import EDQUOT, EIO, EMFILE, ENOSPC

#: How much of somebody else's text a message repeats, in characters: enough to recognise it, too little to flood a log.
QUOTE_LIMIT = 200


def quote(text: str | bytes, *, limit: int = QUOTE_LIMIT) -> str:
    """Somebody else's text, made harmless to print: one line, in quotes, controls escaped, cut to ``limit``."""
    shown = text.decode("utf-8", "backslashreplace") if isinstance(text, bytes) else text
    return repr(shown if len(shown) <= limit else shown[:limit] + "…")


class ResourceError(Exception):
    """A failure whose text is meant for the author of a pipeline.

    ``hint`` is what they can do about it. ``retryable`` says whether the same call may succeed later; it is set by
    where the failure came from, never by looking at its text.
    """

    retryable = False

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint

    @property
    def message(self) -> str:
        return str(self.args[0])


class RequestError(ResourceError):
    """The request cannot be carried out as it was written."""


class TransportError(ResourceError):
    """No whole answer came. ``retryable`` is false where trying again cannot help (TLS, a refused redirect)."""

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
    """404: there is no such repository, tag, manifest or blob, or we may not know of it."""


class Unauthorized(RegistryError):
    """401 or 403, after every means of logging in was tried."""


class RateLimited(RegistryError):
    """429: too many requests, for now."""

    retryable = True


class Unavailable(RegistryError):
    """5xx: the registry is in trouble of its own."""

    retryable = True


class AuthError(ResourceError):
    """No usable credentials: the token server or the cloud said no, or the request holds half a pair."""


class ContentError(ResourceError):
    """What came is not what was promised. Permanent: the same bytes would come again."""


class DigestMismatch(ContentError):
    """The bytes of ``what`` do not hash to the digest they were asked for by."""

    def __init__(self, what: str, *, expected: str, actual: str) -> None:
        super().__init__(f"{what}: digest mismatch: expected {expected}, got {actual}")


class SizeMismatch(ContentError):
    """``what`` is longer or shorter, in bytes, than its descriptor says. ``actual`` may be a text such as "more"."""

    def __init__(self, what: str, *, expected: int, actual: int | str) -> None:
        super().__init__(f"{what}: size mismatch: expected {expected} bytes, got {actual}")


class InvalidManifest(ContentError):
    """A manifest, an index, a config or a layout that breaks its specification, or one of our bounds."""


class UnsupportedMediaType(ContentError):
    """Content of a kind that this operation does not know, such as a Docker schema 1 manifest."""


class NoMatchingPlatform(ContentError):
    """An index holds nothing for the wanted platform; the message lists what it holds."""

    def __init__(self, what: str, *, wanted: str, available: list[str]) -> None:
        there = ", ".join(available) if available else "nothing with a platform"
        super().__init__(
            f"{what}: no image for platform {wanted}: there is {there}",
            hint="set `platform` in source or params to one of these",
        )
        self.available = available


class ExtractionError(ResourceError):
    """The layers cannot be laid out as a root filesystem."""


class UnsafePath(ExtractionError):
    """A name or a link target that climbs above the root, or that no file can have (layers.md 17, 21, 27)."""


class InvalidWhiteout(ExtractionError):
    """A whiteout that hides nothing nameable (layers.md 31)."""


class CorruptLayer(ExtractionError):
    """A layer's compression or tar breaks its format. Never retried: the same bytes would come (rule 8)."""


#: What helps whatever was being read or written.
_DISK_HINTS = {
    ENOSPC: "free space, or inodes (`df -i`), on the volume of the build's files",
    EDQUOT: "raise the quota of the volume of the build's files",
    EMFILE: "raise the limit of open files (`ulimit -n`)",
    EIO: "the disk reports a failure: see the kernel's log",
}


class StorageError(ExtractionError):
    """The disk below us refuses: full, read-only, quota, an immutable file. ``errno`` says which."""

    def __init__(self, message: str, *, errno: int | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint or _DISK_HINTS.get(errno or 0))
        self.errno = errno


def storage_error(error: OSError, doing: str, hints: Mapping[int, str] = _DISK_HINTS) -> StorageError:
    """``doing`` and what the disk said to it. ``hints``, by errno, go before the general ones."""
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
    """Ends a thread whose work nobody needs any more, as when another thread has failed. It is never reported."""
