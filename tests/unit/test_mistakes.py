"""All mistakes of a request are told at once, without a secret, and names from elsewhere with what is written here."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from registry_image.concourse.request import elsewhere
from registry_image.concourse.request.check import parse_check
from registry_image.concourse.request.get import parse_get
from registry_image.concourse.request.put import parse_put
from registry_image.concourse.request.validation import load_schema
from registry_image.errors import RequestError

SECRET = "hunter2-never-shown"


def told(parse: Callable[[bytes], object], request: object) -> list[str]:
    with pytest.raises(RequestError) as caught:
        parse(json.dumps(request).encode())
    error = caught.value
    return [f"{each.message} | {each.hint or ''}" for each in (error, *error.others)]


def begin(lines: list[str], starts: list[str]) -> bool:
    return all(line.startswith(start) for line, start in zip(lines, starts, strict=True))


def get(raw: bytes) -> object:
    return parse_get(raw, "/destination")


def put(raw: bytes) -> object:
    return parse_put(raw, "/artifacts")


def test_every_field_that_is_wrong_gets_a_line() -> None:
    source = {"repositry": "x", "insecure": "yes", "load": 1, "sort": "up", "tag_regex": ["x"]}
    lines = told(put, {"source": source, "params": {"tags": "a", "imagee": "x"}})
    for start in (
        "params: unknown field 'imagee': did you mean image?",
        "source: unknown field 'repositry': did you mean repository?",
        "source: unknown field 'load'",
        "source: repository is required",
        "source.insecure: expected true or false",
        "source.sort: expected one of ",
        "source.tag_regex: expected a string",
        "params.tags: expected an array",
    ):
        assert len([line for line in lines if line.startswith(start)]) == 1
    assert len(lines) == 8


def test_what_only_the_values_show_is_told_at_once_too() -> None:
    source = {"repository": "UPPER", "tag": "a/b", "platform": "linux", "auths": {"h": {"username": "x"}}}
    version = {"digest": "sha256:short"}
    lines = told(get, {"source": source, "version": version, "params": {"format": "oci", "formats": ["oci"]}})
    starts = ("source.repository: ", "source.tag: 'a/b'", "source.auths.h: ", "source.platform: ", "params: `format`")
    for start in (*starts, "version.digest: not a digest"):
        assert len([line for line in lines if line.startswith(start)]) == 1, lines
    assert len(lines) == 6


def test_what_the_schema_shows_and_what_only_the_values_show_is_told_in_one_run() -> None:
    source: dict[str, object] = {"repository": "UPPER", "tag": "a/b", "insecure": "yes", "insecur": SECRET}
    source |= {"username": "robot", "password": [SECRET], "auths": {"h": {"username": "x", "password": 1}}}
    params: dict[str, object] = {"format": "oci", "formats": ["oci"], "platform": "linux", "skip_downlod": True}
    request = {"source": source, "params": params, "version": {"digest": "short"}}
    lines = told(get, request)
    assert [line.partition(" | ")[0].partition(": expected")[0] for line in lines] == [
        "params: unknown field 'skip_downlod': did you mean skip_download?",
        "source: unknown field 'insecur': did you mean insecure?",
        "source.auths.h.password",
        "source.insecure",
        "source.password",
        "source.repository: repository 'UPPER': 'library/UPPER' is not a repository name",
        "source.tag: 'a/b' is not a tag",
        "params: `format` and `formats` are both set",
        "params.platform: platform 'linux'",
        "version.digest: not a digest: 'short'",
    ]
    assert lines == told(get, request)
    assert not any("hunter2" in line for line in lines)


@pytest.mark.parametrize("parse", [parse_check, get, put])
@pytest.mark.parametrize("document", [{}, [], {"source": []}, {"source": {"tag": 1.5}}, {"source": {}, "params": ""}])
def test_a_part_that_is_missing_or_wrong_is_told_once_and_nothing_is_made_up(
    parse: Callable[[bytes], object], document: object
) -> None:
    lines = told(parse, document)
    assert len(lines) == len(set(lines))
    for line in lines:
        assert "'unknown'" not in line
        assert "0000" not in line


def test_rules_and_tags_are_told_with_all_else_before_a_connection() -> None:
    rules = {"repository": "x", "tag_regex": "(", "exclude_regex": "[", "insecure": 1}
    starts = ["source.insecure: ", "source.tag_regex: '(' is not", "source.exclude_regex: '[' is not"]
    assert begin(told(parse_check, {"source": rules}), starts)
    (line,) = told(parse_check, {"source": {"repository": "x", "semver_constraint": "latest"}})
    assert line.startswith("source.semver_constraint: 'latest': ")
    source = {"repository": "x", "label_regex": "(", "annotation_regex": "["}
    shown = ["source.label_regex: '('", "source.annotation_regex: '['"]
    lines = told(get, {"source": source, "version": {"digest": "sha256:" + "0" * 64}})
    assert begin(lines, shown)
    params = {
        "image": "x",
        "version": "latest",
        "tags": ["a", "a b", 1.5],
        "images": [{"path": "a"}, {"path": "b", "platform": "linux"}],
        "platforms": ["linux"],
        "mount_from": ["a", "UP"],
    }
    lines = told(put, {"source": source, "params": params})
    fields = ["images[1]", "platforms[0]", "version", "tags[1]", "tags[2]", "mount_from[1]"]
    starts = [*shown, *(f"params.{field}: " for field in fields)]
    assert begin(lines, starts)


@pytest.mark.parametrize("one", [{"tag": "latest"}, {"repository": "x:1"}, {"digest": "sha256:" + "0" * 64}])
def test_rules_that_a_check_does_not_use_do_not_stop_it(one: dict[str, object]) -> None:
    source = {"repository": "x", "tag_regex": "(", "semver_constraint": "latest", "label_regex": "(", **one}
    assert parse_check(json.dumps({"source": source}).encode())


def test_a_field_that_cannot_be_read_does_not_count_as_absent() -> None:
    verify = {"cosign": {"keys": ["x"]}}
    (line,) = told(put, {"source": {"repository": "x"}, "params": {"from": 5, "verify": verify}})
    assert line.startswith("params.from: expected a string")
    (line,) = told(put, {"source": {"repository": "x"}, "params": {"verify": verify}})
    assert line.startswith("params.verify: only what `from` promotes")


@pytest.mark.parametrize("field", ["from", "mount_from", "platforms", "images", "repository", "platform"])
def test_a_mistake_in_a_value_names_the_field(field: str) -> None:
    values: dict[str, object] = {"mount_from": ["UP"], "platforms": ["x"], "images": [{"path": "a", "platform": "x"}]}
    where = "source" if field in ("repository", "platform") else "params"
    document: dict[str, dict[str, object]] = {"source": {"repository": "x"}, "params": {}}
    document[where][field] = values.get(field, "UP")
    (line,) = told(put, document)
    position = "[0]" if field in values else ""
    assert line.startswith(f"{where}.{field}{position}: ")


def test_a_long_list_of_mistakes_ends() -> None:
    source = {"repository": "x", **{f"field{number}": 1 for number in range(50)}}
    assert len(told(parse_check, {"source": source})) == 20


@pytest.mark.parametrize(
    "text",
    [
        f"user:{SECRET}@registry.example/x",
        f"user:{SECRET}@registry.example:5000/x:1",
        f"user:{SECRET}@registry.example",
        f"https://token:{SECRET}@registry.example/x",
        f"user:{SECRET}@registry.example/x@sha256:{'0' * 64}",
        f"user:a@{SECRET}@registry.example/x",
        f"{SECRET}@registry.example/x",
        f"user:{SECRET}@",
    ],
)
@pytest.mark.parametrize("field", ["repository", "from", "mount_from"])
def test_a_login_in_a_repository_is_refused_without_being_repeated(field: str, text: str) -> None:
    params = {"from": {"from": text}, "mount_from": {"mount_from": [text]}}.get(field, {})
    (line,) = told(put, {"source": {"repository": text if field == "repository" else "x"}, "params": params})
    assert "hunter2" not in line
    assert "no login belongs before @" in line
    assert "`username` and `password`" in line


@pytest.mark.parametrize("key", ["auths", "docker_config_json"])
def test_a_login_in_the_key_of_auths_is_refused_without_being_repeated(key: str) -> None:
    auths: dict[str, object] = {f"https://user:{SECRET}@ghcr.io": {}}
    source = {"repository": "x", key: auths if key == "auths" else {"auths": auths}}
    (line,) = told(parse_check, {"source": source})
    assert "hunter2" not in line
    assert "without user and password" in line


@pytest.mark.parametrize("key", [f"user:{SECRET}@ghcr.io", f"https://{SECRET}@ghcr.io"])
@pytest.mark.parametrize("entry", ["text", 5, [], {"usrname": "x"}, {"host": "user:pass@m"}, {"username": 5}])
def test_a_login_in_a_key_is_repeated_by_no_other_mistake_either(key: str, entry: object) -> None:
    config = {"auths": {key: entry}}
    for fields in (
        {"auths": {key: entry}},
        {"registry_mirrors": {key: entry}},
        {"docker_config_json": config},
        {"docker_config_json": json.dumps(config)},
        {key: entry},
    ):
        for line in told(parse_check, {"source": {"repository": "x", **fields}}):
            assert "hunter2" not in line


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ("{", "source.docker_config_json: not valid JSON: Expecting property name"),
        ("/root/.docker/config.json", "source.docker_config_json: not valid JSON: Expecting value: line 1 column 1"),
        ("eyJhdXRocyI6e319", "source.docker_config_json: not valid JSON: Expecting value: line 1 column 1"),
        ("[]", "source.docker_config_json: expected an object, got an array"),
        ({"auths": []}, "source.docker_config_json: auths: expected an object, got an array"),
        ({"auths": {"h": SECRET}}, "source.docker_config_json: auths: h: expected an object, got a string"),
        (
            {"auths": {"h": {"auth": SECRET}}},
            "source.docker_config_json.auths.h.auth: expected base64 of user:password",
        ),
        ({"auths": {"h": {"auth": "dXNlcg=="}}}, "source.docker_config_json.auths.h.auth: expected base64 of user:"),
        ({"auths": {"h": {"password": 5}}}, "source.docker_config_json: auths: h: password: expected a string"),
    ],
)
def test_a_docker_config_that_cannot_be_read_says_where_it_is_wrong(config: object, line: str) -> None:
    for pasted in (config, json.dumps(config)) if isinstance(config, dict) else (config,):
        (told_line,) = told(parse_check, {"source": {"repository": "x", "docker_config_json": pasted}})
        assert told_line.startswith(line)
        assert "hunter2" not in told_line


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"ghcr.io": {"auth": "dTpw"}}, "source.docker_config_json: it has no `auths`"),
        ({"auth": {}}, "source.docker_config_json: it has no `auths`"),
        ({"auths": {"ghcr.io": {"username": "u"}}}, "source.docker_config_json.auths.ghcr.io: expected `username`"),
        ({"auths": {"ghcr.io": {"auth": "dTo="}}}, "source.docker_config_json.auths.ghcr.io: expected `username`"),
        ({"credsStore": "desktop", "auths": {"ghcr.io": {}}}, "credential helpers are not run"),
    ],
)
def test_a_docker_config_without_a_login_is_told(config: dict[str, object], words: str) -> None:
    for pasted in (config, json.dumps(config)):
        request = parse_check(json.dumps({"source": {"repository": "x", "docker_config_json": pasted}}).encode())
        (warning,) = request.source.warnings
        assert words in warning


@pytest.mark.parametrize("url", ["docker://alpine", "oci://ghcr.io/a/b", "HTTPS://ghcr.io/a/b", "https://ghcr.io/a:1"])
def test_a_repository_is_no_url_whatever_its_scheme(url: str) -> None:
    (line,) = told(parse_check, {"source": {"repository": url}})
    assert f"expected [host[:port]/]name, without {url.partition('//')[0]}//" in line


@pytest.mark.parametrize(
    ("mirror", "field"),
    [
        ({"registry_mirror": "ftp://m"}, "source.registry_mirror"),
        ({"registry_mirror": {"host": "ftp://m"}}, "source.registry_mirror.host"),
        ({"registry_mirrors": {"ghcr.io": "ftp://m"}}, "source.registry_mirrors.ghcr.io"),
        ({"registry_mirrors": {"ghcr.io": {"host": "ftp://m"}}}, "source.registry_mirrors.ghcr.io.host"),
    ],
)
def test_a_mirror_that_is_wrong_is_named_by_its_field(mirror: dict[str, object], field: str) -> None:
    (line,) = told(parse_check, {"source": {"repository": "x", **mirror}})
    assert line.startswith(f"{field}: expected host, host:port or an http(s) URL")


@pytest.mark.parametrize(
    ("field", "key"),
    [("registry_mirrors", "host"), ("registry_mirrors", "a b.c"), ("auths", "*.example.com"), ("auths", "")],
)
def test_a_key_that_is_the_host_of_no_registry_is_refused(field: str, key: str) -> None:
    entry = {"host": "mirror.example.com", "username": "a", "password": "b"}
    if field == "auths":
        del entry["host"]
    (line,) = told(parse_check, {"source": {"repository": "x", field: {key: entry}}})
    assert line.startswith(f"source.{field}: {key!r} is not the host of a registry")
    # A mirror's own host may be a plain name.
    for host in ("localhost", "registry:5000", "ghcr.io", "https://docker.io/v2/", *(["mirror"] * (field == "auths"))):
        parse_check(json.dumps({"source": {"repository": "x", field: {host: entry}}}).encode())


@pytest.mark.parametrize(
    ("where", "field", "words"),
    [
        ("source", "insecure_registries", "`insecure: true`"),
        ("source", "additional_private_registries", "`auths`"),
        ("source", "server_args", "no Docker daemon"),
        ("source", "image", "`repository`"),
        ("params", "build", "build in a task"),
        ("params", "load", "set `image`"),
        ("params", "load_base", "set `image`"),
        ("params", "import_file", "no image"),
        ("params", "tag_as_latest", "`tags: [latest]`"),
        ("params", "tag_file", "`additional_tags`"),
        ("params", "cache-from", "builds"),
        ("params", "pull_repository", "`from`"),
    ],
)
def test_a_name_from_elsewhere_is_answered_with_what_to_write(where: str, field: str, words: str) -> None:
    document: dict[str, dict[str, object]] = {"source": {"repository": "x"}, "params": {"image": "x"}}
    document[where][field] = "x"
    (line,) = told(put, document)
    assert line.startswith(f"{where}: unknown field {field!r}: ")
    assert words in line
    assert "did you mean" not in line


@pytest.mark.parametrize(("field", "words"), [("save", "`format: oci`"), ("rootfs", "default")])
def test_names_of_a_get_from_elsewhere_are_answered_too(field: str, words: str) -> None:
    version = {"digest": "sha256:" + "0" * 64}
    (line,) = told(get, {"source": {"repository": "x"}, "version": version, "params": {field: True}})
    assert words in line


@pytest.mark.parametrize("kind", ["check", "get", "put"])
def test_no_name_from_elsewhere_is_a_name_of_ours(kind: str) -> None:
    properties = load_schema(kind)["properties"]
    assert isinstance(properties, dict)
    tables = {"get": elsewhere.GET, "put": elsewhere.PUT}
    for where, table in (("source", elsewhere.SOURCE), ("params", tables.get(kind, {}))):
        known = properties.get(where, {})
        assert isinstance(known, dict)
        fields = known.get("properties", {})
        assert isinstance(fields, dict)
        assert not table.keys() & fields.keys()


@pytest.mark.parametrize("step", ["get", "put"])
def test_what_is_advised_for_params_is_a_field_of_that_step_or_of_the_source(step: str) -> None:
    fields = {"source", "params", *_fields("source", ""), *_fields(step, "params")}
    for text in {"get": elsewhere.GET, "put": elsewhere.PUT}[step].values():
        told_of_a_get = step == "put" and text.startswith("a get writes")
        others = _fields("get", "params") if told_of_a_get else set()
        named = {name.partition(":")[0] for name in re.findall("`([^`]+)`", text)}
        assert named - {"load_var", "docker load"} <= fields | others, text


def _fields(schema: str, part: str) -> set[str]:
    properties = load_schema(schema)["properties"]
    inner = properties[part] if part and isinstance(properties, dict) else {"properties": properties}
    assert isinstance(inner, dict)
    assert isinstance(inner["properties"], dict)
    return set(inner["properties"])


@pytest.mark.parametrize(
    ("where", "field", "words"),
    [
        ("source", "format", "it belongs to params of get"),
        ("source", "skip_download", "it belongs to params of get"),
        ("source", "additional_tags", "it belongs to params of put"),
        ("source", "tags", "set `tag` to one, or `tag_regex` for several; the tags to push belong to params of put"),
        ("source", "platforms", "set `platform` to one; the platforms to push belong to params of put"),
        ("source", "check_every", "it belongs to the resource, beside `source`"),
        ("source", "architecture", "it belongs to `platform`"),
        ("source", "identity_token", "it belongs to `auths`"),
        ("source", "service_account_json", "it belongs to `gcp`"),
        ("source", "cosign", "it belongs to `verify`"),
        ("source", "source", "write its fields directly in `source`"),
        ("params", "username", "it belongs to source"),
        ("params", "ca_certs", "it belongs to source"),
        ("params", "format", "it belongs to params of get"),
        ("params", "skip_download", "it belongs to params of get"),
        ("params", "save", "a get writes image.tar"),
        ("params", "get_params", "it belongs to the step, beside `params`"),
        ("params", "params", "write its fields directly in `params`"),
        ("params", "cosign", "it belongs to `sign` or `verify`"),
    ],
)
def test_a_field_of_another_part_of_the_pipeline_is_sent_there(where: str, field: str, words: str) -> None:
    document: dict[str, dict[str, object]] = {"source": {"repository": "x"}, "params": {"image": "x"}}
    document[where][field] = "x"
    (line,) = told(put, document)
    assert line.startswith(f"{where}: unknown field {field!r}: {words}")
    assert "did you mean" not in line


@pytest.mark.parametrize(
    ("field", "value", "end"),
    [
        ("insecure", "true", "expected true or false: got a string: write it without quotes"),
        ("insecure", "False", "expected true or false: got a string: write it without quotes"),
        ("insecure", "y", "expected true or false: got a string"),
        ("insecure", 1, "expected true or false: got a whole number"),
        ("semver_constraint", 1.2, "expected a string: got a number: put it in quotes"),
        ("semver_constraint", True, "expected a string: got true or false: put it in quotes"),
        ("tag", True, "expected a string or a number: got true or false: put it in quotes"),
        ("platform", 1, "expected a string or an object: got a whole number"),
        ("ca_certs", "x", "expected an array: got a string: write it as a list, also if it is only one"),
        ("ca_certs", {"a": "b"}, 'expected an array: got an object: it is written like ["((registry.ca))"]'),
        ("max_concurrent_downloads", "4", "expected a whole number: got a string: write it without quotes"),
        ("max_concurrent_downloads", "many", "expected a whole number: got a string"),
        (
            "registry_mirrors",
            "m",
            'expected an object: got a string: it is written like {"ghcr.io": {"host": "mirror.example.com/ghcr"}}',
        ),
    ],
)
def test_a_value_of_another_type_says_how_yaml_writes_it(field: str, value: object, end: str) -> None:
    (line,) = told(parse_check, {"source": {"repository": "x", field: value}})
    assert line == f"source.{field}: {end} | "


@pytest.mark.parametrize("source", [{"repository": "x", "tag": "1"}, {"repository": "x:1"}])
def test_a_regular_expression_beside_a_tag_is_said_to_be_of_no_use(source: dict[str, object]) -> None:
    def warned(**more: object) -> bool:
        request = parse_check(json.dumps({"source": {**source, **more}}).encode())
        return any("`tag_regex` is not used" in warning for warning in request.source.warnings)

    assert warned(tag_regex=".*")
    assert not warned()


def test_a_constraint_that_is_not_used_is_told() -> None:
    def warned(**source: object) -> tuple[str, ...]:
        request = parse_check(json.dumps({"source": {"repository": "x", **source}}).encode())
        return request.source.warnings

    unused = "`semver_constraint` is not used"
    assert warned(tag="1", semver_constraint=">1") == (f"source: one tag is set: {unused}",)
    assert warned(tag_regex="1", semver_constraint=">1") == (f"source: `tag_regex` is set: {unused}",)
    assert warned(semver_constraint=">1") == warned(tag_regex="1") == warned(tag="1") == ()


@pytest.mark.parametrize("host", ["registry.example:65536", "[::1]:99999", "localhost:port"])
def test_a_port_that_no_host_has_is_refused(host: str) -> None:
    (line,) = told(parse_check, {"source": {"repository": f"{host}/x"}})
    assert f"'{host}' is not a host name, or host:port" in line
    (line,) = told(parse_check, {"source": {"repository": "x", "registry_mirror": host}})
    assert line.startswith("source.registry_mirror: expected host, host:port")
    for right in ("registry.example:65535", "[::1]:5000", "[2001:db8::ffff]"):
        parse_check(json.dumps({"source": {"repository": f"{right}/x", "registry_mirror": right}}).encode())


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("tag", "it belongs to source"),
        ("image", "it belongs to params of put"),
        ("platforms", "set `platform` to one"),
        ("build", "known are format"),
        ("load", "known are format"),
        ("version", "it belongs to the step, beside `params`"),
    ],
)
def test_a_get_is_sent_to_no_field_of_a_put(field: str, words: str) -> None:
    document = {"source": {"repository": "x"}, "version": {"digest": "sha256:" + "0" * 64}, "params": {field: "x"}}
    (line,) = told(get, document)
    assert line.startswith(f"params: unknown field {field!r}: {words}")


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ({"verify": {"keys": []}}, "source.verify: unknown field 'keys': it belongs to `cosign` | "),
        ({"verify": {"cosign": {"key": ""}}}, "source.verify.cosign: unknown field 'key': did you mean keys? | "),
        ({"REPOSITORY": "y"}, "source: unknown field 'REPOSITORY': did you mean repository? | "),
        ({"caCerts": []}, "source: unknown field 'caCerts': did you mean ca_certs? | "),
    ],
)
def test_the_nearest_name_is_told_however_it_is_written(source: dict[str, object], line: str) -> None:
    assert told(parse_check, {"source": {"repository": "x", **source}})[0] == line


def test_a_name_that_only_looks_a_little_alike_is_not_offered() -> None:
    (line,) = told(parse_check, {"source": {"repository": "x", "imagee": "x"}})
    assert "did you mean" not in line
    (line,) = told(parse_check, {"source": {"repository": "x", "platfrom": "x"}})
    assert "did you mean platform?" in line
