"""stderr: log lines, and how far long work is, for a build log that interprets ANSI but is no terminal."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import suppress

from registry_image.progress import Silence

#: The most of one line, in characters: a list of what there is may quote an index of 4 MiB.
MAX_LINE = 4000


def one_line(text: str) -> str:
    """``text`` as one line that shows what it says and does nothing: a build log obeys ANSI's escapes.

    Messages `quote` what is not theirs; this is the last door, for what they did not know to be strange.
    """
    if len(text) > MAX_LINE:
        text = f"{text[:MAX_LINE]}…"
    return text if text.isprintable() else "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def write_line(text: str) -> None:
    """A line on stderr."""
    write_text(f"{one_line(text)}\n")


def write_text(text: str) -> None:
    """On stderr, unbuffered. That nobody listens any more is no reason to stop."""
    with suppress(OSError):
        os.write(2, text.encode("utf-8", "backslashreplace"))


def size_text(size: float) -> str:
    """Bytes for people, in powers of ten as registries show them.

    >>> size_text(34_100_000)
    '34.1 MB'
    """
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


class Console(Silence):
    """Lines as they come, and nothing of what lies between them. ``downloaded`` counts bytes."""

    def __init__(self) -> None:
        self.downloaded = 0
        self._lock = threading.Lock()

    def advance(self, step: str, part: str, count: int) -> None:
        if step == "download":
            with self._lock:
                self.downloaded += count

    def expect(self, step: str, parts: Mapping[str, int]) -> None:
        """What is to come, each part with its size in bytes, so that a total can be shown from the start."""

    def note(self, message: str) -> None:
        write_line(message)


class Debug(Console):
    """Each step on each part as a line."""

    def begin(self, step: str, part: str, total: int | None) -> None:
        write_line(f"{step} {part}" if total is None else f"{step} {part}: {size_text(total)}")

    def finish(self, step: str, part: str) -> None:
        write_line(f"{step} {part}: done")
