"""Concourse's versions: a digest, and mostly a tag."""

from __future__ import annotations

from registry_image.oci.digest import Digest
from registry_image.record import record


@record(kw_only=True)
class Version:
    """``tag`` is "" for an image that is pinned by digest only."""

    tag: str
    digest: Digest

    def as_json(self) -> dict[str, str]:
        """Concourse accepts only strings."""
        return {"tag": self.tag, "digest": str(self.digest)} if self.tag else {"digest": str(self.digest)}


@record(kw_only=True)
class Cursor:
    """The version that a check starts from; users may pin any text. ``digest`` is None if missing or invalid."""

    tag: str
    digest: Digest | None
