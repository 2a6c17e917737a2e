"""A set of paths that takes eight bytes for each, however long they are.

By a short symlink into a deep directory, an entry of 512 bytes has a path of four kilobytes, and a layer may have
millions of entries.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left

from registry_image.errors import CorruptLayer
from registry_image.rootfs.layer_errors import LayerError

#: The most paths in one set: 32 MB of them. The largest layers have a million.
MAX_PATHS = 4_000_000
#: Paths in the hash table, which takes 100 bytes for each, before they go to a sorted array.
RECENT = 65_536


class PathSet:
    """Knows a path by Python's 64-bit hash of it, whose key is secret and new in every process.

    Two of four million paths have the same hash once in two million images. What a layer hides then stays.
    """

    def __init__(self) -> None:
        self._recent: set[int] = set()
        self._runs: list[array[int]] = []

    def add(self, path: bytes) -> None:
        """Raises LayerError if there are too many."""
        self._recent.add(hash(path))
        if len(self._recent) >= RECENT:
            self._runs.append(array("q", sorted(self._recent)))
            self._recent.clear()
            if len(self._runs) * RECENT > MAX_PATHS:
                raise LayerError(CorruptLayer, f"more than {MAX_PATHS} paths in a layer over another one")

    def __contains__(self, path: bytes) -> bool:
        known = hash(path)
        if known in self._recent:
            return True
        for run in self._runs:
            position = bisect_left(run, known)
            if position < len(run) and run[position] == known:
                return True
        return False

    def clear(self) -> None:
        self._recent.clear()
        self._runs.clear()
