"""An installation from the wheel: the console scripts run, and a cloud that was not installed is a clear error."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from email.parser import Parser
from fnmatch import fnmatch
from pathlib import Path
from zipfile import ZipFile

import pytest

from registry_image.version import VERSION
from tests.support import images, parts, tar
from tests.support.registry import Registry

pytestmark = pytest.mark.xdist_group("packaging")

TOP = Path(__file__).parents[2]
ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/app"
Install = Callable[..., Path]
#: Packages with one wheel for every Python, whose oldest version can thus be installed for each.
PURE = ("requests", "jsonschema", "botocore")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built from a copy, because a build writes into its source."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(TOP / name, source)
    shutil.copytree(TOP / "resource", source / "resource", ignore=shutil.ignore_patterns("__pycache__"))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SOURCE_DATE_EPOCH", "1700000000")
        _pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", str(source / "dist"), str(source))
    (built,) = (source / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def install(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Install:
    """Installs the wheel with these extras, such as ``[aws]``, in a fresh environment; its directory of programs.

    ``oldest`` takes the oldest versions of the `PURE` packages that the project allows.
    """

    def install(extras: str, *, oldest: bool = False) -> Path:
        directory = tmp_path_factory.mktemp("environment")
        subprocess.run([sys.executable, "-m", "venv", directory], check=True)
        pins = re.findall(r"(?m)^[\w.-]+==[\w.]+", (TOP / "requirements.txt").read_text())
        if oldest:
            allowed = re.findall(rf'"({"|".join(PURE)})>=([\d.]+)"', (TOP / "pyproject.toml").read_text())
            assert sorted(name for name, _ in allowed) == sorted(PURE)
            pins = [f"{name}=={version}" for name, version in allowed]
        (directory / "constraints").write_text("\n".join(pins))
        python = directory / "bin" / "python"
        _pip(str(python), "install", "--constraint", str(directory / "constraints"), f"{wheel}{extras}")
        return directory / "bin"

    return install


@pytest.fixture(scope="module")
def plain(install: Install) -> Path:
    return install("")


@pytest.fixture(scope="module")
def with_aws(install: Install) -> Path:
    return install("[aws]", oldest=True)


def _pip(python: str, *arguments: str) -> None:
    command = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(command, env=parts.with_network(), check=True)


def run(programs: Path, script: str, request: dict[str, object], *arguments: Path) -> subprocess.CompletedProcess[str]:
    command = [str(programs / script), *map(str, arguments)]
    return subprocess.run(command, input=json.dumps(request), capture_output=True, text=True, check=False)


def test_the_wheel_has_the_version_the_schemas_and_no_tests(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = archive.namelist()
        times = {entry.date_time for entry in archive.infolist()}
        (name,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
    assert metadata["Version"] == VERSION
    assert times == {(2023, 11, 14, 22, 13, 20)}  # SOURCE_DATE_EPOCH: the same source gives the same bytes
    assert set(metadata.get_all("Provides-Extra", [])) == {"aws", "azure", "gcp", "all"}
    assert "registry_image/concourse/request/schema/source.json" in names
    assert "registry_image/py.typed" in names
    assert not [name for name in names if "test" in name]
    # Without SOURCE_URL no link leads to a file, as an index has none.
    readme = str(metadata.get_payload())
    assert "[Concourse](https://concourse-ci.org)" in readme
    assert "every field · clouds ·" in " ".join(readme.split())
    assert not [target for target in re.findall(r"\]\(([^)]*)\)", readme) if not target.startswith(("https:", "#"))]


@pytest.mark.parametrize("ignored", [".gitignore", ".dockerignore"])
def test_what_a_build_leaves_in_a_checkout_is_ignored(wheel: Path, ignored: str) -> None:
    source = wheel.parents[1]
    copied = {"pyproject.toml", "setup.py", "README.md", "LICENSE", "resource", "registry_image", "start.py"}
    left = {path.name for path in (*source.iterdir(), *(source / "resource").iterdir())} - copied
    patterns = [line.removeprefix("**").strip("/") for line in (TOP / ignored).read_text().splitlines()]
    assert left == {"build", "dist", "registry_image_resource.egg-info"}
    assert [name for name in left if not any(fnmatch(name, pattern) for pattern in patterns)] == []


def test_links_of_the_readme_lead_to_the_source_that_a_build_names() -> None:
    for_index = runpy.run_path(str(TOP / "setup.py"))["for_index"]
    text = "![a log](docs/log.svg) [a](docs/a.md#b), [b](#here), [c](https://example.com/c)"
    source = "https://example.com/you/it/blob/v1/"
    there = "https://example.com/you/it/blob/v1/docs/a.md#b"
    assert for_index(text, source) == f" [a]({there}), [b](#here), [c](https://example.com/c)"
    assert for_index(text, "") == " a, [b](#here), [c](https://example.com/c)"


def test_the_console_scripts_check_and_get(plain: Path, registry: Registry, tmp_path: Path) -> None:
    content = images.image(images.layer(tar.archive(tar.file("a", "b"))))
    images.push(registry, "packaging/image", content, "latest")
    source = registry.source("packaging/image", tag="latest")
    checked = run(plain, "registry-image-check", {"source": source})
    assert (checked.returncode, checked.stderr) == (0, "")
    version = {"tag": "latest", "digest": content.digest}
    assert json.loads(checked.stdout) == [version]
    got = run(plain, "registry-image-in", {"source": source, "version": version}, tmp_path)
    assert json.loads(got.stdout)["version"] == version, got.stderr
    assert (tmp_path / "rootfs" / "a").read_text() == "b"
    assert run(plain, "registry-image-out", {"source": source}, tmp_path).returncode == 1


@pytest.mark.parametrize("step", ["check", "in", "out"])
def test_the_help_of_a_console_script_names_it_as_it_is_called(plain: Path, step: str) -> None:
    script = f"registry-image-{step}"
    done = subprocess.run([plain / script, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"usage: {script} ")
    assert f"' | {script}" in done.stdout
    assert "assets/" not in done.stdout


@pytest.mark.parametrize(
    ("source", "extra"),
    [
        ({"repository": ECR, "tag": "a"}, "aws"),
        ({"repository": "a.azurecr.io/b", "tag": "a", "azure_acr": True}, "azure"),
        ({"repository": "europe-docker.pkg.dev/a/b", "tag": "a", "gcp": {}}, "gcp"),
    ],
)
def test_a_cloud_that_is_not_installed_is_a_clear_error(plain: Path, source: dict[str, object], extra: str) -> None:
    done = run(plain, "registry-image-check", {"source": source})
    assert (done.returncode, done.stdout) == (1, "")
    assert "which is not installed" in done.stderr
    assert f"pip install 'registry-image-resource[{extra}]'" in done.stderr


def test_ca_certs_alone_are_trusted_with_the_oldest_requests_that_is_allowed(
    with_aws: Path, tls_registry: Registry
) -> None:
    content = images.image(images.layer(tar.archive(tar.file("a", "b"))))
    images.push(tls_registry, "packaging/secure", content, "latest")
    source = tls_registry.source("packaging/secure")
    checked = run(with_aws, "registry-image-check", {"source": source})
    assert (checked.returncode, checked.stderr) == (0, "")
    del source["ca_certs"]
    refused = run(with_aws, "registry-image-check", {"source": source})
    assert "not trusted" in refused.stderr
    assert refused.stdout == ""


def test_an_extra_installs_its_cloud_and_no_other(with_aws: Path) -> None:
    python = with_aws / "python"
    subprocess.run([python, "-c", "import botocore"], check=True)
    for other in ("azure.identity", "google.auth"):
        done = subprocess.run([python, "-c", f"import {other}"], capture_output=True, text=True, check=False)
        assert "ModuleNotFoundError" in done.stderr
