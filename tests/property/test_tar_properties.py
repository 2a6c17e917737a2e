"""Archives read back the same however they are cut; broken ones give only errors of ours."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
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


@given(st.binary(max_size=2000), SIZES)
def test_random_bytes_give_our_errors_only(data: bytes, sizes: list[int]) -> None:
    try:
        read(decompress(cut(data, sizes), "layer"))
    except (CorruptLayer, UnsafePath) as error:
        assert error.message.startswith("layer: ")  # noqa: PT017  # reading may also succeed


@pytest.mark.parametrize("name", sorted(path.name for path in layers.CORPUS.iterdir()))
def test_bugs_found_by_fuzzing_stay_fixed(name: str) -> None:
    layers.read_layer((layers.CORPUS / name).read_bytes())
