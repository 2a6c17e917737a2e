"""What a step reports its progress to, and where its warnings go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry_image.concourse.console.log import Lines, write_line
from registry_image.concourse.request.source import Source

if TYPE_CHECKING:
    from registry_image.concourse.console.console import Console


def open_lines(source: Source) -> Lines:
    """The listener of a check, which is too short for progress."""
    for warning in source.warnings:
        write_line(f"warning: {warning}")
    return Lines()


def open_console(source: Source) -> Console:
    """The listener of a get or put that the source configures."""
    from registry_image.concourse.console.console import Console, Debug
    from registry_image.concourse.console.tally import Tally

    open_lines(source)
    if source.debug:
        return Debug(Tally())
    if source.progress == "none":
        return Console(Tally())
    from registry_image.concourse.console.live import Bars, Live, Plain

    return Live(Tally(), Plain() if source.progress == "plain" else Bars())
