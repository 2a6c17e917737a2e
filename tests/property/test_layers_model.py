"""Random stacks of layers, biased to collide: the tree on disk equals the slow model's, or both refuse.

The whole file runs a second time without root: then owners stay and devices are left out, and nothing else differs
(layers.md 48).
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from registry_image.errors import ExtractionError
from tests.support import oracle, parts
from tests.support.layers import unpack
from tests.support.oracle import Member
from tests.support.tree import Tree, differences, snapshot

IS_ROOT = os.geteuid() == 0

NAMES = st.sampled_from([b"a", b"b", b"c", b"l"])
MARKS = st.sampled_from([b".wh.a", b".wh.b", b".wh.l", b".wh..wh..opq", b".wh..wh.aufs"])
PATHS = st.one_of(
    *[st.lists(NAMES, min_size=1, max_size=4).map(b"/".join)] * 6,
    st.lists(st.sampled_from([b"a", b"b/..", b".", b"", b"b", b"l"]), max_size=4).map(lambda p: b"/".join((b"/a", *p))),
)
MARKED = st.tuples(st.lists(NAMES, max_size=3), MARKS).map(lambda parts: b"/".join((*parts[0], parts[1])))
TARGETS = st.sampled_from(
    [
        b"a",
        b"b",
        b"l",
        b"/a",
        b"/a/b",
        b"../a",
        b"../../../b/c",
        b"/",
        b"..",
        b".",
        b"a/b",
        b"missing/../c",
        b"/missing/x",
    ]
)
ATTRIBUTES = {
    "mode": st.sampled_from([0o644, 0o755, 0o600, 0o4755, 0o2755, 0o1777, 0o000, 0o555, 0o2711]),
    "uid": st.sampled_from([0, 1, 1000, 2**32 - 2]),
    "gid": st.sampled_from([0, 5, 2**31]),
    "mtime_ns": st.sampled_from([0, -1, 1, 10**18 + 123456789, -(10**17) - 5]),
}
XATTRS = st.sampled_from([{}, {}, {"user.a": b"1"}, {"user.a": b"\x00\xff", "user.b": b""}])


def members() -> st.SearchStrategy[Member]:
    files = st.builds(Member, path=PATHS, data=st.sampled_from([b"", b"x", b"data"]), xattrs=XATTRS, **ATTRIBUTES)
    directories = st.builds(Member, path=PATHS, kind=st.just("directory"), xattrs=XATTRS, **ATTRIBUTES)
    symlinks = st.builds(Member, path=PATHS, kind=st.just("symlink"), target=TARGETS, **ATTRIBUTES)
    links = st.builds(
        Member,
        path=PATHS,
        hardlink=st.just(True),
        target=st.sampled_from([b"a", b"b/a", b"c/c", b"l", b"l/b/a", b"later"]),
        **ATTRIBUTES,
    )
    fifos = st.builds(Member, path=PATHS, kind=st.just("fifo"), **ATTRIBUTES)
    devices = st.builds(Member, path=PATHS, kind=st.just("character"), device=st.just((1, 3)), **ATTRIBUTES)
    marks = st.builds(Member, path=MARKED)
    later = st.builds(Member, path=st.just(b"later"), data=st.just(b"late"))
    others = [later, fifos, devices] if IS_ROOT else [later, fifos]
    return st.one_of(
        files, files, files, files, directories, directories, symlinks, symlinks, links, marks, marks, *others
    )


#: The lowest layer of most stacks, so that whiteouts have something to hide and hard links something to link to.
BASE = [
    Member(path=b"a", data=b"base a"),
    Member(path=b"b/a", data=b"base b/a"),
    Member(path=b"b/b/a", data=b"base b/b/a"),
    Member(path=b"c/a", data=b"base c/a", xattrs={"user.base": b"1"}),
    Member(path=b"c/c", hardlink=True, target=b"b/a"),
    Member(path=b"c", kind="directory", mode=0o555, xattrs={"user.base": b"1"}),
    Member(path=b"l", kind="symlink", target=b"b"),
]
LAYERS = st.tuples(
    st.sampled_from([[BASE], [BASE], []]), st.lists(st.lists(members(), max_size=6), min_size=1, max_size=3)
).map(lambda parts: parts[0] + parts[1])


def expected(layers: list[list[Member]]) -> Tree:
    tree = oracle.tree(layers)
    if IS_ROOT:
        return tree
    return {path: replace(node, uid=os.geteuid(), gid=os.getegid()) for path, node in tree.items()}


GIT = Member(path=b"usr/bin/git", data=b"ELF", mode=0o755)


@settings(max_examples=400)
@given(layers=LAYERS)
@example(
    layers=[
        [GIT, Member(path=b"usr/libexec/git-core/git", hardlink=True, target=b"usr/bin/git")],
        [Member(path=b"usr/bin/git", kind="symlink", target=b"/usr/libexec/git-core/git")],
    ]
)
def test_a_stack_of_layers_gives_the_tree_of_the_model(layers: list[list[Member]]) -> None:
    with tempfile.TemporaryDirectory(prefix="model-") as directory:
        path, beside = Path(directory) / "rootfs", Path(directory) / "b"
        beside.mkdir()
        (beside / "c").write_bytes(b"canary")
        before = snapshot(beside)
        archives = [oracle.archive(layer) for layer in layers]
        try:
            tree = expected(layers)
        except oracle.Refused:
            event("refused")
            with pytest.raises(ExtractionError):
                unpack(path, *archives)
        else:
            event("laid out")
            unpack(path, *archives)
            assert differences(readable(path), tree) == []
        assert snapshot(beside) == before
        assert sorted(os.listdir(directory)) == ["b", "rootfs"]


def readable(path: Path) -> Tree:
    """The tree at ``path``. Without root, closed directories are opened to read it; the result has the modes before."""
    if IS_ROOT:
        return snapshot(path)
    top = os.fsencode(path)
    modes: dict[bytes, int] = {}
    todo = [b""]
    while todo:
        relative = todo.pop()
        name = os.path.join(top, relative)
        status = os.lstat(name)
        if stat.S_ISLNK(status.st_mode):
            continue
        if status.st_mode & 0o700 != 0o700:
            modes[relative] = stat.S_IMODE(status.st_mode)
            os.chmod(name, stat.S_IMODE(status.st_mode) | 0o700)
        if stat.S_ISDIR(status.st_mode):
            todo += [os.path.join(relative, child) for child in os.listdir(name)]
    tree = snapshot(path)
    for relative, mode in modes.items():
        for alias in tree[relative].names or (relative,):
            tree[alias] = replace(tree[alias], mode=mode)
    return tree


@pytest.mark.rule(48)
@pytest.mark.timeout(900)
@pytest.mark.skipif(not IS_ROOT, reason="is the second run")
def test_without_root_the_tree_is_the_same_but_for_owners() -> None:
    # A user namespace, because another user might not be allowed to read the interpreter.
    enter = [parts.need("unshare"), "--user", "--map-user=1000", "--map-group=1000"]
    if subprocess.run([*enter, "true"], capture_output=True, check=False).returncode != 0:
        parts.lacking("user namespaces", "run the tests where unshare --user is allowed")
    command = [*enter, sys.executable, "-m", "pytest"]
    answer = subprocess.run(
        [*command, "-q", "--color=no", "--timeout=0", "-p", "no:cacheprovider", __file__],
        env=os.environ | {"CI": "false"},  # there this test is skipped, which CI does not allow
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "1 passed, 1 skipped" in answer.stdout
