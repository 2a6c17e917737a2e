"""`benchmarks.load.server` in another process, so that its CPU time and memory are not counted."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RegistryProcess:
    process: subprocess.Popen[str]
    places: Mapping[str, str]
    """Where the registries are, and the digest of ``latest``."""

    def enter(self, state: str) -> Counter[str]:
        """Changes the state; "" leaves it. Returns the requests since the last call."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{state}\n")
        self.process.stdin.flush()
        return Counter(json.loads(self.process.stdout.readline()))


@contextlib.contextmanager
def registry_process() -> Iterator[RegistryProcess]:
    command = [sys.executable, "-m", "benchmarks.load.server"]
    top = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=top, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield RegistryProcess(process, json.loads(process.stdout.readline()))
        finally:
            assert process.stdin is not None
            process.stdin.close()  # at which it ends
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
