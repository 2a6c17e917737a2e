"""A directory to measure in, and pushes to the registry."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import images
from tests.support.registry import Registry


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory on a tmpfs if possible, so that the disk is not measured."""
    memory = Path("/dev/shm")
    directory = Path(tempfile.mkdtemp(prefix="bench-", dir=memory if os.access(memory, os.W_OK) else None))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def apart(work: Callable[[], object]) -> None:
    """Does ``work`` in a child process: programs that we start inherit our peak memory in their ru_maxrss."""
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    assert process.exitcode == 0


def publish(registry: Registry, repository: str, layout: Path) -> str:
    """Pushes the image in ``layout`` and returns its digest."""
    apart(lambda: images.push(registry, repository, images.read_layout(layout), "latest"))
    digest: str = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    return digest
