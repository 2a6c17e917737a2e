"""Servers for tests. They end with the test, even if the test run is interrupted or killed."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.support import parts

#: Less than the time of a test: dockerd, and moto, take ten on a slow machine.
START_SECONDS = 150
STOP_SECONDS = 15


class Server:
    """A running server and the lines it has written to stdout and stderr so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def wait_for(self, text: str, *, after: int = 0) -> str:
        """The first line from number ``after`` on that contains ``text``; fails if the server ends first."""
        position = after

        def arrived() -> bool:
            nonlocal position
            while position < len(self.lines) and text not in self.lines[position]:
                position += 1
            return position < len(self.lines) or self._ended

        with self._news:
            self._news.wait_for(arrived, timeout=START_SECONDS)
            if position < len(self.lines):
                return self.lines[position]
        written = "\n".join(self.lines[-20:])
        raise AssertionError(f"{self.process.args!r} never wrote {text!r}; it wrote:\n{written}")

    def stop(self) -> None:
        """Send SIGTERM, and SIGKILL after STOP_SECONDS."""
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join()
        if self.process.stdout is not None:
            self.process.stdout.close()


@contextlib.contextmanager
def server(
    command: Sequence[str], *, environment: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Iterator[Server]:
    """Run ``command`` until the block is left or this process dies. Only PATH is added to ``environment``."""
    # The kernel ends the server when this process dies, so that Ctrl-C or a kill leaves no orphans.
    leash = [parts.need("setpriv"), "--pdeathsig", "TERM", "--"]
    process = subprocess.Popen(
        [*leash, *command],
        env={"PATH": parts.SYSTEM_PATH, **(environment or {})},
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    running = Server(process)
    try:
        yield running
    finally:
        running.stop()
