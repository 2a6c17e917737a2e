"""The pinned requirement files keep up with pyproject.toml, and name no index: `make requirements` writes them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

TOP = Path(__file__).parents[2]
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
RUNTIME = [*PROJECT["project"]["dependencies"], *EXTRAS["aws"], *EXTRAS["azure"], *EXTRAS["gcp"]]
DEVELOPMENT = PROJECT["dependency-groups"]["dev"]
SBOM = PROJECT["dependency-groups"]["sbom"]
SBOM_FILE = ".ci/requirements-sbom.txt"
PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)((?: ;.*)?) \\$", re.MULTILINE)


def pins(name: str) -> dict[str, str]:
    return {canonicalize_name(found[1]): found[2] for found in PIN.finditer((TOP / name).read_text())}


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("requirements.txt", RUNTIME), ("requirements-dev.txt", [*RUNTIME, *DEVELOPMENT]), (SBOM_FILE, SBOM)],
)
def test_every_dependency_is_pinned_at_a_version_that_is_allowed(name: str, wanted: list[str]) -> None:
    pinned = pins(name)
    for requirement in map(Requirement, wanted):
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement} is not in {name}: make requirements"
        assert requirement.specifier.contains(version), f"{requirement}, but {name} has {version}: make requirements"


def test_what_ships_is_what_is_tested() -> None:
    tested = pins("requirements-dev.txt")
    assert {name: tested.get(name) for name in pins("requirements.txt")} == pins("requirements.txt")


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt", SBOM_FILE])
def test_every_pin_has_a_hash_and_none_names_where_it_comes_from(name: str) -> None:
    text = (TOP / name).read_text()
    assert "://" not in text
    assert "--index" not in text
    requirements = re.sub(r"(?m)^ *#.*\n", "", text).replace("\\\n", "").splitlines()
    assert [line for line in requirements if not re.match(r"\S+==\S+ .*--hash=sha256:[0-9a-f]{64}", line)] == []


def test_the_extra_all_has_every_other() -> None:
    (everything,) = map(Requirement, EXTRAS["all"])
    assert everything.name == PROJECT["project"]["name"]
    assert everything.extras == EXTRAS.keys() - {"all"}


def test_every_build_backend_that_is_allowed_reads_the_licence() -> None:
    (setuptools,) = map(Requirement, PROJECT["build-system"]["requires"])
    assert PROJECT["project"]["license"] == "Apache-2.0"
    assert not setuptools.specifier.contains("76.1.0"), "setuptools reads a licence expression (PEP 639) from 77 on"
    assert setuptools.specifier.contains("77.0.1")
