"""Examples of the pages are such as the executables take, and links lead somewhere."""

from __future__ import annotations

import re
from math import prod
from pathlib import Path

import pytest

from registry_image.concourse.request.check import parse_check
from tests.support import examples, tables


def test_readme_stays_short_and_shows_ten_fields_of_the_source() -> None:
    assert len(tables.README.read_text().splitlines()) < 200
    assert len(tables.USUAL["source"]) == 10


def test_every_example_is_understood() -> None:
    found: set[str] = set()
    for example in examples.objects(examples.of(tables.README.read_text())):
        found |= examples.understood(example)
    assert found == {"source", "get", "put"}


def test_every_request_that_readme_pipes_into_a_step_is_understood() -> None:
    requests = re.findall(r"^echo '(.*)' \| .*check$", tables.README.read_text(), re.M)
    assert len(requests) == 2
    assert {parse_check(request.encode()).source.tag for request in requests} == {"3"}


@pytest.mark.parametrize("page", ["clouds.md", "signatures.md"])
def test_every_example_of_logins_and_signatures_is_understood(page: str) -> None:
    found: set[str] = set()
    for example in examples.of((tables.TOP / "docs" / page).read_text()):
        wholes = list(examples.objects(example))
        if isinstance(example, dict) and not example.keys() & {"source", "resources", "var_sources"}:
            wholes = [{"source": {**examples.SOURCE, **example}}]  # some fields, to be written into a source
        for each in wholes:
            found |= examples.understood(each)
    assert found == {"source", "put"}


def test_figures_of_readme_stand_on_the_pages_that_it_links_for_them() -> None:
    rows = [row for row in readme_rows("## Why change") if "](docs/" in row[-1]]
    assert len(rows) > 7
    missing = []
    for what, *cells, seen in rows:
        there = {float(number.replace(",", "")) for number in re.findall(NUMBER, linked(seen))}
        there |= {1 / number for number in there if number}
        said = re.findall(NUMBER, f"{what} {' '.join(cells)}")
        missing += [(what, number) for number in said if not is_among(number, there) and number not in COUNTED]
    assert missing == []


#: Numbers in the table, and decimals; not the digit of a name such as ``v1``.
NUMBER = r"(?<![\w.,])\d[\d,]*(?:\.\d+)?"
#: Figures of README that count the rows of a table.
COUNTED = {"13", "7", "4"}


def is_among(number: str, there: set[float]) -> bool:
    """Whether ``number`` is one of ``there``, rounded as it is."""
    decimals = len(number.partition(".")[2])
    return float(number.replace(",", "")) in {round(each, decimals) for each in there}


def readme_rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading of README."""
    lines = section(tables.README.read_text(), heading).splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]


def linked(cell: str) -> str:
    """What a link leads to: a section, or a whole page."""
    path, _, anchor = re.findall(r"\]\(([^)]+)\)", cell)[0].partition("#")
    page = (tables.TOP / path).read_text()
    headings = [line for line in page.splitlines() if line.startswith("#") and anchors(line) == {anchor}]
    return section(page, headings[0]) if anchor else page


def section(page: str, heading: str) -> str:
    return page.split(f"{heading}\n", 1)[1].split("\n## ", 1)[0]


def test_readme_counts_the_damaged_layers_of_their_table() -> None:
    table = section((tables.TOP / "docs" / "robustness.md").read_text(), "## Content").splitlines()
    rows = [[cell.strip(" *") for cell in line.split("|")[1:-1]] for line in table if re.match(r"\| \d", line)]
    refused = [theirs for _, _, ours, _, theirs, _ in rows if ours.startswith("refused")]
    accepted, again = (sum(each.startswith(word) for each in refused) for word in ("accepted", "tries again"))
    words = f"damaged layers, {len(refused)} ways | all refused | {accepted} accepted"
    words += f"; on {again} it tries for up to an hour"
    assert words in tables.README.read_text()


def test_readme_counts_the_promises_of_security() -> None:
    promises = re.findall(r"^\d\. \*\*", (tables.TOP / "SECURITY.md").read_text(), re.M)
    assert f"[{ {6: 'Six', 7: 'Seven', 8: 'Eight'}[len(promises)] } promises](SECURITY.md)" in tables.README.read_text()


def test_links_between_our_pages_lead_somewhere() -> None:
    links = [(page, link) for page in pages() for link in re.findall(r"\]\(([^)\s]+)", page.read_text())]
    ours = [(page, *link.partition("#")[::2]) for page, link in links if "://" not in link]
    assert len(ours) > 10
    broken = []
    for page, path, anchor in ours:
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            broken.append((page.name, path, anchor))
    assert broken == []


def test_paths_targets_and_modules_that_pages_name_are_there() -> None:
    makefile = (tables.TOP / "Makefile").read_text()
    modules = [path.as_posix() for folder in ("resource", "tests") for path in (tables.TOP / folder).rglob("*.py")]
    missing = []
    for page in pages():
        text = page.read_text()
        for path in re.findall(r"`((?:tests|benchmarks|docs|assets|resource|\.ci)/[\w./-]+)`", text):
            if not (tables.TOP / path).exists():
                missing.append((page.name, path))
        # Pages about the code leave out the directory that they are about.
        for path in re.findall(r"`([\w/]+\.py)`", text):
            if not (tables.TOP / path).exists() and not any(module.endswith(f"/{path}") for module in modules):
                missing.append((page.name, path))
        for target in re.findall(r"(?:^|`)make ([a-z][\w-]*)", text, re.M):
            if not re.search(rf"^{target}:", makefile, re.M):
                missing.append((page.name, f"make {target}"))
        for python, module in re.findall(r"(\S*python) -m ((?:benchmarks|tests)\.[\w.]+)", text):
            # Only the Python of `make setup` has the packages that they need.
            if not python.endswith(".venv/bin/python") or not (tables.TOP / f"{module.replace('.', '/')}.py").exists():
                missing.append((page.name, f"{python} -m {module}"))
    assert missing == []


def test_contributing_lists_every_directory_of_tests() -> None:
    listed = re.findall(r"^\| `(\w+)/` \|", (tables.TOP / "CONTRIBUTING.md").read_text(), re.M)
    assert sorted(listed) == sorted({path.parent.name for path in (tables.TOP / "tests").glob("*/test_*.py")})


def test_bounds_that_a_page_names_are_those_of_the_code() -> None:
    source = "\n".join(path.read_text() for path in (tables.TOP / "resource").rglob("*.py"))
    rows = section((tables.TOP / "docs" / "networks-and-registries.md").read_text(), "## Bounds").splitlines()
    wrong = []
    for bound, names in (row.split("|")[2:4] for row in rows if row.startswith("| ")):
        for name in re.findall(r"`([A-Z_]+)`", names):
            values = re.findall(rf"^{name}(?:: .+)? = ([\d_.* <]+)$", source, re.M)
            if not any(form in bound for value in values for form in written(value)):
                wrong.append((name, values, bound))
    assert wrong == []


def written(value: str) -> set[str]:
    """How a page may write a number of the code."""
    base, _, shift = value.partition("<<")
    number = int(prod(float(factor) for factor in base.split("*"))) << int(shift or 0)
    units = {"": 1, " KiB": 1 << 10, " MiB": 1 << 20, " TiB": 1 << 40}
    words = {60: {"each minute"}, 86_400: {"a day"}}.get(number, set())
    whole = {unit: number // size for unit, size in units.items() if number % size == 0}
    return words | {f"{count:{sign}}{unit}" for unit, count in whole.items() for sign in ("", ",")}


def pages() -> list[Path]:
    return [*tables.TOP.glob("*.md"), *(tables.TOP / "docs").rglob("*.md")]


def anchors(markdown: str) -> set[str]:
    """The headings' ids, as forges make them."""
    headings = re.findall(r"^#+ (.+)$", markdown, re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_first_line_of_every_page_says_whom_it_is_for() -> None:
    others = {"README.md", "CHANGELOG.md"}
    silent = [
        page.name for page in pages() if page.name not in others and not re.match(r"# .+\n\n\*For .+", page.read_text())
    ]
    assert silent == []
