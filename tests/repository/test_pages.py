"""Examples of the pages are such as the executables take, and links lead somewhere."""

from __future__ import annotations

import re

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


def test_every_example_of_signatures_is_understood() -> None:
    found: set[str] = set()
    for example in examples.objects(examples.of((tables.TOP / "docs" / "signatures.md").read_text())):
        found |= examples.understood(example)
    assert found == {"source", "put"}


def test_links_between_our_pages_lead_somewhere() -> None:
    pages = [*tables.TOP.glob("*.md"), *(tables.TOP / "docs").rglob("*.md")]
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)\s]+)", page.read_text())]
    ours = [(page, *link.partition("#")[::2]) for page, link in links if "://" not in link]
    assert len(ours) > 10
    broken = []
    for page, path, anchor in ours:
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            broken.append((page.name, path, anchor))
    assert broken == []


def anchors(markdown: str) -> set[str]:
    """The headings' ids, as forges make them."""
    headings = re.findall(r"^#+ (.+)$", markdown, re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_first_line_of_every_page_says_whom_it_is_for() -> None:
    pages = [tables.TOP / "SECURITY.md", tables.TOP / "CONTRIBUTING.md", *(tables.TOP / "docs").rglob("*.md")]
    silent = [page.name for page in pages if not re.match(r"# .+\n\n\*For .+", page.read_text())]
    assert silent == []
