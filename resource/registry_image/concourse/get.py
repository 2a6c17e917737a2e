"""get: fetches the image behind a version's digest, in the formats wanted, with small files beside it."""

from __future__ import annotations

import os
import signal

from registry_image.concourse.connect import Connection, connect
from registry_image.concourse.console.console import Console
from registry_image.concourse.metadata import Response, Taken, describe, small_files, task_metadata, wanted_labels
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
from registry_image.transfer.select import select_within
from registry_image.transfer.unpack import Unpacked, unpack

#: Every other name that a get may make.
SMALL_FILES = (
    "repository",
    "tag",
    "digest",
    "metadata.json",
    "labels.json",
    "manifest.json",
    "config.json",
    "index.json",
)


def get(request: GetRequest, console: Console) -> Response:
    """Raises ResourceError; then nothing is left in the destination that was not there before."""
    connection = connect(request.source, console)
    try:
        return _get(request, connection, connection.reader(request.version.tag), console)
    except (DigestMismatch, SizeMismatch) as error:
        if connection.mirror is None:
            raise
        # Wrong bytes of the right length are found out at a blob's end, and by then half of it lies in the rootfs.
        console.note(f"warning: {error.message}: starting over without mirror {connection.mirror.name.host}")
    return _get(request, connection, connection.origin, console)


def _get(request: GetRequest, connection: Connection, source: ContentReader, console: Console) -> Response:
    products = [] if request.skip_download else [PRODUCTS[each] for each in request.formats]
    with Staging(request.destination, console) as staging:
        for name in (*SMALL_FILES, *products):
            staging.require_absent(name)
        reader = CachedReader(source)
        console.at(f"reading the manifest of {connection.name}@{request.version.digest}")
        root = reader.manifest(request.version.digest)
        image = _image(reader, root, request, console)
        taken = Taken(name=connection.name, version=request.version, root=root, image=image)
        metadata = describe(taken)
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
        # Nothing is left that takes time: from here a signal could only make a finished get look like a stopped one.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        for name in (*files, *products):
            staging.publish(name)
    traffic = connection.client.traffic
    console.done(got(taken, blobs, unpacked, traffic.requests, traffic.quota))
    return Response(version=request.version, metadata=metadata)


def _image(reader: ContentReader, root: Manifest | Index, request: GetRequest, listener: Listener) -> Image | None:
    """The image for the platform. A layout and the mere files need none: artifacts such as Helm charts pass through."""
    try:
        return select_within(reader, root, request.platform, listener)
    except (NoMatchingPlatform, UnsupportedMediaType) as error:
        if request.skip_download or request.formats == ("oci-layout",):
            return None
        if isinstance(error, NoMatchingPlatform):
            what, wanted = f"{request.source.name}@{root.digest}", str(request.platform)
            raise NoMatchingPlatform(what, wanted=wanted, available=error.available) from error
        raise


def _blobs(request: GetRequest, reader: ContentReader, taken: Taken) -> tuple[Descriptor, ...]:
    """What is going to be downloaded."""
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
    """Writes every format into ``directory``, each blob being downloaded once."""
    parallel = request.source.max_concurrent_downloads
    console.expect("download", {blob.digest.short: blob.size for blob in blobs})
    if "rootfs" in request.formats and taken.manifest is not None:
        console.expect("unpack", {layer.digest.short: layer.size for layer in taken.manifest.layers})
    if request.formats == ("rootfs",):
        return _unpack(ProgressReader(reader, console, "download"), taken.image, directory, console, parallel)
    # Most gets make a rootfs and no more: what else there is takes a twentieth of their start-up to import.
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
