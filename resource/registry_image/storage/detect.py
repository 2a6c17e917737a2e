"""Opens an image in a file or a directory; its format is detected by content, never by name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from registry_image.archive.gzip import Run
from registry_image.errors import ContentError, quote, storage_errors
from registry_image.oci.content import ContentReader
from registry_image.oci.manifest import Index, Manifest
from registry_image.storage.archive import Archive, open_archive
from registry_image.storage.files import Directory
from registry_image.storage.layout import LayoutReader
from registry_image.storage.tarball import open_saved

_FORMS = "a docker-save tarball, an OCI layout directory or an OCI archive"
#: Names at the top of a root filesystem, two of which are enough to recognise one.
_ROOTFS = frozenset({"bin", "etc", "usr", "var", "lib", "home", "root", "tmp"})
#: Names listed in a message.
_NAMES_SHOWN = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredImage:
    """``root`` is the manifest or index to tag; ``reader`` has its content; ``form`` names the format, for the log.

    ``verified`` means that all blobs were hashed while the image was opened.
    """

    reader: ContentReader
    root: Manifest | Index
    form: str
    verified: bool = False


@contextmanager
def open_image(path: str, shown: str, run: Run = map) -> Iterator[StoredImage]:
    """The image at ``path``, which messages call ``shown``. ``run`` compresses layers that are not compressed yet.

    Raises StorageError; ContentError if there is no image, with a message that says what is there and what is missing.
    """
    if os.path.isdir(path):
        yield _directory(path, shown)
        return
    with open_archive(path, f"image {shown!r}") as archive:
        # Tarballs of newer engines also hold a layout. Like registry-image, treat them as docker-save tarballs: the
        # layout's layers are not compressed, and its index may have an entry for each tag.
        if archive.has("manifest.json"):
            with open_saved(archive, run) as saved:
                yield StoredImage(reader=saved, root=saved.root, form="docker-save tarball", verified=True)
        elif archive.has("index.json"):
            layout = LayoutReader(archive)
            yield StoredImage(reader=layout, root=layout.archive_root(), form="OCI archive")
        else:
            raise _no_image(archive, shown)


def _directory(path: str, shown: str) -> StoredImage:
    what = f"OCI layout {shown!r}"
    files = Directory(path, what)
    # A get writes an index.json too, beside its rootfs.
    if files.has("index.json") and (files.has("blobs") or files.has("oci-layout")):
        layout = LayoutReader(files)
        return StoredImage(reader=layout, root=layout.directory_root(), form="OCI layout")
    with storage_errors(f"reading {what}"):
        names = sorted(os.listdir(path))
    seems, hint = "", None
    if os.path.exists(os.path.join(path, "oci", "index.json")):
        seems, hint = ": it seems to be what a get with `format: oci-layout` leaves", f"set `image` to {shown}/oci"
    elif "image.tar" in names:
        seems, hint = ": it seems to hold a tarball", f"set `image` to {shown}/image.tar"
    elif "rootfs" in names and "metadata.json" in names:
        seems = ": it seems to be what a get with `format: rootfs` leaves, which has no layers to push"
        hint = "get the image with `params: {format: oci-layout}`"
    elif "digest" in names and "repository" in names:
        seems = ": it seems to be what a get with `skip_download: true` leaves, which has no image"
        hint = "get the image with `params: {format: oci-layout}`"
    elif "manifest.json" in names and "version" in names:
        seems = ": it seems to be what skopeo or buildah writes to `dir:`"
        hint = "write it to `oci:` (skopeo copy --all) or `oci-archive:` instead"
    elif "manifest.json" in names:
        seems, hint = ": it seems to be an unpacked docker-save tarball", "push the tarball itself"
    elif "blobs" in names or "oci-layout" in names:
        seems = ": it seems to be an OCI layout that is incomplete"
    missing = "blobs" if "index.json" in names else "index.json"
    raise ContentError(
        f"image {shown!r}: a directory without {missing}{seems}: expected {_FORMS}; it has {_some(names)}", hint=hint
    )


def _no_image(archive: Archive, shown: str) -> ContentError:
    tops = sorted({os.fsdecode(name.partition(b"/")[0]) for name in archive.names()})
    seems, hint = "", None
    deeper = next((name for name in archive.names() if name.endswith((b"/index.json", b"/manifest.json"))), None)
    if "blobs" in tops or "oci-layout" in tops:
        seems = ": it seems to be an OCI archive that is incomplete"
    elif "repositories" in tops:
        seems, hint = ": it seems to be from `docker save` before 1.10", "save it again with a current engine"
    elif deeper is not None:
        folder = quote(os.path.dirname(deeper))
        seems = f": it seems to be an image packed inside the folder {folder}"
        hint = f"pack what is in the folder, not the folder: tar -C {folder} -cf image.tar ."
    elif len(_ROOTFS.intersection(tops)) > 1:
        seems = ": it seems to be a root filesystem, as `docker export` writes it"
        hint = "use `docker save`, or import it first"
    return ContentError(
        f"image {shown!r}: a tar without manifest.json and index.json{seems}: expected {_FORMS}; it has {_some(tops)}",
        hint=hint,
    )


def _some(names: list[str]) -> str:
    shown = ", ".join(quote(name) for name in names[:_NAMES_SHOWN])
    return (f"{shown} and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else shown) or "nothing"
