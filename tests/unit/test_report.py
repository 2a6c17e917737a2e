"""The words of the lines that stay in a build log."""

from __future__ import annotations

from registry_image.concourse.report import MAX_TAGS, count, pushed, short, tag_lines
from registry_image.oci.digest import Digest
from registry_image.transfer.copy import Copied

NEW = Digest.of(b"new")
OLD = Digest.of(b"old")


def test_a_digest_is_shown_by_its_first_digits() -> None:
    assert short(NEW) == f"{str(NEW)[:19]}…"


def test_one_is_singular() -> None:
    assert [count(number, "layer") for number in (0, 1, 2)] == ["0 layers", "1 layer", "2 layers"]


def test_each_tag_says_where_it_was() -> None:
    assert tag_lines(NEW, {"1.2": None, "latest": OLD}) == [
        f"tag 1.2: new, now {short(NEW)}",
        f"tag latest: moved from {short(OLD)}, now {short(NEW)}",
    ]


def test_many_tags_make_no_wall() -> None:
    lines = tag_lines(NEW, {f"tag-{number}": None for number in range(200)})
    assert len(lines) == MAX_TAGS + 1
    assert lines[-1] == f"and {200 - MAX_TAGS} more tags"


def test_the_last_line_of_a_put_counts() -> None:
    copied = Copied(bytes_uploaded=4_900_000, blobs_uploaded=3, blobs_reused=6)
    assert pushed(NEW, ["1.2"], copied, 29) == f"1.2 at {short(NEW)}; 3 of 9 blobs sent, 4.9 MB; 29 requests"
    assert pushed(NEW, ["1", "2"], Copied(), 1) == f"2 tags at {short(NEW)}; nothing sent; 1 request"
    assert pushed(NEW, [], Copied(), 1) == "no tag was moved; nothing sent; 1 request"
