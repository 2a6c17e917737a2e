"""Each recipe is a whole pipeline, and a valid one. tests/acceptance/test_recipes.py plays them."""

from __future__ import annotations

import re

import jsonschema
import pytest
import yaml

from registry_image.errors import RequestError
from tests.support import examples, tables
from tests.support.pipeline import require_valid

PAGE = (tables.TOP / "docs" / "recipes.md").read_text()
RECIPES = examples.by_heading(PAGE)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_is_a_valid_pipeline(recipe: str) -> None:
    require_valid(RECIPES[recipe])


def test_the_recipes_are_listed_and_counted_on_their_page() -> None:
    assert [line[3:].split("](")[0] for line in PAGE.splitlines() if line.startswith("- [")] == list(RECIPES)
    assert {12: "Twelve", 13: "Thirteen"}[len(RECIPES)] in PAGE


#: The Concourse that a word in a pipeline needs, by an expression that finds it.
NEEDS = {r"\bno_get:": (7, 9), r"type: idtoken": (7, 14), r"\(\(\.:[\w-]+\.": (8, 1)}


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_names_the_concourse_that_it_needs(recipe: str) -> None:
    text = RECIPES[recipe]
    needed = [version for word, version in NEEDS.items() if re.search(word, text)]
    needed += [
        (8, 0) for task in examples.objects(yaml.safe_load(text)) if "config" in task and not runs(task["config"])
    ]
    section = PAGE.split(f"## {recipe}\n")[1].split("\n## ")[0]
    named = [(int(major), int(minor)) for major, minor in re.findall(r"Concourse\s\(?(\d+)\.(\d+)", section)]
    assert max(needed, default=(0, 0)) <= max(named, default=(0, 0))


def test_a_page_names_the_concourse_that_its_examples_need() -> None:
    silent = []
    for page in (tables.README, *(tables.TOP / "docs").glob("*.md")):
        text = page.read_text()
        needed = max((version for word, version in NEEDS.items() if re.search(word, text)), default=(0, 0))
        named = {(int(major), int(minor)) for major, minor in re.findall(r"(?:Concourse\s\(?|\*\*)(\d)\.(\d+)", text)}
        silent += [page.name] if needed not in {(0, 0), *named} else []
    assert silent == []


def runs(config: object) -> bool:
    return isinstance(config, dict) and ("run" in config or "platform" not in config)


def test_the_example_that_readme_sets_as_a_pipeline_is_valid() -> None:
    require_valid((tables.TOP / "docs" / "example.yml").read_text())
    command = "fly -t ci set-pipeline -p example -c docs/example.yml -v type=ghcr.io/you/registry-image-resource"
    assert command in tables.README.read_text()


def test_the_pipeline_that_readme_shows_is_valid() -> None:
    require_valid(examples.by_heading(tables.README.read_text())["Use it"])


ONE = RECIPES["The image of a task"]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("image: golang\n", "image: golnag\n"),
        ("get: golang\n", "get: golnag\n"),
        ("platform: linux\n      inputs", "platform: linux\n      input"),
        ("inputs: [{name: source}]", "inputs: [{name: sauce}]"),
        ('tag: "1.23"', 'tga: "1.23"'),
        ("- name: golang\n  type: registry-image", "- name: golang\n  type: registry-img"),
        ("trigger: true\n  - task", "trigger: true\n    params: {format: rotfs}\n  - task"),
        ("args: [test, ./...]", 'args: ["((.:version))"]'),
    ],
)
def test_what_is_wrong_with_a_pipeline_is_found(right: str, wrong: str) -> None:
    assert right in ONE
    with pytest.raises((AssertionError, jsonschema.ValidationError, RequestError)):
        require_valid(ONE.replace(right, wrong))
