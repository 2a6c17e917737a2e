"""CPU time and memory of a plain `check` on loopback: ``python -m benchmarks.startup [CHECK ...]``.

The unit is a bare ``python -I -S -c pass``. All programs run in turn, so that other load on the machine affects all of
them. Each CHECK is another check to compare with: of another checkout, or registry-image's. ``--imports`` lists the
imported modules and the time of each without its own imports.
"""

from __future__ import annotations

import json
import os
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
BUDGET = 11
SLOWEST = 25


class OneTag(BaseHTTPRequestHandler):
    """A registry with one tag that answers HEAD, and the GET of /v2/ that registry-image begins with."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Docker-Content-Digest", "sha256:" + "0" * 64)
        self.send_header("Content-Type", "application/vnd.oci.image.index.v1+json")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD  # noqa: N815 - http.server's name

    def log_message(self, format: str, *args: object) -> None:
        """Listener."""


@contextmanager
def request() -> Iterator[bytes]:
    """Starts a registry and yields a check's request for it."""
    with ThreadingHTTPServer(("127.0.0.1", 0), OneTag) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source = {"repository": f"127.0.0.1:{server.server_port}/some/image", "tag": "latest", "insecure": True}
        yield json.dumps({"source": source}).encode()
        server.shutdown()


def cost(command: list[str], stdin: bytes) -> tuple[float, int]:
    """User and system time of one run, in seconds, and the most memory that it had, in KiB."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env={})
    assert process.stdin is not None
    process.stdin.write(stdin)
    process.stdin.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]}: exit {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss


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
        checks = [str(TOP / "assets" / "check"), *sys.argv[1:]]
        bare: list[float] = []
        costs: dict[str, list[tuple[float, int]]] = {check: [] for check in checks}
        for _ in range(ROUNDS):
            bare.append(cost([str(PYTHON), "-I", "-S", "-c", "pass"], b"")[0])
            for check in checks:
                costs[check].append(cost([check], stdin))
    unit = statistics.median(bare)
    print(f"bare python {unit * 1000:.1f} ms (budget {BUDGET} of them)")
    for check, found in costs.items():
        ratio = statistics.median(seconds / one for (seconds, _), one in zip(found, bare, strict=True))
        seconds = statistics.median(seconds for seconds, _ in found)
        memory = statistics.median(kib for _, kib in found) / 1024
        print(f"{check}: {seconds * 1000:.1f} ms, {ratio:.1f} bare pythons, {memory:.1f} MiB")


if __name__ == "__main__":
    main()
