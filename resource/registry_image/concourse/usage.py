"""What ``check``, ``in`` and ``out`` say to a person who runs them by hand."""

from __future__ import annotations

import os
import sys

from registry_image.version import VERSION

_VERSION = """{"tag": "latest", "digest": "sha256:…"}"""
_ABOUT = {
    "check": (
        "check <request.json",
        "Lists the versions of an image: writes a JSON array to stdout, the oldest version first.",
        """{"source": {"repository": "alpine", "tag": "latest"}}""",
        "assets/check",
    ),
    "in": (
        "in DIRECTORY <request.json",
        "Downloads the image of a version, which check printed, into DIRECTORY: rootfs/\nand metadata files.",
        """{"source": {"repository": "alpine"}, "version": """ + _VERSION + "}",
        "assets/in /tmp/alpine",
    ),
    "out": (
        "out DIRECTORY <request.json",
        "Pushes an image that lies below DIRECTORY, and moves tags to it.",
        """{"source": {"repository": "registry.example/app", "tag": "latest"}, "params": {"image": "image.tar"}}""",
        "assets/out /tmp/build",
    ),
}
_HELP = """usage: {usage}

{summary}
Reads one JSON object from stdin: `source`, and what the step needs besides.
Writes messages to stderr. Exits with 0, with 1 and an error message, or with 70
if it has a bug.

Example:
  echo '{request}' | {command}
In a container: docker run -i --rm IMAGE /opt/resource/{step} …

options:
  --help     print this text
  --version  print the version
"""


def usage(step: str) -> str:
    """The text of ``--help``."""
    line, summary, request, command = _ABOUT[step]
    return _HELP.format(step=step, usage=line, summary=summary, request=request, command=command)


def version_line(step: str) -> str:
    """The text of ``--version``, such as ``check (registry-image-resource) 0.1.0``."""
    return f"{step} (registry-image-resource) {VERSION}\n"


def about(step: str) -> str:
    """The first line of `debug`, such as ``check (registry-image-resource) 0.1.0, Python 3.13.1, Linux x86_64``."""
    system = os.uname()
    python = ".".join(map(str, sys.version_info[:3]))
    return f"{version_line(step).strip()}, Python {python}, {system.sysname} {system.machine}"
