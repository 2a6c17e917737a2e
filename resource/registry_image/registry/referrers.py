"""Who refers to a manifest: the referrers API, or the tag that stands in for it (distribution spec, "Referrers")."""

from __future__ import annotations

from collections.abc import Iterable

from registry_image.decode import JSONReader, parse_json
from registry_image.errors import InvalidManifest
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Digest
from registry_image.oci.manifest import MAX_CHILDREN


def fallback_tag(digest: Digest) -> str:
    """The tag of the index that stands in for the API where there is none ("Referrers Tag Schema")."""
    return f"{digest.algorithm[:32]}-{digest.hex[:64]}"


def read_referrers(bodies: Iterable[bytes], what: str) -> tuple[Descriptor, ...]:
    """The descriptors in the pages of an answer. Raises InvalidManifest, also for more than an index may hold."""
    found: list[Descriptor] = []
    for body in bodies:
        reader = JSONReader(parse_json(body, what), what)
        found += (Descriptor.read(child) for child in reader.children("manifests"))
        if len(found) > MAX_CHILDREN:
            raise InvalidManifest(f"{what}: more than {MAX_CHILDREN} referrers")
    return tuple(found)
