"""The tar rules of docs/layers.md, 7 and 10 to 21, each in a table of its own."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from registry_image.archive import entry as kinds
from registry_image.archive import names, sparse, tarstream
from registry_image.archive.entry import Entry
from registry_image.archive.tarstream import TarReader
from registry_image.errors import CorruptLayer, UnsafePath
from tests.support import tar

Member = tuple[Entry, bytes]


def read(data: bytes, piece: int = 1 << 20) -> list[Member]:
    """Every member of ``data`` with its stored bytes; ``data`` arrives in pieces of ``piece`` bytes."""
    reader = TarReader(tar.pieces(data, piece), "layer 1 of 1")
    return list(iter(lambda: member(reader), None))


def member(reader: TarReader) -> Member | None:
    entry = reader.next()
    return None if entry is None else (entry, b"".join(reader.body()))


def only(data: bytes) -> Member:
    (found,) = read(data)
    return found


def expand(entry: Entry, stored: bytes) -> bytes:
    """A file's content as it will be on disk."""
    if entry.sparse is None:
        return stored
    content, taken = bytearray(entry.size), 0
    for offset, length in entry.sparse:
        content[offset : offset + length] = stored[taken : taken + length]
        taken += length
    assert taken == len(stored)
    return bytes(content)


# Fields of a member


@pytest.mark.parametrize("dialect", ["v7", "ustar", "gnu", "pax"])
def test_every_dialect_gives_name_type_mode_owner_size_and_time(dialect: tar.Dialect) -> None:
    data = tar.archive(tar.file("a/b", b"hello", mode=0o4755, uid=1000, gid=2000, mtime=1234567890, dialect=dialect))
    entry, body = only(data)
    assert (entry.path, entry.type, body) == (b"a/b", kinds.REGULAR, b"hello")
    assert (entry.mode, entry.uid, entry.gid, entry.size) == (0o4755, 1000, 2000, 5)
    assert entry.mtime_ns == 1234567890 * 10**9
    assert entry.xattrs == {}
    assert entry.sparse is None


@pytest.mark.parametrize(
    ("written", "type_"),
    [
        (tar.header("x", type=b"0"), kinds.REGULAR),
        (tar.header("x", type=b"\0"), kinds.REGULAR),
        (tar.header("x", type=b"7"), kinds.REGULAR),
        (tar.header("x/", type=b"0"), kinds.REGULAR),
        (tar.header("x/", type=b"\0", dialect="v7"), kinds.DIRECTORY),
        (tar.header("x/", type=b"5"), kinds.DIRECTORY),
        (tar.header("x", type=b"5"), kinds.DIRECTORY),
        (tar.header("x", type=b"1", linkname="y"), kinds.HARDLINK),
        (tar.header("x", type=b"2", linkname="y"), kinds.SYMLINK),
        (tar.header("x", type=b"3"), kinds.CHARACTER),
        (tar.header("x", type=b"4"), kinds.BLOCK_DEVICE),
        (tar.header("x", type=b"6"), kinds.FIFO),
    ],
)
def test_rule_10_and_20_types_are_known_by_their_letter(written: bytes, type_: bytes) -> None:
    entry, _ = only(tar.archive(written))
    assert (entry.path, entry.type) == (b"x", type_)


@pytest.mark.parametrize("letter", [bytes([code]) for code in range(256) if bytes([code]) not in b"\x0001234567SxgLK"])
def test_rule_20_any_other_type_is_an_error(letter: bytes) -> None:
    with pytest.raises(CorruptLayer, match="unknown type"):
        read(tar.archive(tar.header("x", type=letter)))


def test_rule_10_ustar_prefix_and_star_prefix_lengthen_the_name() -> None:
    star = b"p" * 131 + tar.octal(1, 12) + tar.octal(2, 12) + bytes(8) + b"tar\0"
    assert only(tar.archive(tar.header("n", rest=b"p" * 155)))[0].path == b"p" * 155 + b"/n"
    assert only(tar.archive(tar.header("n", rest=star)))[0].path == b"p" * 131 + b"/n"


def test_rule_13_gnu_magic_has_no_prefix() -> None:
    times = tar.octal(1_500_000_000, 12) * 2
    assert only(tar.archive(tar.header("n", rest=times, dialect="gnu")))[0].path == b"n"
    assert only(tar.archive(tar.header("n", rest=b"some/prefix", dialect="gnu")))[0].path == b"n"


def test_a_v7_header_has_no_prefix_and_no_device_numbers() -> None:
    header = tar.header("n", type=b"3", dialect="v7", rest=b"rubbish")
    entry, _ = only(tar.archive(header))
    assert (entry.path, entry.devmajor, entry.devminor) == (b"n", 0, 0)


def test_rule_11_pax_overrides_path_linkpath_size_owner_and_time() -> None:
    records = {"path": "new/" + "n" * 300, "size": "3", "uid": "4294967294", "gid": "70000", "mtime": "1.5"}
    entry, body = only(tar.archive(tar.pax(records), tar.header("old", size=0), tar.padded(b"abc")))
    assert (entry.path, entry.size, body) == (b"new/" + b"n" * 300, 3, b"abc")
    assert (entry.uid, entry.gid, entry.mtime_ns) == (2**32 - 2, 70000, 1_500_000_000)
    entry, _ = only(tar.archive(tar.pax({"linkpath": "t" * 200}), tar.header("l", type=b"2", linkname="old")))
    assert entry.linkname == b"t" * 200


def test_rule_11_pax_size_is_the_files_and_not_a_long_names_in_between() -> None:
    data = tar.archive(
        tar.pax({"size": "3"}),
        tar.gnu_long("long/" + "n" * 200),
        tar.gnu_long("ignored", type=b"K"),
        tar.header("short", size=0, dialect="gnu"),
        tar.padded(b"abc"),
        tar.file("next", b"12"),
    )
    assert [(entry.path, body) for entry, body in read(data)] == [(b"long/" + b"n" * 200, b"abc"), (b"next", b"12")]


def test_rule_11_an_empty_value_takes_the_override_back() -> None:
    data = tar.archive(tar.pax({"path": "", "uid": ""}), tar.header("kept", uid=7))
    entry, _ = only(data)
    assert (entry.path, entry.uid) == (b"kept", 7)


def test_records_of_one_header_do_not_reach_the_next_entry() -> None:
    first, second = read(tar.archive(tar.pax({"path": "a", "uid": "9"}), tar.header("x"), tar.header("y")))
    assert (first[0].path, first[0].uid) == (b"a", 9)
    assert (second[0].path, second[0].uid) == (b"y", 0)


def test_the_last_of_several_long_names_and_of_several_extended_headers_counts() -> None:
    data = tar.archive(tar.gnu_long("one"), tar.gnu_long("two"), tar.header("x", dialect="gnu"))
    assert only(data)[0].path == b"two"
    data = tar.archive(tar.pax({"path": "one", "uid": "1"}), tar.pax({"path": "two"}), tar.header("x"))
    assert (only(data)[0].path, only(data)[0].uid) == (b"two", 0)


def test_rule_12_global_headers_are_no_entries_and_change_none() -> None:
    data = tar.archive(
        tar.pax({"comment": "abc", "path": "evil", "uid": "5"}, type=b"g"),
        tar.pax({"mtime": "5"}),
        tar.pax({"comment": "in between"}, type=b"g"),
        tar.file("a", b"1"),
        tar.pax({"comment": "at the end"}, type=b"g") + tar.file("b"),
    )
    assert [(entry.path, entry.uid, entry.mtime_ns) for entry, _ in read(data)] == [
        (b"a", 0, 5 * 10**9),
        (b"b", 0, tar.MTIME * 10**9),
    ]


@pytest.mark.rule(12)
@pytest.mark.parametrize("end", [tar.END, b"", bytes(512), tar.END + b"more"])
def test_a_tar_may_end_after_a_global_header(end: bytes) -> None:
    """`git archive` of an empty tree is that header alone."""
    commit = tar.pax({"comment": "0123456789abcdef0123456789abcdef01234567"}, type=b"g")
    assert read(commit + end) == []
    assert [entry.path for entry, _ in read(tar.file("a") + commit + commit + end)] == [b"a"]
    with pytest.raises(CorruptLayer, match="before the entry it describes"):
        read(tar.pax({"uid": "1"}) + commit + end)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"0000644\0", 0o644),
        (b"000644 \0", 0o644),
        (b"   644 \0", 0o644),
        (b"644", 0o644),
        (b"0000644 ", 0o644),
        (b"00000644", 0o644),
        (b"\0\0\0\0\0\0\0\0", 0),
        (b"        ", 0),
        (b"644\0junk", 0o644),  # GNU tar and Go leave what follows a NUL alone
        (tar.base256(0o644, 8), 0o644),
    ],
)
def test_rule_14_numbers_are_octal_or_base_256(field: bytes, value: int) -> None:
    assert only(tar.archive(tar.header("x", mode=field)))[0].mode == value


@pytest.mark.parametrize(
    "time", [0, 1, -1, -(2**33), 2**33, 2**40 + 12345], ids=lambda time: f"{time} seconds after the epoch"
)
def test_rule_14_base_256_times_are_signed(time: int) -> None:
    assert only(tar.archive(tar.header("x", mtime=tar.base256(time, 12))))[0].mtime_ns == time * 10**9


@pytest.mark.parametrize("field", ["mode", "uid", "gid", "size", "mtime", "devmajor", "devminor"])
@pytest.mark.parametrize("rubbish", [b"12a4", b"8", b"-1", b"+1", b"0x1f", b"1_0", b"1 2", b"\0zzz", b"1.5", b"\x7f"])
def test_rule_18_rubbish_in_a_number_is_an_error(field: str, rubbish: bytes) -> None:
    with pytest.raises(CorruptLayer, match="octal"):
        read(tar.archive(tar.header("x", **{field: rubbish})))  # type: ignore[arg-type]  # the field's name varies


@pytest.mark.parametrize(
    "written",
    [
        tar.header("x", size=tar.base256(-1, 12)),
        tar.header("x", size=b"\xff" * 12),
        tar.pax({"size": "-1"}) + tar.header("x"),
        tar.header("x", size=b"\x80" + b"\xff" * 11),
        tar.header("x", uid=tar.base256(-1, 8)),
        tar.header("x", gid=tar.base256(-1, 8)),
        tar.header("x", uid=tar.base256(2**32 - 1, 8)),
        tar.header("x", gid=tar.base256(2**32, 8)),
        tar.header("x", type=b"5", uid=tar.base256(2**32 - 1, 8)),
        tar.header("x", type=b"1", linkname="y", gid=tar.base256(2**32 - 1, 8)),
        tar.pax({"uid": "4294967295"}) + tar.header("x"),
        tar.pax({"uid": "-1"}) + tar.header("x"),
        tar.pax({"gid": "9" * 5000}) + tar.header("x"),
        tar.pax({"gid": "9" * 19}) + tar.header("x"),
        tar.pax({"uid": "1.0"}) + tar.header("x"),
        tar.pax({"uid": " 1"}) + tar.header("x"),
        tar.pax({"uid": "1_0"}) + tar.header("x"),
        tar.header("x", type=b"3", devmajor=tar.base256(-1, 8)),
        tar.header("x", type=b"4", devminor=tar.base256(2**32, 8)),
    ],
)
def test_rule_14_numbers_out_of_range_are_an_error(written: bytes) -> None:
    with pytest.raises(CorruptLayer, match=r"layer 1 of 1: .* at byte 0: "):
        read(tar.archive(written))


def test_rule_14_the_greatest_owner_and_device_are_fine() -> None:
    entry, _ = only(
        tar.archive(
            tar.header("x", type=b"3", uid=tar.base256(2**32 - 2, 8), devmajor=tar.base256(2**32 - 1, 8), devminor=7)
        )
    )
    assert (entry.uid, entry.devmajor, entry.devminor) == (2**32 - 2, 2**32 - 1, 7)


@pytest.mark.parametrize("letter", list(b"123456"))
@pytest.mark.parametrize("by_pax", [False, True], ids=["by the header", "by PAX"])
def test_rule_15_only_files_carry_data_whatever_the_size_says(letter: int, *, by_pax: bool) -> None:
    header = tar.header("x", type=bytes([letter]), linkname="y", size=0 if by_pax else 10_000)
    data = tar.archive(tar.pax({"size": "10000"}) if by_pax else b"", header, tar.file("next", b"data"))
    (first, body), (second, rest) = read(data)
    assert (first.size, body, second.path, rest) == (0, b"", b"next", b"data")


def test_rule_15_a_v7_directory_has_no_data_either() -> None:
    data = tar.archive(tar.header("x/", type=b"\0", size=10_000, dialect="v7"), tar.file("next", b"data"))
    assert [(entry.path, entry.type, body) for entry, body in read(data)] == [
        (b"x", kinds.DIRECTORY, b""),
        (b"next", kinds.REGULAR, b"data"),
    ]


# Sparse files (rule 16)

SEGMENTS = [(512 * 8, b"first"), (512 * 100, b"s" * 700), (512 * 200, b"")]
SIZE = 512 * 300
CONTENT = bytes(512 * 8) + b"first" + bytes(512 * 92 - 5) + b"s" * 700
FORMATS: dict[str, Callable[..., bytes]] = {
    "old GNU": tar.gnu_sparse,
    "PAX 0.0": lambda *args: tar.pax_sparse(*args, version="0.0"),
    "PAX 0.1": lambda *args: tar.pax_sparse(*args, version="0.1"),
    "PAX 1.0": tar.pax_sparse,
}


@pytest.mark.parametrize("write", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("piece", [100, 1 << 20])
def test_rule_16_sparse_files_come_with_their_holes(write: Callable[..., bytes], piece: int) -> None:
    (entry, stored), (following, rest) = read(tar.archive(write("a/s", SEGMENTS, SIZE), tar.file("b", b"1")), piece)
    assert (entry.path, entry.type, entry.size) == (b"a/s", kinds.REGULAR, SIZE)
    assert expand(entry, stored) == CONTENT.ljust(SIZE, b"\0")
    assert entry.sparse == ((512 * 8, 5), (512 * 100, 700))
    assert (following.path, rest) == (b"b", b"1")


@pytest.mark.parametrize("write", FORMATS.values(), ids=FORMATS)
def test_rule_16_a_map_of_many_segments_is_read_whole(write: Callable[..., bytes]) -> None:
    segments = [(at * 1024, bytes([at % 251]) * 512) for at in range(100)]
    entry, stored = only(tar.archive(write("s", segments, 100 * 1024)))
    assert expand(entry, stored) == b"".join(data + bytes(512) for _, data in segments)


@pytest.mark.parametrize("write", FORMATS.values(), ids=FORMATS)
def test_rule_16_a_file_of_nothing_but_a_hole_keeps_its_size(write: Callable[..., bytes]) -> None:
    entry, stored = only(tar.archive(write("s", [], 10**12)))
    assert (entry.size, entry.sparse, stored) == (10**12, (), b"")


@pytest.mark.parametrize(
    "written",
    [
        tar.gnu_sparse("s", [(1024, b"a"), (0, b"b")], 2048),
        tar.gnu_sparse("s", [(0, b"abc"), (1, b"b")], 2048),
        tar.gnu_sparse("s", [(0, b"abc")], 2),
        tar.gnu_sparse("s", [(0, b"abc")], -5),
        tar.header("s", type=b"S", size=3) + tar.padded(b"abc"),
        tar.pax_sparse("s", [(2**63 - 1, b"abc")], 2**63 - 1),
        tar.pax({"GNU.sparse.major": "2", "GNU.sparse.minor": "0"}) + tar.header("s"),
        tar.pax({"GNU.sparse.size": "5"}) + tar.header("s"),
        tar.pax({"GNU.sparse.map": "0,1", "GNU.sparse.numblocks": "1"}) + tar.file("s", b"a"),
        tar.pax({"GNU.sparse.map": "0,1", "GNU.sparse.numblocks": "2", "GNU.sparse.size": "9"}) + tar.file("s", b"a"),
        tar.pax({"GNU.sparse.map": "0,2", "GNU.sparse.numblocks": "1", "GNU.sparse.size": "9"}) + tar.file("s", b"a"),
        tar.pax({"GNU.sparse.map": "0,1,", "GNU.sparse.numblocks": "1", "GNU.sparse.size": "9"}) + tar.file("s", b"a"),
        tar.pax([("GNU.sparse.numbytes", "1"), ("GNU.sparse.offset", "0")]) + tar.file("s", b"a"),
        tar.pax({"GNU.sparse.size": "5", "GNU.sparse.numblocks": "0"}) + tar.header("s", type=b"5"),
        tar.pax({"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1"}) + tar.header("s"),
        tar.pax({"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1"})
        + tar.file("s", b"-1\n" + bytes(600)),
        tar.pax({"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1"})
        + tar.file("s", b"-1\n5\n" + bytes(600)),
        tar.gnu_sparse("s", [], -5),
        tar.pax({"GNU.sparse.size": "-5", "GNU.sparse.numblocks": "0"}) + tar.header("s"),
        tar.pax({"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1"})
        + tar.file("s", b"9" * 600),
        tar.pax({"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1"})
        + tar.file("s", b"9" * (sparse.MAX_MAP_SIZE + 512)),
    ],
    ids=range(21),
)
def test_rule_16_a_map_that_does_not_fit_its_data_is_an_error(written: bytes) -> None:
    with pytest.raises(CorruptLayer):
        read(tar.archive(written))


def test_rule_16_an_old_map_without_end_is_an_error() -> None:
    more = bytes(504) + b"\1" + bytes(7)
    header = tar.header("s", type=b"S", dialect="gnu", rest=bytes(386 - 345 + 96) + b"\1" + tar.octal(5, 12))
    with pytest.raises(CorruptLayer, match="more than 1048576 bytes"):
        read(header + more * 3000)


# Names (rules 17, 21)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a", b"a"),
        ("a/b/c", b"a/b/c"),
        ("./a", b"a"),
        ("././a", b"a"),
        ("/a", b"a"),
        ("//a", b"a"),
        ("a//b", b"a/b"),
        ("a/./b", b"a/b"),
        ("a/../b", b"b"),
        ("a/b/../../c", b"c"),
        ("a/..", b""),
        (".", b""),
        ("./", b""),
        ("/", b""),
        (".//", b""),
        ("./a/", b"a"),
        ("a/.b", b"a/.b"),
        (".a", b".a"),
        ("..a", b"..a"),
        ("a..", b"a.."),
        ("...", b"..."),
        ("a/...", b"a/..."),
        (".//a/.", b"a"),
        (" ", b" "),
        ("a\nb", b"a\nb"),
        (b"\xff\xfe/\x01", b"\xff\xfe/\x01"),
        ("ä", "ä".encode()),
        ("C:\\x", b"C:\\x"),
    ],
)
def test_rule_17_and_21_names_are_bytes_made_relative(name: tar.Text, path: bytes) -> None:
    assert only(tar.archive(tar.header(name)))[0].path == path
    assert only(tar.archive(tar.hardlink("x", to=name)))[0].linkname == path


@pytest.mark.parametrize("name", ["..", "../a", "/..", "a/../..", "a/../../b", "./../a", "a/b/../../../c", "/../a"])
def test_rule_21_a_name_or_hard_link_that_climbs_above_the_root_is_refused(name: str) -> None:
    for written in (tar.header(name), tar.hardlink("x", to=name), tar.pax({"path": name}) + tar.header("x")):
        with pytest.raises(UnsafePath, match="climbs above the root"):
            read(tar.archive(written))


@pytest.mark.parametrize(
    "written",
    [
        tar.header(""),
        tar.header("", type=b"5"),
        tar.header("x", type=b"1"),
        tar.header("x", type=b"2"),
        tar.gnu_long("") + tar.header("", dialect="gnu"),
        tar.file("x" * (names.MAX_PATH + 1)),
        tar.file("x" * 1_000_000),
        tar.hardlink("x", to="a/" * 5000),
        tar.symlink("x", to="a" * (names.MAX_PATH + 1)),
        tar.pax_sparse("a\0b", [(0, b"x")], 600),
        tar.pax_sparse("a\0b", [(0, b"x")], 600, version="0.1"),
    ],
    ids=range(11),
)
def test_rule_17_and_27_a_name_that_no_file_can_have_is_refused(written: bytes) -> None:
    with pytest.raises(UnsafePath) as caught:
        read(tar.archive(written))
    assert len(caught.value.message) < 600


def test_rule_17_the_longest_name_is_fine() -> None:
    longest = b"d/" * 2000 + b"x" * 95
    assert only(tar.archive(tar.file(longest)))[0].path == longest


def test_rule_25_symlink_targets_are_verbatim() -> None:
    for target in ("/etc/passwd", "../../../x", ".", "a//b/./", b"\xff\xfe"):
        assert only(tar.archive(tar.symlink("l", target)))[0].linkname == tar.raw(target)


# Extended attributes and times


def test_rule_44_extended_attributes_are_verbatim() -> None:
    values = {"user.a": b"\0\n=\xff", "security.capability": b"\1\0\0\2" + bytes(16), "user.empty": b""}
    entry, _ = only(tar.archive(tar.file("f", xattrs=values)))
    assert entry.xattrs == {key.encode(): value for key, value in values.items()}


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("0", 0),
        ("1", 10**9),
        ("1.", 10**9),
        ("1.5", 1_500_000_000),
        ("1.123456789", 1_123_456_789),
        ("1.1234567899999", 1_123_456_789),
        ("-1", -(10**9)),
        ("-1.5", -1_500_000_000),
        ("-0.000000001", -1),
        ("9999999999.000000001", 9_999_999_999_000_000_001),
    ],
)
def test_rule_45_times_are_to_the_nanosecond(text: str, ns: int) -> None:
    assert only(tar.archive(tar.pax({"mtime": text}), tar.header("x")))[0].mtime_ns == ns


@pytest.mark.parametrize("text", ["x", "1.x", ".5", "1.2.3", "1e5", "--1", "+1", " 1", "1,5", "inf", "9" * 30])
def test_an_invalid_time_is_an_error(text: str) -> None:
    with pytest.raises(CorruptLayer, match="not a time"):
        read(tar.archive(tar.pax({"mtime": text}), tar.header("x")))


@pytest.mark.parametrize("kind", [b"x", b"g"])
@pytest.mark.parametrize(
    "body",
    [
        b"x",
        b"5",
        b"5 a=\n ",
        b"999 path=a\n",
        b"3 =\n",
        b"5 =a\n",
        b"6 abc\n",
        b"10 path=abc",
        b"11 path=abcX",
        b"10 path=a\0\n",
        b"7 a\0=b\n",
        b"+9 path=a\n",
        b" 9 path=a\n",
        b"-9 path=a\n",
        b"0 path=a\n",
        b"99999999999999999999 path=a\n",
        b"\n",
    ],
)
def test_rule_18_a_broken_pax_record_is_an_error(kind: bytes, body: bytes) -> None:
    with pytest.raises(CorruptLayer, match="PAX record"):
        read(tar.archive(tar.pax(body, type=kind), tar.header("x")))


def test_the_extended_headers_of_one_entry_have_a_bound_together() -> None:
    """However small each of them is, one entry is bounded; what another entry has does not count."""
    few = tar.pax({"comment": "x" * 1_000_000}, type=b"g") * 4
    assert [entry.path for entry, _ in read(tar.archive(few, tar.file("a"), few, tar.file("b")))] == [b"a", b"b"]
    for many in (few + few[: len(few) // 4], tar.pax(b"", type=b"g") * 8300):
        with pytest.raises(CorruptLayer, match="extended headers of more than 4196352 bytes before one entry"):
            read(tar.archive(many, tar.file("a")))


def test_a_value_may_hold_an_equals_sign() -> None:
    assert only(tar.archive(tar.pax({"path": "a=b=c"}), tar.header("x")))[0].path == b"a=b=c"


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
@pytest.mark.parametrize("size", [tarstream.MAX_EXTENDED_SIZE + 1, 2**40, -1])
def test_rule_9_extended_headers_are_bounded(kind: bytes, size: int) -> None:
    with pytest.raises(CorruptLayer, match="an extended header of"):
        read(tar.header("h", type=kind, size=size) + bytes(1 << 20))


def test_rule_9_the_number_of_entries_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tarstream, "MAX_ENTRIES", 3)
    assert len(read(tar.archive(*[tar.file("x")] * 3))) == 3
    with pytest.raises(CorruptLayer, match="more than 3 entries"):
        read(tar.archive(*[tar.file("x")] * 4))


# Corruption (rule 18) and the end of the tar (rules 7, 19)


def test_rule_18_a_wrong_checksum_is_an_error() -> None:
    good = tar.file("x", b"data")
    for position in (0, 100, 257, 511):
        bad = bytearray(good)
        bad[position] ^= 1
        with pytest.raises(CorruptLayer, match="checksum"):
            read(bytes(bad) + tar.END)
    for checksum in (b"0", b"", b"zzzzzz", b"777777\0 ", tar.base256(-1, 8)):
        with pytest.raises(CorruptLayer, match="checksum"):
            read(tar.archive(tar.header("x", checksum=checksum)))


def test_a_checksum_of_signed_bytes_or_in_other_spellings_is_right() -> None:
    block = tar.header(b"\xff\xfe")
    total = sum(block[:148]) + sum(block[156:]) + 8 * 32
    for field in (b"%06o\0 " % total, b"%07o\0" % total, b" %o " % total, b"%06o\0 " % (total - 2 * 256)):
        assert only(tar.header(b"\xff\xfe", checksum=field))[0].path == b"\xff\xfe"


def test_a_checksum_wrong_by_the_modulus_of_adler_32_is_wrong() -> None:
    block = tar.header(
        b"\xff" * 100, linkname=b"\xff" * 100, uname=b"\xff" * 32, gname=b"\xff" * 32, rest=b"\xff" * 155
    )
    total = sum(block[:148]) + sum(block[156:]) + 8 * 32
    assert total > 65521
    with pytest.raises(CorruptLayer, match="checksum"):
        read(block[:148] + b"%06o\0 " % (total - 65521) + block[156:])


@pytest.mark.parametrize("after", [tar.file("y"), b"rubbish".ljust(512, b"\0"), bytes(511) + b"x"])
def test_rule_18_a_single_zero_block_with_data_after_it_is_an_error(after: bytes) -> None:
    with pytest.raises(CorruptLayer, match="a single zero block"):
        read(tar.file("x") + bytes(512) + after)


@pytest.mark.parametrize("cut", [1, 511])
def test_rule_18_a_truncated_header_is_an_error(cut: int) -> None:
    for before in (b"", tar.file("x", b"data"), tar.file("x") + bytes(512)):
        with pytest.raises(CorruptLayer, match="truncated tar"):
            read(before + (tar.header("y") if before[-512:] != bytes(512) else bytes(512))[:cut])


@pytest.mark.parametrize("skip", [False, True], ids=["read", "skipped"])
def test_rule_18_a_truncated_body_is_an_error_that_says_where(*, skip: bool) -> None:
    data = tar.file("some/file", b"d" * 5000)
    for cut in (512, 513, 5000, 5511):
        reader = TarReader(tar.pieces(data[:cut], 700), "layer 3 of 4")
        assert reader.next()
        with pytest.raises(CorruptLayer, match=rf"^layer 3 of 4: truncated tar: it ends at byte {cut}, .*'some/file'"):
            _ = reader.next() if skip else list(reader.body())


def test_rule_18_an_extended_header_without_its_entry_is_an_error() -> None:
    for written in (tar.pax({"path": "x"}), tar.gnu_long("x"), tar.gnu_long("x", type=b"K")):
        for end in (b"", tar.END):
            with pytest.raises(CorruptLayer, match="before the entry it describes"):
                read(tar.file("a") + written + end)
        with pytest.raises(CorruptLayer, match="truncated tar"):
            read(written[:600])


def test_rule_7_a_layer_of_no_bytes_or_no_entries_is_valid() -> None:
    assert read(b"") == []
    assert read(tar.END) == []
    assert read(bytes(512)) == []


def test_rule_19_missing_end_blocks_are_accepted() -> None:
    for end in (b"", bytes(512), bytes(1024), bytes(10240)):
        assert [(entry.path, body) for entry, body in read(tar.archive(tar.file("x", b"data"), end=end))] == [
            (b"x", b"data")
        ]
    unpadded = tar.file("x", b"data")[:516]
    assert [body for _, body in read(unpadded)] == [b"data"]


@pytest.mark.parametrize("trailer", [b"x", b"rubbish" * 1000, tar.file("y", b"never")])
@pytest.mark.parametrize("piece", [1, 512, 1 << 20])
def test_rule_19_data_after_the_end_is_ignored_but_read(trailer: bytes, piece: int) -> None:
    data = tar.archive(tar.file("x", b"data")) + trailer
    seen = bytearray()

    def watched() -> Iterator[bytes]:
        for part in tar.pieces(data, piece):
            seen.extend(part)
            yield bytes(part)

    reader = TarReader(watched(), "layer")
    entry = reader.next()
    assert entry is not None
    assert entry.path == b"x"
    assert reader.next() is None
    assert bytes(seen) == data
    assert reader.next() is None


# Reading

EVERYTHING = tar.archive(
    tar.directory("usr"),
    tar.file("usr/a", b"a" * 513, mtime_ns=-1, xattrs={"user.x": b"1"}),
    tar.file("usr/empty"),
    tar.pax_sparse("usr/s", SEGMENTS, SIZE),
    tar.gnu_sparse("usr/t", [(at * 4096, b"x") for at in range(50)], 1 << 20),
    tar.file("long/" * 30 + "name", b"1" * 512, dialect="gnu"),
    tar.hardlink("usr/b", to="usr/a"),
    tar.symlink("usr/l", to="../" * 50),
    tar.device("dev/null", 1, 3),
)


def facts(member: Member) -> tuple[object, ...]:
    entry, body = member
    return (*(getattr(entry, name) for name in Entry.__slots__), body)


@pytest.mark.parametrize("piece", [1, 7, 511, 512, 513, 1000])
def test_the_pieces_do_not_matter(piece: int) -> None:
    assert [facts(one) for one in read(EVERYTHING, piece)] == [facts(one) for one in read(EVERYTHING)]


def test_bodies_may_be_left_unread_or_half_read() -> None:
    for piece in (1, 100, 1 << 20):
        reader = TarReader(tar.pieces(EVERYTHING, piece), "layer")
        paths = []
        while entry := reader.next():
            paths.append(entry.path)
            if len(paths) % 2:
                next(reader.body(), None)
        assert paths == [entry.path for entry, _ in read(EVERYTHING)]


def test_a_body_comes_as_views_of_the_pieces() -> None:
    piece = tar.archive(tar.file("x", b"data" * 100))
    reader = TarReader([piece], "layer")
    reader.next()
    (view,) = reader.body()
    assert isinstance(view, memoryview)
    assert view.obj is piece


def test_errors_of_the_source_pass_through() -> None:
    def broken() -> Iterator[bytes]:
        yield tar.file("x", b"data")[:600]
        raise ConnectionError("gone")

    reader = TarReader(broken(), "layer")
    reader.next()
    with pytest.raises(ConnectionError):
        reader.next()


def test_a_terabyte_of_holes_costs_no_memory() -> None:
    entry, stored = only(tar.archive(tar.gnu_sparse("s", [(10**12 - 5, b"tail!")], 10**12)))
    assert (entry.size, stored) == (10**12, b"tail!")


def test_a_hundred_thousand_pax_records_are_read_in_proportion() -> None:
    records = [(f"k{number}", "v") for number in range(80_000)]
    entry, _ = only(tar.archive(tar.pax(records), tar.header("x")))
    assert entry.path == b"x"


# Output of real archivers


def gnu_tar(tmp_path: Path, *options: str) -> bytes:
    return subprocess.run(
        ["tar", "-C", tmp_path, *options, "-cf", "-", "tree"], check=True, capture_output=True, timeout=60
    ).stdout


@pytest.mark.parametrize("form", ["v7", "oldgnu", "gnu", "ustar", "posix"])
def test_output_of_gnu_tar_reads_back(tmp_path: Path, form: str) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    long = "n" * (90 if form in ("v7", "ustar") else 200)
    (tree / "sub" / long).write_bytes(b"content" * 1000)
    os.link(tree / "sub" / long, tree / "hard")
    (tree / "soft").symlink_to("sub/" + long)
    os.utime(tree / "sub" / long, ns=(0, 1_111_111_111_123_456_789))
    found = {
        entry.path: (entry, body)
        for entry, body in read(gnu_tar(tmp_path, f"--format={form}", "--sort=name", "--numeric-owner"), 1000)
    }
    assert set(found) == {b"tree", b"tree/hard", b"tree/soft", b"tree/sub", b"tree/sub/" + long.encode()}
    hard, body = found[b"tree/hard"]
    assert (hard.type, body) == (kinds.REGULAR, b"content" * 1000)
    assert found[b"tree/sub/" + long.encode()][0].linkname == b"tree/hard"
    assert found[b"tree/soft"][0].linkname == b"sub/" + long.encode()
    assert found[b"tree/sub"][0].type == kinds.DIRECTORY
    assert hard.mtime_ns == (1_111_111_111_123_456_789 if form == "posix" else 1_111_111_111_000_000_000)


@pytest.mark.parametrize(
    "options", [["--format=gnu"], *(["--format=posix", f"--sparse-version={v}"] for v in ("0.0", "0.1", "1.0"))]
)
def test_sparse_files_of_gnu_tar_read_back(tmp_path: Path, options: list[str]) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    with (tree / "s").open("wb") as file:
        for at in range(30):
            file.seek(at * 1_000_000)
            file.write(b"island %d" % at)
        file.truncate(50_000_000)
    data = gnu_tar(tmp_path, "-S", "--hole-detection=raw", *options)
    assert len(data) < 2_000_000
    entry, stored = read(data)[-1]
    assert entry.path == b"tree/s"
    assert expand(entry, stored) == (tree / "s").read_bytes()


def test_reading_imports_neither_tarfile_nor_decoders_before_they_are_needed() -> None:
    code = (
        "import registry_image.archive.tarstream, registry_image.archive.compression, sys; print(sorted(sys.modules))"
    )
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    modules = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment, timeout=60
    ).stdout
    for heavy in ("'tarfile'", "'isal'", "'backports.zstd'", "'tempfile'"):
        assert heavy not in modules


def test_python_tarfile_would_have_ended_silently_where_we_fail() -> None:
    # The reason for our own reader (layers.md 18): a test, so that we notice when it is no longer true.
    import tarfile

    data = tar.file("a", b"1") + tar.header("b", checksum=b"000000") + tar.archive(tar.file("c"))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert archive.getnames() == ["a"]
    with pytest.raises(CorruptLayer):
        read(data)
