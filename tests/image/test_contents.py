"""What is in the image and what is not: few files, nothing that no step reaches, and a list of it all for scanners."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
from pathlib import Path, PurePosixPath
from tarfile import TarInfo
from typing import cast

import pytest

from tests.image.conftest import BASE
from tests.image.container import content, files
from tests.support import parts
from tests.support.engine import Engine

TOP = Path(__file__).parents[2]

pytestmark = [pytest.mark.xdist_group("engine"), pytest.mark.timeout(900)]

#: The goals: Concourse walks the entries for each new container, and every worker unpacks the bundle.
MAX_ENTRIES = 3_000
MAX_COMPRESSED_SIZE = 38_000_000
#: What one looks around with.
TOOLS = ("sh", "ls", "cat", "ps", "grep", "tar", "gzip", "python", "python3", "env", "readlink")


@pytest.fixture(scope="module")
def entries(engine: Engine, image: str) -> dict[str, TarInfo]:
    return files(engine, image)


@pytest.fixture(scope="module")
def sbom(engine: Engine, image: str) -> dict[str, object]:
    read: dict[str, object] = json.loads(content(engine, image, "/opt/resource/sbom.cdx.json"))
    return read


def components(sbom: dict[str, object]) -> list[dict[str, str]]:
    return cast("list[dict[str, str]]", sbom["components"])


def test_the_compressed_image_is_small(engine: Engine, image: str) -> None:
    assert len(gzip.compress(engine.docker("save", image), 6)) < MAX_COMPRESSED_SIZE


def test_the_image_has_few_files(entries: dict[str, TarInfo]) -> None:
    assert "/opt/resource/check" in entries
    assert len(entries) < MAX_ENTRIES


@pytest.mark.parametrize(
    "what",
    [
        "/usr/share/zoneinfo", "/usr/share/locale", "/usr/lib/locale", "/usr/share/man", "/usr/share/perl5",
        "/usr/lib/terminfo", "/usr/share/terminfo", "/etc/pam.d", "/etc/apt", "/usr/lib/apt", "/var/lib/apt",
        "/var/lib/dpkg/info", "/usr/bin/dpkg", "/usr/bin/apt-get", "/usr/bin/perl", "/build", "/opt/resource/tests",
        "/var/cache", "/var/log",
    ],
)  # fmt: skip
def test_what_no_step_reaches_is_not_there(entries: dict[str, TarInfo], what: str) -> None:
    assert [path for path in entries if path == what or path.startswith(f"{what}/")] == []


def test_everything_has_the_time_of_the_commit(entries: dict[str, TarInfo], context: Path) -> None:
    command = ["git", "log", "-1", "--format=%ct"]
    time = int(subprocess.run(command, cwd=context, capture_output=True, check=True).stdout)
    # The engine itself makes files in /etc and /dev for a container.
    assert {entry.mtime for path, entry in entries.items() if path.startswith(("/opt", "/usr", "/var"))} == {time}


def test_no_package_brings_authorities_or_time_zones(entries: dict[str, TarInfo]) -> None:
    # A second list of authorities could be trusted by mistake; all our times are UTC.
    assert [path for path in entries if path.endswith("/cacert.pem") or "zoneinfo" in path] == []


def test_no_build_tools_are_there(entries: dict[str, TarInfo]) -> None:
    names = {PurePosixPath(path).name for path in entries}
    assert not names & {"pip", "pip3", "gcc", "cc", "make", "pytest", "tkinter", "idlelib", "ensurepip", "unittest"}


def test_no_link_leads_nowhere(engine: Engine, image: str) -> None:
    script = """
import os
found = [(where, name) for top in ("/usr", "/etc", "/opt", "/var") for where, *names in os.walk(top)
         for name in sum(names, [])]
links = [path for path in map(os.path.join, *zip(*found)) if os.path.islink(path)]
print(len(links), [link for link in links if not os.path.exists(link)])
"""
    said = engine.docker("run", "--rm", "--network=none", image, "python", "-I", "-c", script).decode()
    counted = re.fullmatch(r"(\d+) \[\]\n", said)
    assert counted is not None, said
    assert int(counted[1]) > 100


def test_a_base_without_a_library_that_is_needed_is_refused(engine: Engine, image: str, context: Path) -> None:
    # libapt-pkg stands for a package's module: both need the library that the base has lost.
    script = """
mkdir -p /out/opt/resource /out/opt/.venv/bin /out/opt/.venv/lib/python3.11/site-packages/botocore/data/ec2
cp /usr/lib/*/libapt-pkg.so.6.0 /out/opt/resource
rm /usr/lib/*/libstdc++.so.6
/rootfs /out 2>&1 && echo laid out
"""
    volume = f"--volume={context}/.ci/rootfs:/rootfs:ro"
    run = [parts.need("docker"), f"--host={engine.url}", "run", "--rm", "--network=none", volume, BASE]
    said = subprocess.run([*run, "sh", "-c", script], capture_output=True, text=True, check=False).stdout
    assert "libraries that the base lacks:" in said
    assert "libstdc++.so.6" in said
    assert "laid out" not in said


def test_the_tools_for_looking_around_run(engine: Engine, image: str) -> None:
    script = "set -e; for tool in " + " ".join(TOOLS) + "; do command -v $tool; done; ls / | grep -q opt; ps aux"
    said = engine.docker("run", "--rm", "--network=none", image, "sh", "-c", script).decode()
    assert re.search(r"^ *1 +0 +0 sh -c|\b1\b.*sh -c", said, re.MULTILINE), said
    packed = "tar -czf /tmp/a.tgz -C /opt resource && tar -tzf /tmp/a.tgz | grep -c check"
    assert int(engine.docker("run", "--rm", "--network=none", image, "sh", "-ec", packed)) > 0


def test_everything_is_compiled_and_never_compared_with_its_source(engine: Engine, image: str) -> None:
    script = """
import importlib.util, pathlib, sysconfig
standard = pathlib.Path(sysconfig.get_path("stdlib"))
ours = pathlib.Path("/opt/resource")
sources = [path for root in (standard, ours) for path in root.rglob("*.py")]
compiled = [*standard.rglob("*.pyc"), *pathlib.Path("/opt").rglob("*.pyc")]
missing = [path for path in sources if not pathlib.Path(importlib.util.cache_from_source(path)).exists()]
compared = [path for path in compiled if path.read_bytes()[4:8] != bytes([1, 0, 0, 0])]  # PEP 552: unchecked hash
print(len(sources), len(compiled), missing, compared)
"""
    said = engine.docker("run", "--rm", "--network=none", image, "python", "-I", "-c", script).decode()
    counted = re.fullmatch(r"(\d+) (\d+) \[\] \[\]\n", said)
    assert counted is not None, said
    assert int(counted[2]) > int(counted[1]) > 300


def test_every_module_of_ours_is_imported_with_what_is_there(engine: Engine, image: str) -> None:
    script = """
import importlib, pathlib, sys
sys.argv[1:] = []
sys.path += ["/opt/resource", *map(str, pathlib.Path("/opt/.venv/lib").glob("python3*/site-packages"))]
sys.modules["charset_normalizer"] = None
root = pathlib.Path("/opt/resource")
names = [".".join(path.relative_to(root).with_suffix("").parts) for path in root.glob("registry_image/**/*.py")]
for name in names:
    importlib.import_module(name.removesuffix(".__init__"))
print(len(names))
"""
    command = ["run", "--rm", "--network=none", image, "python", "-ISW", "ignore", "-c", script]
    assert int(engine.docker(*command)) > 50


def packages(entries: dict[str, TarInfo]) -> set[str]:
    """The names of Python's packages."""
    found = [PurePosixPath(path).parent.name for path in entries if path.endswith(".dist-info/METADATA")]
    return {name.partition("-")[0].lower().replace("_", "-") for name in found}


def test_of_python_s_packages_only_what_the_resource_needs_is_there(entries: dict[str, TarInfo]) -> None:
    # What only tests need, sigstore above all, would double the size.
    pinned = set(re.findall(r"(?m)^([a-z0-9-]+)==", (TOP / "requirements.txt").read_text()))
    uninstalled = {"charset-normalizer", "pyasn1", "pyasn1-modules", "pycparser"}
    assert packages(entries) == pinned - uninstalled
    assert uninstalled < pinned


def test_the_sbom_lists_every_package_of_python_and_of_debian(
    engine: Engine, image: str, entries: dict[str, TarInfo], sbom: dict[str, object]
) -> None:
    assert sbom["bomFormat"] == "CycloneDX"
    listed = {part.get("purl", "").partition("?")[0].rpartition("@")[0] for part in components(sbom)}
    assert {f"pkg:pypi/{name}" for name in packages(entries)} == {
        name.lower().replace("_", "-").replace(".", "-") for name in listed if name.startswith("pkg:pypi/")
    }
    assert {"pkg:pypi/cryptography", "pkg:pypi/pynacl", "pkg:pypi/rfc3161-client"} <= {name.lower() for name in listed}
    status = content(engine, image, "/var/lib/dpkg/status").decode()
    debian = {f"pkg:deb/debian/{name.replace('+', '%2B')}" for name in re.findall(r"(?m)^Package: (.+)", status)}
    assert debian >= {f"pkg:deb/debian/{name}" for name in ("libc6", "dash", "tar", "ca-certificates", "libssl3")}
    assert debian <= listed
    assert not {name for name in listed if re.search("/(perl|apt|pip|pytest|pygments)", name)}
    kinds = {(part["type"], part["name"]) for part in components(sbom)}
    assert ("operating-system", "debian") in kinds
    assert [name for _, name in kinds if re.match(r"python3|libpython3|python$", name)]
