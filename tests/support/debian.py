"""A real image: Debian by mmdebstrap, and layers on top that install, link, delete and replace real packages' files.

Built once per version of this file and kept in the user's cache directory. GNU tar packs the changed files of each
layer, extended attributes included, so it is independent of the code under test and of our tar builder.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import images, parts, tar

PACKAGES = {"git": ("git",), "ping": ("iputils-ping", "libcap2-bin")}
BUILD_SECONDS = 600
NAME = "debian"

# The files of installed packages that the last layers remove: `dpkg --verify` misses these and nothing else.
OPAQUE = b"usr/share/doc/git"
DELETED = b"usr/share/man/man1/git.1.gz"
DELETED_DIRECTORY = b"usr/lib/git-core/mergetools"

Name = bytes
State = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """How a layer is made: ``change`` the tree, then pack the difference."""

    change: Callable[[Path, Path], None]
    """Called with the tree and the directory of downloaded packages."""
    compress: tuple[str, ...]
    newest_first: bool = False
    """Pack names in reverse order: children before directories, the other name of a hard link first."""
    opaque: Name | None = None
    renamed: Mapping[Name, Name] = field(default_factory=dict)
    """Prefixes that the layer uses in place of the files' real ones: through a symlink."""


def real_image() -> images.Content:
    """The image, from the cache or built: minutes the first time, a second later."""
    parts.need_root()
    for program in ("mmdebstrap", "zstd", "pigz", "igzip"):
        parts.need(program)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "registry-image-tests"
    cache.mkdir(parents=True, exist_ok=True)
    key = hashlib.sha256(Path(__file__).read_bytes() + codename().encode()).hexdigest()[:16]
    layout = cache / f"debian-{key}"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test processes, one build
        if not layout.is_dir():
            with _scratch(cache) as work:
                images.write_layout(work / "layout", _build(work), NAME)
                (work / "layout").rename(layout)
    return images.read_layout(layout)


def codename() -> str:
    """This machine's release of Debian."""
    release = Path("/etc/os-release").read_text()
    found = re.search(r"^VERSION_CODENAME=(\w+)$", release, re.MULTILINE)
    if found is None or "ID=debian" not in release.splitlines():
        parts.lacking("Debian", "run the tests on Debian")
    return found[1]


def sources() -> list[str]:
    """The files in which this machine's apt finds its release, from any mirror."""
    release = re.compile(rf"(?m)^(?!\s*#).*(?<![\w-]){codename()}(?![\w-])")
    apt = Path("/etc/apt")
    candidates = [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))]
    return [str(each) for each in candidates if each.is_file() and release.search(each.read_text())]


@contextlib.contextmanager
def _scratch(beside: Path) -> Iterator[Path]:
    work = Path(tempfile.mkdtemp(prefix="build-", dir=beside))
    try:
        yield work
    finally:
        shutil.rmtree(work)


def _build(work: Path) -> images.Content:
    tree, packages = work / "tree", work / "packages"
    for name in PACKAGES:
        (packages / name).mkdir(parents=True)
    download = "".join(
        'rm -f "$1"/var/cache/apt/archives/*.deb; '
        'APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get --quiet=2 --yes --no-install-recommends --download-only '
        f'install {" ".join(wanted)}; mv "$1"/var/cache/apt/archives/*.deb "{packages}/{name}"; '
        for name, wanted in PACKAGES.items()
    )
    _run(
        "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--skip=cleanup/apt/lists",
        f"--customize-hook={download}", codename(), str(tree), *sources(), environment=parts.with_network(),
    )  # fmt: skip
    layers = []
    before: dict[Name, State] = {}
    for number, step in enumerate(STEPS):
        step.change(tree, packages)
        after = _states(tree)
        archive = work / f"{number}.tar"
        archive.write_bytes(_difference(tree, before, after, step))
        layers.append(_layer(archive, step.compress))
        before = after
    config = {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["bash"]}
    return images.image(*layers, config=config)


def _base(tree: Path, _packages: Path) -> None:
    for index in (tree / "var/lib/apt/lists").glob("*_*"):
        index.unlink()


def _install(name: str) -> Callable[[Path, Path], None]:
    def change(tree: Path, packages: Path) -> None:
        inside = tree / "tmp/packages"
        shutil.copytree(packages / name, inside)
        archives = [f"/tmp/packages/{each.name}" for each in sorted(inside.iterdir())]
        environment = {"PATH": parts.SYSTEM_PATH, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
        _run("chroot", str(tree), "dpkg", "--install", *archives, environment=environment)
        shutil.rmtree(inside)

    return change


def _link_git_twice(tree: Path, _packages: Path) -> None:
    second = tree / "usr/lib/git-core/git"
    second.unlink()  # Debian's is a symlink
    second.hardlink_to(tree / "usr/bin/git")


def _take_away_and_replace(tree: Path, _packages: Path) -> None:
    root = os.fsencode(tree)
    # The bug for which this project was started: one name of git becomes an absolute symlink to the other.
    os.unlink(root + b"/usr/bin/git")
    os.symlink("/usr/lib/git-core/git", root + b"/usr/bin/git")
    # A directory becomes a symlink to the new place of its content.
    os.rename(root + b"/usr/share/git-core", root + b"/usr/lib/git-share")
    os.symlink("../lib/git-share", root + b"/usr/share/git-core")
    os.unlink(root + b"/" + DELETED)
    shutil.rmtree(root + b"/" + DELETED_DIRECTORY)
    shutil.rmtree(root + b"/" + OPAQUE)
    os.mkdir(root + b"/" + OPAQUE)
    Path(os.fsdecode(root + b"/" + OPAQUE), "README.local").write_text("All else was hidden by an opaque whiteout.\n")


def _write_through_lib(tree: Path, _packages: Path) -> None:
    directory = tree / "usr/lib/written-through"
    directory.mkdir()
    directory.chmod(0o2750)
    note = directory / "note"
    note.write_text("This layer calls me lib/written-through/note.\n")
    note.chmod(0o640)
    os.chown(note, 12345, 2**31)
    os.utime(note, ns=(0, -1_500_000_000_123_456_789))
    os.setxattr(note, "user.origin", b"lib\0bytes\xff")
    os.mkfifo(directory / "queue", 0o600)
    Path(os.fsdecode(os.fsencode(directory) + b"/caf\xe9 \n")).write_bytes(b"a name that is no UTF-8\n")


STEPS = (
    Step(change=_base, compress=("pigz", "-n")),
    Step(change=_install("git"), compress=("zstd", "-T0")),
    Step(change=_link_git_twice, compress=("igzip", "-n"), newest_first=True),
    Step(change=_install("ping"), compress=("zstd", "-19", "--long=27")),
    Step(change=_take_away_and_replace, compress=("gzip", "-n"), opaque=OPAQUE),
    Step(
        change=_write_through_lib,
        compress=(),
        renamed={b"usr/lib/written-through": b"lib/written-through"},
    ),
)


def _states(tree: Path) -> dict[Name, State]:
    """Everything below ``tree``, with the fields that show a change."""
    root = os.fsencode(tree)
    top = os.lstat(root)
    found: dict[Name, State] = {b".": (top.st_mode, top.st_uid, top.st_gid, top.st_mtime_ns)}
    pending = [root]
    while pending:
        directory = pending.pop()
        for entry in os.scandir(directory):
            status = entry.stat(follow_symlinks=False)
            state: State = (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns)
            if entry.is_dir(follow_symlinks=False):
                pending.append(entry.path)
            else:
                # The change time shows new content, links and extended attributes: packing a new name of a file packs
                # all its names, as overlay filesystems do.
                state += (status.st_ino, status.st_ctime_ns)
            found[os.path.relpath(entry.path, root)] = state
    return found


def _difference(tree: Path, before: Mapping[Name, State], after: Mapping[Name, State], step: Step) -> bytes:
    """The layer that turns ``before`` into ``after``: whiteouts, then the files that GNU tar packs."""
    gone = sorted(before.keys() - after.keys())
    hidden = [path for path in gone if os.path.dirname(path) in {b"", *after} and _is_directory(after, path)]
    markers = [tar.whiteout(path) for path in hidden if os.path.dirname(path) != step.opaque]
    markers += [tar.opaque(step.opaque)] if step.opaque else []
    changed = sorted((path for path in after if after[path] != before.get(path)), reverse=step.newest_first)
    names = b"".join(_renamed(path, step.renamed) + b"\0" for path in changed)
    packed = subprocess.run(
        [
            parts.need("tar"), f"--directory={tree}", "--create", "--format=posix", "--numeric-owner", "--no-recursion",
            "--pax-option=delete=atime,delete=ctime", "--xattrs", "--xattrs-include=*",
            "--null", "--verbatim-files-from", "--files-from=-",
        ],
        input=names, stdout=subprocess.PIPE, check=True, timeout=BUILD_SECONDS,
    ).stdout  # fmt: skip
    return b"".join(markers) + packed


def _is_directory(after: Mapping[Name, State], path: Name) -> bool:
    """Whether the parent of the removed ``path`` is still a directory; otherwise its replacement hides ``path``."""
    parent = os.path.dirname(path)
    return parent == b"" or stat.S_ISDIR(after[parent][0])


def _renamed(path: Name, renamed: Mapping[Name, Name]) -> Name:
    for old, new in renamed.items():
        if path == old or path.startswith(old + b"/"):
            return new + path[len(old) :]
    return path


def _layer(archive: Path, compress: tuple[str, ...]) -> images.Layer:
    data = archive.read_bytes()
    if not compress:
        return images.layer(data, "none")
    program, *options = compress
    packed = subprocess.run(
        [parts.need(program), *options, "-c", str(archive)], check=True, capture_output=True, timeout=BUILD_SECONDS
    ).stdout
    suffix = "zstd" if program == "zstd" else "gzip"
    described = images.blob(packed, f"application/vnd.oci.image.layer.v1.tar+{suffix}")
    return images.Layer(blob=described, diff_id=images.digest_of(data))


def _run(program: str, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(
        [parts.need(program), *arguments], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace", timeout=BUILD_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{program} {' '.join(arguments)}:\n{done.stdout[-4000:]}"
