"""The machine's floor: the time of the work that no verified get can omit, each part measured alone.

The parts are hashing the blob, decompressing it, hashing the content and writing it. The floor omits the network, the
cost per file (names, owners, times) and Python's start, so no get can reach it.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from registry_image.archive.compression import PIECE_SIZE, decompress
from registry_image.net.http import PIECE
from registry_image.oci.digest import Buffer

_ROUNDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """CPU seconds in total, and of decompression alone: one gzip stream cannot use two processors."""

    all: float
    decompression: float

    def wall(self) -> float:
        """Wall seconds if the work is divided perfectly between this machine's processors."""
        return max(self.decompression, self.all / len(os.sched_getaffinity(0)))


def floor(layers: Sequence[Path], scratch: Path) -> Floor:
    """The minimum of some rounds over the blobs in ``layers``, in a separate process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        rounds = pool.starmap(_round, [(layers, scratch)] * _ROUNDS)
    return Floor(
        all=min(sum(times) for times in rounds),
        decompression=min(times[0] for times in rounds),
    )


def _round(layers: Sequence[Path], scratch: Path) -> tuple[float, float]:
    """Seconds of decompression, and of the rest."""
    bytes(8 * PIECE_SIZE)  # warms the allocator as a get does: see `transfer.inflate`
    decompression = others = 0.0
    for layer in layers:
        blob = memoryview(layer.read_bytes())
        pieces = [blob[at : at + PIECE] for at in range(0, len(blob), PIECE)]
        others += _timed(_hash, pieces)[0]
        seconds, size = _timed(_measure, decompress(pieces, str(layer)))
        decompression += seconds
        # Repeat one piece instead of keeping the decompressed data.
        same = [os.urandom(PIECE_SIZE)] * (size // PIECE_SIZE + 1)
        others += _timed(_hash, same)[0]
        with (scratch / "floor").open("wb", buffering=0) as file:
            others += _timed(_write, same, file)[0]
        (scratch / "floor").unlink()
    return decompression, others


def _timed(work: Callable[..., int], *arguments: object) -> tuple[float, int]:
    """CPU seconds of this thread, and the number of bytes that ``work`` returns."""
    started = time.thread_time()
    size = work(*arguments)
    return time.thread_time() - started, size


def _hash(pieces: Iterable[Buffer]) -> int:
    digest = hashlib.sha256()
    size = 0
    for piece in pieces:
        digest.update(piece)
        size += len(piece)
    return size


def _measure(pieces: Iterable[Buffer]) -> int:
    return sum(map(len, pieces))


def _write(pieces: Iterable[Buffer], file: FileIO) -> int:
    return sum(file.write(piece) for piece in pieces)
