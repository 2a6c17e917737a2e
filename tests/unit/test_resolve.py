"""Creation times of images, and of what is no image."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_image.decode import LARGE
from registry_image.errors import InvalidManifest
from registry_image.oci.digest import Digest
from registry_image.oci.platform import Platform
from registry_image.transfer.resolve import NEVER, creation_times, parse_moment
from tests.support import images
from tests.support.memory import MemoryReader

moments = st.datetimes(
    timezones=st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(
        lambda d: timezone(d - d % timedelta(minutes=1))
    )
)


@given(moments, moments)
def test_times_compare_as_moments_whatever_their_offset(one: datetime, other: datetime) -> None:
    first, second = parse_moment(one.isoformat(), "created"), parse_moment(other.isoformat(), "created")
    assert (first < second, first == second) == (one < other, one == other)


def test_nine_decimals_count() -> None:
    texts = ["0.123456788Z", "0.1234567889Z", "0.123456789Z", "0.12345679Z", "0.2Z", "1Z"]
    parsed = [parse_moment(f"2024-02-29T23:59:5{text}", "created") for text in texts]
    assert parsed == sorted(parsed)
    assert parsed[0] == parsed[1]


def test_a_missing_time_is_the_earliest() -> None:
    assert parse_moment("0001-01-01T00:00:00Z", "created") == NEVER
    assert (
        parse_moment("1970-01-01T00:00:00Z", "created")[0]
        == datetime(1970, 1, 1, tzinfo=UTC).toordinal() * 86400 - 86400
    )


@pytest.mark.parametrize(
    "text",
    [
        *("yesterday", "2024-01-01", "2024-01-01 00:00:00Z", "2024-01-01T00:00:00", "2024-02-30T00:00:00Z"),
        *("2024-01-01T24:00:00Z", "2024-01-01T00:00:60Z", "2024-01-01T00:00:00+24:00", "2024-01-01T00:00:00Z\n"),
        *("0000-01-01T00:00:00Z", "2024-01-01T00:00:00.Z", "2024-01-01t00:00:00z"),
    ],
)
def test_an_invalid_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidManifest, match="created"):
        parse_moment(text, "created")


CHART = images.manifest_of(images.blob(b"{}", "application/vnd.cncf.helm.config.v1+json"), [])
TIMELESS = images.image(created=None, os="linux", architecture="amd64")
DATED = images.image(created="2024-01-01T00:00:00Z", os="linux", architecture="amd64")
ELSEWHERE = images.index(images.on(DATED, "s390x"))


@pytest.mark.parametrize("content", [CHART, ELSEWHERE, images.index(CHART), TIMELESS])
def test_what_is_no_image_for_the_platform_or_has_no_time_comes_first(content: images.Content) -> None:
    reader = MemoryReader(content, DATED)
    digests = [Digest.parse(each.digest) for each in (DATED, content)]
    times = creation_times(reader, digests, Platform("linux", "amd64"))
    assert times[digests[1]] == NEVER < times[digests[0]]


def test_a_broken_document_is_still_an_error() -> None:
    broken = images.manifest_of(images.blob(b"[]", DATED.blobs[0].media_type), [])
    with pytest.raises(InvalidManifest, match="expected an object"):
        creation_times(MemoryReader(broken), [Digest.parse(broken.digest)], Platform("linux", "amd64"))


@pytest.mark.parametrize("large", ["manifest", "config"])
def test_large_documents_have_their_times_too(large: str) -> None:
    padding = "x" * LARGE
    content = images.image(author=padding if large == "config" else "", created="2024-01-01T00:00:00Z")
    if large == "manifest":
        content = images.manifest_of(content.blobs[0], content.blobs[1:], annotations={"padding": padding})
    digest = Digest.parse(content.digest)
    times = creation_times(MemoryReader(content), [digest], Platform("linux", images.ARCHITECTURE))
    assert times[digest] == parse_moment("2024-01-01T00:00:00Z", "created")
