"""get: downloads the image of a version in the requested formats, and writes small files beside it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from typing import TypeAlias

from registry_image.concourse.connect import Connection, connect
from registry_image.concourse.console.console import Console
from registry_image.concourse.metadata import StepResult, Taken, describe, small_files, task_metadata, wanted_labels
from registry_image.concourse.report import getting, got
from registry_image.concourse.request.get import PRODUCTS, GetRequest
from registry_image.errors import DigestMismatch, NoMatchingPlatform, SizeMismatch, UnsupportedMediaType, storage_errors
from registry_image.oci.cached import CachedReader
from registry_image.oci.content import BlobSource, ContentReader
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.image import Image
from registry_image.oci.manifest import Index, Manifest
from registry_image.oci.progress_reader import ProgressReader
from registry_image.progress import Listener
from registry_image.rootfs.layer_errors import DESTINATION_HINTS
from registry_image.rootfs.root import Root
from registry_image.rootfs.staging import Staging
from registry_image.transfer.select import select_image
from registry_image.transfer.unpack import Unpacked, unpack

#: Who signed the version (`concourse.signatures.verify_version`).
Verify: TypeAlias = Callable[[Connection], str]

#: All names besides the products that a get may create.
SMALL_FILES = (
    *("repository", "tag", "digest"),
    *("metadata.json", "labels.json", "manifest.json", "config.json", "index.json"),
)


def get(request: GetRequest, console: Console, before_publishing: Callable[[], None] | None = None) -> StepResult:
    """Raises ResourceError; the destination is then as it was before. ``before_publishing`` is called when only
    renames are left."""
    verify = _verifier(request)
    connection = connect(request.source, console)
    with closing(connection.client.connections):
        try:
            return _get(request, connection, connection.reader(request.version.tag), console, verify, before_publishing)
        except (DigestMismatch, SizeMismatch) as error:
            if connection.mirror is None:
                raise
            # Only the end of a blob shows that its bytes are wrong, and by then part of it is in the rootfs.
            console.note(f"warning: {error.message}: starting over without mirror {connection.mirror.name.host}")
        return _get(request, connection, connection.origin, console, verify, before_publishing)


def _verifier(request: GetRequest) -> Verify | None:
    """Says who signed the version, or raises SignatureError; None where nobody has to have signed it."""
    if request.source.verify is None:
        return None
    from registry_image.concourse.signatures import read_policy, verify_version

    policy = read_policy(request.source.verify)
    tag = request.version.tag or request.source.tag or ""
    return lambda connection: verify_version(connection, request.version.digest, tag, policy)


def _get(
    request: GetRequest,
    connection: Connection,
    source: ContentReader,
    console: Console,
    verify: Verify | None,
    before_publishing: Callable[[], None] | None,
) -> StepResult:
    products = [] if request.skip_download else [PRODUCTS[form] for form in request.formats]
    with Staging(request.destination, console) as staging:
        for name in (*SMALL_FILES, *products):
            staging.require_absent(name)
        reader = CachedReader(source)
        console.at(f"reading the manifest of {connection.name}@{request.version.digest}")
        root = reader.manifest(request.version.digest)
        # Before anything that it refers to is asked for.
        signed_by = ""
        if verify is not None:
            console.at("looking for signatures")
            signed_by = verify(connection)
        image = _image(reader, root, request, console)
        taken = Taken(name=connection.name, version=request.version, root=root, image=image)
        metadata = describe(taken) | ({"signed_by": signed_by} if signed_by else {})
        for name, value in wanted_labels(request.source, taken).items():
            metadata.setdefault(name, value)
        files = small_files(taken)
        if PRODUCTS["rootfs"] in products and image is not None:
            files["metadata.json"] = task_metadata(image.config)
        blobs = _blobs(request, reader, taken)
        console.announce(getting(taken, blobs))
        console.at("writing files")
        unpacked = _download(request, reader, taken, blobs, staging.path, console) if products else None
        _write(staging.path, files)
        if before_publishing is not None:
            before_publishing()
        for name in (*files, *products):
            staging.publish(name)
    traffic = connection.client.traffic
    console.done(got(taken, blobs, unpacked, traffic.requests, traffic.quota))
    return StepResult(version=request.version, metadata=metadata)


def _image(reader: ContentReader, root: Manifest | Index, request: GetRequest, listener: Listener) -> Image | None:
    """The platform's image. None if no format needs one: a layout may hold an artifact such as a Helm chart."""
    try:
        return select_image(reader, root, request.platform, listener)
    except (NoMatchingPlatform, UnsupportedMediaType) as error:
        if request.skip_download or request.formats == ("oci-layout",):
            return None
        if isinstance(error, NoMatchingPlatform):
            name, platform = f"{request.source.name}@{root.digest}", str(request.platform)
            raise NoMatchingPlatform(name, wanted=platform, available=error.available) from error
        raise


def _blobs(request: GetRequest, reader: ContentReader, taken: Taken) -> tuple[Descriptor, ...]:
    """The blobs to download."""
    if request.skip_download:
        return ()
    if request.formats == ("rootfs",):
        return taken.manifest.layers if taken.manifest is not None else ()
    from registry_image.concourse.formats import blobs_to_download

    return blobs_to_download(request, reader, taken)


def _download(
    request: GetRequest,
    reader: ContentReader,
    taken: Taken,
    blobs: tuple[Descriptor, ...],
    directory: str,
    console: Console,
) -> Unpacked | None:
    """Writes every format into ``directory`` and downloads each blob once."""
    parallel = request.source.max_concurrent_downloads
    console.expect("download", {blob.digest.short: blob.size for blob in blobs})
    if "rootfs" in request.formats and taken.manifest is not None:
        console.expect("unpack", {layer.digest.short: layer.size for layer in taken.manifest.layers})
    if request.formats == ("rootfs",):
        return _unpack(ProgressReader(reader, console, "download"), taken.image, directory, console, parallel)
    # Most gets write only a rootfs; importing the other formats would add a twentieth to their start-up.
    from registry_image.concourse.formats import write_formats

    with write_formats(request, reader, taken, directory, console) as near:
        if "rootfs" not in request.formats:
            return None
        return _unpack(near, taken.image, directory, console, parallel=1)


def _unpack(
    source: BlobSource, image: Image | None, directory: str, listener: Listener, parallel: int
) -> Unpacked | None:
    if image is None:
        return None
    path = os.path.join(directory, PRODUCTS["rootfs"])
    with storage_errors(f"make {path!r}", DESTINATION_HINTS):
        os.mkdir(path)
    with Root(path) as root:
        return unpack(source, image, root, listener, parallel=parallel)


def _write(directory: str, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        doing = f"write {name!r}"
        with storage_errors(doing, DESTINATION_HINTS), open(os.path.join(directory, name), "xb") as file:
            file.write(data)
