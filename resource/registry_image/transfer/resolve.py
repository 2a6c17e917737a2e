"""Many look-ups at once: tags to digests, images to the times they were made."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from registry_image.oci.content import ContentReader
from registry_image.oci.digest import Digest

#: Look-ups under way at once. With some 40 ms for each that is 400 a second, which registries bear; the pool of kept
#: connections holds as many.
MAX_LOOKUPS = 16

_Item = TypeVar("_Item")
_Found = TypeVar("_Found")


def resolve_tags(reader: ContentReader, tags: Sequence[str]) -> dict[str, Digest]:
    """What each tag points at, in the order of ``tags``; those that are gone by now are left out.

    Raises what ``reader`` raises: an answer without one tag would hide a version.
    """
    found = look_up(reader.resolve, tags)
    return {tag: descriptor.digest for tag, descriptor in zip(tags, found, strict=True) if descriptor is not None}


def look_up(act: Callable[[_Item], _Found], items: Sequence[_Item]) -> list[_Found]:
    """``act`` on each item, several at once, the results in the items' order.

    The first failure ends it: nothing more is begun, what is under way is waited for, then it is raised.
    """
    results: dict[int, _Found] = {}
    failures: list[Exception] = []
    stopped = threading.Event()
    positions = iter(range(len(items)))
    lock = threading.Lock()

    def work() -> None:
        while not stopped.is_set():
            with lock:
                position = next(positions, None)
            if position is None:
                return
            try:
                results[position] = act(items[position])
            except Exception as error:  # noqa: BLE001  raised again by the thread that waits for us
                failures.append(error)
                stopped.set()

    # Daemons: a signal unwinds the waiting thread at once, and the process ends without them.
    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(MAX_LOOKUPS, len(items)))]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        stopped.set()
    if failures:
        raise failures[0]
    return [results[position] for position in range(len(items))]
