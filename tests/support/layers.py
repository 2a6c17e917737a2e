"""Unpacks layers into a directory with the code under test alone."""

from __future__ import annotations

import os
from pathlib import Path

from registry_image.archive.tarstream import TarReader
from registry_image.rootfs.apply import Applier
from registry_image.rootfs.root import Root
from tests.support import jail
from tests.support.ear import Ear


def unpack(path: Path, *layers: bytes, umask: int = 0o022) -> list[str]:
    """Applies whole tars, oldest first, to a fresh directory at ``path``; returns the warnings.

    It runs in a jail: ``path``'s parent is ``/``, and there is no ``/proc``.
    """
    return jail.run(path.parent, lay_out, f"/{path.name}", layers, umask)


def lay_out(path: str, layers: tuple[bytes, ...], umask: int) -> list[str]:
    """`unpack` without a jail: for layers that could not lead out of ``path`` if all checks failed."""
    ear = Ear()
    os.mkdir(path)
    before = os.umask(umask)
    try:
        with Root(path) as root:
            applier = Applier(root, ear)
            for number, layer in enumerate(layers, 1):
                what = f"layer {number}"
                applier.apply(TarReader([layer], what), what)
            applier.finish()
    finally:
        after = os.umask(before)
    assert after == umask
    return ear.notes
