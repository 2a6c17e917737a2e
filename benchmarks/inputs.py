"""The images to measure, cached in ``.cache/bench`` and with the same bytes on every machine.

Their files are words from a fixed vocabulary and compress like programs and texts: gzip keeps about four tenths. The
real Debian image is the one of the acceptance tests.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.scratch import apart
from tests.support import debian, images, tar

CACHE = Path(__file__).parents[1] / ".cache" / "bench"
MB = 1_000_000
_POOL_SIZE = 24 * MB


def words() -> bytes:
    """24 MB in which only words repeat within a compressor's window."""
    cached = CACHE / "words"
    if not cached.exists():
        chance = random.Random(7)  # noqa: S311  (filler, no secret)
        vocabulary = [chance.randbytes(chance.randrange(2, 14)) for _ in range(3000)]
        text = bytearray()
        while len(text) < _POOL_SIZE:
            text += b"".join(chance.choices(vocabulary, k=10_000))
        CACHE.mkdir(parents=True, exist_ok=True)
        cached.write_bytes(text[:_POOL_SIZE])
    return cached.read_bytes()


def files(count: int, size: int, *, start: int = 0, directories: int = 100) -> Iterator[bytes]:
    """Tar members of ``count`` files of ``size`` bytes in directories; each starts at another offset of `words`."""
    pool = memoryview(words() * (1 + 2 * size // _POOL_SIZE + 1))
    per_directory = max(1, count // directories)
    for number in range(start, start + count):
        if (number - start) % per_directory == 0:
            yield tar.directory(f"data/{number // per_directory}")
        offset = number * 7919 * 61 % _POOL_SIZE
        yield tar.file(f"data/{number // per_directory}/{number:06}", bytes(pool[offset : offset + size]))


def layer(*members: Iterator[bytes], compression: images.Compression = "gzip") -> images.Layer:
    return images.layer(tar.archive(*(block for each in members for block in each)), compression)


def _dozen(compression: images.Compression) -> images.Content:
    return images.image(layer(files(12, 36 * MB), compression=compression))


def _three(compression: images.Compression) -> images.Content:
    layers = (layer(files(40, 5 * MB, start=40 * number), compression=compression) for number in range(3))
    return images.image(*layers)


def _small(compression: images.Compression) -> images.Content:
    return images.image(layer(files(25_000, 4000), compression=compression))


def _forty(compression: images.Compression) -> images.Content:
    return images.image(*(layer(files(10, 10_000, start=10 * n), compression=compression) for n in range(40)))


def _mixed(compression: images.Compression) -> images.Content:
    """Four layers, 49,000 files, 1.1 GB, like a large image of a language's tools."""
    layers = (
        layer(
            files(12_000, 3000, start=number * 20_000),
            files(250, 900_000, start=number * 20_000 + 15_000),
            compression=compression,
        )
        for number in range(4)
    )
    return images.image(*layers)


IMAGES: dict[str, Callable[[], images.Content]] = {
    "debian": debian.real_image,
    "12 files of 36 MB": lambda: _dozen("gzip"),
    "12 files of 36 MB, zstd": lambda: _dozen("zstd"),
    "3 layers of 200 MB": lambda: _three("gzip"),
    "3 layers of 200 MB, zstd": lambda: _three("zstd"),
    "25,000 small files": lambda: _small("gzip"),
    "25,000 small files, zstd": lambda: _small("zstd"),
    "40 layers of 100 kB": lambda: _forty("gzip"),
    "4 layers, 49,000 files": lambda: _mixed("gzip"),
    "nothing": images.image,
}


def stored(name: str) -> Path:
    """The OCI layout of an image, from the cache or new."""
    key = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    directory = CACHE / f"{name.replace(' ', '-').replace(',', '')}-{key}"
    if not directory.is_dir():
        unfinished = directory.with_name(directory.name + ".part")
        apart(lambda: images.write_layout(unfinished, IMAGES[name]()))
        unfinished.rename(directory)
    return directory
