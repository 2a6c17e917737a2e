"""Versions as Concourse keeps them: a tag, where there is one, and the digest behind it."""

from __future__ import annotations

from dataclasses import dataclass

from registry_image.oci.digest import Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """``tag`` is "" for an image that was pinned by digest alone."""

    tag: str
    digest: Digest

    def as_json(self) -> dict[str, str]:
        """Concourse takes strings only, and refuses an empty version."""
        return {"tag": self.tag, "digest": str(self.digest)} if self.tag else {"digest": str(self.digest)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """The version a check starts from, as far as it makes sense: somebody may have pinned anything by hand.

    ``digest`` is None where the version has none or none that is well-formed: then it equals no tag's.
    """

    tag: str
    digest: Digest | None
