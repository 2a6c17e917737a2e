"""Imports of a plain check and of a get: most of a check's cost (benchmarks/startup.py measures it)."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

import pytest

from tests.support import images, runner, tar
from tests.support.registry import Registry

TOP = runner.ASSETS.parent
#: Rooms, modules and packages that the code uses and a plain check must not import, with all modules below them.
HEAVY = (
    "asyncio",
    "azure",
    "botocore",
    "charset_normalizer.api",
    "concurrent.futures",
    "cryptography",
    "dataclasses",
    "deflate",
    "difflib",
    "google",
    "inspect",
    "isal",
    "jsonschema",
    "multiprocessing",
    "platform",
    "re2",
    "site",
    "subprocess",
    "xml",
    "registry_image.archive",
    "registry_image.oci.manifest",
    "registry_image.registry.download",
    "registry_image.registry.foreign",
    "registry_image.registry.referrers",
    "registry_image.registry.tags",
    "registry_image.rootfs",
    "registry_image.semver",
    "registry_image.signing",
    "registry_image.storage",
    "registry_image.transfer",
)
#: Modules for other formats and for long gets, which a get of a rootfs must not import.
HEAVY_FOR_A_GET = (
    "asyncio",
    "dataclasses",
    "inspect",
    "cryptography",
    "jsonschema",
    "tarfile",
    "registry_image.concourse.formats",
    "registry_image.concourse.signatures",
    "registry_image.signing",
    "registry_image.storage.layout",
    "registry_image.storage.loadable",
    "registry_image.transfer.copy",
)

#: What a check needs to ask a registry.
NETWORK = (
    "email",
    "http",
    "logging",
    "requests",
    "socket",
    "ssl",
    "threading",
    "urllib",
    "urllib3",
    "registry_image.concourse.connect",
    "registry_image.net.client",
    "registry_image.net.tls",
    "registry_image.registry",
)


def run(request: dict[str, object], *arguments: str) -> tuple[Any, set[str]]:
    """The answer, and the modules that the step imported."""
    program = f"import sys; sys.argv = {['start', *arguments]!r}; __file__ = {str(TOP / 'resource' / 'start.py')!r}\n"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-X", "importtime", "-c", program + (TOP / "resource" / "start.py").read_text()],
        input=json.dumps(request).encode(),
        capture_output=True,
        check=True,
    )
    return json.loads(done.stdout), {line.rpartition("|")[2].strip() for line in done.stderr.decode().splitlines()}


@pytest.fixture(scope="module")
def image(registry: Registry) -> images.Content:
    content = images.image(images.layer(tar.archive(tar.file("a", "b"))))
    images.push(registry, "startup/image", content, "latest")
    return content


@pytest.fixture(scope="module")
def imported(registry: Registry, image: images.Content) -> set[str]:
    """The modules that a plain check of an open registry imports."""
    versions, names = run({"source": registry.source("startup/image")}, "check")
    assert [version["digest"] for version in versions] == [image.digest]
    return names


@pytest.fixture(scope="module")
def imported_by_get(registry: Registry, image: images.Content, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    destination = tmp_path_factory.mktemp("get")
    request = {"source": registry.source("startup/image"), "version": {"digest": image.digest}}
    _, names = run(request, "in", str(destination))
    assert (destination / "rootfs" / "a").read_text() == "b"
    return names


@pytest.fixture(scope="module")
def imported_for_a_digest() -> set[str]:
    """The modules that a check of a pinned digest imports."""
    digest = "sha256:" + "0" * 64
    versions, names = run({"source": {"repository": "registry.example/some/image", "digest": digest}}, "check")
    assert versions == [{"digest": digest}]
    return names


@pytest.mark.parametrize("name", NETWORK)
def test_a_check_of_a_pinned_digest_does_not_import(name: str, imported_for_a_digest: set[str]) -> None:
    assert "registry_image.concourse.check" in imported_for_a_digest  # otherwise the list proves nothing
    assert not [each for each in imported_for_a_digest if each == name or each.startswith(f"{name}.")]


@pytest.mark.parametrize("name", HEAVY_FOR_A_GET)
def test_a_get_of_a_rootfs_does_not_import(name: str, imported_by_get: set[str]) -> None:
    assert find_spec(name)
    assert "registry_image.transfer.unpack" in imported_by_get  # otherwise the list proves nothing
    assert not [each for each in imported_by_get if each == name or each.startswith(f"{name}.")]


@pytest.mark.parametrize("name", HEAVY)
def test_a_plain_check_does_not_import(name: str, imported: set[str]) -> None:
    assert find_spec(name)
    assert "requests.adapters" in imported  # otherwise the list proves nothing
    assert not [each for each in imported if each == name or each.startswith(f"{name}.")]


def test_a_plain_check_imports_few_modules_of_ours(imported: set[str]) -> None:
    ours = sorted(name for name in imported if name.startswith("registry_image."))
    assert len(ours) <= 46, ours
