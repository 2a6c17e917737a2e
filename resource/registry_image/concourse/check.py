"""check: which versions there are, oldest first."""

from __future__ import annotations

from registry_image.concourse.connect import CHECK_PATIENCE, Connection, connect
from registry_image.concourse.request.check import CheckRequest
from registry_image.concourse.request.source import Source
from registry_image.concourse.request.version import Cursor, Version
from registry_image.errors import NotFound, ResourceError
from registry_image.oci.digest import Digest
from registry_image.progress import Listener
from registry_image.registry.repository import Repository

#: How many tags are looked through for names near a missing one: a page may hold all of 200,000.
NEAR_AMONG = 1000


def check(request: CheckRequest, listener: Listener) -> list[Version]:
    """Raises ResourceError. A mirror that fails or knows nothing is no reason to know nothing: then the origin says."""
    source = request.source
    if source.digest is not None:
        return [Version(tag=source.tag or "", digest=source.digest)]
    connection = connect(source, listener, CHECK_PATIENCE)
    if connection.mirror is not None:
        try:
            if versions := _versions(connection.mirror, request, listener):
                return versions
            listener.note(
                f"warning: mirror {connection.mirror.name.host} has no version: asking {connection.origin.name.host}"
            )
        except ResourceError as error:
            listener.note(f"warning: mirror: {error.message}: asking {connection.origin.name.host}")
    versions = _versions(connection.origin, request, listener)
    if not versions:
        _tell_missing(connection, source)
    return versions


def _versions(repository: Repository, request: CheckRequest, listener: Listener) -> list[Version]:
    source = request.source
    if source.tag is not None:
        return _of_tag(repository, source.tag, request.version)
    from registry_image.concourse.check_tags import follow

    return follow(repository, source, request.version)


def _of_tag(repository: Repository, tag: str, cursor: Cursor | None) -> list[Version]:
    """The tag's digest, and before it the cursor's if the tag moved and the old one can still be had."""
    found = repository.resolve(tag)
    if found is None:
        return []
    newest = Version(tag=tag, digest=found.digest)
    if cursor is None or cursor.digest is None or cursor.digest == found.digest:
        return [newest]
    if not _resolves(repository, cursor.digest):
        return [newest]
    return [Version(tag=tag, digest=cursor.digest), newest]


def _resolves(repository: Repository, digest: Digest) -> bool:
    """Whether it is still there, as far as can be told: this question never fails a check."""
    try:
        return repository.resolve(str(digest)) is not None
    except ResourceError:
        return False


def _tell_missing(connection: Connection, source: Source) -> None:
    """Says what is missing, and which tags are named like it. Raises NotFound if the source wants that."""
    name = connection.origin.name
    if source.tag is None:
        message = f"{name} has no tag that this source follows"
    else:
        message = f"{name} has no tag {source.tag!r}{_near(connection.origin, source.tag)}"
    if source.on_missing == "fail":
        raise NotFound(f"check: {message}", status=404)
    connection.listener.note(message)


def _near(repository: Repository, tag: str) -> str:
    from difflib import get_close_matches
    from itertools import islice

    try:
        near = get_close_matches(tag, islice(repository.first_tags(), NEAR_AMONG))
    except NotFound:
        return ": there is no such repository, or these credentials may not see it"
    except ResourceError:
        return ""
    return f": did you mean {', '.join(near)}?" if near else ""
