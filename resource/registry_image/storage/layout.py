"""OCI image layouts (image spec, image-layout.md), read from a directory or an archive and written to a directory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress

from registry_image.decode import dump_json
from registry_image.errors import ContentError, InvalidManifest, NotFound, bare, storage_errors
from registry_image.oci import mediatype
from registry_image.oci.content import BlobSource, open_verified, read_child
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Buffer, Digest
from registry_image.oci.manifest import MAX_MANIFEST_SIZE, Index, Manifest, parse_manifest
from registry_image.oci.platform import Platform
from registry_image.storage.files import Directory, Files, read_small

REF_NAME = "org.opencontainers.image.ref.name"
#: Annotations that say what an entry is called in its layout.
NAMES = (REF_NAME, "io.containerd.image.name")
#: A file with the digest of the layout's root, for an image that was fetched without an index.
SINGLE_IMAGE_DIGEST = "single-image-digest"
#: How deep single-entry indexes may nest. Tools make two levels.
MAX_NESTING = 8
#: How many names an error lists.
_NAMES_SHOWN = 8
_MARKER = b'{"imageLayoutVersion": "1.0.0"}'


class LayoutReader:
    """A ContentReader of a layout. ``index.json`` is content too: it may be the index that was fetched."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self.what = files.what

    def index(self) -> Index:
        """``index.json``. Raises ContentError if it is missing or not an index."""
        what = f"{self.what}: index.json"
        index = parse_manifest(read_small(self._files, "index.json", MAX_MANIFEST_SIZE), what=what)
        if not isinstance(index, Index):
            raise InvalidManifest(f"{what}: expected an index, got {index.media_type}")
        return index

    def manifest(self, digest: Digest) -> Manifest | Index:
        name = _blob_name(digest)
        if self._files.has(name):
            raw = read_small(self._files, name, MAX_MANIFEST_SIZE)
            return parse_manifest(raw, digest=digest, what=f"{self.what}: manifest {digest}")
        if self._files.has("index.json") and (index := self.index()).digest == digest:
            return index
        raise NotFound(f"{self.what}: manifest {digest} is missing ({name})", status=404)

    def blob(self, descriptor: Descriptor) -> AbstractContextManager[Iterator[Buffer]]:
        name = _blob_name(descriptor.digest)
        if not self._files.has(name):
            raise NotFound(f"{self.what}: blob {descriptor.digest} is missing ({name})", status=404)
        return self._files.open(name)

    def _single_image(self) -> Manifest | Index:
        text = read_small(self._files, SINGLE_IMAGE_DIGEST, limit=256).decode("utf-8", "replace").strip()
        try:
            digest = Digest.parse(text)
        except InvalidManifest:
            # Not quoted: a build's file by this name may hold anything.
            raise InvalidManifest(f"{self.what}: {SINGLE_IMAGE_DIGEST} holds no digest") from None
        return self.manifest(digest)

    def directory_root(self) -> Manifest | Index:
        """The root of a layout *directory*: the one in ``single-image-digest``, else ``index.json`` as an image index.
        An index with an index as its only entry is unwrapped."""
        if self._files.has(SINGLE_IMAGE_DIGEST):
            return self._single_image()
        index = self.index()
        for _ in range(MAX_NESTING):
            inner = self._only_index(index)
            if inner is None:
                return index
            index = inner
        raise InvalidManifest(f"{self.what}: more than {MAX_NESTING} indexes of one entry inside each other")

    def _only_index(self, index: Index) -> Index | None:
        if len(index.manifests) != 1 or index.manifests[0].media_type not in mediatype.INDEXES:
            return None
        inner = read_child(self, index.manifests[0])
        return inner if isinstance(inner, Index) else None

    def archive_root(self) -> Manifest | Index:
        """The root of a layout in an *archive*: the only entry of ``index.json``, which is a table of contents here.

        ``index.json`` itself is the root if it lists one image for several platforms, as apko's does.
        """
        index = self.index()
        entries = {entry.digest: entry for entry in index.manifests}
        if len(entries) == 1:
            return read_child(self, *entries.values())
        problem = _why_not_one_image(index)
        if problem:
            raise ContentError(
                f"{self.what}: index.json lists {len(entries)} images: "
                f"expected one, or one for each platform: {problem}",
                hint="save each image to an archive of its own; `images` pushes several of them under one index",
            )
        return index


def _why_not_one_image(index: Index) -> str:
    """Why the entries are not one image for several platforms; "" if they are."""
    for key in NAMES:
        names = sorted({entry.annotations[key] for entry in index.manifests if key in entry.annotations})
        if len(names) > 1:
            return f"they have different names: {', '.join(map(bare, names[:_NAMES_SHOWN]))}"
    seen: set[Platform] = set()
    for entry in index.manifests:
        if entry.platform is None:
            return f"{entry.digest} names no platform"
        if entry.platform in seen:
            return f"two are for {entry.platform}"
        if not entry.platform.is_unknown:  # as attestations are, of which there may be several
            seen.add(entry.platform)
    return ""


class LayoutDirectory(LayoutReader):
    """A ContentWriter of a layout in the new directory ``path``, and its reader. `seal` completes it."""

    def __init__(self, path: str) -> None:
        super().__init__(Directory(path, f"OCI layout {path!r}"))
        self.path = path
        with storage_errors(f"creating OCI layout {path!r}"):
            os.makedirs(os.path.join(path, "blobs"))

    def has(self, descriptor: Descriptor) -> bool:
        return self._files.has(_blob_name(descriptor.digest))

    def put_blob(self, descriptor: Descriptor, source: BlobSource) -> int:
        target = os.path.join(self.path, _blob_name(descriptor.digest))
        partial = f"{target}.partial"
        try:
            with storage_errors(f"writing {target!r}"):
                os.makedirs(os.path.dirname(target), exist_ok=True)
                what = f"blob {descriptor.digest}"
                with open(partial, "xb") as file, open_verified(source, descriptor, what) as pieces:
                    for piece in pieces:
                        file.write(piece)
                os.rename(partial, target)
        except BaseException:
            with suppress(OSError):
                os.unlink(partial)
            raise
        return descriptor.size

    def put_manifest(self, manifest: Manifest | Index) -> None:
        name = _blob_name(manifest.digest)
        with storage_errors(f"writing {self.what}"):
            os.makedirs(os.path.dirname(os.path.join(self.path, name)), exist_ok=True)
        self._write(name, manifest.raw)

    def seal(self, root: Manifest | Index) -> None:
        """Makes ``root``, whose content is all here, the root of the layout.

        ``index.json`` is an index byte for byte; for an image it lists the image, which ``single-image-digest`` names.
        """
        self._write("oci-layout", _MARKER)
        if isinstance(root, Manifest):
            self.put_manifest(root)
            entries = [root.descriptor.as_json()]
            index = {"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": entries}
            self._write("index.json", dump_json(index))
            self._write(SINGLE_IMAGE_DIGEST, str(root.digest).encode())
            return
        self._write("index.json", root.raw)
        if len(root.manifests) == 1 and root.manifests[0].media_type in mediatype.INDEXES:
            # Otherwise a reader would unwrap it, and a put would push another digest than the one fetched.
            self._write(SINGLE_IMAGE_DIGEST, str(root.digest).encode())

    def _write(self, name: str, data: bytes) -> None:
        with storage_errors(f"writing {self.what}: {name}"), open(os.path.join(self.path, name), "wb") as file:
            file.write(data)


def _blob_name(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"
