"""What a step tells about an image: a version, and names with values for people and for later steps' variables."""

from __future__ import annotations

from dataclasses import dataclass

from registry_image.concourse.version import Version
from registry_image.decode import JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What get and put answer. ``metadata`` is in the order it is shown in."""

    version: Version
    metadata: tuple[tuple[str, str], ...]

    def as_json(self) -> dict[str, JSON]:
        return {
            "version": dict(self.version.as_json()),
            "metadata": [{"name": name, "value": value} for name, value in self.metadata],
        }
