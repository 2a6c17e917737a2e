"""The list of a repository's tags, page by page (distribution spec, "Listing Tags")."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from registry_image.decode import JSONReader
from registry_image.errors import InvalidManifest, NotFound
from registry_image.net.http import Reply
from registry_image.net.origin import resolve_location

#: Tags asked for in one page: ECR refuses more, ACR gives no more, docker-registry 2 gives all (distribution#1936).
PAGE = 1000
#: The most that is read of one page, in bytes; enough for 200,000 names in one page of docker-registry 2.
MAX_PAGE_SIZE = 32 * 1024 * 1024
#: The most pages that are followed: twice as many as 200,000 tags need in pages of 50, as at Quay.
MAX_PAGES = 8000
#: The most tags of one repository; the largest known has some 200,000.
MAX_TAGS = 2_000_000
#: The most bytes of all pages of one list of tags: each of the most tags may be as long as a tag can be.
MAX_LIST_SIZE = 288 * 1024 * 1024

#: Seconds without a byte of a page: a registry collects 200,000 tags before it sends the first.
FIRST_BYTE_TIMEOUT = 60.0

#: The grammar of tags, and ``+``, which it forbids but some registries keep, for build metadata.
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,127}")
# Compiled when first used: most checks list no tags, and compiling slows their start.
# Neither expression backtracks, so a hostile 64 KiB header costs linear time.
_LINK = r'<([^<>]*)>((?:\s*;[^,;"<]*(?:"[^"]*")?)*)'
_RELATION = r'(?i);\s*rel\s*=(?:\s*"([^"]*)"|([^;"]*))'


def next_page(reply: Reply, what: str = "list tags") -> str | None:
    """The absolute address of ``Link: <…>; rel="next"`` (RFC 8288); Quay's is relative (distribution#2448).

    A Link without a relation counts, as for go-containerregistry and oras, which read none: the list would seem to end.
    Raises TransportError for an address that leaves TLS.
    """
    for line in reply.headers.all("link"):
        for target, parameters in re.findall(_LINK, line):
            relation = re.search(_RELATION, parameters)
            relations = (relation[1] or relation[2] or "").lower().split() if relation else ["next"]
            if target and "next" in relations:
                return resolve_location(reply.url, target, what)
    return None


def pages(first: str, get: Callable[[str], Reply], what: str, limit: int = MAX_LIST_SIZE) -> Iterator[Reply]:
    """Follows Links from ``first`` on. Raises what ``get`` raises, and InvalidManifest for a list without an end, for a
    further page that is missing, and for pages that have more than ``limit`` bytes in total."""
    url: str | None = first
    seen: set[int] = set()  # hashes: a registry may send addresses of 64 KiB
    size = 0
    while url is not None:
        if hash(url) in seen or len(seen) >= MAX_PAGES:
            raise InvalidManifest(f"{what}: the list has no end: its pages go in a circle or are more than {MAX_PAGES}")
        try:
            reply = get(url)
        except NotFound as error:
            if not seen:
                raise
            # The first page was there, so this does not say that there is nothing to list.
            raise InvalidManifest(f"{what}: a further page is missing: {error.message}") from error
        seen.add(hash(url))
        size += len(reply.body)
        if size > limit:
            raise InvalidManifest(f"{what}: the pages of the list have more than {limit} bytes in total")
        yield reply
        url = next_page(reply, what)


def read_tags(replies: Iterator[Reply], what: str) -> Iterator[str]:
    """The tags in order, without invalid names."""
    count = 0
    for reply in replies:
        names = JSONReader.parse(reply.body, what, max_values=MAX_TAGS).texts("tags")
        count += len(names)
        if count > MAX_TAGS:
            raise InvalidManifest(f"{what}: more than {MAX_TAGS} tags")
        yield from (name for name in names if _TAG.fullmatch(name))
