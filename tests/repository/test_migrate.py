"""docs/migrate.md has every field of docker-image-resource, and puts only fields of ours in their place."""

from __future__ import annotations

import re

import pytest

from tests.support import examples, tables
from tests.support.pipeline import require_valid

PAGE = (tables.TOP / "docs" / "migrate.md").read_text()
#: What docker-image-resource's README names, as of August 2026.
THEIRS = {
    "`source`": """repository tag username password additional_private_registries aws_access_key_id aws_session_token
        aws_secret_access_key insecure_registries registry_mirror ca_certs client_certs max_concurrent_downloads
        max_concurrent_uploads startup_timeout""",
    "`get`: params and files": """save rootfs skip_download image rootfs.tar repository tag digest metadata.json
        image-id docker_inspect.json""",
    "`put`: params": """tag_file tag tag_as_latest tag_prefix additional_tags load load_file load_repository load_tag
        pull_repository pull_tag import_file build""",
    "`build`: the task": """build dockerfile build_args build_args_file labels labels_file secrets target_name cache
        cache_tag cache_from load_base load_bases docker_buildkit""",
}


def rows(title: str) -> list[tuple[str, str]]:
    """The table below a heading, without its head."""
    below = PAGE.split(f"## {title}\n", 1)[1].split("\n## ")[0]
    found = [line.strip("| ").split(" | ") for line in below.splitlines() if line.startswith("| ")]
    return [(left, right) for left, right in found[1:]]


@pytest.mark.parametrize("title", THEIRS)
def test_every_field_is_there(title: str) -> None:
    named = {word for left, _ in rows(title) for word in re.findall(r"`([\w.-]+)", left)}
    assert set(THEIRS[title].split()) <= named


@pytest.mark.parametrize(("title", "kind"), [("`source`", "source"), ("`get`: params and files", "get")])
def test_what_takes_its_place_are_fields_of_ours(title: str, kind: str) -> None:
    fields = [word for _, right in rows(title) for word in re.findall(r"`(\w+)(?:`|: )", right)]
    assert fields
    assert set(fields) - {"FROM", "config", "host", "tar"} <= tables.fields(kind).keys()


def test_the_params_of_put_that_take_its_place_are_ours() -> None:
    fields = [word for _, right in rows("`put`: params") for word in re.findall(r"`(\w+)(?:`|: )", right)]
    known = tables.fields("put").keys() | {"load_var", "save", "format", "X"}
    assert set(fields) <= known | {"FROM"}


def test_the_pipeline_that_takes_its_place_is_valid() -> None:
    (after,) = examples.blocks(PAGE)
    require_valid(after)
