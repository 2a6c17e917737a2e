"""pipeline.yml builds, tests and publishes this resource with itself: it is valid, and says only what we understand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast

from tests.support import examples
from tests.support.concourse import Json
from tests.support.pipeline import require_valid, steps

TOP = Path(__file__).parents[2]


def pipeline() -> Json:
    return cast("Json", examples.read((TOP / "pipeline.yml").read_text()))


def all_steps() -> list[Json]:
    return [step for job in cast("list[Json]", pipeline()["jobs"]) for step in steps(job)]


def test_the_pipeline_is_valid_and_says_only_what_we_understand() -> None:
    require_valid((TOP / "pipeline.yml").read_text())


def test_the_resource_is_its_own_resource_type_and_the_image_of_a_task() -> None:
    ours = {kind["name"] for kind in cast("list[Json]", pipeline()["resource_types"])}
    assert ours == {"image"}
    configs = [cast("Json", step["config"]) for step in all_steps() if "config" in step]
    used = {cast("Json", config["image_resource"])["type"] for config in configs if "image_resource" in config}
    assert used == ours


def test_every_variable_is_documented_at_the_top() -> None:
    text = (TOP / "pipeline.yml").read_text()
    head, body = text.split("---\n", 1)
    variables = set(re.findall(r"\(\(([a-z_]+)\)\)", body))
    assert variables == set(re.findall(r"^#   ([a-z_]+) {2,}", head, re.MULTILINE))


def test_the_dockerfile_depends_on_no_architecture_and_names_no_index() -> None:
    text = (TOP / "Dockerfile").read_text()
    assert not re.search(r"amd64|x86_64|arm64|aarch64|://", text)


def test_a_build_does_not_copy_what_it_wrote_itself() -> None:
    # The checkout is the task's directory, and so what it puts out and caches is in the checkout.
    tasks = [cast("Json", step["config"]) for step in all_steps() if step.get("image") == "oci-build-task"]
    made = [each for task in tasks for each in cast("list[Json]", task["outputs"]) + cast("list[Json]", task["caches"])]
    written = {each.get("name", each.get("path")) for each in made}
    assert written == {"image", "cache"}
    assert written <= set((TOP / ".dockerignore").read_text().splitlines())
