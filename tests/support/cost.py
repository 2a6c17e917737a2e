"""The memory and the time of work in a process of its own, where nothing else has used any."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass

TIMEOUT_SECONDS = 240

#: Runs the function that argv names on argv's other values, and reports on stdout.
_WORK = """
import importlib, json, re, sys, time
module, _, name = sys.argv[1].partition(":")
work = getattr(importlib.import_module(module), name)
begun = time.process_time()
said = work(*sys.argv[2:])
seconds = time.process_time() - begun
# Not ru_maxrss: that one still knows the process that started this one.
peak = int(re.search(r"VmHWM:\\s+([0-9]+) kB", open("/proc/self/status").read())[1])
json.dump({"said": said, "peak": peak / 1024, "seconds": seconds}, sys.stdout)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """``peak`` is resident memory in MiB, the interpreter's included; ``seconds`` is CPU time of the work."""

    said: str
    peak: float
    seconds: float


def cost(work: str, *arguments: object) -> Cost:
    """Runs ``module:function`` with ``arguments`` as strings; ``said`` is what it returned."""
    done = subprocess.run(
        [sys.executable, "-c", _WORK, work, *map(str, arguments)],
        env={"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.environ["PATH"]},
        capture_output=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return Cost(**json.loads(done.stdout))
