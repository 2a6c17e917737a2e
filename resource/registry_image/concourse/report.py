"""The lines that stay in a build log: what a get or put does, and its result. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from registry_image.concourse.console.log import size_text
from registry_image.concourse.metadata import Taken
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Digest
from registry_image.oci.manifest import Index

if TYPE_CHECKING:
    from registry_image.transfer.copy import Copied, Graph
    from registry_image.transfer.unpack import Unpacked

#: How many tags of one put get a line each.
MAX_TAGS = 10


def getting(taken: Taken, blobs: Collection[Descriptor]) -> str:
    """Such as ``getting ghcr.io/org/app:1.2@sha256:356a52170700… for linux/amd64: 6 layers, 26.2 MB``.

    Without a platform where more than its image is downloaded, as for an OCI layout of an index.
    """
    named = str(taken.config.platform) if taken.config is not None and _only_image(taken, blobs) else ""
    platform = f" for {named}" if named else ""
    return f"getting {taken.tagged_name or taken.name}@{short(taken.root.digest)}{platform}: {contents(taken, blobs)}"


def contents(taken: Taken, blobs: Collection[Descriptor]) -> str:
    if not blobs:
        return "nothing is downloaded"
    size = size_text(sum(blob.size for blob in blobs))
    if taken.manifest is not None and _only_image(taken, blobs):
        return f"{count(len(taken.manifest.layers), 'layer')}, {size}"
    manifests = len(taken.root.manifests) if isinstance(taken.root, Index) else 1
    return f"{count(manifests, 'manifest')}, {count(len(blobs), 'blob')}, {size}"


def _only_image(taken: Taken, blobs: Collection[Descriptor]) -> bool:
    """Whether ``blobs`` are those of the platform's image, or none."""
    return taken.manifest is not None and len(blobs) <= len(taken.manifest.layers) + 1


def got(
    taken: Taken, blobs: Collection[Descriptor], unpacked: Unpacked | None, requests: int, quota: int | None
) -> str:
    """Such as ``6 files, 26.2 MB, every digest verified; 8 requests``."""
    result = contents(taken, blobs)
    if unpacked is not None:
        result = f"{count(unpacked.entries, 'file')}, {size_text(unpacked.bytes_written)}"
    if blobs:
        result += ", every digest verified"
    left = "" if quota is None else f"; {count(quota, 'pull')} left"
    return f"{result}; {count(requests, 'request')}{left}"


def putting(form: str, digest: Digest, repository: object, graph: Graph) -> str:
    """Such as ``putting OCI layout 'image' as sha256:356a52170700… to ghcr.io/org/app: 7 blobs, 26.2 MB``."""
    size = size_text(sum(blob.size for blob in graph.blobs.values()))
    return f"putting {form} as {short(digest)} to {repository}: {count(len(graph.blobs), 'blob')}, {size}"


def tag_lines(digest: Digest, before: Mapping[str, Digest | None]) -> list[str]:
    """One line for each tag that now points at ``digest``; ``before`` maps it to its old digest."""
    lines = [
        f"tag {tag}: {f'moved from {short(old)}' if old else 'new'}, now {short(digest)}" for tag, old in before.items()
    ]
    return lines if len(lines) <= MAX_TAGS else [*lines[:MAX_TAGS], f"and {len(lines) - MAX_TAGS} more tags"]


def pushed(digest: Digest, tags: Collection[str], copied: Copied, requests: int) -> str:
    """Such as ``2 tags at sha256:356a52170700…; 3 of 7 blobs sent, 20.1 MB; 12 requests``."""
    names = next(iter(tags)) if len(tags) == 1 else count(len(tags), "tag")
    moved = f"{names} at {short(digest)}" if tags else "no tag was moved"
    blobs = copied.blobs_uploaded + copied.blobs_reused
    sent = f"{copied.blobs_uploaded} of {count(blobs, 'blob')} sent, {size_text(copied.bytes_uploaded)}"
    if not blobs:
        sent = "nothing sent"
    return f"{moved}; {sent}; {count(requests, 'request')}"


def short(digest: Digest) -> str:
    return f"{digest.algorithm}:{digest.short}…"


def count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
