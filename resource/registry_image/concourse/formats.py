"""get's formats `oci` and `oci-layout`: copies an image to a tarball and a layout directory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from registry_image.concourse.metadata import Taken
from registry_image.concourse.request.get import PRODUCTS, GetRequest
from registry_image.oci.content import BlobSource, ContentReader
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.progress_reader import ProgressReader
from registry_image.progress import Listener
from registry_image.storage.layout import LayoutDirectory
from registry_image.storage.loadable import LoadableTarball
from registry_image.transfer.copy import Graph, copy_graph, graph_of


def blobs_to_download(request: GetRequest, reader: ContentReader, taken: Taken) -> tuple[Descriptor, ...]:
    """All that `write_formats` will read."""
    if "oci-layout" in request.formats:
        return tuple(graph_of(reader, taken.root).blobs.values())
    return (taken.manifest.config, *taken.manifest.layers) if taken.manifest is not None else ()


@contextmanager
def write_formats(
    request: GetRequest, reader: ContentReader, taken: Taken, directory: str, listener: Listener
) -> Iterator[BlobSource]:
    """Writes ``oci/`` and ``image.tar`` into ``directory`` if ``request`` asks for them.

    Yields the source for the next format: what was just written, so each blob is downloaded once.
    """
    parallel = request.source.max_concurrent_downloads
    near: BlobSource = ProgressReader(reader, listener, "download")
    with ExitStack() as stack:
        if "oci-layout" in request.formats:
            layout = LayoutDirectory(os.path.join(directory, PRODUCTS["oci-layout"]))
            graph = graph_of(reader, taken.root)
            # `seal` writes the root.
            del graph.manifests[taken.root.digest]
            copy_graph(near, layout, graph, parallel=parallel)
            layout.seal(taken.root)
            near = layout
        if "oci" in request.formats and taken.manifest is not None:
            path = os.path.join(directory, PRODUCTS["oci"])
            tarball = stack.enter_context(LoadableTarball(path, taken.manifest, taken.tagged_name))
            blobs = {blob.digest: blob for blob in (taken.manifest.config, *taken.manifest.layers)}
            copy_graph(near, tarball, Graph(blobs=blobs), parallel=parallel)
            near = tarball
        yield near
