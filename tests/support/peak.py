"""The most memory that a step has in its own process."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support import runner

_MEASURE = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
print("peak", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(status)
"""
_NO_WAITING = {"REGISTRY_IMAGE_WAIT_SCALE": "0"}


def peak_of(step: runner.Step, request: runner.Json, *arguments: Path) -> tuple[runner.Outcome, int]:
    """Runs ``step``, and says how many MiB it had at most."""
    wrapper = [sys.executable, "-I", "-S", "-c", _MEASURE]
    outcome = runner.run(step, request, *arguments, environment=_NO_WAITING, wrapper=wrapper)
    return outcome, int(outcome.stderr.rpartition("peak ")[2]) // 1024
