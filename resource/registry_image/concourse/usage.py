"""What ``check``, ``in`` and ``out`` say to a person who runs them by hand."""

from __future__ import annotations

import os
import sys

from registry_image.version import VERSION

_VERSION = """{"tag": "latest", "digest": "sha256:…"}"""
_ABOUT = {
    "check": (
        "",
        "Lists the versions of an image: writes a JSON array to stdout, the oldest version first.",
        """{"source": {"repository": "alpine", "tag": "latest"}}""",
        "",
    ),
    "in": (
        " DIRECTORY",
        "Downloads the image of a version, which check printed, into DIRECTORY: rootfs/\nand metadata files.",
        """{"source": {"repository": "alpine"}, "version": """ + _VERSION + "}",
        " /tmp/alpine",
    ),
    "out": (
        " DIRECTORY",
        "Pushes an image that lies below DIRECTORY, and moves tags to it.",
        """{"source": {"repository": "registry.example/app", "tag": "latest"}, "params": {"image": "image.tar"}}""",
        " /tmp/build",
    ),
}
_HELP = """usage: {name}{arguments} <request.json

{summary}
Reads one JSON object from stdin: `source`, and what the step needs besides.
Writes messages to stderr. Exits with 0, with 1 and an error message, or with 70
if it has a bug.

Example:
  echo '{request}' | {command}{example}
In a container: docker run -i --rm IMAGE /opt/resource/{step} …

options:
  --help     print this text
  --version  print the version
"""


def usage(step: str) -> str:
    """The text of ``--help``, with the name of the console script if that was called."""
    script = f"registry-image-{step}"
    name, command = (script, script) if sys.argv[0].endswith(script) else (step, f"assets/{step}")
    arguments, summary, request, example = _ABOUT[step]
    return _HELP.format(
        step=step, name=name, arguments=arguments, summary=summary, request=request, command=command, example=example
    )


def version_line(step: str) -> str:
    """The text of ``--version``, such as ``check (registry-image-resource) 0.1.0``."""
    return f"{step} (registry-image-resource) {VERSION}\n"


def about(step: str) -> str:
    """The first line of `debug`, such as ``check (registry-image-resource) 0.1.0, Python 3.13.1, Linux x86_64``."""
    system = os.uname()
    python = ".".join(map(str, sys.version_info[:3]))
    return f"{version_line(step).strip()}, Python {python}, {system.sysname} {system.machine}"
