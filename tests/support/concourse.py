"""Plays a pipeline's jobs as Concourse would, with the real executables: check, get, put, variables and artifacts.

Tasks are not run: a task's image is fetched and looked at, and what it would make is made by the test (`Others`).
Resources of other types are directories that the test fills.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, cast

from tests.support import runner

Json: TypeAlias = dict[str, object]
#: Fills the directory of an artifact that no step of ours makes, by the artifact's name.
Others: TypeAlias = Mapping[str, Callable[[Path], None]]
OURS = "registry-image"
VARIABLE = re.compile(r"\(\(([^()]+)\)\)")


@dataclass(slots=True, kw_only=True)
class Player:
    """``variables`` fill in ``((name))``; artifacts are made in ``directory``. ``steps`` are those that were played.
    ``environment`` is the worker's."""

    pipeline: Json
    directory: Path
    others: Others = field(default_factory=dict)
    variables: dict[str, object] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    steps: list[str] = field(default_factory=list)

    def play(self) -> None:
        """Every step of every job, in order."""
        for job in _list(self.pipeline["jobs"]):
            for step in flat(_list(job["plan"])):
                self._step(step)

    def _step(self, step: Json) -> None:
        if "get" in step:
            self._get(str(step["get"]), step)
        elif "put" in step:
            self._put(str(step["put"]), step)
        elif "load_var" in step:
            self.variables[f".:{step['load_var']}"] = (self.directory / str(step["file"])).read_text()
        else:
            self._task(step)

    def _get(self, name: str, step: Json) -> None:
        resource = self._resource(step, "get")
        if resource["type"] != OURS:
            self._make(name)
            return
        source = self._filled(resource["source"])
        assert isinstance(source, dict)
        versions = runner.check({"source": source}, self.environment).versions
        assert versions, f"{name}: check found no version"
        self._fetch(name, source, versions[-1], step.get("params"))

    def _fetch(self, name: str, source: Json, version: Mapping[str, str], params: object) -> None:
        request = {"source": source, "version": version, **({"params": self._filled(params)} if params else {})}
        outcome = runner.get(request, self.directory / name, environment=self.environment)
        assert outcome.version == version
        self.variables |= {f".:{name}.{key}": value for key, value in outcome.metadata.items()}
        self.steps.append(f"get {name}")

    def _put(self, name: str, step: Json) -> None:
        resource = self._resource(step, "put")
        if resource["type"] != OURS:
            return
        source, params = self._filled(resource["source"]), self._filled(step.get("params", {}))
        assert isinstance(source, dict)
        request = {"source": source, "params": params}
        outcome = runner.put(request, self.directory, environment=self.environment)
        assert outcome.status == 0, outcome.stderr
        self.steps.append(f"put {name}")
        if not step.get("no_get"):
            self._fetch(name, source, outcome.version, step.get("get_params"))

    def _task(self, step: Json) -> None:
        name, config = str(step["task"]), cast("Json", step["config"])
        image = str(step.get("image", f"image of {name}"))
        if "image_resource" in config:
            self._get(image, {"get": image, "resource": config["image_resource"]})
        metadata = json.loads((self.directory / image / "metadata.json").read_text())
        assert (self.directory / image / "rootfs").is_dir()
        assert "run" in config or metadata.get("entrypoint") or metadata.get("cmd"), f"{name}: nothing to run"
        for each in _list(config.get("inputs", [])):
            assert (self.directory / str(each["name"])).is_dir(), f"{name}: no input {each['name']}"
        renamed = cast("Json", step.get("output_mapping", {}))
        for each in _list(config.get("outputs", [])):
            self._make(str(renamed.get(str(each["name"]), each["name"])))
        self.steps.append(f"task {name}")

    def _make(self, artifact: str) -> None:
        (self.directory / artifact).mkdir(exist_ok=True)
        if artifact in self.others:
            self.others[artifact](self.directory / artifact)

    def _resource(self, step: Json, kind: str) -> Json:
        wanted = step.get("resource", step[kind])
        if isinstance(wanted, dict):
            return wanted
        return next(each for each in _list(self.pipeline["resources"]) if each["name"] == wanted)

    def _filled(self, value: object) -> object:
        """``value`` with its variables filled in; one that stands alone keeps its type."""
        if isinstance(value, dict):
            return {key: self._filled(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self._filled(each) for each in value]
        if not isinstance(value, str):
            return value
        alone = VARIABLE.fullmatch(value)
        return self.variables[alone[1]] if alone else VARIABLE.sub(lambda found: str(self.variables[found[1]]), value)


def flat(plan: list[Json]) -> Iterator[Json]:
    """The steps of ``plan``, and those within them, in order."""
    for step in plan:
        inner = step.get("in_parallel", step.get("do"))
        if inner is None:
            yield step
        else:
            yield from flat(_list(inner["steps"] if isinstance(inner, dict) else inner))


def _list(value: object) -> list[Json]:
    assert isinstance(value, list)
    return value
