"""What a plain check imports, which is nearly all that it costs (benchmarks/startup.py measures it)."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support import images, runner, tar
from tests.support.registry import Registry

TOP = runner.ASSETS.parent
#: Each has a name in the code or in a package we use, and no business in a plain check.
HEAVY = (
    "asyncio",
    "azure",
    "botocore",
    "charset_normalizer.api",
    "concurrent.futures",
    "cryptography",
    "difflib",
    "google",
    "isal",
    "jsonschema",
    "multiprocessing",
    "platform",
    "re2",
    "rich",
    "site",
    "subprocess",
    "xml",
    "registry_image.archive",
    "registry_image.auth.aws",
    "registry_image.concourse.clouds",
    "registry_image.concourse.drawn",
    "registry_image.concourse.tally",
    "registry_image.concourse.bars",
    "registry_image.concourse.follow",
    "registry_image.concourse.get",
    "registry_image.concourse.getrequest",
    "registry_image.concourse.put",
    "registry_image.concourse.putrequest",
    "registry_image.rootfs",
    "registry_image.semver",
    "registry_image.storage",
    "registry_image.transfer",
)


@pytest.fixture(scope="module")
def imported(registry: Registry) -> set[str]:
    """The modules that a plain check of an open registry imports."""
    images.push(registry, "startup/image", images.image(images.layer(tar.archive(tar.file("a", "b")))), "latest")
    program = f"import sys; sys.argv = ['check', 'check']; __file__ = {str(TOP / 'resource' / 'start.py')!r}\n"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-X", "importtime", "-c", program + (TOP / "resource" / "start.py").read_text()],
        input=json.dumps({"source": registry.source("startup/image")}).encode(),
        capture_output=True,
        check=True,
    )
    assert len(json.loads(done.stdout)) == 1
    return {line.rpartition("|")[2].strip() for line in done.stderr.decode().splitlines()}


@pytest.mark.parametrize("name", HEAVY)
def test_a_plain_check_does_not_import(name: str, imported: set[str]) -> None:
    assert "requests.adapters" in imported  # or the list says nothing
    assert not [each for each in imported if each == name or each.startswith(f"{name}.")]


def test_a_plain_check_imports_few_modules_of_ours(imported: set[str]) -> None:
    ours = sorted(each for each in imported if each.startswith("registry_image."))
    assert len(ours) <= 45, ours
