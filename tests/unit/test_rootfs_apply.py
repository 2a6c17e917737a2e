"""The rules of docs/layers.md from 21 on, each by its effect on a tree on disk."""

from __future__ import annotations

import contextlib
import os
import stat
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from registry_image.archive.tarstream import TarReader
from registry_image.errors import CorruptLayer, ExtractionError, InvalidWhiteout, StorageError, UnsafePath
from registry_image.progress import Listener
from registry_image.rootfs import apply as applying
from registry_image.rootfs import root as roots
from registry_image.rootfs.apply import Applier
from registry_image.rootfs.root import Root
from tests.support import filesystem, parts
from tests.support.layers import lay_out, unpack
from tests.support.tar import (
    MTIME,
    archive,
    device,
    directory,
    fifo,
    file,
    gnu_sparse,
    hardlink,
    header,
    member,
    opaque,
    pax,
    pax_sparse,
    symlink,
    whiteout,
)
from tests.support.tree import snapshot

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "rootfs"


def names(root: Path) -> set[str]:
    return {os.fsdecode(name) for name in snapshot(root) if name}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


# Names and resolution


@pytest.mark.rule(21)
def test_names_are_taken_relative_to_the_root(root: Path) -> None:
    unpack(root, archive(file("/a"), file("./b"), file("x//./y"), file("d/../c"), hardlink("/h", to="./x/../a")))
    assert names(root) == {"a", "b", "c", "h", "x", "x/y"}


@pytest.mark.rule(21)
@pytest.mark.parametrize("layer", [file("../a"), file("a/../../b"), hardlink("a", to="../b"), directory("..")])
def test_a_name_or_source_above_the_root_is_refused(layer: bytes, root: Path) -> None:
    with pytest.raises(UnsafePath):
        unpack(root, archive(layer))
    assert sorted(os.listdir(root.parent)) == ["rootfs"]


@pytest.mark.rule(22)
@pytest.mark.parametrize("name", [".", "./", "/"])
def test_the_root_takes_attributes_of_its_entry(name: str, root: Path) -> None:
    unpack(root, archive(file("a"), member(name, b"5", mode=0o751, mtime=7, xattrs={"user.a": b"1"})))
    assert (mode(root), root.stat().st_mtime) == (0o751, 7)
    assert os.getxattr(root, "user.a") == b"1"


@pytest.mark.rule(22)
@pytest.mark.parametrize(
    "entry", [file("."), symlink("./", to="x"), hardlink("/", to="a"), fifo("."), device("x/..", 1, 3)]
)
def test_the_root_is_never_anything_but_a_directory(entry: bytes, root: Path) -> None:
    with pytest.raises(UnsafePath, match="root"):
        unpack(root, archive(file("a"), entry))
    assert (root / "a").is_file()


@pytest.mark.rule(23)
@pytest.mark.parametrize("target", ["/usr/lib", "usr/lib", "../../usr/lib", "/../usr/./lib//", "loop/../usr/lib"])
def test_symlinked_parents_are_followed_as_in_a_chroot(target: str, root: Path) -> None:
    below = archive(directory("usr/lib"), directory("loop"), symlink("lib", to=target), file("usr/lib/old"))
    unpack(root, below, archive(file("lib/a"), whiteout("lib/old"), hardlink("b", to="lib/a")))
    assert names(root) == {"b", "lib", "loop", "usr", "usr/lib", "usr/lib/a"}
    assert os.readlink(root / "lib") == target


@pytest.mark.rule(23)
def test_a_chain_of_symlinks_is_followed_as_far_as_linux_does(root: Path) -> None:
    chain = [symlink(f"l{n}", to=f"l{n + 1}") for n in range(39)]
    unpack(root, archive(*chain, symlink("l39", to="d"), directory("d"), file("l0/a")))
    assert (root / "d/a").is_file()


@pytest.mark.rule(23)
@pytest.mark.parametrize("loop", [[symlink("a", to="a")], [symlink("a", to="b"), symlink("b", to="/a")]])
def test_a_loop_of_symlinks_is_an_error(loop: list[bytes], root: Path) -> None:
    with pytest.raises(UnsafePath, match="loop"):
        unpack(root, archive(*loop, file("a/b")))


@pytest.mark.rule(23)
def test_the_last_component_is_not_followed(root: Path) -> None:
    below = archive(
        file("target", "kept"), symlink("a", to="target"), symlink("b", to="target"), symlink("c", to="target")
    )
    unpack(root, below, archive(file("a", "new"), whiteout("b"), hardlink("d", to="c")))
    assert (root / "target").read_text() == "kept"
    assert (root / "a").read_text() == "new"
    assert names(root) == {"a", "c", "d", "target"}
    assert os.readlink(root / "d") == "target"


@pytest.mark.rule(24)
def test_a_parent_that_is_replaced_is_looked_up_again(root: Path) -> None:
    layer = [
        file("d/a"),
        symlink("d", to="e"),  # removes the directory and its handle
        file("d/b"),
        directory("d"),  # removes the symlink too
        file("d/c"),
    ]
    unpack(root, archive(*layer))
    assert names(root) == {"d", "d/c", "e", "e/b"}


@pytest.mark.rule(24)
def test_a_grandparent_that_is_replaced_is_looked_up_again(root: Path) -> None:
    unpack(root, archive(file("a/b/c/1"), file("a", "file"), file("a/b/c/2"), symlink("a/b", to="/z"), file("a/b/3")))
    assert names(root) == {"a", "a/b", "z", "z/3"}


@pytest.mark.rule(24)
def test_a_parent_that_a_whiteout_takes_away_is_looked_up_again(root: Path) -> None:
    below = archive(directory("t"), symlink("l", to="t"), file("d/e/f"))
    unpack(root, below, archive(file("l/x"), whiteout("l"), file("l/y"), opaque("d"), file("d/e/g")))
    assert names(root) == {"t", "t/x", "l", "l/y", "d", "d/e", "d/e/g"}


@pytest.mark.rule(25)
@pytest.mark.parametrize("target", ["/a/b", "../../../..", "a//b/./", " ", "a\nb", "x" * 4095])
def test_symlink_targets_are_kept_verbatim(target: str, root: Path) -> None:
    unpack(root, archive(symlink("a", to=target)))
    assert os.readlink(root / "a") == target


@pytest.mark.rule(26)
@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
@pytest.mark.parametrize("entry", [file("a/b/c"), symlink("a/b/c", to="x"), fifo("a/b/c"), directory("a/b/c")])
def test_missing_parents_are_made_whatever_the_umask(umask: int, entry: bytes, root: Path) -> None:
    unpack(root, archive(entry), umask=umask)
    for name in ("", "a", "a/b"):
        status = (root / name).stat()
        assert (mode(root / name), status.st_uid, status.st_gid) == (0o755, os.geteuid(), os.getegid())


@pytest.mark.rule(26)
def test_existing_parents_keep_their_attributes(root: Path) -> None:
    unpack(root, archive(directory("a", mode=0o1700, mtime=5)), archive(file("a/b")))
    assert (mode(root / "a"), (root / "a").stat().st_mtime) == (0o1700, 5)


@needs_root
@pytest.mark.rule(26)
def test_missing_parents_inherit_nothing_from_a_setgid_directory(root: Path) -> None:
    unpack(root, archive(directory("a", mode=0o2775, gid=50), file("a/b/c", gid=7)))
    assert (mode(root / "a/b"), (root / "a/b").stat().st_gid) == (0o755, 0)
    assert ((root / "a/b/c").stat().st_gid, mode(root / "a")) == (7, 0o2775)


@pytest.mark.rule(27)
@pytest.mark.parametrize("lower", [file("a"), fifo("a"), symlink("a", to="f")])
def test_a_parent_that_is_not_a_directory_is_replaced_by_one(lower: bytes, root: Path) -> None:
    unpack(root, archive(lower, file("f")), archive(file("a/b/c")))
    assert (root / "a/b/c").is_file()


@pytest.mark.rule(27)
@pytest.mark.parametrize(
    ("target", "made"), [("x/y", "x/y"), ("/x/y", "x/y"), ("../../x", "x"), ("x/../y", "y"), ("/x/z/../y", "x/y")]
)
def test_the_target_of_a_dangling_symlink_is_made_inside(target: str, made: str, root: Path) -> None:
    unpack(root, archive(symlink("l", to=target)), archive(file("l/a")))
    assert (root / made / "a").is_file()
    ways = {str(Path(*Path(made).parts[: n + 1])) for n in range(len(Path(made).parts))}
    assert names(root) == {"l", f"{made}/a"} | ways


@pytest.mark.rule(27)
@pytest.mark.parametrize(
    "entry",
    [
        file("x" * 256),
        directory("a/" + "x" * 256 + "/b"),
        symlink("x" * 300, to="a"),
        hardlink("x" * 256, to="f"),
        hardlink("b", to="x" * 256),
        file("/".join(["x" * 250] * 17)),
        file("x/" * 3000 + "y"),
    ],
)
def test_a_name_or_path_too_long_is_a_clean_error(entry: bytes, root: Path) -> None:
    with pytest.raises(UnsafePath):
        unpack(root, archive(file("f"), entry))


@pytest.mark.rule(27)
def test_symlinks_do_not_lead_past_the_longest_path(root: Path) -> None:
    deep = "/".join(["x" * 200] * 19)
    with pytest.raises(UnsafePath, match="longer than"):
        unpack(root, archive(directory(deep), symlink("l", to=deep), file(f"l/{deep}/a")))


# Replacing


@pytest.mark.rule(28)
def test_a_directory_over_a_directory_keeps_content_and_replaces_all_attributes(root: Path) -> None:
    below = directory("d", mode=0o2750, mtime=1, xattrs={"user.a": b"1", "user.b": b"2"})
    unpack(root, archive(below, file("d/f")), archive(directory("d", mode=0o711, mtime=2, xattrs={"user.b": b"3"})))
    assert (mode(root / "d"), (root / "d").stat().st_mtime) == (0o711, 2)
    assert snapshot(root)[b"d"].xattrs == {b"user.b": b"3"}
    assert (root / "d/f").is_file()


KINDS: dict[str, Callable[[str], bytes]] = {
    "file": lambda name: file(name, "data"),
    "directory": lambda name: archive(directory(name), file(f"{name}/inner/file"), end=b""),
    "symlink": lambda name: symlink(name, to="outside"),
    "dangling": lambda name: symlink(name, to="nowhere"),
    "hardlink": lambda name: hardlink(name, to="outside/file"),
    "fifo": fifo,
}


@pytest.mark.rule(29)
@pytest.mark.parametrize("same_layer", [True, False])
@pytest.mark.parametrize("new", KINDS)
@pytest.mark.parametrize("old", KINDS)
def test_anything_replaces_anything(old: str, new: str, same_layer: bool, root: Path) -> None:
    base, before, after = file("outside/file", "kept"), KINDS[old]("x"), KINDS[new]("x")
    unpack(root, *([archive(base, before, after)] if same_layer else [archive(base, before), archive(after)]))
    fresh = root.with_name("fresh")
    unpack(fresh, archive(base, after))
    if (old, new) == ("directory", "directory"):
        assert (root / "x/inner/file").is_file()
    assert snapshot(root) == snapshot(fresh)
    assert (root / "outside/file").read_text() == "kept"


@pytest.mark.rule(29)
def test_writing_one_name_of_a_hard_link_leaves_the_other(root: Path) -> None:
    unpack(root, archive(file("a", "old"), hardlink("b", to="a")), archive(file("a", "new")))
    assert ((root / "a").read_text(), (root / "b").read_text()) == ("new", "old")


@pytest.mark.rule(29)
def test_of_the_same_path_in_one_layer_the_last_wins(root: Path) -> None:
    unpack(root, archive(file("a", "1"), directory("a"), file("a/b"), file("a", "2"), file("./a", "3")))
    assert names(root) == {"a"}
    assert (root / "a").read_text() == "3"


# Whiteouts


@pytest.mark.rule(30)
@pytest.mark.parametrize("kind", [b"0", b"1", b"2", b"5", b"6", b"3"])
def test_a_whiteout_may_be_of_any_type_and_is_never_made(kind: bytes, root: Path) -> None:
    mark = member(".wh.a", kind, data=b"body" if kind == b"0" else b"", linkname="b")
    unpack(root, archive(file("a"), file("b")), archive(mark))
    assert names(root) == {"b"}


@pytest.mark.rule(31)
@pytest.mark.parametrize("name", [".wh.", "a/.wh..", "a/.wh..."])
def test_a_whiteout_of_nothing_is_an_error_and_removes_nothing(name: str, root: Path) -> None:
    for below in ([], [archive(file("a/b"), file("c"))]):
        target = root.with_name(f"root{len(below)}")
        with pytest.raises(InvalidWhiteout, match=r"layer \d"):
            unpack(target, *below, archive(file(name)))
        assert names(target) == ({"a", "a/b", "c"} if below else set())


@pytest.mark.rule(32)
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("mark", [whiteout("d"), opaque("d"), archive(whiteout("d/old"), whiteout("d/sub"), end=b"")])
def test_whiteouts_hide_lower_layers_only_wherever_they_stand(order: Sequence[int], mark: bytes, root: Path) -> None:
    new = archive(directory("d", mode=0o700), file("d/new"), file("d/sub/new"), end=b"")
    upper = [mark, new]
    unpack(root, archive(file("d/old"), file("d/sub/old")), archive(*(upper[index] for index in order)))
    assert names(root) == {"d", "d/new", "d/sub", "d/sub/new"}
    assert mode(root / "d") == 0o700


@pytest.mark.rule(32)
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_layer_may_hide_a_file_and_bring_it_again(order: Sequence[int], root: Path) -> None:
    upper = [whiteout("a"), file("a", "new")]
    unpack(root, archive(file("a", "old")), archive(*(upper[index] for index in order)))
    assert (root / "a").read_text() == "new"


@pytest.mark.rule(32)
def test_in_the_first_layer_there_is_nothing_to_hide(root: Path) -> None:
    unpack(root, archive(file("a"), file("d/b"), whiteout("a"), opaque("d"), whiteout("d"), opaque("")))
    assert names(root) == {"a", "d", "d/b"}


@pytest.mark.rule(33)
def test_an_opaque_directory_loses_all_of_lower_layers_and_keeps_itself(root: Path) -> None:
    below = archive(directory("d", mode=0o750, mtime=9), file("d/a/b/c"), symlink("d/l", to="/x"), file("x/kept"))
    unpack(root, below, archive(file("d/new"), opaque("d")))
    assert names(root) == {"d", "d/new", "x", "x/kept"}
    assert (mode(root / "d"), (root / "d").stat().st_mtime) == (0o750, 9)


@pytest.mark.rule(33)
@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_an_opaque_directory_may_have_more_names_than_are_read_at_once(
    root: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(applying, "NAMES_AT_ONCE", at_once)
    below = archive(*(file(f"d/{way}{number}") for way in ("", "e/", "f/") for number in range(5)))
    unpack(root, below, archive(file("d/e/new"), file("d/3"), file("d/new"), opaque("d")))
    assert names(root) == {"d", "d/3", "d/e", "d/e/new", "d/new"}


@pytest.mark.rule(33)
def test_an_opaque_root_keeps_only_the_layer(root: Path) -> None:
    unpack(root, archive(file("a"), file("b/c")), archive(file("b/d"), opaque("")))
    assert names(root) == {"b", "b/d"}


@pytest.mark.rule(34)
@pytest.mark.parametrize(
    "mark", [opaque("usr/lib"), opaque("lib"), whiteout("usr/lib"), opaque("usr"), whiteout("usr")]
)
def test_files_written_through_a_symlink_belong_to_the_layer(mark: bytes, root: Path) -> None:
    below = archive(directory("usr/lib"), file("usr/lib/old"), symlink("lib", to="usr/lib"))
    unpack(root, below, archive(file("lib/deep/new"), mark))
    assert names(root) == {"lib", "usr", "usr/lib", "usr/lib/deep", "usr/lib/deep/new"}


@pytest.mark.rule(35)
@pytest.mark.parametrize(
    "mark",
    [whiteout("x"), whiteout("x/y/z"), opaque("x/y"), whiteout("f/x"), opaque("f"), whiteout("l/x"), opaque("o")],
)
def test_a_whiteout_of_a_missing_name_does_nothing(mark: bytes, root: Path) -> None:
    below = archive(file("f"), symlink("l", to="missing/d"), symlink("o", to="o"))
    unpack(root, below, archive(mark))
    assert names(root) == {"f", "l", "o"}


@needs_root
@pytest.mark.rule(36)
@pytest.mark.parametrize("mark", [whiteout("d/f"), whiteout("d"), opaque("d"), opaque(""), file("d"), file("d/f")])
def test_a_failed_removal_ends_the_layer(mark: bytes, root: Path) -> None:
    root.mkdir()
    with Root(str(root)) as opened, contextlib.ExitStack() as guards:
        applier = Applier(opened, Listener())
        applier.apply(TarReader([archive(file("d/f", "stays"))], "layer 1"), "layer 1")
        guards.enter_context(filesystem.immutable(root / "d/f"))
        with pytest.raises(StorageError, match=r"layer 2: unpack '.*': Operation not permitted") as caught:
            applier.apply(TarReader([archive(mark)], "layer 2"), "layer 2")
        assert "immutable" in str(caught.value.hint)
        assert (root / "d/f").read_text() == "stays"


@pytest.mark.rule(37)
def test_nothing_of_aufs_is_visible_but_hard_links_find_their_content(root: Path) -> None:
    layer = archive(
        directory(".wh..wh.plnk", mode=0o700),
        file(".wh..wh.plnk/12.34", "data", mode=0o751),
        file(".wh..wh.aufs"),
        directory(".wh..wh.orph"),
        file(".wh..wh.orph/x"),
        file("d/.wh..wh.what"),
        hardlink("a", to=".wh..wh.plnk/12.34"),
        hardlink("d/b", to=".wh..wh.plnk/12.34"),
    )
    for target in (root, root.with_name("again")):
        unpack(target, *([archive(file("lower"))] if target == root else []), layer)
        assert names(target) - {"lower"} == {"a", "d", "d/b"}
        assert (target / "a").samefile(target / "d/b")
        assert ((target / "a").read_text(), mode(target / "a"), (target / "a").stat().st_nlink) == ("data", 0o751, 2)


STASHED = [file(".wh..wh.plnk/1", "data"), hardlink("a", to=".wh..wh.plnk/1")]


@pytest.mark.rule(37)
@pytest.mark.parametrize(
    "layer",
    [
        [symlink(".wh..wh.plnk", to="d"), file(".wh..wh.plnk/.wh.b"), *STASHED],
        [*STASHED, symlink(".wh..wh.plnk", to="d"), file(".wh..wh.plnk/.wh.b")],
        [file(".wh..wh.plnk", "a file"), *STASHED],
        [*STASHED, fifo(".wh..wh.plnk")],
        [*STASHED, hardlink(".wh..wh.plnk", to="a")],
        [*STASHED, symlink(".wh..wh.plnk/l", to="../d"), file(".wh..wh.plnk/l/.wh.b")],
        [*STASHED, symlink(".wh..wh.plnk/l", to="/d"), directory(".wh..wh.plnk/l/.wh..wh.b")],
        [*STASHED, symlink(".wh..wh.plnk/l", to=".."), symlink(".wh..wh.plnk/l/.wh..wh.plnk", to="d")],
        [*STASHED, symlink("l", to=".wh..wh.plnk"), symlink("l/m", to="../d"), file(".wh..wh.plnk/m/.wh.b")],
        [*STASHED, file(".wh..wh.plnk/.wh.b")],
    ],
)
def test_no_reserved_name_is_left_whatever_stands_in_place_of_aufss_directory(layer: list[bytes], root: Path) -> None:
    for target in (root, root.with_name("again")):
        unpack(target, *([archive(file("lower"))] if target == root else []), archive(directory("d"), *layer))
        left = names(target) - {"lower", "l"}
        assert left == {"a", "d"}
        assert (target / "a").read_text() == "data"


@pytest.mark.rule(37)
@pytest.mark.parametrize(
    "layer",
    [
        [file(".wh.a/b")],
        [directory("d/.wh.a/b")],
        [symlink("l", to=".wh.a"), file("l/b")],
        [symlink("l", to=".wh..wh.plnk"), file("l/b")],
        [symlink("l", to="d/.wh..wh..opq"), file("l/b/c")],
    ],
)
def test_no_parent_has_a_whiteout_name(layer: list[bytes], root: Path) -> None:
    with pytest.raises(InvalidWhiteout):
        unpack(root, archive(*layer))
    assert not any(name.split("/")[-1].startswith(".wh.") for name in names(root))


# Hard links


@pytest.mark.rule(39)
def test_a_hard_link_finds_its_source_in_a_lower_layer(root: Path) -> None:
    unpack(
        root, archive(file("usr/bin/git", "ELF"), symlink("bin", to="usr/bin")), archive(hardlink("g", to="bin/git"))
    )
    assert (root / "g").samefile(root / "usr/bin/git")


@pytest.mark.rule(39)
def test_a_hard_link_to_a_symlink_links_the_symlink(root: Path) -> None:
    unpack(root, archive(file("f"), symlink("l", to="f"), hardlink("h", to="l")))
    assert os.readlink(root / "h") == "f"
    assert (root / "h").lstat().st_ino == (root / "l").lstat().st_ino


@pytest.mark.rule(39)
@pytest.mark.parametrize("target", ["d", ".", "l/.."])
@pytest.mark.parametrize("taken", [True, False])
def test_a_hard_link_to_a_directory_is_an_error(target: str, taken: bool, root: Path) -> None:
    with pytest.raises(CorruptLayer, match=r"^layer 1: hard link 'h': its source '.*' is a directory"):
        unpack(root, archive(directory("d"), *([file("h")] if taken else []), hardlink("h", to=target)))


@pytest.mark.rule(39)
@pytest.mark.parametrize("target", ["a", "./x/../a", "l/a"])
def test_a_hard_link_to_itself_changes_nothing(target: str, root: Path) -> None:
    unpack(root, archive(file("a", "data", mode=0o600), symlink("l", to="."), hardlink("a", to=target)))
    assert ((root / "a").read_text(), mode(root / "a")) == ("data", 0o600)


@pytest.mark.rule(40)
def test_a_hard_link_may_stand_before_its_source(root: Path) -> None:
    unpack(root, archive(file("a", "lower")), archive(hardlink("a", to="d/b"), file("d/b", "data")))
    assert (root / "a").read_text() == "data"
    assert (root / "a").samefile(root / "d/b")


@pytest.mark.rule(40)
@pytest.mark.parametrize("target", ["b", "x/y", "f/x", "o/x", "a"])
def test_a_hard_link_without_source_is_an_error_never_an_empty_file(target: str, root: Path) -> None:
    with pytest.raises(CorruptLayer, match=r"layer 1: hard link 'a': there is no"):
        unpack(root, archive(file("f"), symlink("o", to="o"), hardlink("a", to=target)))
    assert not (root / "a").exists()


@pytest.mark.rule(40)
def test_an_entry_after_a_forward_hard_link_wins_over_it(root: Path) -> None:
    layer = [hardlink("a", to="z"), hardlink("d/b", to="z"), file("a", "later"), symlink("d", to="/e"), file("z", "z")]
    unpack(root, archive(*layer))
    assert names(root) == {"a", "d", "z"}
    assert (root / "a").read_text() == "later"


@needs_root
@pytest.mark.rule(41)
def test_attributes_of_a_hard_link_are_not_applied(root: Path) -> None:
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    first = file("a", "x", mode=0o4755, uid=3, mtime=5, xattrs={"security.capability": capability})
    unpack(root, archive(first, hardlink("b", to="a", mode=0o600, uid=9, mtime=9, xattrs={"user.x": b"1"})))
    node = snapshot(root)[b"b"]
    assert (node.mode, node.uid, node.mtime_ns) == (0o4755, 3, 5 * 10**9)
    assert node.xattrs == {b"security.capability": capability}


# Attributes


@needs_root
@pytest.mark.rule(42)
def test_setting_owners_keeps_setuid_capabilities_and_times(root: Path) -> None:
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    layer = archive(
        file("a", "x", mode=0o6755, uid=1000, gid=1000, mtime_ns=123456789, xattrs={"security.capability": capability}),
        fifo("p", mode=0o6711, uid=1000, mtime_ns=5),
    )
    unpack(root, layer)
    tree = snapshot(root)
    assert (tree[b"a"].mode, tree[b"a"].uid, tree[b"a"].mtime_ns) == (0o6755, 1000, 123456789)
    assert tree[b"a"].xattrs == {b"security.capability": capability}
    assert (tree[b"p"].mode, tree[b"p"].uid, tree[b"p"].mtime_ns) == (0o6711, 1000, 5)


@pytest.mark.rule(43)
@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
@pytest.mark.parametrize("bits", [0o000, 0o777, 0o4000, 0o7777, 0o1644])
def test_the_low_twelve_bits_of_the_mode_are_set_whatever_the_umask(bits: int, umask: int, root: Path) -> None:
    entries = archive(file("a", mode=0o100000 | bits), directory("d", mode=bits), fifo("p", mode=bits))
    unpack(root, entries, umask=umask)
    tree = snapshot(root) if os.geteuid() == 0 else None
    assert {mode(root / name) for name in ("a", "d", "p")} == {bits}
    assert tree is None or tree[b"a"].mode == bits


@pytest.mark.rule(43)
def test_symlinks_take_owner_and_time_and_their_targets_take_nothing(root: Path) -> None:
    before = archive(file("f", mode=0o600, mtime=1), directory("d", mode=0o700, mtime=1))
    links = archive(symlink("a", to="f", uid=5, gid=6, mtime=7, mode=0o4777), symlink("b", to="d", uid=5, mtime=-7))
    unpack(root, before, links)
    assert (mode(root / "f"), (root / "f").stat().st_mtime, (root / "f").stat().st_uid) == (0o600, 1, os.geteuid())
    assert (mode(root / "d"), (root / "d").stat().st_mtime) == (0o700, 1)
    assert ((root / "a").lstat().st_mtime, (root / "b").lstat().st_mtime) == (7, -7)
    if os.geteuid() == 0:
        assert ((root / "a").lstat().st_uid, (root / "a").lstat().st_gid) == (5, 6)


@pytest.mark.rule(44)
def test_extended_attributes_are_kept_to_the_byte(root: Path) -> None:
    value = b"\x00=\n\xff"
    unpack(
        root, archive(file("a", xattrs={"user.a": value, "user.b=c": b""}), directory("d", xattrs={"user.a": value}))
    )
    tree = snapshot(root)
    assert tree[b"a"].xattrs.get(b"user.a") == value
    assert tree[b"d"].xattrs == {b"user.a": value}


@pytest.mark.rule(44)
def test_attributes_of_the_host_are_left_alone_without_a_warning(root: Path) -> None:
    attributes = {"security.selinux": b"x", "trusted.overlay.opaque": b"y", "system.nfs4_acl": b"z"}
    notes = unpack(root, archive(file("a", xattrs=attributes), symlink("l", to="a", xattrs=attributes)))
    assert snapshot(root)[b"a"].xattrs == {}
    assert [note for note in notes if "attribute" in note] == []


ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
_NOBODY = 0xFFFFFFFF


def acl(owner: int, group: int, user: int, mask: int) -> bytes:
    """An ACL that also gives uid 1000 the permissions ``user``, and others none (linux/posix_acl_xattr.h)."""
    entries = ((1, owner, _NOBODY), (2, user, 1000), (4, group, _NOBODY), (0x10, mask, _NOBODY), (0x20, 0, _NOBODY))
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


@pytest.fixture
def with_acls(tmp_path: Path) -> None:
    try:
        os.setxattr(tmp_path, ACCESS, acl(7, 5, 5, 5))
        os.removexattr(tmp_path, ACCESS)
    except OSError as error:
        parts.lacking("a file system with POSIX ACLs", f"run with --basetemp on ext4 ({error.strerror})")


@pytest.mark.rule(44)
@pytest.mark.usefixtures("with_acls")
def test_the_acls_of_files_and_directories_are_kept_to_the_byte(root: Path) -> None:
    access, default = acl(6, 4, 6, 6), acl(7, 5, 7, 7)
    layer = archive(
        file("f", mode=0o4660, mtime=5, xattrs={ACCESS: access, "user.a": b"1"}),
        directory("d", mode=0o750, mtime=6, xattrs={ACCESS: acl(7, 0, 5, 5), DEFAULT: default}),
        directory("locked", mode=0o500, mtime=7, xattrs={ACCESS: acl(5, 0, 5, 0)}),
        file("locked/f"),
        directory(".", mtime=8, mode=0o750, xattrs={DEFAULT: default}),
    )
    assert [note for note in unpack(root, layer) if "attribute" in note] == []
    tree = snapshot(root)
    assert tree[b"f"].xattrs == {ACCESS.encode(): access, b"user.a": b"1"}
    assert tree[b"d"].xattrs == {ACCESS.encode(): acl(7, 0, 5, 5), DEFAULT.encode(): default}
    assert tree[b"locked"].xattrs == {ACCESS.encode(): acl(5, 0, 5, 0)}
    assert tree[b""].xattrs == {DEFAULT.encode(): default}
    assert [(tree[name].mode, tree[name].mtime_ns) for name in (b"f", b"d", b"locked", b"")] == [
        (0o4660, 5 * 10**9),
        (0o750, 6 * 10**9),
        (0o500, 7 * 10**9),
        (0o750, 8 * 10**9),
    ]


@pytest.mark.rule(44)
@pytest.mark.usefixtures("with_acls")
def test_nothing_in_a_directory_inherits_its_default_acl(root: Path) -> None:
    giving = directory("d", mode=0o755, xattrs={DEFAULT: acl(7, 7, 7, 7)})
    inside = [file("d/f", mode=0o640), directory("d/e", mode=0o711), fifo("d/p", mode=0o600), file("d/x/implied")]
    unpack(root, archive(giving, *inside), archive(file("d/later", mode=0o604), hardlink("d/h", to="d/f")))
    tree = snapshot(root)
    assert [path for path, node in tree.items() if node.xattrs] == [b"d"]
    assert [tree[b"d/" + name].mode for name in (b"f", b"e", b"p", b"x", b"later", b"h")] == [
        0o640,
        0o711,
        0o600,
        0o755,
        0o604,
        0o640,
    ]


@pytest.mark.rule(28)
@pytest.mark.usefixtures("with_acls")
@pytest.mark.parametrize(
    "upper",
    [[directory("d")], [whiteout("d"), file("d/f")], [whiteout("d"), file("d")], [symlink("d", to="t")]],
    ids=["described again", "implied anew", "a file", "a symlink"],
)
def test_a_directory_that_is_replaced_has_no_acl_any_more(upper: list[bytes], root: Path) -> None:
    both = {ACCESS: acl(7, 7, 7, 7), DEFAULT: acl(7, 7, 7, 7)}
    unpack(root, archive(directory("d", xattrs=both), directory("t")), archive(*upper))
    assert [path for path, node in snapshot(root).items() if node.xattrs] == []


@pytest.mark.rule(44)
def test_an_acl_that_cannot_be_set_is_named(root: Path) -> None:
    notes = unpack(
        root, archive(file("f", xattrs={ACCESS: b"nonsense"}), directory("d", xattrs={DEFAULT: b"nonsense"}))
    )
    told = [note for note in notes if "attribute" in note]
    assert len(told) == 1
    assert f": 2, the first is {ACCESS!r} of 'f': " in told[0]


@pytest.mark.rule(44)
def test_attributes_that_cannot_be_set_are_reported_once_with_their_number(root: Path) -> None:
    notes = unpack(
        root, archive(*(file(name, xattrs={"nonsense": b"1"}) for name in "abc"), fifo("p", xattrs={"user.a": b"1"}))
    )
    told = [note for note in notes if "attribute" in note]
    assert len(told) == 1
    assert ": 4, the first is" in told[0]
    assert "'nonsense' of 'a'" in told[0]


@needs_root
@pytest.mark.rule(44)
def test_symlinks_have_extended_attributes_of_their_own(root: Path) -> None:
    # Needs /proc, which a jail does not have.
    try:
        os.setxattr(root.parent, "security.test", b"1")
    except PermissionError:
        parts.lacking("CAP_SYS_ADMIN", "run the tests as root, outside a container")
    lay_out(str(root), (archive(file("f"), symlink("l", to="f", xattrs={"security.test": b"1"})),), 0o022)
    tree = snapshot(root)
    assert (tree[b"l"].xattrs, tree[b"f"].xattrs) == ({b"security.test": b"1"}, {})


@pytest.mark.rule(45)
@pytest.mark.parametrize("time", [1, -1, 1_600_000_000_123_456_789, -86400 * 10**9 - 5])
def test_times_are_set_to_the_nanosecond(time: int, root: Path) -> None:
    entries = [file("a"), symlink("l", to="a"), fifo("p"), directory("d")]
    makers = [file("a", mtime_ns=time), symlink("l", to="a", mtime_ns=time), fifo("p", mtime_ns=time)]
    unpack(root, archive(*entries), archive(*makers, directory("d", mtime_ns=time), file("d/f")))
    assert {(root / name).lstat().st_mtime_ns for name in "alpd"} == {time}


@pytest.mark.rule(45)
@pytest.mark.parametrize(
    ("seconds", "sign"), [("9" * 19, 1), ("-" + "9" * 19, -1), (str(2**63 - 1), 1), (str(2**40), 1)]
)
def test_times_out_of_range_are_clamped(seconds: str, sign: int, root: Path) -> None:
    entry = member("a", b"0", xattrs={})

    unpack(root, archive(pax({"mtime": seconds}) + entry, pax({"mtime": seconds}) + directory("d")))
    for name in "ad":
        assert (root / name).stat().st_mtime * sign >= 2**31 - 1
    assert (root / "a").stat().st_mtime_ns == (root / "d").stat().st_mtime_ns


@pytest.mark.rule(46)
@pytest.mark.usefixtures("memory_of_removals")
def test_directory_times_are_those_of_their_last_entry_whatever_came_after(root: Path) -> None:
    below = archive(directory("a", mtime=1), file("a/x"), directory("a/b", mtime=2), file("a/b/x"))
    unpack(root, below, archive(file("a/b/y"), whiteout("a/x")), archive(directory("a/b", mtime=3), opaque("a/b")))
    assert [(root / name).stat().st_mtime for name in ("", "a", "a/b")] == [0, 1, 3]


@pytest.mark.rule(46)
def test_implied_directories_have_a_fixed_time(root: Path) -> None:
    unpack(root, archive(file("a/b/c"), symlink("l", to="x/y"), file("l/z")))
    assert {(root / name).stat().st_mtime_ns for name in ("", "a", "a/b", "x", "x/y")} == {0}


@pytest.fixture(params=[roots.MAX_REMOVED, 0], ids=["remembered", "forgotten"])
def memory_of_removals(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether there is room to remember which directories were removed."""
    monkeypatch.setattr(roots, "MAX_REMOVED", request.param)


@pytest.mark.rule(46)
@pytest.mark.usefixtures("memory_of_removals")
def test_a_removed_directory_has_no_time_and_a_symlink_in_its_place_keeps_its_own(root: Path) -> None:
    below = archive(
        directory("d", mtime=1), directory("d/e", mtime=1), directory("gone/e", mtime=1), directory("t", mtime=9)
    )
    unpack(root, below, archive(symlink("d", to="t", mtime=5), whiteout("gone")), archive(file("gone", mtime=6)))
    assert [(root / name).lstat().st_mtime for name in ("d", "t", "gone")] == [5, 9, 6]


@pytest.mark.rule(46)
def test_a_mode_that_waits_is_the_last_one_and_not_of_a_directory_that_was_removed(root: Path) -> None:
    below = archive(directory("a", mode=0o500), directory("b", mode=0o500), directory("c", mode=0o500), file("c/x"))
    above = archive(directory("a", mode=0o711), whiteout("b"), file("c", mode=0o640), directory("d/e", mode=0o111))
    unpack(root, below, above)
    assert [mode(root / name) for name in ("a", "c", "d", "d/e")] == [0o711, 0o640, 0o755, 0o111]
    assert names(root) == {"a", "c", "d", "d/e"}


@pytest.mark.rule(46)
@pytest.mark.usefixtures("memory_of_removals")
def test_a_directory_made_anew_does_not_inherit_a_time(root: Path) -> None:
    unpack(root, archive(directory("d/e", mtime=5)), archive(whiteout("d")), archive(file("d/e/f")))
    assert ((root / "d").stat().st_mtime, (root / "d/e").stat().st_mtime) == (0, 0)


@needs_root
@pytest.mark.rule(47)
def test_devices_and_fifos_are_made(root: Path) -> None:
    unpack(
        root,
        archive(device("null", 1, 3, mode=0o666), device("disk", 240, 7, block=True, gid=6), fifo("p", mode=0o600)),
    )
    tree = snapshot(root)
    assert [(tree[n].kind, tree[n].device, tree[n].mode) for n in (b"null", b"disk", b"p")] == [
        ("character", (1, 3), 0o666),
        ("block", (240, 7), 0o644),
        ("fifo", (0, 0), 0o600),
    ]


@pytest.mark.rule(47)
def test_devices_that_the_kernel_refuses_are_left_out_with_one_warning(root: Path) -> None:
    # No kernel has majors of 32 bits; without the right to make devices, all are refused.
    notes = unpack(root, archive(file("a", "lower")), archive(device("a", 2**32 - 1, 1), device("b", 2**32 - 1, 2)))
    assert names(root) == set()
    told = [note for note in notes if "device" in note]
    assert len(told) == 1
    assert ": 2, the first is" in told[0]


REFUSED = device("dev/tape", 2**32 - 1, 1)


@pytest.mark.rule(47)
@pytest.mark.parametrize(
    "layers",
    [
        [archive(REFUSED, hardlink("dev/link", to="dev/tape"), hardlink("again", to="dev/link"))],
        [archive(hardlink("dev/link", to="dev/tape"), hardlink("again", to="dev/tape"), REFUSED)],
        [archive(REFUSED), archive(file("again"), hardlink("dev/link", to="dev/tape")), archive(whiteout("again"))],
        [archive(symlink("d", to="dev"), REFUSED, hardlink("d/link", to="d/tape"), hardlink("again", to="d/link"))],
    ],
    ids=["after it", "before it", "in a later layer", "through a symlink"],
)
def test_hard_links_to_a_device_that_is_left_out_are_left_out_with_it(layers: list[bytes], root: Path) -> None:
    told = [note for note in unpack(root, *layers) if "device" in note]
    assert names(root) - {"d"} == {"dev"}
    assert len(told) == 1
    assert "the first is 'dev/tape'" in told[0]


@pytest.mark.rule(47)
def test_a_hard_link_to_what_replaced_a_device_that_was_left_out_is_made(root: Path) -> None:
    unpack(root, archive(REFUSED), archive(file("dev/tape", "x"), hardlink("link", to="dev/tape")))
    assert (root / "link").samefile(root / "dev/tape")


@pytest.mark.rule(40)
def test_a_hard_link_to_a_removed_device_is_an_error(root: Path) -> None:
    with pytest.raises(CorruptLayer, match="there is no 'dev/tape' to link to"):
        unpack(root, archive(REFUSED), archive(whiteout("dev/tape"), hardlink("link", to="dev/tape")))
    assert names(root) == {"dev"}


@needs_root
@pytest.mark.rule(47)
def test_user_and_group_names_are_ignored(root: Path) -> None:

    unpack(root, archive(header("a", uid=12, gid=34, uname="root", gname="root")))
    assert ((root / "a").stat().st_uid, (root / "a").stat().st_gid) == (12, 34)


# Data


@pytest.mark.rule(16)
@pytest.mark.parametrize("make", [gnu_sparse, pax_sparse])
def test_sparse_files_have_their_holes(make: object, root: Path) -> None:
    segments = [(0, b"start"), (100_000, b"middle"), (1_000_000, b"end")]
    unpack(root, archive((gnu_sparse if make is gnu_sparse else pax_sparse)("a", segments, 2_000_000)))
    data = bytearray(2_000_000)
    for offset, text in segments:
        data[offset : offset + len(text)] = text
    assert (root / "a").read_bytes() == data
    assert (root / "a").stat().st_blocks * 512 < 200_000


def test_large_files_are_written_whole(root: Path) -> None:
    data = os.urandom(3_000_000)
    unpack(root, archive(file("a", data), file("b", "next")))
    assert (root / "a").read_bytes() == data
    assert (root / "a").stat().st_mtime == MTIME


@pytest.mark.rule(50)
def test_errors_name_the_layer_and_are_of_one_type(root: Path) -> None:
    with pytest.raises(ExtractionError, match=r"^layer 2: "):
        unpack(root, archive(file("a")), archive(hardlink("b", to="c")))


# The bug for which this project was started


@pytest.mark.parametrize(
    ("name", "link"), [("usr/bin/git", "usr/libexec/git-core/git"), ("usr/libexec/git-core/git", "usr/bin/git")]
)
def test_git_stays_when_one_of_its_names_becomes_a_symlink_to_the_other(name: str, link: str, root: Path) -> None:
    below = archive(file(name, "ELF", mode=0o755), hardlink(link, to=name))
    unpack(root, below, archive(symlink("usr/bin/git", to="/usr/libexec/git-core/git")))
    assert os.readlink(root / "usr/bin/git") == "/usr/libexec/git-core/git"
    real = root / "usr/libexec/git-core/git"
    assert not real.is_symlink()
    assert (real.read_text(), mode(real), real.stat().st_nlink) == ("ELF", 0o755, 1)
