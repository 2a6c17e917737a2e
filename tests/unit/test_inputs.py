"""Paths and globs of a put's params: Go's patterns, exactly one match, never outside the artifacts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from registry_image.concourse.inputs import find_one, read_artifact
from registry_image.errors import ContentError, RequestError


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    root = tmp_path / "put"
    for name in ("image/image.tar", "image/other.txt", "image/.hidden", "image/[x].tar", "more/a1.tar", "more/b2.tar"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (tmp_path / "outside.tar").write_text("outside")
    return root


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("image/image.tar", "image/image.tar"),
        ("./image//image.tar", "image/image.tar"),
        ("/image/image.tar", "image/image.tar"),
        ("more/../image/image.tar", "image/image.tar"),
        ("image", "image"),
        ("i*", "image"),
        ("imag?/", "image"),
        ("im*/im*", "image/image.tar"),
        ("image/image.???", "image/image.tar"),
        ("*/[a-c]1.tar", "more/a1.tar"),
        ("*/[^a]?.tar", "more/b2.tar"),
        ("image/.h*", "image/.hidden"),
        ("image/*hidden", "image/.hidden"),
        (r"image/\[x\].tar", "image/[x].tar"),
        (r"image/[\[]x*", "image/[x].tar"),
    ],
)
def test_a_pattern_finds_its_one_match(artifacts: Path, pattern: str, found: str) -> None:
    assert find_one(str(artifacts), pattern, "params.image") == found


def test_no_match_lists_the_directory_that_was_searched(artifacts: Path) -> None:
    for pattern in ("more/nothing.tar", "mor?/*.tgz"):
        with pytest.raises(RequestError, match=r"params\.image: nothing matches .*: 'more' has 'a1.tar', 'b2.tar'$"):
            find_one(str(artifacts), pattern, "params.image")


def test_no_match_lists_nothing_outside(artifacts: Path) -> None:
    (artifacts / "away").symlink_to(artifacts.parent)
    with pytest.raises(RequestError, match="'away' is a symbolic link that leads out"):
        find_one(str(artifacts), "away/*.tgz", "params.image")


@pytest.mark.parametrize("pattern", ["*/x*.tar", "*.tar", "image/image.tar/*", "IMAGE"])
def test_no_match_lists_the_artifacts(artifacts: Path, pattern: str) -> None:
    with pytest.raises(RequestError, match=r"params\.image: nothing matches .*: the put was given 'image', 'more'"):
        find_one(str(artifacts), pattern, "params.image")


def test_a_put_without_artifacts_is_told_that_it_was_given_none(tmp_path: Path) -> None:
    # Concourse mounts what the parameters name: the build may have made other artifacts.
    with pytest.raises(RequestError, match=r"nothing matches 'image/image.tar': the put was given nothing$") as found:
        find_one(str(tmp_path), "image/image.tar", "params.image")
    with pytest.raises(RequestError, match=r"no file 'image/tags': the put was given nothing$") as read:
        read_artifact(str(tmp_path), "image/tags", "params.additional_tags", 100)
    for raised in (found, read):
        assert raised.value.hint is not None
        assert "an earlier step got or made" in raised.value.hint


def test_a_file_that_an_artifact_lacks_brings_no_hint_about_artifacts(artifacts: Path) -> None:
    with pytest.raises(RequestError, match="no file 'image/tags': 'image' has ") as read:
        read_artifact(str(artifacts), "image/tags", "params.additional_tags", 100)
    assert read.value.hint is None


def test_several_matches_are_listed(artifacts: Path) -> None:
    with pytest.raises(RequestError, match=r"2 files match 'more/\*', expected one: 'more/a1.tar', 'more/b2.tar'"):
        find_one(str(artifacts), "more/*", "params.image")


@pytest.mark.parametrize("pattern", ["../outside.tar", "image/../../outside.tar", "", ".", "/"])
def test_paths_out_of_the_artifacts_are_refused(artifacts: Path, pattern: str) -> None:
    with pytest.raises(RequestError, match="is not a path inside the artifacts of the build"):
        find_one(str(artifacts), pattern, "params.image")
    with pytest.raises(RequestError, match="is not a path inside the artifacts of the build"):
        read_artifact(str(artifacts), pattern, "params.additional_tags", 100)


def test_links_out_of_the_artifacts_are_refused(artifacts: Path) -> None:
    (artifacts / "image" / "link.tar").symlink_to("../../outside.tar")
    (artifacts / "away").symlink_to(artifacts.parent)
    for path in ("image/link.tar", "away/outside.tar", "away/*.tar"):
        with pytest.raises(RequestError, match="is a symbolic link that leads out"):
            find_one(str(artifacts), path, "params.image")
    with pytest.raises(RequestError, match="is a symbolic link that leads out"):
        read_artifact(str(artifacts), "image/link.tar", "params.additional_tags", 100)


def test_links_from_one_artifact_to_another_are_followed(artifacts: Path) -> None:
    (artifacts / "more" / "link.tar").symlink_to("../image/image.tar")
    assert find_one(str(artifacts), "more/link.tar", "params.image") == "more/link.tar"
    assert read_artifact(str(artifacts), "more/link.tar", "params.additional_tags", 100) == b"image/image.tar"


def test_a_pattern_with_many_asterisks_is_fast(artifacts: Path) -> None:
    (artifacts / "image" / ("a" * 200)).touch()
    with pytest.raises(RequestError, match="nothing matches"):
        find_one(str(artifacts), f"image/{'*a' * 60}b", "params.image")
    assert find_one(str(artifacts), f"image/{'*a' * 60}", "params.image") == f"image/{'a' * 200}"


@pytest.mark.parametrize("pattern", ["image/[", "image/[]", "image/x\\", "image/[b-a]"])
def test_a_broken_pattern_is_an_error(artifacts: Path, pattern: str) -> None:
    with pytest.raises(RequestError, match="is not a glob"):
        find_one(str(artifacts), pattern, "params.image")


def test_a_file_is_read_only_up_to_the_limit(artifacts: Path) -> None:
    assert read_artifact(str(artifacts), "image/image.tar", "params.additional_tags", 4) == b"image"


def test_a_missing_file_is_named(artifacts: Path) -> None:
    with pytest.raises(RequestError, match=r"params\.additional_tags: there is no file 'image/tags': 'image' has "):
        read_artifact(str(artifacts), "image/tags", "params.additional_tags", 4)


def test_a_pipe_is_refused(artifacts: Path) -> None:
    os.mkfifo(artifacts / "image" / "tags")  # opening it would block
    with pytest.raises(ContentError, match=r"params\.additional_tags: 'image/tags' is not a regular file"):
        read_artifact(str(artifacts), "image/tags", "params.additional_tags", 4)


@pytest.mark.parametrize("pattern", ["link/*", "link/[st]*", "link/none", "link/*/none", "*/secret.txt", "li*/*.txt"])
def test_an_error_names_no_file_behind_a_link_that_leads_out(artifacts: Path, tmp_path: Path, pattern: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("secret.txt", "secreter.txt", "third.txt"):
        (outside / name).write_text("a secret of this container")
    (artifacts / "link").symlink_to(outside)
    with pytest.raises(RequestError) as caught:
        find_one(str(artifacts), pattern, "params.image")
    said = caught.value.message.replace(repr(pattern), "")
    assert not any(word in said for word in ("secret", "secreter", "third"))
    assert find_one(str(artifacts), "*/image.tar", "params.image") == "image/image.tar"
