"""Layers laid out in a directory, by the code under test, with nothing around it."""

from __future__ import annotations

import os

from registry_image.archive.tarstream import TarReader
from registry_image.progress import Silence
from registry_image.rootfs.apply import Applier
from registry_image.rootfs.root import Root


class Notes(Silence):
    """The listener that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, message: str) -> None:
        self.lines.append(message)


def unpack(path: str | os.PathLike[str], *layers: bytes) -> list[str]:
    """Applies whole tars, oldest first, to a fresh directory at ``path``; the warnings."""
    notes = Notes()
    os.mkdir(path)
    with Root(os.fspath(path)) as root:
        applier = Applier(root, notes)
        for number, layer in enumerate(layers, 1):
            what = f"layer {number}"
            applier.apply(TarReader([layer], what), what)
        applier.finish()
    return notes.lines
