"""The resources whose checks are measured: each kind of source, and the repository that it follows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

REPOSITORY = "some/image"
TAGS = tuple(f"1.{number}.0" for number in range(50))
ACCOUNT = ("someone", "not-a-secret")
_LOGIN = dict(zip(("username", "password"), ACCOUNT, strict=True))
#: The whole match is the version. `sort: numeric` wants groups.
_EXPRESSION = {"tag_regex": r"^1\.\d+\.0$"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """Fields of a source; ``instead`` are those for a check that knows no such field."""

    name: str
    source: Mapping[str, object]
    instead: Mapping[str, object] | None = None
    registry: str = "open"

    def complete(self, places: Mapping[str, str], *, common: bool = False) -> dict[str, object]:
        """The whole source; with ``common``, one that every check understands."""
        fields = self.instead if common and self.instead is not None else self.source
        if "digest" in fields:
            fields = {"digest": places["digest"]}
        return {"repository": f"{places[self.registry]}/{REPOSITORY}", "insecure": True, **fields}


TAG = Mode(name="`tag`", source={"tag": "latest"})
LOGIN = Mode(name="`tag`, with a login", source={"tag": "latest", **_LOGIN}, registry="login")
SEMVER = Mode(name="semver mode", source={})
SORTED = Mode(name="`sort: semver`", source={**_EXPRESSION, "sort": "semver"}, instead=_EXPRESSION)
DIGEST = Mode(name="`digest`", source={"digest": ""}, instead={"tag": "latest"})
MODES = (
    DIGEST,
    TAG,
    LOGIN,
    SEMVER,
    SORTED,
    Mode(name="`sort: numeric`", source={"tag_regex": r"^1\.(\d+)\.0$", "sort": "numeric"}, instead=_EXPRESSION),
    Mode(name="`sort: registry`", source=_EXPRESSION),
    Mode(name="`sort: lexical`", source={**_EXPRESSION, "sort": "lexical"}, instead=_EXPRESSION),
    Mode(name="`sort: created`", source={**_EXPRESSION, "created_at_sort": True}),
)


@dataclass(slots=True, kw_only=True)
class Resource:
    number: int = 0
    mode: Mode
    source: Mapping[str, object]
    version: dict[str, str] | None = None
    """The newest version of the last check that succeeded, as Concourse gives it to the next."""

    @property
    def request(self) -> bytes:
        version = {} if self.version is None else {"version": self.version}
        return json.dumps({"source": self.source, **version}).encode()
