"""Look-ups in parallel: the digests of tags, the creation times of images."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import date
from typing import TypeAlias

from registry_image.decode import LARGE
from registry_image.errors import InvalidManifest, NoMatchingPlatform, UnsupportedMediaType, quote
from registry_image.oci.content import ContentReader, RepositoryReader
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Buffer, Digest
from registry_image.oci.manifest import Index, Manifest
from registry_image.oci.platform import Platform
from registry_image.record import EMPTY
from registry_image.transfer.workers import parallel_map

#: Look-ups at once. At some 40 ms each that is 400 a second, which registries bear. The connection pool is as large.
MAX_LOOKUPS = 16
#: RFC 3339, 5.6, as Go writes and reads it: any number of decimals, of which nine count.
_TIME = (
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9])(?:\.([0-9]+))?"
    r"(?:Z|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))"
)
#: Seconds since the year 1 began in UTC, and nanoseconds.
Moment: TypeAlias = tuple[int, int]
#: Go's zero time; a config without a time counts as that.
NEVER: Moment = (0, 0)


def digest_of(reader: RepositoryReader, tag: str) -> Digest | None:
    """None if there is no such tag."""
    found = reader.resolve(tag)
    return found.digest if found is not None else None


def resolve_tags(
    reader: RepositoryReader, tags: Sequence[str], known: Mapping[str, Digest | None] = EMPTY
) -> dict[str, Digest]:
    """The digest of each tag, in the order of ``tags``; tags that no longer exist are left out. ``known`` has digests,
    and None for tags that do not exist, that were looked up before.

    Raises what ``reader`` raises: a result without one tag would hide a version.
    """

    def look_up(tag: str) -> Digest | None:
        return known[tag] if tag in known else digest_of(reader, tag)

    digests = parallel_map(look_up, tags, MAX_LOOKUPS)
    return {tag: digest for tag, digest in zip(tags, digests, strict=True) if digest is not None}


def creation_times(reader: ContentReader, digests: Iterable[Digest], platform: Platform) -> dict[Digest, Moment]:
    """The creation time of the image for ``platform`` at each digest, looked up once; NEVER where there is none, as in
    a Helm chart.

    Raises what ``reader`` raises, and InvalidManifest for an invalid document or time.
    """
    # Imported here, as only checks that sort by time need it.
    from registry_image.transfer.select import select_image

    distinct = list(dict.fromkeys(digests))

    def created(source: ContentReader, digest: Digest) -> Moment:
        try:
            text = select_image(source, source.manifest(digest), platform).config.created
        except (NoMatchingPlatform, UnsupportedMediaType):
            return NEVER
        return parse_moment(text, f"image {digest}: created") if text else NEVER

    def created_if_small(digest: Digest) -> Moment | None:
        try:
            return created(_SmallDocuments(reader), digest)
        except _Large:
            return None

    times = dict(zip(distinct, parallel_map(created_if_small, distinct, MAX_LOOKUPS), strict=True))
    # Each takes a hundred times the memory of a real image's documents, so there is only one of them at a time.
    return {digest: created(reader, digest) if time is None else time for digest, time in times.items()}


class _Large(Exception):
    """A document that is not read beside others."""


class _SmallDocuments:
    """A ContentReader: ``reader``, for documents of at most LARGE bytes. Raises _Large for others."""

    def __init__(self, reader: ContentReader) -> None:
        self._reader = reader

    def manifest(self, digest: Digest) -> Manifest | Index:
        manifest = self._reader.manifest(digest)
        if len(manifest.raw) > LARGE:
            raise _Large
        return manifest

    def blob(self, descriptor: Descriptor) -> AbstractContextManager[Iterator[Buffer]]:
        if descriptor.size > LARGE:
            raise _Large
        return self._reader.blob(descriptor)


def parse_moment(text: str, what: str) -> Moment:
    """Raises InvalidManifest, naming ``what``, unless ``text`` is a time of RFC 3339."""
    match = re.fullmatch(_TIME, text)
    try:
        if match is None:
            raise ValueError("not a time of RFC 3339")
        year, month, day, hour, minute, second = map(int, match.group(1, 2, 3, 4, 5, 6))
        days = date(year, month, day).toordinal() - 1
    except ValueError as error:
        raise InvalidManifest(f"{what}: {quote(text)}: {error}") from error
    ahead = int(match[9]) * 60 + int(match[10]) if match[8] else 0
    minutes = (days * 24 + hour) * 60 + minute + (ahead if match[8] == "-" else -ahead)
    return minutes * 60 + second, int((match[7] or "").ljust(9, "0")[:9])
