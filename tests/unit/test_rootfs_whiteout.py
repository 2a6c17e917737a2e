"""The meaning of names in a layer."""

from __future__ import annotations

import pytest

from registry_image.errors import InvalidWhiteout
from registry_image.rootfs import whiteout
from registry_image.rootfs.layer_errors import LayerError
from registry_image.rootfs.whiteout import Mark


@pytest.mark.rule(30)
@pytest.mark.parametrize(
    ("path", "hidden"),
    [
        (b".wh.motd", b"motd"),
        (b"etc/.wh.motd", b"etc/motd"),
        (b"etc/.wh..hidden", b"etc/.hidden"),
        (b"etc/.wh.a b\n\xff", b"etc/a b\n\xff"),
        (b"etc/.wh....", b"etc/..."),
        (b".wh.x.wh.y", b"x.wh.y"),
    ],
)
def test_a_whiteout_hides_the_name_behind_its_prefix(path: bytes, hidden: bytes) -> None:
    assert whiteout.read(path) == (Mark.WHITEOUT, hidden)


@pytest.mark.rule(31)
@pytest.mark.parametrize("name", [b".wh.", b".wh..", b".wh..."])
def test_a_whiteout_of_no_valid_name_is_an_error(name: bytes) -> None:
    for path in (name, b"a/b/" + name):
        with pytest.raises(LayerError) as caught:
            whiteout.read(path)
        assert caught.value.kind is InvalidWhiteout


@pytest.mark.rule(33)
def test_the_opaque_marker_stands_for_its_directory() -> None:
    assert whiteout.read(b"a/b/.wh..wh..opq") == (Mark.OPAQUE, b"a/b")
    assert whiteout.read(b".wh..wh..opq") == (Mark.OPAQUE, b"")


@pytest.mark.rule(37)
@pytest.mark.parametrize(
    "path", [b".wh..wh.aufs", b".wh..wh.orph", b".wh..wh.orph/a", b"a/.wh..wh.x", b"a/.wh..wh.x/.wh.b", b"a/.wh..wh."]
)
def test_other_names_of_aufs_are_metadata(path: bytes) -> None:
    assert whiteout.read(path)[0] is Mark.METADATA


@pytest.mark.rule(37)
def test_the_hard_link_sources_of_aufs_are_stashed() -> None:
    assert whiteout.read(b".wh..wh.plnk")[0] is Mark.METADATA
    assert whiteout.read(b".wh..wh.plnk/12.34")[0] is Mark.STASHED


@pytest.mark.rule(37)
def test_an_entry_inside_a_whiteout_is_an_error() -> None:
    with pytest.raises(LayerError, match="inside a whiteout"):
        whiteout.read(b"a/.wh.b/c")


@pytest.mark.parametrize("path", [b"a.wh.b", b"a/b.wh.", b"a.wh..wh..opq/b", b".whatever", b".wha"])
def test_the_prefix_elsewhere_in_a_name_means_nothing(path: bytes) -> None:
    assert whiteout.read(path) == (Mark.ENTRY, path)
    assert not whiteout.may_mark(b".whatever/.w.h")


def test_only_names_with_the_prefix_are_reserved() -> None:
    assert whiteout.is_reserved(b".wh.a")
    assert not whiteout.is_reserved(b"a.wh.b")
