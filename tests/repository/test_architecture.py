"""The house rules of docs/design.md, held against the code: floors, cycles, sizes, one importer of requests."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "resource" / "registry_image"
FLOORS = {
    "errors": 0,
    "progress": 0,
    "record": 0,
    "version": 0,
    "decode": 1,
    "semver": 1,
    "oci": 2,
    "net": 3,
    "archive": 3,
    "storage": 4,
    "rootfs": 4,
    "signing": 4,
    "auth": 5,
    "registry": 6,
    "transfer": 6,
    "concourse": 7,
    "library": 8,
}
#: The rooms inside concourse/: they know nothing of the steps, which are its other files, nor of each other.
INNER_ROOMS = ("request", "console")
MAX_MODULE_LINES = 350
MAX_FUNCTION_LINES = 50

MODULES = sorted(SOURCE.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = ("registry_image", *path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_by(path: Path) -> set[str]:
    """The modules of ours that ``path`` imports, anywhere in it, `from package import module` resolved."""
    known = {module_name(module) for module in MODULES}
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path.name}:{node.lineno}: relative import"
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & known
            found |= inner or {node.module}
    return {name for name in found if name.split(".")[0] == "registry_image"}


def room(name: str) -> str:
    """The package or top module below registry_image that holds ``name``, "" for registry_image itself."""
    return name.split(".")[1] if "." in name else ""


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_a_module_imports_only_from_floors_below_and_from_its_own_room(path: Path) -> None:
    own = room(module_name(path))
    for name in imported_by(path):
        other = room(name)
        if other and own and other != own:
            assert FLOORS[other] < FLOORS[own], f"{module_name(path)} imports {name}"


@pytest.mark.parametrize("inner", INNER_ROOMS)
def test_a_room_inside_concourse_imports_no_other_part_of_concourse(inner: str) -> None:
    own = f"registry_image.concourse.{inner}"
    members = [path for path in MODULES if module_name(path).startswith(f"{own}.")]
    assert members
    for path in members:
        for name in imported_by(path):
            if room(name) == "concourse":
                assert name.startswith(f"{own}."), f"{module_name(path)} imports {name}"


def test_no_imports_run_in_a_circle() -> None:
    graph = {module_name(path): imported_by(path) for path in MODULES}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " → ".join((*trail, name))
        if name not in done:
            for other in graph.get(name, ()):
                visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_modules_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MAX_MODULE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= MAX_FUNCTION_LINES, f"{node.name}: {length} lines"


def test_requests_is_imported_in_one_module_only() -> None:
    importers = set()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if any(name.split(".")[0] == "requests" for name in names):
                importers.add(module_name(path))
    assert importers <= {"registry_image.net.adapter"}


def test_one_function_writes_to_stderr_so_that_no_text_passes_by_the_search_for_secrets() -> None:
    writers: set[str] = set()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            first = ast.unparse(node.args[0]) if isinstance(node, ast.Call) and node.args else ""
            stream = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
            if called == "print" or (called == "os.write" and first in "12") or stream in ("sys.stderr", "sys.stdout"):
                writers.add(module_name(path))
    assert writers == {"registry_image.concourse.console.log"}


def test_the_import_package_is_not_called_resource() -> None:
    # The standard library on Unix has a module of that name.
    assert not (SOURCE.parent / "__init__.py").exists()
