"""stderr: log lines, for a build log that interprets ANSI but is no terminal."""

from __future__ import annotations

import os
from contextlib import suppress

from registry_image.net.secrets import SECRETS
from registry_image.progress import Listener

#: The longest line, in characters: a list of platforms may quote an index of 4 MiB.
MAX_LINE = 4000
_UNITS = ("B", "kB", "MB", "GB", "TB")


def one_line(text: str) -> str:
    """``text`` as one line without control characters, because a build log obeys ANSI escapes.

    Messages `quote` what is not theirs; this is the last check, for what they took for their own.
    """
    if len(text) > MAX_LINE:
        text = f"{text[:MAX_LINE]}…"  # the mark tells `Secrets.hide` that a secret may be cut in two here
    return text if text.isprintable() else "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def write_line(text: str) -> None:
    """A line on stderr."""
    write_text(f"{one_line(text)}\n")


def write_text(text: str) -> None:
    """Writes to stderr, unbuffered, with secrets hidden. A closed stderr does not stop the step."""
    with suppress(OSError):
        os.write(2, SECRETS.hide(text).encode("utf-8", "backslashreplace"))


def size_text(size: float) -> str:
    """A size for people, in powers of ten as registries show it.

    >>> size_text(34_100_000)
    '34.1 MB'
    """
    return " ".join(scaled(size))


def scaled(size: float, *, of: float | None = None) -> tuple[str, str]:
    """``size`` as a number and its unit, the unit being that of the whole ``of`` if one is given; rounded down."""
    power = 0
    whole = size if of is None else of
    while whole >= 1000 and power < len(_UNITS) - 1:
        whole /= 1000
        power += 1
    if power == 0:
        return f"{int(size)}", _UNITS[0]
    return f"{int(size * 10 // 1000**power) / 10:.1f}", _UNITS[power]


class Lines(Listener):
    """Writes notes, and no progress."""

    def note(self, message: str) -> None:
        write_line(message)
