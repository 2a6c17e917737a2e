"""When images were made, by their configs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from typing import TypeAlias

from registry_image.errors import InvalidManifest, quote
from registry_image.oci.content import ContentReader
from registry_image.oci.digest import Digest
from registry_image.oci.platform import Platform
from registry_image.progress import Silence
from registry_image.transfer.resolve import look_up
from registry_image.transfer.select import select_image

#: RFC 3339, 5.6, as Go writes and reads it: any number of decimals, of which nine count.
_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9])(?:\.([0-9]+))?"
    r"(?:Z|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))"
)
#: Seconds since the year 1 began in UTC, and nanoseconds.
Moment: TypeAlias = tuple[int, int]
#: What Go's encoder writes for no time; a config without one counts as that.
NEVER: Moment = (0, 0)


def creation_times(reader: ContentReader, digests: Iterable[Digest], platform: Platform) -> dict[Digest, Moment]:
    """When the image for ``platform`` behind each digest was made; each is asked for once.

    Raises what ``reader`` and `select_image` raise, and InvalidManifest for a time that is none.
    """
    distinct = list(dict.fromkeys(digests))

    def created(digest: Digest) -> Moment:
        text = select_image(reader, digest, platform, Silence()).image.config.created
        return parse_moment(text, f"image {digest}: created") if text else NEVER

    return dict(zip(distinct, look_up(created, distinct), strict=True))


def parse_moment(text: str, what: str) -> Moment:
    """Raises InvalidManifest, naming ``what``, unless ``text`` is a time of RFC 3339."""
    match = _TIME.fullmatch(text)
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
