"""Hostile layers against canaries: whatever a layer tries, nothing outside the root is created, removed, linked,
changed, or read (layers.md 50).

Canaries are compared by all that lstat returns, change times included: even a chmod to the same mode would show. The
code under test runs in a jail in which the canaries are at ``/outside``: an escape reaches nothing else.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry_image.archive.entry import SYMLINK
from registry_image.archive.tarstream import TarReader
from registry_image.errors import ExtractionError
from tests.support import jail
from tests.support.layers import unpack
from tests.support.tar import (
    archive,
    device,
    directory,
    fifo,
    file,
    hardlink,
    member,
    opaque,
    pax,
    symlink,
    whiteout,
)
from tests.support.tree import Node, snapshot

pytestmark = [pytest.mark.rule(24), pytest.mark.rule(50)]

Layers = list[list[bytes]]
#: The path of the canaries inside the jail.
OUTSIDE = "/outside"


def statuses(path: Path) -> dict[bytes, tuple[Node, int, int, int]]:
    """Every name beneath ``path`` with its type, link count, size and change time."""
    found = {}
    for name, node in snapshot(path).items():
        status = os.lstat(os.path.join(os.fsencode(path), name))
        found[name] = (node, status.st_nlink, status.st_size, status.st_ctime_ns)
    return found


@contextlib.contextmanager
def canaries(directory: Path) -> Iterator[Path]:
    """A directory of canaries beside the future root; checked to be untouched at the end."""
    outside = directory / "outside"
    (outside / "sub/deep").mkdir(parents=True)
    (outside / "file").write_text("canary")
    (outside / "sub/deep/file").write_text("canary")
    (outside / "rootfs").mkdir()  # a name that a naive test of prefixes would accept
    (outside / "link").symlink_to("file")
    os.mkfifo(outside / "fifo")
    (directory / "rootfs-evil").mkdir()
    os.chmod(outside / "file", 0o640)
    beside = sorted(os.listdir(directory))
    before = statuses(outside)
    try:
        yield outside
    finally:
        assert statuses(outside) == before
        assert sorted(set(os.listdir(directory)) - {"rootfs"}) == beside
        assert os.listdir(directory / "rootfs-evil") == []


def through(way: str, *names: str) -> list[bytes]:
    """Everything that could be done to ``names`` through ``way``, a way out."""
    return [
        *(file(f"{way}/{name}", "evil", mode=0o777, uid=7, mtime=1) for name in names),
        directory(f"{way}/made", mode=0o777),
        symlink(f"{way}/symlink", to="x"),
        fifo(f"{way}/queue"),
        device(f"{way}/device", 1, 3),
        file("mine", "x"),
        hardlink(f"{way}/hard", to="mine"),
    ]


def attempts(out: str) -> Iterator[tuple[str, Layers]]:
    """Pairs of a description and layers; ``out`` is the absolute path of the canaries."""
    up = "../" * 30 + out.lstrip("/")
    ways = {
        "absolute": [symlink("w", to=out)],
        "relative": [symlink("w", to="../outside")],
        "far up": [symlink("w", to=up)],
        "chain": [symlink("w", to="x"), symlink("x", to="y/z"), directory("y"), symlink("y/z", to=out)],
        "of dots": [symlink("a", to=".."), symlink("w", to="a/outside")],
        "through proc": [symlink("w", to="/proc/self/cwd/../../../../.." + out)],
        "deep dots": [directory("d/e"), symlink("d/e/up", to="../../.."), symlink("w", to="d/e/up/outside")],
        "double slash": [symlink("w", to=f"//{out}//")],
        "file": [symlink("w", to=out + "/file")],
    }
    for name, way in ways.items():
        yield f"entries, {name}", [[*way, *through("w", "file", "sub/deep/file")]]
        yield f"entries in a later layer, {name}", [way, through("w", "file", "sub/deep/file")]
        yield f"whiteouts, {name}", [way, [whiteout("w/file"), whiteout("w/sub"), whiteout("w")]]
        yield f"opaque, {name}", [way, [opaque("w"), opaque("w/sub"), file("w/x")]]
        yield f"hard link to what is outside, {name}", [way, [hardlink("stolen", to="w/file")]]
        yield f"hard link to the way itself, {name}", [[*way, hardlink("h", to="w"), file("h", "evil")]]
        yield f"late hard link, {name}", [[hardlink("h", to="w/late"), *way, file("w/late", "x")]]
        yield f"writing over the way, {name}", [way, [file("w", "evil", mode=0o4777)]]
        yield f"a directory over the way, {name}", [way, [directory("w", mode=0o777, uid=7, mtime=3), file("w/file")]]
        yield f"attributes over the way, {name}", [way, [member("w", b"2", linkname=out, mode=0, uid=9, mtime=9)]]
    yield (
        "a cached parent replaced by a way out",
        [[file("d/1"), symlink("d", to=out), file("d/file", "evil")]],
    )
    yield (
        "a cached grandparent replaced by a way out",
        [[file("d/sub/deep/1"), symlink("d", to=out), file("d/sub/deep/file", "evil")]],
    )
    yield (
        "back and forth",
        [[x for n in range(5) for x in (file(f"d/{n}"), symlink("d", to=out), file("d/file"), directory("d"))]],
    )
    yield (
        "directory times set late through a way out",
        [[directory("d/sub", mtime=1, mode=0o500), directory("d", mtime=1, mode=0o000)], [symlink("d", to=out)]],
    )
    yield (
        "removing a tree that holds ways out",
        [[symlink("t/w", to=out), symlink("t/s/w", to=out + "/sub"), file("t/f")], [whiteout("t")]],
    )
    yield "sweeping a tree that holds ways out", [[symlink("t/w", to=out), symlink("t/s/w", to=out)], [opaque("t")]]
    yield "replacing a tree that holds ways out", [[symlink("t/w", to=out), file("t/f")], [file("t")]]
    yield (
        "sweeping what this layer added as a way out",
        [[file("t/sub/f")], [symlink("t/sub", to=out), opaque("t"), whiteout("t")]],
    )
    yield (
        "writing through a hard link to a way out",
        [[symlink("w", to=out + "/file"), hardlink("h", to="w"), file("h")]],
    )
    yield (
        "a fifo that would block, written over",
        [[fifo("p"), file("p", "x"), symlink("q", to=out + "/fifo"), file("q", "x")]],
    )
    yield "a fifo outside", [[symlink("w", to=out), file("w/fifo", "x")]]
    yield "a parent that is a fifo", [[fifo("p"), file("p/x")]]
    yield (
        "attributes of a symlink's target",
        [[symlink("w", to=out + "/file", uid=9, gid=9, mtime=9, xattrs={"user.a": b"1", "security.b": b"2"})]],
    )
    for name in (
        "../outside/file",
        "a/../../outside/file",
        "/../outside/file",
        "..",
        "../rootfs-evil/x",
        "../outside/",
    ):
        yield f"a name: {name}", [[file(name, "evil")]]
        yield f"a directory: {name}", [[directory(name, mode=0o777)]]
        yield f"a hard link from: {name}", [[file("x"), hardlink(name, to="x")]]
        yield f"a hard link to: {name}", [[hardlink("x", to=name), file("x", "evil")]]
        yield f"a whiteout: {name}", [[file("x")], [whiteout(name.rstrip("/"))]]
        yield f"a whiteout in a link: {name}", [[symlink("w", to=name)], [whiteout("w/file"), opaque("w")]]
        yield f"a PAX path: {name}", [[pax({"path": name}) + file("x", "evil")]]
        yield f"a PAX linkpath: {name}", [[pax({"linkpath": name}) + hardlink("x", to="y")]]
    yield f"a hard link to an absolute name: {out}", [[hardlink("x", to=out + "/file"), file("x", "evil")]]
    yield "whiteouts of dots", [[file("a")], [file(".wh...")]]
    yield "whiteouts of dots below", [[file("a/b")], [file("a/.wh...")]]
    yield (
        "newlines and controls in names",
        [[file("a\n../../outside/file"), file("\x1b[2J"), file("a\\..\\..\\outside")]],
    )
    yield "a stash that leads out", [[symlink(".wh..wh.plnk", to=out), file(".wh..wh.plnk/file", "evil")]]
    yield (
        "a stash that leads out, removed at the end",
        [[file(".wh..wh.plnk/1"), symlink(".wh..wh.plnk", to=out)], [file(".wh..wh.plnk/file")]],
    )
    yield "the root as a symlink", [[symlink(".", to=out), file("file", "evil")]]


def test_no_attempt_reaches_outside(tmp_path: Path) -> None:
    every = list(attempts(OUTSIDE))
    assert len({what for what, _ in every}) == len(every) > 130
    for number, (what, layers) in enumerate(every):
        place = tmp_path / str(number)
        place.mkdir()
        with canaries(place), contextlib.suppress(ExtractionError):
            unpack(place / "rootfs", *(archive(*layer) for layer in layers))
        assert_nothing_stolen(place / "rootfs", what)


def assert_nothing_stolen(root: Path, what: str) -> None:
    """Checks that no file of the root has the canaries' content, or is one of them."""
    for node in snapshot(root).values():
        assert node.content != snapshot(root.parent / "outside")[b"file"].content, what


# Every way out leads to the canaries, none to "/" or upwards: if the code under test fails, an opaque marker deletes
# all in its directory, and the tests may run as root on somebody's machine.
TARGETS = st.sampled_from(
    [
        "{out}",
        "{out}/file",
        "{out}/sub",
        "{out}/sub/deep",
        "../outside",
        "../outside/link",
        "../outside/sub",
        "w",
        "d",
        "d/w",
    ]
)
NAMES = st.sampled_from(["w", "d", "d/w", "w/file", "w/sub/deep/file", "w/new", "d/w/file", "w/w", "w/link", "w/fifo"])
ENTRIES: st.SearchStrategy[Callable[[str], bytes]] = st.one_of(
    st.builds(lambda n, t: lambda out: symlink(n, to=t.format(out=out)), NAMES, TARGETS),
    st.builds(lambda n, t: lambda out: symlink(n, to=t.format(out=out)), NAMES, TARGETS),
    st.builds(lambda n: lambda out: file(n, "evil", mode=0o4777, uid=7), NAMES),
    st.builds(lambda n: lambda out: directory(n, mode=0o1777, mtime=4), NAMES),
    st.builds(lambda n, t: lambda out: hardlink(n, to=t), NAMES, NAMES),
    st.builds(lambda n: lambda out: whiteout(n), NAMES),
    st.builds(lambda n: lambda out: opaque(n), NAMES),
    st.builds(lambda n: lambda out: fifo(n), NAMES),
)


@settings(max_examples=250, suppress_health_check=list(HealthCheck))
@given(layers=st.lists(st.lists(ENTRIES, max_size=8), min_size=1, max_size=3))
def test_no_combination_reaches_outside(
    layers: list[list[Callable[[str], bytes]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("combined")
    with canaries(place), contextlib.suppress(ExtractionError):
        unpack(place / "rootfs", *(archive(*(make(OUTSIDE) for make in layer)) for layer in layers))
    assert_nothing_stolen(place / "rootfs", "combined")


def careless(path: str, layers: list[bytes]) -> None:
    """Unpacks layers like a careless tool, which joins strings."""
    for layer in layers:
        reader = TarReader([layer], "layer")
        while (entry := reader.next()) is not None:
            name = os.path.join(os.fsencode(path), entry.path)
            os.makedirs(os.path.dirname(name), exist_ok=True)
            if entry.type == SYMLINK:
                os.symlink(entry.linkname, name)
            else:
                Path(os.fsdecode(name)).write_bytes(b"".join(reader.body()))


@pytest.mark.parametrize("target", ["/outside", "../outside", "../" * 30 + "outside"])
def test_a_careless_tool_that_follows_a_symlink_is_noticed_at_the_canaries(target: str, tmp_path: Path) -> None:
    layer = archive(symlink("w", to=target), file("w/file", "evil"))
    with pytest.raises(AssertionError), canaries(tmp_path):
        jail.run(tmp_path, careless, "/rootfs", [layer])
    assert (tmp_path / "outside/file").read_text() == "evil"


def test_each_way_to_touch_a_canary_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(AssertionError), canaries(tmp_path) as outside:
        os.link(outside / "file", tmp_path / "rootfs")
    harms: list[Callable[[Path], object]] = [
        lambda path: path.chmod(0o640),
        Path.touch,
        Path.unlink,
        lambda path: os.setxattr(path, "user.a", b""),
    ]
    for number, harm in enumerate(harms):
        place = tmp_path / str(number)
        place.mkdir()
        with pytest.raises(AssertionError), canaries(place) as outside:
            harm(outside / "file")
