"""An image.tar made to be expensive to open: a put refuses it with one error, in little memory. Honest ones are opened.

Each file has at most 3 MB, as a hostile build step may leave it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from registry_image.errors import ContentError
from registry_image.storage.detect import open_image
from tests.support import tar
from tests.support.cost import cost
from tests.support.images import digest_of

MIB = 1024 * 1024
#: Memory of a step whatever it reads, and memory for what honest images look like, in MiB.
MOST, HONEST = 256, 128
SIZE_LIMIT = 3 * MIB
LAYER = tar.archive(tar.file("hello", b"world"))
OTHER = tar.archive(tar.file("other"))


def open_and_tell(path: str) -> str:
    """Runs in the measured process."""
    try:
        with open_image(path, "image.tar") as stored:
            return f"opened {stored.form}"
    except ContentError as error:
        return f"refused: {error.message}"


def config_of(*layers: bytes) -> bytes:
    diff_ids = [digest_of(each) for each in layers]
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    return json.dumps(config).encode()


def records(size: int) -> bytes:
    """An extended header of about ``size`` bytes, of as many short records as fit."""
    body = b"".join(tar.pax_record(f"{number:x}", b"v") for number in range(size // 11))
    return body[:size] if len(body) < size else body[: body.rindex(b"\n", 0, size) + 1]


def many_attributes_for_all() -> bytes:
    return tar.archive(tar.pax(records(MIB), type=b"g"), *(tar.file(f"{number}") for number in range(3500)))


def many_attributes_for_each() -> bytes:
    return tar.archive(*(tar.pax(records(MIB - 512)) + tar.file(f"{number}") for number in range(2)))


def headers_without_an_end() -> bytes:
    return tar.gzip(tar.pax({"comment": "x" * 1_000_000}, type=b"g") * 80 + tar.archive(tar.file("a")), level=1)


def headers_of_many_members() -> bytes:
    return tar.gzip((tar.pax({"comment": "x" * 1_000_000}) + tar.file("a")) * 40 + tar.END, level=1)


def long_names() -> bytes:
    """Names in the text encoding that takes the most memory, four bytes for each character."""
    return tar.gzip(
        tar.archive(*(tar.file("\U0001f600" + f"/{number}".rjust(4000, "n")) for number in range(7_500))), level=1
    )


def long_targets() -> bytes:
    return tar.gzip(tar.archive(*(tar.symlink(f"{n}", "t" * 4000) for n in range(7_500))), level=1)


def many_members() -> bytes:
    return tar.gzip(tar.file("a") * 50_001 + tar.END, level=1)


def a_long_map_of_holes() -> bytes:
    return tar.gzip(tar.archive(tar.gnu_sparse("a", [(2 * at, b"x") for at in range(50_000)], 100_000)), level=1)


def sparse_member(version: str) -> Callable[[], bytes]:
    def make() -> bytes:
        if version == "gnu":
            return tar.archive(tar.gnu_sparse("manifest.json", [(0, b"[]")], 2))
        return tar.archive(tar.pax_sparse("manifest.json", [(0, b"[]")], 2, version=version))  # type: ignore[arg-type]

    return make


def size(value: int) -> Callable[[], bytes]:
    def make() -> bytes:
        field = tar.header("b", size=tar.base256(value, 12))
        return tar.archive(tar.file("a", b"x" * 2000), field, *(tar.file(f"{number}") for number in range(10)))

    return make


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "a global header of a megabyte": (many_attributes_for_all, "a tar without manifest.json"),
    "a header of a megabyte for each": (many_attributes_for_each, "a tar without manifest.json"),
    "headers without an end": (headers_without_an_end, "more than 4196352 bytes before one entry"),
    "headers of many members": (headers_of_many_members, "more than 33554432 bytes of headers"),
    "long names": (long_names, "more than 33554432 bytes of headers"),
    "long link targets": (long_targets, "more than 33554432 bytes of headers"),
    "many members": (many_members, "more than 50000 files"),
    "a long map of holes": (a_long_map_of_holes, "a sparse map of more than 1048576 bytes"),
    "a sparse file of GNU tar": (sparse_member("gnu"), "'manifest.json' is a sparse file"),
    "a sparse file, 0.0": (sparse_member("0.0"), "'manifest.json' is a sparse file"),
    "a sparse file, 0.1": (sparse_member("0.1"), "'manifest.json' is a sparse file"),
    "a sparse file, 1.0": (sparse_member("1.0"), "'manifest.json' is a sparse file"),
    "a size that leads back": (size(-2560), "a negative size: -2560"),
    "the smallest size": (size(-(2**63)), "a negative size"),
    "a size of 2⁶³": (size(2**63), "a number that needs more than 64 bits"),
    "a size of 2⁶³ - 1": (size(2**63 - 1), "truncated tar"),
}


@pytest.mark.parametrize(("make", "message"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_archive_is_refused_in_little_memory(tmp_path: Path, make: Callable[[], bytes], message: str) -> None:
    data = make()
    assert len(data) < SIZE_LIMIT
    path = tmp_path / "image.tar"
    path.write_bytes(data)
    opened = cost("tests.security.test_hostile_archives:open_and_tell", path)
    assert opened.said.startswith("refused: image 'image.tar': ")
    assert message in opened.said
    assert opened.peak < MOST
    assert opened.seconds < 15


def saved_with_links(count: int) -> bytes:
    """What old engines wrote for an image that has one layer ``count`` times: all but the first are links to it."""
    config = config_of(*[LAYER] * count, OTHER)
    names = [f"{number:064x}/layer.tar" for number in range(count)]
    links = [
        tar.symlink(name, f"../{names[0]}") if number % 2 else tar.hardlink(name, names[0])
        for number, name in enumerate(names[1:])
    ]
    listing = [{"Config": "config.json", "RepoTags": None, "Layers": [*names, "other/layer.tar"]}]
    return tar.archive(
        tar.file(names[0], LAYER),
        *links,
        tar.file("other/layer.tar", OTHER),
        tar.file("config.json", config),
        tar.file("manifest.json", json.dumps(listing)),
    )


def archive_of_many_blobs(count: int) -> bytes:
    """An OCI archive, with the headers of a PAX writer."""
    config = config_of()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": digest_of(config),
                "size": len(config),
            },
            "layers": [],
        }
    ).encode()
    listed = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest_of(manifest)}
    index = {"schemaVersion": 2, "manifests": [{**listed, "size": len(manifest)}]}
    blobs = [
        *(f"{number:064x}".encode() for number in range(count)),
        *(digest_of(each)[7:].encode() for each in (config, manifest)),
    ]
    bodies = {blobs[-2]: config, blobs[-1]: manifest}
    return tar.archive(
        *(tar.file(b"blobs/sha256/" + name, bodies.get(name, b"x"), mtime_ns=1) for name in blobs),
        tar.file("index.json", json.dumps(index)),
    )


HONEST_ARCHIVES: dict[str, tuple[Callable[[int], bytes], int, str]] = {
    "links to one layer": (saved_with_links, 120, "opened docker-save tarball"),
    "many blobs": (archive_of_many_blobs, 5_000, "opened OCI archive"),
}


@pytest.mark.parametrize(("make", "count", "said"), HONEST_ARCHIVES.values(), ids=HONEST_ARCHIVES)
def test_an_honest_archive_is_opened_in_less(
    tmp_path: Path, make: Callable[[int], bytes], count: int, said: str
) -> None:
    path = tmp_path / "image.tar"
    path.write_bytes(make(count))
    opened = cost("tests.security.test_hostile_archives:open_and_tell", path)
    assert opened.said == said
    assert opened.peak < HONEST


def test_only_the_headers_of_an_archive_are_read_to_list_it(tmp_path: Path) -> None:
    """A file of a terabyte, and as much after the end of the tar, all of it holes of the disk."""
    path = tmp_path / "image.tar"
    header = tar.header("large", size=tar.base256(1 << 40, 12))
    with path.open("wb") as file:
        file.write(header)
        file.seek(512 + (1 << 40))
        file.write(tar.archive(tar.file("manifest.json", "[]")))
        file.truncate(2 << 40)
    opened = cost("tests.security.test_hostile_archives:open_and_tell", path)
    assert (
        opened.said == "refused: image 'image.tar': manifest.json: expected a list of images, as docker save writes it"
    )
    assert opened.seconds < 5


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    members = [tar.symlink("manifest.json", "b"), tar.hardlink("b", "manifest.json"), tar.symlink("c", "../../c")]
    path = tmp_path / "image.tar"
    path.write_bytes(tar.archive(*members))
    assert open_and_tell(str(path)).startswith("refused: image 'image.tar': a tar without manifest.json")
