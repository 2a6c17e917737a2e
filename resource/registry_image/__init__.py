"""A Concourse resource for container images: check, in and out over one verified core.

``pull`` and ``Pulled`` are the library (docs/library.md); what is not listed in ``__all__`` may change.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from registry_image.library import Pulled, pull

__all__ = ["Pulled", "pull"]


def __getattr__(name: str) -> object:
    """Imports the library when it is first used: a check must not pay for it (PEP 562)."""
    if name in ("Pulled", "pull"):
        from registry_image import library

        return getattr(library, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
