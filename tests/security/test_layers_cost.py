"""Layers made to be expensive: the cost grows only in proportion to the input, in time, memory and open files."""

from __future__ import annotations

import itertools
import os
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from registry_image.archive.entry import CHARACTER, DIRECTORY, HARDLINK, NO_XATTRS, REGULAR, SYMLINK, Entry
from registry_image.errors import CorruptLayer, ExtractionError, UnsafePath
from registry_image.oci.digest import Buffer
from registry_image.progress import Listener
from registry_image.rootfs import apply, handles, paths, root
from registry_image.rootfs.apply import Applier
from registry_image.rootfs.handles import MAX_HANDLES
from registry_image.rootfs.paths import PathSet
from registry_image.rootfs.removal import remove_tree
from registry_image.rootfs.root import Root
from tests.support import parts, tar
from tests.support.cost import cost
from tests.support.growth import assert_linear
from tests.support.layers import unpack


class Members:
    """A layer without a tar, so that only the applying is measured."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = iter(entries)

    def next(self) -> Entry | None:
        return next(self._entries, None)

    def body(self) -> Iterator[Buffer]:
        return iter(())


def entry(path: str, kind: bytes = REGULAR, linkname: str = "") -> Entry:
    made = Entry()
    made.path, made.type, made.linkname = path.encode(), kind, linkname.encode()
    made.mode = 0o755 if kind == DIRECTORY else 0o644
    made.uid = made.gid = made.size = made.mtime_ns = made.devmajor = made.devminor = 0
    made.xattrs, made.sparse = NO_XATTRS, None
    return made


def seconds(place: Path, *layers: list[Entry]) -> float:
    """CPU time for the last of ``layers``, the kernel's included."""
    place.mkdir()
    with Root(str(place)) as root:
        applier = Applier(root, Listener())
        for layer in layers[:-1]:
            applier.apply(Members(layer), "below")
        begun = time.process_time()
        applier.apply(Members(layers[-1]), "measured")
        applier.finish()
        return time.process_time() - begun


def opaque_markers(n: int) -> list[list[Entry]]:
    """As many opaque markers as files, all for a few directories that the layer also writes to."""
    below = [entry(f"d/{k % 10}/{k}") for k in range(n)]
    marks = [entry(f"d/{k % 10}/.wh..wh..opq") for k in range(n)]
    return [below, [*(entry(f"d/{k % 10}/new{k}") for k in range(n)), *marks, *marks]]


def nested_opaque_markers(n: int) -> list[list[Entry]]:
    """Markers from the deepest directory up, in a tree that the layer wrote itself."""
    depth = 200
    ways = ["d/" * level for level in range(1, depth)]
    new = [entry(f"{ways[k % len(ways)]}new{k}") for k in range(n)]
    return [[entry(f"{way}old") for way in ways], [*new, *(entry(f"{way}.wh..wh..opq") for way in reversed(ways))]]


def whiteouts_of_one_directory(n: int) -> list[list[Entry]]:
    return [[entry(f"d/{k}") for k in range(n)], [entry(f"d/.wh.{k}") for k in range(n)]]


def whiteouts_of_a_directory_that_stays(n: int) -> list[list[Entry]]:
    return [[entry(f"d/{k}") for k in range(n)], [*(entry(f"d/new{k}") for k in range(n)), *(entry(".wh.d"),) * n]]


def whiteouts_of_nothing(n: int) -> list[list[Entry]]:
    return [[entry("d/x")], [entry(f"d/.wh.{k}") for k in range(n)]]


def replaced_directories(n: int) -> list[list[Entry]]:
    """Every replacement drops handles; every entry needs one again."""
    layer = []
    for k in range(n // 2):
        layer += [entry(f"d/e/{k}/x/y"), entry(f"d/e/{k}/x")]
    return [layer]


def replaced_symlinks(n: int) -> list[list[Entry]]:
    layer = [entry("target/d/e", DIRECTORY)]
    for _ in range(n // 2):
        layer += [entry("l", SYMLINK, "target"), entry("l/d/e/x")]
    return [layer]


def forward_hard_links(n: int) -> list[list[Entry]]:
    """Hard links, each to a file at the end of the layer."""
    return [[*(entry(f"d{k}/x", HARDLINK, f"s/{k}") for k in range(n // 2)), *(entry(f"s/{k}") for k in range(n // 2))]]


def scattered_parents(n: int) -> list[list[Entry]]:
    """Consecutive entries never have the same parent, and there are more parents than handles."""
    ways = [f"{k}/a/b/c" for k in range(MAX_HANDLES * 3)]
    return [[entry(f"{ways[k % len(ways)]}/{k}") for k in range(n)]]


def directories(n: int) -> list[list[Entry]]:
    return [[entry(f"{k % 97}/{k}", DIRECTORY) for k in range(n)]]


#: A directory whose path is almost as long as a path can be, and a symlink to it with a short one.
DEEP = "/".join(["d" * 250] * 16)
WAY = [entry(DEEP, DIRECTORY), entry("l", SYMLINK, f"/{DEEP}")]


def added_by_a_short_way(n: int) -> list[list[Entry]]:
    return [WAY, [entry(f"l/{k}") for k in range(n)]]


def times_by_a_short_way(n: int) -> list[list[Entry]]:
    return [[*WAY, *(entry(f"l/{k}", DIRECTORY) for k in range(n))]]


def swept_by_a_short_way(n: int) -> list[list[Entry]]:
    return [[*WAY, *(entry(f"l/{k}/x") for k in range(n))], [entry(f"l/{k}/.wh..wh..opq") for k in range(n)]]


def removed_by_a_short_way(n: int) -> list[list[Entry]]:
    return [[*WAY, *(entry(f"l/{k}", DIRECTORY) for k in range(n))], [entry(f"l/.wh.{k}") for k in range(n)]]


def hidden_at_once(n: int) -> list[list[Entry]]:
    return [[*WAY, *(entry(f"l/{k}", DIRECTORY) for k in range(n))], [entry("l/new"), entry("l/.wh..wh..opq")]]


def honest_files(n: int) -> list[list[Entry]]:
    return [[entry("usr/lib", DIRECTORY)], [entry(f"usr/lib/package{k % 100}/file-{k}") for k in range(n)]]


@pytest.mark.rule(9)
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(opaque_markers, marks=pytest.mark.rule(38)),
        pytest.param(nested_opaque_markers, marks=pytest.mark.rule(38)),
        pytest.param(whiteouts_of_a_directory_that_stays, marks=pytest.mark.rule(38)),
        whiteouts_of_one_directory,
        whiteouts_of_nothing,
        replaced_directories,
        replaced_symlinks,
        forward_hard_links,
        scattered_parents,
        directories,
        added_by_a_short_way,
        times_by_a_short_way,
        hidden_at_once,
    ],
)
def test_four_times_the_entries_take_about_four_times_as_long(
    make: Callable[[int], list[list[Entry]]], shared_memory: Path
) -> None:
    places = map(str, itertools.count())
    assert_linear(lambda n: seconds(shared_memory / next(places), *make(n)), 1500)


@pytest.mark.rule(9)
def test_hard_links_without_a_source_take_memory_to_a_bound(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(apply, "MAX_MISSING", 10)
    links = [entry(f"a{k}", HARDLINK, "b") for k in range(11)]
    seconds(tmp_path / "ten", [*links[:10], *links[:10], entry("b")])
    with pytest.raises(CorruptLayer, match="more than 10 hard links"):
        seconds(tmp_path / "eleven", [*links, entry("b")])


BOOKS: dict[str, Callable[[int], list[list[Entry]]]] = {
    make.__name__: make
    for make in (
        added_by_a_short_way,
        times_by_a_short_way,
        swept_by_a_short_way,
        removed_by_a_short_way,
        hidden_at_once,
        honest_files,
    )
}


def apply_and_tell(name: str, n: str, place: str) -> str:
    """Runs in the measured process. The entries are made before, and take some memory themselves."""
    layers = BOOKS[name](int(n))
    with Root(place) as root:
        applier = Applier(root, Listener())
        for layer in layers:
            applier.apply(Members(layer), "layer")
        applier.finish()
    return f"{applier.entries} entries"


@pytest.mark.rule(9)
@pytest.mark.parametrize("name", BOOKS)
def test_the_length_of_resolved_paths_takes_no_memory(name: str, shared_memory: Path) -> None:
    """The whole paths of 3000 entries take 12 MB."""
    few, many = (
        cost("tests.security.test_layers_cost:apply_and_tell", name, n, _made(shared_memory / str(n))).peak
        for n in (10, 3000)
    )
    assert many - few < 8


@pytest.mark.rule(9)
def test_a_file_over_another_layer_takes_eight_bytes_of_memory() -> None:
    tracemalloc.start()
    known = PathSet()
    for number in range(3 * paths.RECENT):
        known.add(b"usr/lib/a/path/of/some/length/%d" % number)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert b"usr/lib/a/path/of/some/length/7" in known
    assert kept < 3 * paths.RECENT * 8 + 100_000


@pytest.mark.rule(9)
def test_hard_links_before_their_sources_have_a_sum_of_paths(tmp_path: Path) -> None:
    links = [entry(f"l/{k}", HARDLINK, "late") for k in range(5000)]
    seconds(tmp_path / "few", [*WAY, *links[:1000], entry("late")])
    with pytest.raises(CorruptLayer, match="16777216 bytes of paths"):
        seconds(tmp_path / "many", [*WAY, *links, entry("late")])


@pytest.mark.rule(9)
def test_directories_with_acls_have_a_sum(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def with_acl(path: str) -> Entry:
        made = entry(path, DIRECTORY)
        made.xattrs = {b"system.posix_acl_default": bytes(1000)}
        return made

    monkeypatch.setattr(root, "MAX_LOCKING", 10_000)
    seconds(tmp_path / "few", [with_acl(f"{k % 3}") for k in range(30)])
    with pytest.raises(CorruptLayer, match="ACLs that take more than 10000 bytes"):
        seconds(tmp_path / "many", [with_acl(f"{k}") for k in range(30)])


@pytest.mark.rule(46)
def test_as_root_any_number_of_directories_may_lack_write_permission(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """All that Nix builds are read-only: images of it have a hundred thousand of them."""
    parts.need_root()
    monkeypatch.setattr(root, "MAX_LOCKING", 0)
    store = entry("store", DIRECTORY)
    store.mode = 0o555
    closed = entry("store/closed", DIRECTORY)
    closed.mode = 0
    seconds(tmp_path / "rootfs", [store, closed, entry("store/closed/a")], [entry("store/closed/b"), store, closed])
    place = tmp_path / "rootfs/store"
    assert [path.stat().st_mode & 0o7777 for path in (place, place / "closed")] == [0o555, 0]
    assert sorted(os.listdir(place / "closed")) == ["a", "b"]


@pytest.mark.rule(9)
def test_devices_that_are_left_out_have_a_bound(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def device(name: str) -> Entry:
        made = entry(name, CHARACTER)
        made.devmajor = 1 << 20  # no kernel has such a number
        return made

    monkeypatch.setattr(apply, "MAX_LEFT_OUT", 10)
    devices = [device(f"d{k}") for k in range(11)]
    seconds(tmp_path / "ten", [*devices[:10], *devices[:10]])
    with pytest.raises(CorruptLayer, match="more than 10 devices"):
        seconds(tmp_path / "eleven", devices)


def scattered(n: int, kind: str) -> list[Entry]:
    """Each entry goes by symlinks that cost thousands of steps, and never to the directory of the one before."""
    links = [entry(f"l{k}", SYMLINK, f"l{k + 1}/" + "x/../" * 60) for k in range(30)]
    start = [*links, entry("l30/x", DIRECTORY), entry("l30/y", DIRECTORY)]
    return [*start, *(entry(f"l0/{'xy'[k % 2]}/{kind}{k}") for k in range(n))]


@pytest.mark.rule(9)
@pytest.mark.parametrize("kind", ["", ".wh."])
def test_the_ways_behind_symlinks_have_a_sum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Whiteouts, for which a way that leads nowhere is no error, count as well."""
    monkeypatch.setattr(handles, "MAX_STEPS", 100_000)
    seconds(tmp_path / "few", [entry("a")], scattered(10, kind))
    with pytest.raises(UnsafePath, match="more than 100000 steps"):
        seconds(tmp_path / "many", [entry("a")], scattered(2000, kind))


@pytest.mark.rule(9)
def test_loops_of_symlinks_that_whiteouts_follow_have_a_sum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handles, "MAX_STEPS", 100_000)
    links = [entry("loop", SYMLINK, "x/../" * 100 + "loop"), entry("x", DIRECTORY)]
    seconds(tmp_path / "few", links, [entry(f"loop/.wh.{k}") for k in range(10)])
    with pytest.raises(UnsafePath, match="more than 100000 steps"):
        seconds(tmp_path / "many", links, [entry(f"loop/.wh.{k}") for k in range(1000)])


@pytest.mark.rule(9)
@pytest.mark.parametrize("target", ["/" * 2047, "./" * 2047])
def test_the_empty_components_of_a_symlink_count_as_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    """They lead nowhere, but are read: forty such symlinks on one way take milliseconds."""
    monkeypatch.setattr(handles, "MAX_STEPS", 60_000)
    link = entry("l", SYMLINK, target)
    ways = ["l/" * 19, "l/" * 20]
    seconds(tmp_path / "one", [link, entry(f"{ways[0]}x")])
    with pytest.raises(UnsafePath, match="more than 60000 steps"):
        seconds(tmp_path / "two", [link, *(entry(f"{way}x") for way in ways)])


@pytest.mark.rule(9)
def test_ways_far_deeper_than_handles_have_a_sum(shared_memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No symlink is on them, but each entry leaves the directories that are kept open."""
    monkeypatch.setattr(handles, "MAX_STEPS", 10_000)
    ways = ["a" + "/d" * 1000, "b" + "/d" * 1000]
    seconds(shared_memory / "few", [entry(f"{ways[k % 2]}/{k}") for k in range(4)])
    with pytest.raises(UnsafePath, match="more than 10000 steps"):
        seconds(shared_memory / "many", [entry(f"{ways[k % 2]}/{k}") for k in range(20)])


@pytest.mark.rule(9)
def test_ways_as_deep_as_in_images_are_not_counted(shared_memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handles, "MAX_STEPS", 0)
    ways = [f"{k}" + "/d" * 50 for k in range(MAX_HANDLES)]
    seconds(shared_memory / "rootfs", [entry(f"{way}/{k}") for k in range(3) for way in ways])


@pytest.mark.rule(9)
def test_a_hundred_thousand_files_through_a_symlinked_directory_are_far_from_the_bound(
    shared_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in images that name files by /lib, which is a symlink to usr/lib: a fortieth of them, for a fortieth of it."""
    monkeypatch.setattr(handles, "MAX_STEPS", handles.MAX_STEPS // 40)
    layer = [entry(f"lib/modules/kernel/drivers/{k % 50}/{k}") for k in range(2500)]
    seconds(shared_memory / "usr", [entry("usr/lib", DIRECTORY), entry("lib", SYMLINK, "usr/lib")], layer)


@pytest.mark.rule(9)
def test_a_path_of_many_symlinks_is_bounded(tmp_path: Path) -> None:
    """Each target is long: every entry would cost forty hops of two thousand components."""
    links = [tar.symlink(f"l{n}", to=f"l{n + 1}/" + "x/../" * 800) for n in range(30)]
    begun = time.process_time()
    with pytest.raises(UnsafePath):
        unpack(tmp_path / "rootfs", tar.archive(*links, tar.directory("l30/x"), tar.file("l0/a")))
    assert time.process_time() - begun < 2


@pytest.mark.rule(27)
def test_directories_as_deep_as_a_path_goes_cost_neither_stack_nor_open_files(shared_memory: Path) -> None:
    depth = 2000
    ways = ["/".join(["d"] * level) for level in range(1, depth)]
    layer = [entry(way, DIRECTORY) for way in ways]
    seconds(shared_memory / "deep", layer, [entry(".wh.d")])
    assert os.listdir(shared_memory / "deep") == []


@pytest.mark.rule(27)
def test_a_hundred_thousand_directories_deep_is_an_error_at_once(shared_memory: Path) -> None:
    begun = time.process_time()
    with pytest.raises(ExtractionError):
        unpack(shared_memory / "rootfs", tar.archive(tar.file("d/" * 100_000 + "x")))
    # By a symlink on the way, no single name is too long.
    deep = "/".join(["d"] * 1500)
    links = [tar.symlink(f"l{n}", to=f"/l{n - 1}/{deep}" if n else f"/{deep}") for n in range(70)]
    with pytest.raises(ExtractionError):
        unpack(shared_memory / "linked", tar.archive(*links, *(tar.file(f"l{n}/x") for n in range(70))))
    assert time.process_time() - begun < 5


@pytest.mark.rule(9)
def test_a_name_of_a_megabyte_is_an_error(tmp_path: Path) -> None:
    for name in (b"x" * 1_000_000, b"x/" * 500_000):
        with pytest.raises(ExtractionError):
            unpack(tmp_path / f"rootfs{len(name.split(b'/'))}", tar.archive(tar.file(name)))


@pytest.mark.rule(9)
def test_a_terabyte_of_holes_takes_no_room(tmp_path: Path) -> None:
    layer = tar.archive(tar.gnu_sparse("a", [(1 << 40, b"end")], (1 << 40) + 3))
    unpack(tmp_path / "rootfs", layer)
    status = (tmp_path / "rootfs/a").stat()
    assert (status.st_size, status.st_blocks * 512 < 100_000) == ((1 << 40) + 3, True)


@pytest.mark.rule(9)
def test_few_files_are_open_at_a_time(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    most = 0

    class Watching(Members):
        def next(self) -> Entry | None:
            nonlocal most
            most = max(most, len(os.listdir("/proc/self/fd")))
            return super().next()

    with Root(_made(tmp_path / "rootfs")) as root:
        Applier(root, Listener()).apply(Watching(entry(f"{k}/a/b") for k in range(500)), "layer")
    assert most - before < MAX_HANDLES + 10


@pytest.mark.rule(9)
def test_the_first_layer_takes_no_memory_for_each_file(tmp_path: Path) -> None:
    def peak(n: int, place: Path) -> int:
        with Root(_made(place)) as root:
            applier = Applier(root, Listener())
            tracemalloc.start()
            applier.apply(Members(entry(f"d/{k}") for k in range(n)), "layer")
            most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return most

    peak(10, tmp_path / "warm")
    assert peak(3000, tmp_path / "many") - peak(100, tmp_path / "few") < 50_000


def _made(place: Path) -> str:
    place.mkdir()
    return str(place)


@pytest.fixture
def shared_memory(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory, if there is one: a disk's speed varies."""

    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    place = Path(tempfile.mkdtemp(prefix="layers-", dir="/dev/shm"))
    yield place
    parent = os.open(place.parent, os.O_RDONLY)
    remove_tree(parent, os.fsencode(place.name))  # shutil's recurses
    os.close(parent)
