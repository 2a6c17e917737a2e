"""Archives read back the same however they are cut; broken ones give only errors of ours."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry_image.archive import entry as kinds
from registry_image.archive.compression import decompress
from registry_image.archive.tarstream import TarReader
from registry_image.errors import CorruptLayer, UnsafePath
from registry_image.oci.digest import Buffer
from tests.fuzz import layers
from tests.support import tar

NAME_BYTES = st.binary(min_size=1, max_size=20).map(lambda name: name.translate(None, b"/\0"))
PARTS = NAME_BYTES.filter(lambda part: part not in (b"", b".", b".."))
PATHS = st.lists(PARTS, min_size=1, max_size=12).map(b"/".join)
DATA = st.binary(max_size=1500)
ATTRIBUTES = st.builds(
    tar.Attributes,
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 2**32 - 2),
    gid=st.integers(0, 2**32 - 2),
    mtime_ns=st.integers(-(2**40), 2**62),
)
XATTRS = st.dictionaries(st.from_regex(r"user\.[a-z]{1,8}", fullmatch=True), st.binary(max_size=60), max_size=3)


@st.composite
def members(draw: st.DrawFn) -> tuple[bytes, tuple[object, ...]]:
    """A member as bytes, and the expected entry."""
    path, attributes = draw(PATHS), draw(ATTRIBUTES)
    common = (attributes["mode"], attributes["uid"], attributes["gid"], attributes["mtime_ns"])
    match draw(st.sampled_from(["file", "directory", "symlink", "hardlink", "fifo"])):
        case "file":
            data, xattrs = draw(DATA), draw(XATTRS)
            facts = (path, kinds.REGULAR, b"", data, {key.encode(): value for key, value in xattrs.items()}, *common)
            attributes["xattrs"] = xattrs
            return tar.file(path, data, **attributes), facts
        case "directory":
            return tar.directory(path, **attributes), (path, kinds.DIRECTORY, b"", b"", {}, *common)
        case "symlink":
            target = draw(NAME_BYTES.filter(bool))
            return tar.symlink(path, target, **attributes), (path, kinds.SYMLINK, target, b"", {}, *common)
        case "hardlink":
            target = draw(PATHS)
            return tar.hardlink(path, target, **attributes), (path, kinds.HARDLINK, target, b"", {}, *common)
        case _:
            return tar.fifo(path, **attributes), (path, kinds.FIFO, b"", b"", {}, *common)


def read(pieces: Iterator[Buffer]) -> list[tuple[object, ...]]:
    reader = TarReader(pieces, "layer")
    found: list[tuple[object, ...]] = []
    while entry := reader.next():
        body = b"".join(reader.body())
        facts = (entry.path, entry.type, entry.linkname, body, dict(entry.xattrs))
        found.append((*facts, entry.mode, entry.uid, entry.gid, entry.mtime_ns))
    return found


def cut(data: bytes, sizes: list[int]) -> Iterator[memoryview]:
    """``data`` in pieces of the given sizes, in rotation."""
    view, at, turn = memoryview(data), 0, 0
    while at < len(view):
        size = sizes[turn % len(sizes)]
        yield view[at : at + size]
        at, turn = at + size, turn + 1


SIZES = st.lists(st.integers(1, 2000), min_size=1, max_size=5)


@given(st.lists(members(), max_size=6), SIZES, st.sampled_from([bytes, tar.gzip, tar.zstd]))
def test_members_read_back_however_they_are_packed_and_cut(
    written: list[tuple[bytes, tuple[object, ...]]], sizes: list[int], pack: Callable[[bytes], bytes]
) -> None:
    data = pack(tar.archive(*(member for member, _ in written)))
    assert read(decompress(cut(data, sizes), "layer")) == [facts for _, facts in written]


@given(
    st.lists(st.tuples(PATHS, DATA), max_size=4),
    st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_output_of_pythons_tarfile_reads_back(files: list[tuple[bytes, bytes]], form: int) -> None:
    stream, expected = io.BytesIO(), []
    with tarfile.open(fileobj=stream, mode="w", format=form, errors="surrogateescape") as archive:
        for path, data in files:
            info = tarfile.TarInfo(path.decode("utf-8", "surrogateescape"))
            info.size, info.uid, info.mtime = len(data), 1234, 1_500_000_000
            try:
                archive.addfile(info, io.BytesIO(data))
            except (ValueError, UnicodeError):
                continue  # a name that this dialect, or Python's writer, cannot express
            expected.append((path, data, 1234, 1_500_000_000 * 10**9))
    found = read(cut(stream.getvalue(), [700]))
    assert [(entry[0], entry[3], entry[6], entry[8]) for entry in found] == expected


@given(
    st.lists(members(), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=4),
    st.integers(0, 10**6),
    SIZES,
    st.sampled_from([bytes, tar.gzip, tar.zstd]),
)
def test_broken_bytes_give_our_errors_only(
    written: list[tuple[bytes, tuple[object, ...]]],
    damage: list[tuple[int, int]],
    end: int,
    sizes: list[int],
    pack: Callable[[bytes], bytes],
) -> None:
    data = bytearray(pack(tar.archive(*(member for member, _ in written))))
    for position, value in damage:
        data[position % len(data)] = value
    try:
        read(decompress(cut(bytes(data)[: end % len(data)], sizes), "layer"))
    except (CorruptLayer, UnsafePath) as error:
        assert error.message.startswith("layer: ")  # noqa: PT017  # reading may also succeed


def fields(width: int) -> st.SearchStrategy[bytes]:
    """What may stand in a numeric field: numbers near the bounds, in both encodings, and anything."""
    return st.one_of(
        st.sampled_from([-(2**63), -513, -1, 0, 1, 3, 512, 2**31, 2**63 - 1, 2**63]).map(
            lambda number: tar.base256(number, width)
        ),
        st.integers(0, 2000).map(lambda number: tar.octal(number, width)),
        st.binary(min_size=width, max_size=width),
    )


#: Names that are honest, and names with what no name may hold.
NAMES = st.sampled_from([b"a", b"d/a", b"a\0b", b"../x", b"/", b"a/../../b", b"\0", b"", b"x/" * 2500])
DECIMALS = st.sampled_from(
    [b"0", b"1", b"2", b"-1", b"-3", b"512", b"1.5", b"", b"x", b"%d" % (2**63 - 1), b"%d" % 2**63]
)
LISTS = st.lists(st.integers(-2, 600), max_size=6).map(lambda numbers: ",".join(map(str, numbers)).encode())
PLAIN = st.one_of(
    st.tuples(st.sampled_from(["path", "linkpath", "uname", "SCHILY.xattr.user.a", "SCHILY.xattr."]), NAMES),
    st.tuples(st.sampled_from(["size", "uid", "gid", "mtime"]), DECIMALS),
)
SPARSE = st.one_of(
    st.tuples(st.just("GNU.sparse.name"), NAMES),
    st.tuples(st.sampled_from([f"GNU.sparse.{key}" for key in ("realsize", "size", "numblocks", "major")]), DECIMALS),
    st.tuples(st.just("GNU.sparse.map"), LISTS),
    st.tuples(st.sampled_from(["GNU.sparse.offset", "GNU.sparse.numbytes"]), DECIMALS),
)
#: Records that make the rest of a sparse file's description count.
VERSIONS = st.sampled_from(
    [
        [],
        [("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"600")],
        [("GNU.sparse.size", b"600"), ("GNU.sparse.numblocks", b"1"), ("GNU.sparse.map", b"0,512")],
    ]
)


#: The lines before the data in version 1.0: the number of pairs, then the pairs.
MAPS = st.sampled_from([[b"0"], [b"1", b"0", b"0"], [b"-1", b"5"], [b"-2", b"5", b"6"], [b"1", b"600", b"0"]])


@st.composite
def extended(draw: st.DrawFn) -> bytes:
    kind = draw(st.sampled_from([b"x", b"x", b"x", b"g", b"L", b"K"]))
    if kind in (b"L", b"K"):
        return tar.gnu_long(draw(NAMES), type=kind)
    records = [*draw(VERSIONS), *draw(st.lists(st.one_of(SPARSE, PLAIN), max_size=2))]
    return tar.pax(records, type=kind)


@st.composite
def any_member(draw: st.DrawFn) -> bytes:
    """Extended headers, a header whose checksum is right and whose fields are anything, and the lines of a map."""
    lines = draw(st.one_of(MAPS, st.lists(DECIMALS, max_size=6)))
    data = b"".join(line + b"\n" for line in lines)
    block = bytearray(
        tar.header(
            draw(NAMES)[:100],
            type=draw(st.sampled_from([bytes([kind]) for kind in b"00007\x00123456SSxgLKD"])),
            size=draw(st.sampled_from([512, 5, 0, 1024])),
            linkname=draw(NAMES)[:100],
            dialect=draw(st.sampled_from(["v7", "ustar", "gnu", "pax"])),
        )
    )
    # Mode, owner, size and time; the device; old GNU's map, and whether more blocks follow it.
    places = [(100, 8), (108, 8), (116, 8), (124, 12), (136, 12), (329, 8), (337, 8)]
    places += [(at, 12) for at in (386, 398, 410, 422, 483)]
    for at, width in draw(st.lists(st.sampled_from(places), max_size=4)):
        block[at : at + width] = draw(fields(width))
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return b"".join(draw(st.lists(extended(), max_size=2))) + bytes(block) + tar.padded(data)


@st.composite
def any_sparse_member(draw: st.DrawFn) -> bytes:
    """A sparse file of PAX whose parts are plausible, so that what is odd in one of them gets far."""
    size, pairs, stored = draw(DECIMALS), draw(MAPS), draw(st.sampled_from([0, 0, 5]))
    records = [("GNU.sparse.name", draw(NAMES)), ("GNU.sparse.realsize", size)]
    if draw(st.booleans()):
        records += [("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0")]
        data = tar.padded(b"".join(line + b"\n" for line in pairs))
    else:
        records += [("GNU.sparse.numblocks", pairs[0]), ("GNU.sparse.map", b",".join(pairs[1:]))]
        data = b""
    return tar.pax(records) + tar.header("x", size=len(data) + stored) + data + tar.padded(b"x" * stored)


@settings(max_examples=200)
@given(st.lists(st.one_of(any_member(), any_sparse_member()), min_size=1, max_size=2), SIZES)
def test_any_header_gives_an_entry_within_bounds_or_our_errors(written: list[bytes], sizes: list[int]) -> None:
    reader = TarReader(cut(tar.archive(*written), sizes), "layer")
    try:
        while entry := reader.next():
            assert b"\0" not in entry.path + entry.linkname
            assert not entry.path.startswith(b"/")
            assert not {b"..", b".", b""} & set(entry.path.split(b"/")) or not entry.path
            assert 0 <= entry.size < 2**63
            assert sum(map(len, reader.body())) <= entry.size
    except (CorruptLayer, UnsafePath) as error:
        assert error.message.startswith("layer: ")  # noqa: PT017  # reading may also succeed


@given(st.binary(max_size=2000), SIZES)
def test_random_bytes_give_our_errors_only(data: bytes, sizes: list[int]) -> None:
    try:
        read(decompress(cut(data, sizes), "layer"))
    except (CorruptLayer, UnsafePath) as error:
        assert error.message.startswith("layer: ")  # noqa: PT017  # reading may also succeed


@pytest.mark.parametrize("name", sorted(path.name for path in layers.CORPUS.iterdir()))
def test_bugs_found_by_fuzzing_stay_fixed(name: str) -> None:
    layers.read_layer((layers.CORPUS / name).read_bytes())
