"""The referrers of a manifest: from the API, or from the fallback tag (distribution spec, "Listing Referrers")."""

from __future__ import annotations

from collections.abc import Iterable

from registry_image.decode import JSONReader
from registry_image.errors import InvalidManifest
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Digest
from registry_image.oci.manifest import MAX_CHILDREN

#: The most bytes of all pages of one list, whose entries stay in memory. Each has some 300 bytes.
MAX_REFERRERS_SIZE = 16 * 1024 * 1024


def fallback_tag(digest: Digest) -> str:
    """The tag of an index that replaces the API where there is none ("Referrers Tag Schema")."""
    return f"{digest.algorithm[:32]}-{digest.hex[:64]}"


def read_referrers(bodies: Iterable[bytes], what: str) -> tuple[Descriptor, ...]:
    """Reads the pages of an answer. Raises InvalidManifest, also for more referrers than an index may hold."""
    referrers: list[Descriptor] = []
    for body in bodies:
        reader = JSONReader.parse(body, what)
        referrers += (Descriptor.read(child) for child in reader.children("manifests"))
        if len(referrers) > MAX_CHILDREN:
            raise InvalidManifest(f"{what}: more than {MAX_CHILDREN} referrers")
    return tuple(referrers)
