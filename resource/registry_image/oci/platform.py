"""Platforms, normalised as containerd does (platforms/database.go), and the choice of one from an index."""

from __future__ import annotations

from collections.abc import Iterable
from os import uname

from registry_image.decode import JSONReader
from registry_image.errors import RequestError, bare, quote
from registry_image.record import record

_OS = {"macos": "darwin"}
_ARCHITECTURES = {
    "i386": ("386", None),
    "i686": ("386", None),
    "x86_64": ("amd64", None),
    "x86-64": ("amd64", None),
    "aarch64": ("arm64", None),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv8l": ("arm", "v8"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
}
_DEFAULT_VARIANTS = {"arm64": {"8", "v8"}, "amd64": {"1", "v1"}}


@record()
class Platform:
    """``variant`` is "" if the architecture has none, or for the default one (``arm64/v8`` = ``arm64``)."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def of(cls, os: str, architecture: str, variant: str = "") -> Platform:
        """Normalised. ``architecture`` may include its variant, as in ``arm64/v8``."""
        architecture, _, carried = architecture.lower().partition("/")
        architecture, implied = _ARCHITECTURES.get(architecture, (architecture, None))
        variant = (variant or carried or implied or "").lower()
        if variant in _DEFAULT_VARIANTS.get(architecture, ()):
            variant = ""
        if architecture == "arm":
            variant = f"v{variant}" if variant.isdigit() else variant or "v7"
        os = os.lower()
        return cls(_OS.get(os, os), architecture, variant)

    @classmethod
    def parse(cls, text: str) -> Platform:
        """``os/architecture[/variant]``. Raises RequestError for anything else."""
        parts = text.split("/")
        if not 2 <= len(parts) <= 3 or not all(parts):
            raise RequestError(f"platform {quote(text)}: expected os/architecture or os/architecture/variant")
        return cls.of(*parts)

    @classmethod
    def read(cls, reader: JSONReader) -> Platform:
        return cls.of(reader.text("os", ""), reader.text("architecture", ""), reader.text("variant", ""))

    @classmethod
    def of_this_machine(cls) -> Platform:
        # The standard library's `platform` says no more, and imports subprocess and half a dozen other modules.
        return cls.of(uname().sysname, uname().machine)

    def __str__(self) -> str:
        return bare("/".join(part for part in (self.os, self.architecture, self.variant) if part))

    @property
    def is_unknown(self) -> bool:
        """``unknown/unknown`` marks an attestation in an index, never an image to run."""
        return self.os == "unknown" or self.architecture == "unknown"

    def fallbacks(self) -> tuple[Platform, ...]:
        """The platforms whose programs this one runs, best first: an ``arm`` machine runs lower variants too."""
        if self.architecture != "arm" or self.variant not in ("v8", "v7", "v6", "v5"):
            if self.variant:
                # A machine of amd64/v3 or arm64/v9 runs the architecture's base.
                return (self, Platform(self.os, self.architecture))
            return (self,)
        highest = int(self.variant[1])
        return tuple(Platform(self.os, "arm", f"v{level}") for level in range(highest, 4, -1))


def choose(wanted: Platform, candidates: Iterable[Platform]) -> int | None:
    """The position of the best match for ``wanted``, the first of equals; None if nothing matches.

    If ``wanted`` has no variant and no candidate has the default one, the first variant counts, as in registry-image.
    """
    positions: dict[Platform, int] = {}
    for position, platform in enumerate(candidates):
        if not platform.is_unknown:
            positions.setdefault(platform, position)
    for platform in wanted.fallbacks():
        if platform in positions:
            return positions[platform]
    if not wanted.variant:
        for platform, position in positions.items():
            if (platform.os, platform.architecture) == (wanted.os, wanted.architecture):
                return position
    return None
