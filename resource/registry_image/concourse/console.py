"""stderr: log lines, and how far long work is, for a build log that interprets ANSI but is no terminal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from registry_image.progress import Listener, Silence

if TYPE_CHECKING:
    from registry_image.concourse.source import Source


class Log(Silence):
    """Lines as they come, and nothing of what lies between them."""

    def note(self, message: str) -> None:
        write_line(message)


def write_line(text: str) -> None:
    """A line on stderr. That nobody listens any more is no reason to stop."""
    try:
        os.write(2, text.encode("utf-8", "backslashreplace") + b"\n")
    except OSError:
        return


@contextmanager
def open_console(source: Source, *, bars: bool = True) -> Iterator[Listener]:
    """The listener that the source asks for; a check is too short to draw anything."""
    for warning in source.warnings:
        write_line(f"warning: {warning}")
    if not bars or source.progress == "none":
        yield Log()
        return
    yield Log()
