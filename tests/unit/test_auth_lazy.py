"""The clouds' libraries are big: only a source that logs in with one imports it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "resource"
LIBRARIES = ("botocore", "azure", "msal", "google.auth", "google.oauth2", "cryptography")


@pytest.mark.parametrize("module", ["auth.ecr", "auth.acr", "auth.gcp", "auth.clouds", "concourse.connect"])
def test_a_module_of_ours_imports_no_cloud_s_library(module: str) -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(SOURCE)!r}); import registry_image.{module}; "
        "print(*sys.modules, sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], check=True, capture_output=True, text=True)
    imported = done.stdout.split()
    assert f"registry_image.{module}" in imported
    assert not [
        name for name in imported if name in LIBRARIES or name.startswith(tuple(f"{library}." for library in LIBRARIES))
    ]


def test_an_ordinary_source_imports_no_cloud_module_of_ours() -> None:
    program = f"""
import sys
sys.path.insert(0, {str(SOURCE)!r})
from registry_image.concourse.request.check import parse_check
from registry_image.concourse.connect import connect
from registry_image.progress import Listener

request = parse_check(b'{{"source": {{"repository": "ghcr.io/org/image", "tag": "1"}}}}')
connect(request.source, Listener())
print(*sys.modules, sep='\\n')
"""
    done = subprocess.run([sys.executable, "-I", "-c", program], check=True, capture_output=True, text=True)
    ours = [name for name in done.stdout.split() if name.startswith("registry_image.")]
    assert "registry_image.concourse.connect" in ours
    assert not {f"registry_image.auth.{name}" for name in ("clouds", "settings", "aws", "ecrhost")} & set(ours)
