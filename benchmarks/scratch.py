"""Where measurements happen, and how images get to the registry."""

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
    """A directory on a tmpfs, where there is one: the disk is not what is measured."""
    memory = Path("/dev/shm")
    directory = Path(tempfile.mkdtemp(prefix="bench-", dir=memory if os.access(memory, os.W_OK) else None))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def apart(work: Callable[[], object]) -> None:
    """Does ``work`` in a process of its own: what we run later counts our own peak memory as its own."""
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    assert process.exitcode == 0


def publish(registry: Registry, repository: str, layout: Path) -> str:
    """Pushes the image in ``layout``; its digest."""
    apart(lambda: images.push(registry, repository, images.read_layout(layout), "latest"))
    digest: str = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    return digest
