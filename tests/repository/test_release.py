"""`.ci/release` lets a version pass only if the tag, the code and the changelog agree on it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("tag", "code", "changelog", "passes"),
    [
        ("v1.2.3", "1.2.3", "## [Unreleased]\n\n## [1.2.3] - 2030-01-31\n\n## [1.2.2] - 2030-01-01\n", True),
        ("1.2.3", "1.2.3", "## [1.2.3] - 2030-01-31\n", True),
        ("v1.2.4", "1.2.3", "## [1.2.3] - 2030-01-31\n", False),
        ("v1.2.3", "1.2.4", "## [1.2.3] - 2030-01-31\n", False),
        ("v1.2.3", "1.2.3", "## [1.2.4] - 2030-01-31\n\n## [1.2.3] - 2030-01-01\n", False),
        ("v1.2.3", "1.2.3", "## [Unreleased]\n", False),
        ("v1.2.3", "1.2.3", "## [1.2.3]\n", False),  # without a day
    ],
)
def test_a_version_is_released_only_if_tag_code_and_changelog_agree(
    tag: str, code: str, changelog: str, passes: bool, tmp_path: Path
) -> None:
    package = tmp_path / "resource" / "registry_image"
    package.mkdir(parents=True)
    (package / "version.py").write_text(f'"""Doc."""\n\nVERSION = "{code}"\n')
    (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n{changelog}")
    (tmp_path / ".ci").mkdir()
    shutil.copy(TOP / ".ci" / "release", tmp_path / ".ci")
    command = [sys.executable, "-I", str(tmp_path / ".ci" / "release"), tag]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == (0 if passes else 1), done.stderr
    assert done.stdout == ("1.2.3\n" if passes else "")
    assert passes or done.stderr.startswith("cannot release: the tag is ")
