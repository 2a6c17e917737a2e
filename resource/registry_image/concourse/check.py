"""check: lists versions, oldest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry_image.concourse.request.check import CheckRequest
from registry_image.concourse.request.source import Source
from registry_image.concourse.request.version import Cursor, Version
from registry_image.errors import NotFound, ResourceError, quote
from registry_image.oci.digest import Digest
from registry_image.progress import Listener

if TYPE_CHECKING:
    from registry_image.concourse.connect import Connection
    from registry_image.registry.repository import Repository

#: How many tags are compared with a missing one: a registry may list 200,000 on one page.
SUGGESTION_POOL = 1000
#: How many of them are compared letter by letter: with hostile tags, each takes a hundredth of a second.
MAX_COMPARED = 50
#: How many tags a message names.
MAX_SHOWN = 8
#: The log says how much of a quota is left when less than this part of it is: a fifth.
QUOTA_SHARE = 5


def check(request: CheckRequest, listener: Listener) -> list[Version]:
    """Asks the mirror first, and the origin if the mirror fails or has no version. Raises ResourceError."""
    source = request.source
    if source.verify is not None:
        # A check verifies nothing: the get of a version that nobody signed fails, where everybody sees it. But a check
        # says at once that a policy cannot be read.
        from registry_image.concourse.signatures import read_policy

        read_policy(source.verify)
    if source.digest is not None:
        return [Version(tag=source.tag or "", digest=source.digest)]
    # Imported here, as a pinned digest needs no network.
    from registry_image.concourse.connect import CHECK_PATIENCE, LIST_PATIENCE, connect

    connection = connect(source, listener, LIST_PATIENCE if source.tag is None else CHECK_PATIENCE)
    if connection.mirror is not None:
        try:
            if versions := _versions(connection.mirror, request, listener):
                return versions
            problem = f"mirror {connection.mirror.name.host} has no version"
        except ResourceError as error:
            problem = f"mirror: {error.message}"
        listener.note(f"warning: {problem}: asking {connection.origin.name.host}")
        connection.client.traffic.quota = None  # the mirror's
    versions = _versions(connection.origin, request, listener)
    if not versions:
        _report_missing(connection, source)
    _tell_quota(connection, always=source.debug)
    return versions


def _tell_quota(connection: Connection, *, always: bool) -> None:
    """A check takes part of the quota too, and nobody reads its log before pulls are refused."""
    left, limit = connection.client.traffic.quota, connection.client.traffic.limit
    if left is not None and (always or (limit is not None and left * QUOTA_SHARE < limit)):
        of = "" if limit is None else f" of {limit}"
        connection.listener.note(f"note: {connection.origin.name.host} allows {left}{of} more pulls for now")


def _versions(repository: Repository, request: CheckRequest, listener: Listener) -> list[Version]:
    source = request.source
    if source.tag is not None:
        return _tag_versions(repository, source.tag, request.version)
    from registry_image.concourse.check_tags import list_versions

    return list_versions(repository, source, request.version)


def _tag_versions(repository: Repository, tag: str, cursor: Cursor | None) -> list[Version]:
    """The tag's digest; if the tag moved, first the cursor's digest, unless that was deleted."""
    descriptor = repository.resolve(tag)
    if descriptor is None:
        return []
    newest = Version(tag=tag, digest=descriptor.digest)
    old = cursor.digest if cursor else None
    if old is None or old == newest.digest or not _exists(repository, old):
        return [newest]
    return [Version(tag=tag, digest=old), newest]


def _exists(repository: Repository, digest: Digest) -> bool:
    """A registry that fails counts as False: this question must not fail a check."""
    try:
        return repository.resolve(str(digest)) is not None
    except ResourceError:
        return False


def _report_missing(connection: Connection, source: Source) -> None:
    """Raises NotFound if the source sets ``on_missing: fail``."""
    name = connection.origin.name
    if source.tag is None:
        message = f"{name} has no tag that this source follows{_there(connection.origin)}"
    else:
        message = f"{name} has no tag {source.tag!r}{suggestion(connection.origin, source.tag)}"
    if source.on_missing == "fail":
        raise NotFound(f"check: {message}", status=404)
    connection.listener.note(message)


def _there(repository: Repository) -> str:
    """Some of the tags that there are: a variant or an expression that matches none is mostly misspelled."""
    from itertools import islice

    try:
        tags = list(islice(repository.first_tags(), SUGGESTION_POOL))
    except ResourceError:
        return ""
    shown = ", ".join(map(quote, tags[:MAX_SHOWN]))
    return f": it has {shown}{' and others' if len(tags) > MAX_SHOWN else ''}" if tags else ": it has no tag at all"


def suggestion(repository: Repository, tag: str) -> str:
    """The tags that are nearly called ``tag``, as the end of a sentence."""
    from difflib import SequenceMatcher, get_close_matches
    from heapq import nlargest
    from itertools import islice

    matcher = SequenceMatcher(b=tag)

    def shared_letters(name: str) -> float:
        matcher.set_seq1(name)
        return matcher.quick_ratio()

    try:
        likely = nlargest(MAX_COMPARED, islice(repository.first_tags(), SUGGESTION_POOL), key=shared_letters)
        near = get_close_matches(tag, likely)
    except NotFound:
        return ": there is no such repository, or it is hidden from whoever lacks the right to see it"
    except ResourceError:
        return ""
    if tag in near:
        return f": it lists the tag {tag!r}, but has no image or index of it that a get could take"
    return f": did you mean {', '.join(near)}?" if near else ""
