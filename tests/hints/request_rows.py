"""Hints about what a pipeline's author wrote."""

from __future__ import annotations

import json
from typing import cast

from registry_image.auth.clouds import _require
from registry_image.auth.credentials import Credentials
from registry_image.concourse.check_tags import MAX_FOLLOWED, _Followed
from registry_image.concourse.connect import Connection
from registry_image.concourse.image_source import open_image_to_push, require_one_image
from registry_image.concourse.put_tags import choose_tags
from registry_image.concourse.request.check import parse_check
from registry_image.concourse.request.get import parse_get
from registry_image.concourse.request.pattern import compile_pattern
from registry_image.concourse.request.put import PutRequest, parse_put
from registry_image.semver.constraint import Constraint
from tests.hints.rows import Row, Situation

DIGEST = "sha256:" + "0" * 64


def check(**source: object) -> Situation:
    return lambda: parse_check(json.dumps({"source": {"repository": "a/b", **source}}).encode())


def stdin(raw: bytes) -> Situation:
    return lambda: parse_check(raw)


def get(**params: object) -> Situation:
    document = {"source": {"repository": "a/b"}, "version": {"digest": DIGEST}, "params": params}
    return lambda: parse_get(json.dumps(document).encode(), "/destination")


def parsed_put(params: object, **source: object) -> PutRequest:
    return parse_put(json.dumps({"source": {"repository": "a/b", **source}, "params": params}).encode(), "/")


def put(params: object, **source: object) -> Situation:
    return lambda: parsed_put(params, **source)


def tags(params: object, additional: tuple[str, ...] = (), **source: object) -> Situation:
    return lambda: choose_tags(parsed_put(params, **source), additional, list)


def image(params: object) -> Situation:
    """A put whose image is looked for: what is wrong is found before the connection is used."""

    def look() -> None:
        request = parsed_put(params)
        require_one_image(request)
        with open_image_to_push(request, cast("Connection", None)):
            pass

    return look


def verifying(**cosign: object) -> Situation:
    return check(verify={"cosign": cosign})


def following(number: int) -> Situation:
    def follow() -> None:
        followed = _Followed()
        followed._tags = dict.fromkeys(map(str, range(number)))
        followed.check()

    return follow


KEYLESS = {"issuer": "https://issuer.example", "subject": "ci"}

REQUESTS = (
    Row(
        "`--help` shows an example; Concourse itself always sends JSON",
        (stdin(b"source: {}"), stdin(b"{'a': 1}")),
        (stdin(b""), stdin(b"[]"), stdin(b"{}"), stdin(b"\xff")),
    ),
    Row(
        "with `docker run`, add -i: without it a container's stdin is empty; `--help` shows an example",
        (stdin(b""), stdin(b" \n")),
        (stdin(b"source: {}"), stdin(b"null")),
    ),
    Row("give both, or neither", (lambda: Credentials(username="robot"),), (check(username="robot"),)),
    Row(
        "a login belongs to `username` and `password`, or to `auths`",
        (check(repository="robot:pa55@ghcr.io/a/b"), put({"from": "robot:pa55@ghcr.io/a/b"})),
        (check(repository=f"a/b@{DIGEST}"), check(repository="https://ghcr.io/a/b"), check(repository="a/b@sha256:1")),
    ),
    Row(
        "a tag follows a colon; ",
        (check(repository="alpine@3.18"), put({"from": "alpine@latest"})),
        (check(repository="robot:pa55@ghcr.io/a/b"), check(repository="alpine:3.18")),
    ),
    Row(
        "names are lower-case letters, digits and single . _ - or / between them",
        (check(repository="Team/App"), check(repository="a//b"), check(repository="((repository))")),
        (check(repository="a" * 256), check(repository="a__b"), check(repository="ghcr.io:port/a")),
    ),
    Row(
        "a tag is at most 128 of A-Z a-z 0-9 . _ - and begins with neither . nor -",
        (check(tag="a/b"), check(tag="-x"), check(repository="a:.x"), tags({"tags": ["a b"]}), tags({}, ("a/b",))),
        (check(tag="v1.2_3-x"), check(tag=3.1), tags({"tags": ["_a"]})),
    ),
    Row(
        "put it in quotes: YAML reads 3.10 as 3.1",
        (put({"tags": [3.1]}), put({"version": 1.5}), put({"tag_prefix": 0.5})),
        (put({"tags": ["3.1"]}), put({"tags": [3]}), put({"tags": [2**60]})),
    ),
    Row(
        "put it in quotes: of a number, only the first 15 digits are kept",
        (put({"tags": [2**60]}),),
        (put({"tags": [2**50]}), put({"tags": [str(2**60)]}), put({"tags": [3.1]})),
    ),
    Row(
        "constraints are written like `~1.2.x`",
        (lambda: Constraint.parse("latest"), lambda: Constraint.parse("1.2 ||"), lambda: Constraint.parse("^^1")),
        (lambda: Constraint.parse("~1.2"), lambda: Constraint.parse("1" * 600), lambda: Constraint.parse("1||" * 40)),
    ),
    Row(
        "RE2 has no look-around and no back-references",
        (lambda: compile_pattern("a(?!b)", "f"), lambda: compile_pattern(r"(a)\1", "f")),
        (lambda: compile_pattern("(a", "f"), lambda: compile_pattern("[z-a]", "f"), lambda: compile_pattern("a", "f")),
    ),
    Row("list all in `formats`", (get(format="oci", formats=["rootfs"]),), (get(format="oci"), get(formats=["oci"]))),
    Row(
        "list all in `aws_role_arns`",
        (check(aws_role_arn="a", aws_role_arns=["b"]),),
        (check(aws_role_arn="a"), check(aws_role_arns=["b"])),
    ),
    Row(
        "remove `content_trust`, and sign as cosign does: `params.sign` of put, `verify` in source",
        (put({}, content_trust={"repository_key": "x"}),),
        (check(content_trust={"repository_key": "x"}), put({})),
    ),
    Row("set `keys`, `keyless` or both", (verifying(), verifying(keys=[])), (verifying(keys=["x"]),)),
    Row(
        "an issuer says who vouches for a subject: one means nothing without the other",
        (verifying(keyless=[{"issuer": "x"}]), verifying(keyless=[{"subject": "x"}])),
        (verifying(keyless=[{**KEYLESS, "issuer_regex": "x"}]), verifying(keyless=[KEYLESS])),
    ),
    Row(
        "set `tag` in source, or `version`, `tags` or `additional_tags` in params",
        (tags({}), tags({"tags": []})),
        (tags({"additional_tags": "a/empty"}), tags({}, tag="1")),
    ),
    Row(
        "expected the version itself: `load_var` reads it from a file",
        (tags({"version": "version/number"}),),
        (tags({"version": "latest"}), tags({"version": "1.2.3"})),
    ),
    Row(
        "a version is like 1.2.3; other tags belong to `tags`",
        (tags({"version": "latest"}), tags({"version": "v1.x"})),
        (tags({"version": "version/number"}), tags({"version": "1.2.3"})),
    ),
    Row("omit it, or join it with a hyphen", (tags({"version": "1.2.3+5"}),), (tags({"version": "1.2.3-5"}),)),
    Row(
        "`, or what follows the name in `repository`",
        (check(repository="a/b:1", tag="2"), check(repository=f"a/b@{DIGEST}", digest=f"sha256:{'1' * 64}")),
        (check(repository="a/b:1", tag="1"), check(repository="a/b:1"), check(tag="2")),
    ),
    Row(
        "`username` and `password` say the same without base64",
        (
            check(auths={"ghcr.io": {"auth": "robot:pa55"}}),
            check(docker_config_json={"auths": {"ghcr.io": {"auth": "robot"}}}),
        ),
        (check(auths={"ghcr.io": {"auth": "dTpw"}}), check(auths={"ghcr.io": {"username": "robot"}})),
    ),
    Row(
        "it takes the content of Docker's config.json as it is: not its base64, and not its path",
        (check(docker_config_json="~/.docker/config.json"), check(docker_config_json="eyJhdXRocyI6e319")),
        (check(docker_config_json="{}"), check(docker_config_json={"auths": []}), check(docker_config_json=5)),
    ),
    Row(
        "`image` is the path of a tarball or an OCI layout in an artifact of the build",
        (image({}), image({"platforms": ["linux/amd64"]})),
        (image({"image": "a/b"}), image({"image": "a/b", "from": "a/c"})),
    ),
    Row(
        "follow fewer, with `semver_constraint`, `variant`, `tag_regex` or `exclude_regex`",
        (following(MAX_FOLLOWED + 1),),
        (following(MAX_FOLLOWED),),
    ),
    Row(
        "the image has it; with pip: `pip install 'registry-image-resource[",
        (lambda: _require("no_such_library", "aws", "ECR"),),
        (lambda: _require("json", "aws", "ECR"),),
    ),
)
