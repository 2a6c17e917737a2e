"""CPU time of a plain `check` on loopback, in units of a bare ``python -I -c pass``: ``python -m benchmarks.startup``.

Both run in turn, so that other load on the machine affects both. ``--imports`` lists the imported modules and the time
of each without its own imports.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

TOP = Path(__file__).parents[1]
PYTHON = TOP / ".venv" / "bin" / "python"
ROUNDS = 30
#: The most a check may cost, in bare Pythons. The tests limit the imports instead, which is exact.
BUDGET = 14
SLOWEST = 25


class OneTag(BaseHTTPRequestHandler):
    """A registry with one tag that answers HEAD."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Docker-Content-Digest", "sha256:" + "0" * 64)
        self.send_header("Content-Type", "application/vnd.oci.image.index.v1+json")
        self.send_header("Content-Length", "2")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""


@contextmanager
def request() -> Iterator[bytes]:
    """Starts a registry and yields a check's request for it."""
    with ThreadingHTTPServer(("127.0.0.1", 0), OneTag) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source = {"repository": f"127.0.0.1:{server.server_port}/some/image", "tag": "latest"}
        yield json.dumps({"source": source}).encode()
        server.shutdown()


def cpu_seconds(command: list[str], stdin: bytes) -> float:
    """User and system time of one run, with children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, input=stdin, stdout=subprocess.DEVNULL, env={}, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def imports(stdin: bytes) -> list[tuple[int, str]]:
    """Microseconds per module without its own imports, slowest first."""
    command = [str(PYTHON), "-I", "-S", "-X", "utf8", "-X", "importtime", str(TOP / "resource" / "start.py"), "check"]
    output = subprocess.run(command, input=stdin, capture_output=True, check=True).stderr.decode()
    rows = (line.removeprefix("import time:").split("|") for line in output.splitlines() if "|" in line)
    return sorted(((int(row[0]), row[2].strip()) for row in rows if row[0].strip().isdecimal()), reverse=True)


def main() -> None:
    with request() as stdin:
        if "--imports" in sys.argv:
            modules = imports(stdin)
            print(f"{len(modules)} modules, {sum(microseconds for microseconds, _ in modules) / 1000:.0f} ms")
            for microseconds, name in modules[:SLOWEST]:
                print(f"{microseconds / 1000:7.1f} ms  {name}")
            return
        bare, checks = [], []
        for _ in range(ROUNDS):
            bare.append(cpu_seconds([str(PYTHON), "-I", "-c", "pass"], b""))
            checks.append(cpu_seconds([str(TOP / "assets" / "check")], stdin))
    unit, cost = statistics.median(bare), statistics.median(checks)
    print(f"bare python {unit * 1000:.1f} ms, check {cost * 1000:.1f} ms: {cost / unit:.1f} times (budget {BUDGET})")


if __name__ == "__main__":
    main()
