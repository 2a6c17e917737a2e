"""The list of a repository's tags, page by page (distribution spec, "Listing Tags")."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from registry_image.decode import JSONReader, parse_json
from registry_image.errors import InvalidManifest
from registry_image.net.http import Reply
from registry_image.net.origin import resolve_location

#: Tags asked for in one page: ECR refuses more, ACR gives no more, docker-registry 2.8 gives all whatever is asked.
PAGE = 1000
#: The most that is read of one page, in bytes: 200,000 names in a single one, as docker-registry sends them, fit.
MAX_PAGE_SIZE = 32 * 1024 * 1024
#: The most pages that are followed: 200,000 tags in pages of 50, which is Quay's, twice over.
MAX_PAGES = 8000
#: The most tags of one repository; the largest known has some 200,000.
MAX_TAGS = 2_000_000

#: The grammar of tags, and the ``+`` of build metadata, which it forbids and some registries keep.
_ASKABLE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,127}")
# Compiled when first used: most checks list no tags, and compiling shows in their start-up time.
# Neither goes back over what it has read when the rest does not fit: a line of 64 KiB, however made, takes no time.
_LINK = r'<([^<>]*)>((?:\s*;[^,;"<]*(?:"[^"]*")?)*)'
_RELATION = r'(?i);\s*rel\s*=(?:\s*"([^"]*)"|([^;"]*))'


def next_page(answer: Reply) -> str | None:
    """The address behind ``Link: <…>; rel="next"``, verbatim but for its base (RFC 8288): Quay's are relative, ECR's
    absolute and opaque. Raises TransportError for one that leaves TLS."""
    for line in answer.headers.all("link"):
        for target, parameters in re.findall(_LINK, line):
            relation = re.search(_RELATION, parameters)
            if relation and "next" in (relation[1] or relation[2] or "").lower().split():
                return resolve_location(answer.url, target)
    return None


def pages(first: str, get: Callable[[str], Reply], what: str) -> Iterator[Reply]:
    """The answers from ``first`` on, by their Links. Raises InvalidManifest for a list without an end."""
    url: str | None = first
    seen: set[str] = set()
    while url is not None:
        if url in seen or len(seen) >= MAX_PAGES:
            raise InvalidManifest(f"{what}: the list has no end: its pages go in a circle or are more than {MAX_PAGES}")
        seen.add(url)
        answer = get(url)
        yield answer
        url = next_page(answer)


def read_tags(answers: Iterator[Reply], what: str) -> Iterator[str]:
    """The tags in them, in order; names that nobody could ask for are left out."""
    count = 0
    for answer in answers:
        names = JSONReader(parse_json(answer.body, what), what).texts("tags")
        count += len(names)
        if count > MAX_TAGS:
            raise InvalidManifest(f"{what}: more than {MAX_TAGS} tags")
        yield from (name for name in names if _ASKABLE.fullmatch(name))
