"""Requests on stdin: what is refused and how, and what the typed request holds."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from pathlib import Path

import pytest

from registry_image.auth.credentials import Credentials
from registry_image.concourse.request import credentials as credentials_module
from registry_image.concourse.request import get as get_module
from registry_image.concourse.request import put as put_module
from registry_image.concourse.request import source as source_module
from registry_image.concourse.request.check import CheckRequest, parse_check
from registry_image.concourse.request.credentials import find_credentials
from registry_image.concourse.request.get import GetRequest, parse_get
from registry_image.concourse.request.put import PutRequest, parse_put
from registry_image.concourse.request.source import Source
from registry_image.concourse.request.validation import load_schema
from registry_image.decode import JSON
from registry_image.errors import AuthError, RequestError
from registry_image.oci.platform import Platform
from registry_image.oci.reference import RepositoryName

DIGEST = "sha256:" + "ab" * 32
OTHER = "sha256:" + "cd" * 32
SECRET = "hunter2-do-not-show"


def raw(**document: object) -> bytes:
    return json.dumps(document).encode()


def check(**source: object) -> CheckRequest:
    return parse_check(raw(source={"repository": "alpine", **source}))


def source(**fields: object) -> Source:
    return check(**fields).source


def get(params: object = None, version: object = None, **fields: object) -> GetRequest:
    document = {
        "source": {"repository": "alpine", **fields},
        "version": version or {"digest": DIGEST},
        "params": params,
    }
    return parse_get(raw(**document), "/destination")


def put(**params: object) -> PutRequest:
    return parse_put(raw(source={"repository": "alpine"}, params=params), "/artifacts")


def refused(**fields: object) -> str:
    with pytest.raises(RequestError) as caught:
        check(**fields)
    return caught.value.message


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "got nothing"),
        (b" \n", "got nothing"),
        (b"{", "not valid JSON"),
        (b'{"source": {}} {}', "not valid JSON"),
        (b"[]", "request: expected an object: got an array"),
        (b'"x"', "request: expected an object: got a string"),
        (b"null", "request: expected an object: got null"),
        (b"\xff\xfe", "not UTF-8"),
        (b'{"source": {"repository": "\xe9"}}', "not UTF-8"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"source": {"repository": "x", "tag": NaN}}', "NaN is not JSON"),
        (b'{"source": {"repository": "x", "tag": ' + b"1" * 5000 + b"}}", "not valid JSON"),
        (rb'{"source": {"repository": "x", "password": "\ud800"}}', "half of a surrogate pair"),
        (rb'{"source": {"repository": "x", "username": "a\u0000b"}}', "a null character"),
        (b"{}", "request: source is required"),
        (b'{"source": null}', "request: source is required"),
        (b'{"source": []}', "source: expected an object: got an array"),
        (b'{"source": {"repository": "x"}, "vresion": {}}', "unknown field 'vresion': did you mean version?"),
    ],
)
def test_an_invalid_request_is_refused_in_one_sentence(data: bytes, words: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_check(data)
    assert words in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(("data", "hinted"), [(b"", True), (b"\n", True), (b"{", False)])
def test_of_an_empty_stdin_alone_the_hint_is_docker_s_option(data: bytes, hinted: bool) -> None:
    with pytest.raises(RequestError) as caught:
        parse_check(data)
    assert ("with `docker run`, add -i" in str(caught.value.hint)) is hinted


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"repository": None}, "source: repository is required"),
        ({"repository": ""}, "source: repository is required"),
        ({"repository": 5}, "source.repository: expected a string: got a whole number"),
        ({"repository": "Upper/Case"}, "not a repository name"),
        ({"repository": "a b"}, "not a repository name"),
        ({"repository": "a:b:c"}, "'b:c' is not a tag"),
        ({"repository": "x@sha256:12"}, "not a digest"),
        ({"tag": True}, "source.tag: expected a string or a number: got true or false"),
        ({"tag": "a/b"}, "'a/b' is not a tag"),
        ({"tag": "x" * 129}, "is not a tag"),
        ({"insecure": "true"}, "source.insecure: expected true or false: got a string"),
        ({"ca_certs": "pem"}, "source.ca_certs: expected an array: got a string"),
        ({"ca_certs": [1]}, "source.ca_certs[0]: expected a string: got a whole number"),
        ({"sort": "size"}, "source.sort: expected one of registry, semver, numeric, created, lexical: got 'size'"),
        ({"sort": 1}, "source.sort: expected one of registry, semver, numeric, created, lexical: got a whole number"),
        ({"max_concurrent_downloads": 0}, "source.max_concurrent_downloads: expected at least 1: got 0"),
        ({"max_concurrent_downloads": 1.5}, "source.max_concurrent_downloads: expected a whole number: got a number"),
        ({"sempver_constraint": "1"}, "unknown field 'sempver_constraint': did you mean semver_constraint?"),
        ({"zzz": None}, "unknown field 'zzz': known are annotation_regex, auths,"),
        ({"platform": {"arch": "amd64"}}, "source.platform: unknown field 'arch': did you mean architecture?"),
        ({"platform": "amd64"}, "expected os/architecture"),
        ({"registry_mirror": {"username": "u"}}, "source.registry_mirror: host is required"),
        ({"registry_mirror": {"host": "ftp://m"}}, "expected host, host:port or an http(s) URL"),
        ({"registry_mirror": {"host": "m/a?b"}}, "expected host, host:port or an http(s) URL"),
        ({"registry_mirror": {"host": "m/a b"}}, "expected host, host:port or an http(s) URL"),
        ({"digest": "latest"}, "source.digest: not a digest"),
        ({"repository": "http://registry.example.com/x"}, "expected [host[:port]/]name, without http://"),
        ({"repository": "https://registry.example.com/x"}, "expected [host[:port]/]name, without https://"),
        ({"repository": "x:1", "tag": "2"}, "source.tag: '2' contradicts source.repository, whose tag is '1'"),
        (
            {"repository": f"x@{DIGEST}", "digest": OTHER},
            f"source.digest: '{OTHER}' contradicts source.repository, whose digest is '{DIGEST}'",
        ),
        ({"sort": "lexical", "created_at_sort": True}, "`created_at_sort` and `sort: lexical`"),
        ({"aws_role_arn": "a", "aws_role_arns": ["b"]}, "aws_role_arn"),
        (
            {"auths": {"ghcr.io": {"username": "u"}}},
            "source.auths.ghcr.io: expected `username` and `password`, or `auth` of both, or `identity_token`",
        ),
        ({"client_certs": [{"domain": "h", "cert": "c"}]}, "source.client_certs[0]: key is required"),
        (
            {"client_certs": [{"domain": domain, "cert": "c", "key": SECRET} for domain in ("h:5000", "h/path")]},
            "source.client_certs[1].domain: expected host or host:port",
        ),
        ({"client_certs": [{"domain": "*", "cert": "c", "key": SECRET}]}, "source.client_certs[0].domain: expected"),
        ({"repository": "h.example:70000/x"}, "'h.example:70000' is not a host name"),
        ({"repository": "h.example:0/x"}, "'h.example:0' is not a host name"),
        ({"registry_mirror": "h.example:70000"}, "source.registry_mirror: expected host, host:port"),
    ],
)
def test_a_wrong_source_is_refused_with_the_field_s_name(fields: dict[str, object], words: str) -> None:
    assert words in refused(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"password": {"x": SECRET}},
        {"password": [SECRET]},
        {"username": "u", "password": 12345678901},
        {"auths": {"h": {"username": SECRET, "pasword": SECRET}}},
        {"auths": {"h": {"password": SECRET}}},
        {"auths": {"h": SECRET}},
        {"docker_config_json": SECRET},
        {"docker_config_json": [SECRET]},
        {"docker_config_json": {"auths": {"h": {"auth": SECRET}}}},
        {"docker_config_json": {"auths": {"h": {"auth": b64encode(SECRET.encode()).decode()}}}},
        {"docker_config_json": {"auths": {"h": {"identitytoken": [SECRET]}}}},
        {"registry_mirror": {"host": f"https://user:{SECRET}@mirror"}},
        {"client_certs": [{"domain": "h", "cert": "c", "key": [SECRET]}]},
        {"aws_secret_access_key": {"x": SECRET}},
        {"gcp": {"service_account_json": [SECRET]}},
    ],
)
def test_no_refusal_repeats_a_secret(fields: dict[str, object]) -> None:
    message = refused(**fields)
    assert SECRET not in message
    assert b64encode(SECRET.encode()).decode() not in message
    assert "12345678901" not in message


def test_the_repr_of_a_source_shows_no_secret() -> None:
    typed = source(
        username="u",
        password=SECRET,
        aws_access_key_id="id",
        aws_secret_access_key=SECRET,
        aws_session_token=SECRET,
        azure_client_secret=SECRET,
        auths={"h": {"identity_token": SECRET}},
        client_certs=[{"domain": "h", "cert": "c", "key": SECRET}],
        registry_mirror={"host": "m", "username": "u", "password": SECRET},
    )
    assert typed.credentials == Credentials(username="u", password=SECRET)
    assert SECRET not in repr(typed)


@pytest.mark.parametrize("written", ["1.10", "1.0", "10", "1e3", "20240101000000000000000000000001", "-1"])
def test_a_tag_that_is_a_number_keeps_its_digits(written: str) -> None:
    if written == "-1":
        with pytest.raises(RequestError, match="'-1' is not a tag"):
            parse_check(b'{"source": {"repository": "alpine", "tag": -1}}')
        return
    assert parse_check(b'{"source": {"repository": "alpine", "tag": %s}}' % written.encode()).source.tag == written


#: JSON numbers, and why their digits may not be the pipeline's.
INEXACT = [
    ("3.1", "YAML reads 3.10 as 3.1"),
    ("1.10", "YAML reads 3.10 as 3.1"),
    ("-3.5", "YAML reads 3.10 as 3.1"),
    ("1e3", "YAML reads 3.10 as 3.1"),
    ("2.0240101e+22", "YAML reads 3.10 as 3.1"),
    ("9007199254740992", "of a number, only the first 15 digits are kept"),  # may have been …993
    ("9007199254740993", "of a number, only the first 15 digits are kept"),
    ("202401010000000000000", "of a number, only the first 15 digits are kept"),
]


@pytest.mark.parametrize(("number", "reason"), INEXACT)
@pytest.mark.parametrize(
    ("params", "field"),
    [('"version": %s', "version"), ('"tags": ["a", %s]', "tags[1]"), ('"tags": ["a"], "tag_prefix": %s', "tag_prefix")],
)
def test_a_put_refuses_a_number_whose_digits_may_have_changed(
    params: str, field: str, number: str, reason: str
) -> None:
    request = f'{{"source": {{"repository": "alpine"}}, "params": {{{params % number}}}}}'
    with pytest.raises(RequestError, match=re.escape(f"params.{field}: {number} is a number")) as caught:
        parse_put(request.encode(), "/artifacts")
    assert caught.value.hint == f"put it in quotes: {reason}"


@pytest.mark.parametrize("number", ["0", "3", "20240131", "20240131235959", "9007199254740991"])
def test_a_put_takes_a_whole_number(number: str) -> None:
    params = f'"version": {number}, "tags": [{number}], "tag_prefix": {number}'
    wanted = parse_put(f'{{"source": {{"repository": "alpine"}}, "params": {{{params}}}}}'.encode(), "/artifacts")
    assert (wanted.version, wanted.tags, wanted.tag_prefix) == (number, (number,), number)


@pytest.mark.parametrize(("number", "reason"), [each for each in INEXACT if each[0][0] != "-" and "+" not in each[0]])
def test_a_number_in_source_is_the_tag_with_a_warning_in_every_step(number: str, reason: str) -> None:
    fields = f'"source": {{"repository": "alpine", "tag": {number}}}'
    version = f'"version": {{"tag": "x", "digest": "{DIGEST}"}}'
    for found in (
        parse_check(f"{{{fields}}}".encode()).source,
        parse_get(f"{{{fields}, {version}}}".encode(), "/destination").source,
        parse_put(f"{{{fields}}}".encode(), "/artifacts").source,
    ):
        assert found.tag == number
        assert found.warnings == (f"source.tag: {number} is a number in the pipeline: put it in quotes: {reason}",)


@pytest.mark.parametrize("tag", ["3", '"3.10"', '"1e3"', '"9007199254740993"'])
def test_a_tag_that_is_certain_has_no_warning(tag: str) -> None:
    found = parse_check(f'{{"source": {{"repository": "alpine", "tag": {tag}}}}}'.encode()).source
    assert (found.tag, found.warnings) == (tag.strip('"'), ())


def test_escapes_of_ordinary_characters_are_decoded() -> None:
    assert parse_check(
        rb'{"source": {"repository": "x", "username": "\u00e9\ud83d\ude00", "password": "p"}}'
    ).source == (source(repository="x", username="é😀", password="p"))


def test_a_whole_number_may_be_written_with_a_zero_fraction() -> None:
    document = b'{"source": {"repository": "x", "max_concurrent_downloads": 8.0}}'
    assert parse_check(document).source.max_concurrent_downloads == 8


def test_null_and_empty_fields_are_absent() -> None:
    blank = source(
        tag="",
        digest=None,
        username="",
        password=None,
        insecure=None,
        sort="",
        platform={"os": "", "architecture": None},
        registry_mirror=None,
        max_concurrent_downloads=None,
    )
    assert blank == source(platform=None)
    assert parse_check(raw(source={"repository": "alpine"}, version=None)).version is None
    assert get(params=None) == get(params={})


def test_the_defaults_are_those_of_registry_image() -> None:
    found = source()
    assert (found.tag, found.digest, found.sort, found.latest, found.on_missing) == (
        None,
        None,
        "registry",
        True,
        "",
    )
    assert (found.progress, found.max_concurrent_downloads, found.insecure) == ("bars", 4, False)
    assert found.platform == Platform.of_this_machine()
    assert str(found.repository) == "index.docker.io/library/alpine"
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("repository", "name", "tag", "digest"),
    [
        ("ghcr.io/org/img:1.2", "ghcr.io/org/img", "1.2", None),
        (f"ghcr.io/org/img@{DIGEST}", "ghcr.io/org/img", None, DIGEST),
        (f"localhost:5000/img:x@{DIGEST}", "localhost:5000/img", "x", DIGEST),
        ("localhost:5000/img", "localhost:5000/img", None, None),
    ],
)
def test_a_repository_may_carry_tag_and_digest(repository: str, name: str, tag: str | None, digest: str | None) -> None:
    found = source(repository=repository)
    assert (found.name, found.tag, found.digest and str(found.digest)) == (name, tag, digest)
    # Saying the same twice is no conflict.
    assert source(repository=repository, tag=tag, digest=digest).tag == tag


@pytest.mark.parametrize("domain", ["h.example:5000", "https://h.example:5000", "https://h.example:5000/"])
def test_the_domain_of_a_client_certificate_may_be_a_url(domain: str) -> None:
    (found,) = source(client_certs=[{"domain": domain, "cert": "c", "key": SECRET}]).client_certs
    assert found.host == "h.example:5000"


@pytest.mark.parametrize("half", [{"username": "u"}, {"password": SECRET}])
def test_a_user_without_password_is_anonymous_with_a_warning(half: dict[str, str]) -> None:
    found = source(**half)
    assert found.credentials is None
    assert "continuing anonymously" in found.warnings[0]
    assert SECRET not in found.warnings[0]
    mirrored = source(registry_mirror={"host": "m", **half})
    assert mirrored.registry_mirrors["index.docker.io"].credentials is None
    assert "registry_mirror" in mirrored.warnings[0]


@pytest.mark.parametrize(
    ("platform", "expected"),
    [
        ("linux/arm64/v8", Platform("linux", "arm64")),
        ("linux/arm/v6", Platform("linux", "arm", "v6")),
        ({"architecture": "aarch64"}, Platform(Platform.of_this_machine().os, "arm64")),
        ({"architecture": "arm64/v8", "os": "linux"}, Platform("linux", "arm64")),
        ({"architecture": "arm", "variant": "v6", "os": "linux"}, Platform("linux", "arm", "v6")),
        ({"os": "windows"}, Platform("windows", Platform.of_this_machine().architecture)),
    ],
)
def test_this_machine_supplies_the_missing_fields_of_a_platform(platform: object, expected: Platform) -> None:
    assert source(platform=platform).platform == expected


def test_the_platform_of_params_replaces_the_sources_as_a_whole() -> None:
    wanted = get({"platform": {"architecture": "s390x"}}, platform={"os": "windows", "architecture": "amd64"})
    assert wanted.platform == Platform(Platform.of_this_machine().os, "s390x")
    assert get(platform="linux/arm64").platform == Platform("linux", "arm64")


@pytest.mark.parametrize(
    ("host", "found", "prefix", "insecure"),
    [
        ("mirror", "mirror", "", False),
        ("mirror:5000", "mirror:5000", "", False),
        ("https://mirror.example.com/", "mirror.example.com", "", False),
        ("http://10.0.0.1:5000/hub/cache/", "10.0.0.1:5000", "hub/cache", True),
        ("mirror.example.com/hub", "mirror.example.com", "hub", False),
    ],
)
def test_a_mirror_is_a_host_or_a_url(host: str, found: str, prefix: str, insecure: bool) -> None:
    parsed = source(registry_mirror={"host": host})
    mirror = parsed.registry_mirrors["index.docker.io"]
    assert (mirror.host, mirror.prefix, mirror.insecure) == (found, prefix, insecure)
    path = f"{prefix}/library/alpine" if prefix else "library/alpine"
    assert mirror.name_of(parsed.repository).path == path


def test_mirrors_are_keyed_by_registry_host() -> None:
    found = source(registry_mirrors={"docker.io": {"host": "a"}, "https://ghcr.io": {"host": "b"}}).registry_mirrors
    assert {host: mirror.host for host, mirror in found.items()} == {"index.docker.io": "a", "ghcr.io": "b"}


@pytest.mark.parametrize("key", ["ghcr.io/team", "https://ghcr.io/v2/team", "user:pa55@ghcr.io", "", "a b"])
def test_a_key_of_mirrors_that_is_no_host_is_refused(key: str) -> None:
    with pytest.raises(RequestError, match=r"is not the host of a registry|expected the names of hosts") as caught:
        source(registry_mirrors={key: {"host": "b"}})
    assert "pa55" not in caught.value.message


def test_of_two_mirrors_for_one_registry_the_last_is_used_with_a_warning() -> None:
    found = source(registry_mirror="a", registry_mirrors={"docker.io": "b"})
    assert found.registry_mirrors["index.docker.io"].host == "b"
    assert found.warnings == ("source.registry_mirrors: two mirrors are set for index.docker.io: the last one is used",)


@pytest.mark.parametrize("entry", [{"registrytoken": "t0ken"}, {"username": "u"}, {"password": "pa55"}])
def test_an_entry_of_a_pasted_docker_config_that_cannot_be_used_is_a_warning(entry: dict[str, str]) -> None:
    found = source(docker_config_json={"auths": {"ghcr.io": entry, "h.io": {"username": "u", "password": "p"}}})
    assert set(found.auths) == {"h.io"}
    assert found.warnings == (
        "source.docker_config_json.auths.ghcr.io: expected `username` and `password`, or `auth` of both, or "
        "`identitytoken`: not used",
    )


@pytest.mark.parametrize(
    "auth",
    ["dXNlcjpwYTpzcw", "dXNlcjpwYTpzcw=", "dXNlcjpwYTpzcw==\n", "dXNl\r\ncjpwYTpzcw==\r\n", "dXNl\ncjpw\nYTpzcw"],
)
def test_base64_is_read_as_others_write_it(auth: str) -> None:
    expected = {"ghcr.io": Credentials(username="user", password="pa:ss")}
    entry = {"ghcr.io": {"auth": auth}}
    assert source(auths=entry).auths == expected
    assert source(docker_config_json={"auths": entry}).auths == expected
    assert source(docker_config_json=json.dumps({"auths": entry})).auths == expected


def test_base64_of_the_alphabet_for_addresses_is_read() -> None:
    packed = b64encode("user:\u07ff\u07ff\u07ff~~~???".encode()).decode()
    assert set("+/") & set(packed)
    found = source(auths={"h.io": {"auth": packed.replace("+", "-").replace("/", "_")}}).auths
    assert found["h.io"].password == "\u07ff\u07ff\u07ff~~~???"


@pytest.mark.parametrize("keys", [("host.io/team", "host.io/other"), ("host.io/other", "host.io/team")])
def test_the_longest_key_that_a_repository_is_in_wins(keys: tuple[str, ...]) -> None:
    for host in (None, "host.io"):
        written = [*keys, host] if host else [*keys]
        auths = source(auths={key: {"username": key, "password": "p"} for key in written}).auths
        expected = {
            "host.io/team/image": "host.io/team",
            "HOST.io/team": "host.io/team",
            "host.io/other/a/b": "host.io/other",
            "host.io/teams/image": host,
            "host.io/else": host,
            "else.io/team/image": None,
        }
        for name, user in expected.items():
            found = find_credentials(auths, RepositoryName.parse(name))
            assert (found.username if found else None) == user


@pytest.mark.parametrize(
    "key", ["host.io", "HOST.io", "https://host.io/v1/", "https://host.io/v2/", "host.io/v2", "http://host.io"]
)
def test_a_key_that_ends_in_the_version_of_an_api_is_a_host(key: str) -> None:
    entry = {key: {"username": "u", "password": "p"}}
    for found in (source(auths=entry), source(docker_config_json={"auths": entry})):
        assert find_credentials(found.auths, RepositoryName.parse("Host.IO/team/image")) is not None


def test_docker_hub_is_found_by_each_of_its_names() -> None:
    for key in ("docker.io", "https://index.docker.io/v1/", "Registry-1.docker.io", "docker.io/library"):
        found = source(auths={key: {"username": "u", "password": "p"}})
        assert find_credentials(found.auths, RepositoryName.parse("alpine")) is not None


def test_a_mirror_may_be_given_as_its_host_alone() -> None:
    for text, prefix in (("mirror.example.com", ""), ("https://mirror.example.com/hub", "hub")):
        assert source(registry_mirror=text).registry_mirrors["index.docker.io"].host == "mirror.example.com"
        found = source(registry_mirrors={"ghcr.io": text}).registry_mirrors["ghcr.io"]
        assert (found.host, found.prefix) == ("mirror.example.com", prefix)


def test_an_unknown_azure_environment_is_a_warning() -> None:
    found = source(azure_acr=True, azure_environment="Mars")
    assert found.clouds is not None
    assert found.clouds.azure.environment == ""
    assert found.warnings == (
        "source.azure_environment: 'Mars' is none of AzurePublic, AzureGovernment, AzureChina: "
        "the registry's host says which cloud it is",
    )
    assert source(azure_acr=True, azure_environment="AzureChina").warnings == ()


@pytest.mark.parametrize(
    ("field", "needed", "value"),
    [
        ("aws_session_token", "aws_access_key_id", "x"),
        ("aws_external_id", "aws_role_arn", "x"),
        ("azure_client_id", "azure_acr", True),
        ("azure_client_secret", "azure_acr", True),
        ("azure_tenant_id", "azure_acr", True),
    ],
)
def test_a_field_that_means_nothing_without_another_is_a_warning(field: str, needed: str, value: object) -> None:
    assert source(**{field: "x"}).warnings == (f"source.{field}: not used without `{needed}`",)
    assert source(**{field: "x", needed: value}).warnings == ()
    if value is True:
        assert source(**{field: "x", needed: False}).warnings == source(**{field: "x"}).warnings
    assert source(aws_role_arns=["x"], aws_external_id="x").warnings == ()


def test_auths_override_a_pasted_docker_config() -> None:
    config = {
        "auths": {
            "https://index.docker.io/v1/": {"auth": b64encode(b"hub:pa:ss").decode()},
            "ghcr.io": {"username": "gh", "password": "p"},
            "acr.example.com": {"auth": b64encode(b"00000000:x").decode(), "identitytoken": "t"},
            "empty.example.com": {},
        },
        "credHelpers": {"gcr.io": "gcloud"},
    }
    for pasted in (config, json.dumps(config)):
        found = source(docker_config_json=pasted, auths={"ghcr.io": {"username": "mine", "password": "q"}})
        assert found.auths == {
            "index.docker.io": Credentials(username="hub", password="pa:ss"),
            "ghcr.io": Credentials(username="mine", password="q"),
            "acr.example.com": Credentials(username="00000000", identity_token="t"),
        }
        assert found.warnings == ("source.docker_config_json: credential helpers are not run",)


@pytest.mark.parametrize(
    "entry", [{"auth": b64encode(b"<token>:t").decode()}, {"username": "<token>", "password": "t"}]
)
def test_the_secret_of_a_user_called_token_is_an_identity_token(entry: dict[str, str]) -> None:
    expected = {"ghcr.io": Credentials(username="<token>", identity_token="t")}
    assert source(docker_config_json={"auths": {"ghcr.io": entry}}).auths == expected
    assert source(auths={"ghcr.io": entry}).auths == expected


@pytest.mark.parametrize("config", [{}, {"ghcr.io": {"username": "u", "password": "p"}}])
def test_a_pasted_docker_config_without_auths_is_a_warning(config: dict[str, object]) -> None:
    found = source(docker_config_json=config)
    assert found.auths == {}
    assert found.warnings == ("source.docker_config_json: it has no `auths`: not used",)


def test_a_pasted_password_that_no_header_can_carry_is_refused() -> None:
    """An escape inside the pasted text is none of the request's own."""
    config = {"auths": {"ghcr.io": {"username": "u", "password": f"{SECRET}\ud800"}}}
    with pytest.raises(AuthError, match="UTF-8 cannot encode") as refusal:
        source(docker_config_json=json.dumps(config))
    assert SECRET not in refusal.value.message


def test_an_invalid_digest_in_the_cursor_counts_as_missing() -> None:
    version = parse_check(raw(source={"repository": "alpine"}, version={"tag": "x", "digest": "nonsense"})).version
    assert version is not None
    assert (version.tag, version.digest) == ("x", None)
    assert parse_check(raw(source={"repository": "alpine"}, version={})).version is None


@pytest.mark.parametrize("version", [{}, {"tag": "x"}, {"digest": ""}, {"digest": "nonsense"}, {"digest": 5}])
def test_a_get_needs_a_digest(version: dict[str, object]) -> None:
    with pytest.raises(RequestError, match="digest"):
        parse_get(raw(source={"repository": "alpine"}, version=version), "/destination")


def test_a_get_takes_one_or_several_formats() -> None:
    assert get().formats == ("rootfs",)
    assert get({"format": "oci"}).formats == ("oci",)
    assert get({"formats": ["oci-layout", "rootfs", "rootfs"]}).formats == ("rootfs", "oci-layout")
    with pytest.raises(RequestError, match="both set"):
        get({"formats": ["oci"], "format": "rootfs"})
    with pytest.raises(RequestError, match="expected one of rootfs, oci, oci-layout: got 'tar'"):
        get({"format": "tar"})
    with pytest.raises(RequestError, match="at least 1"):
        get({"formats": []})


def test_a_version_without_a_tag_is_legal() -> None:
    assert get(version={"digest": DIGEST}).version.as_json() == {"digest": DIGEST}
    assert get(version={"tag": "a", "digest": DIGEST}).version.as_json() == {"tag": "a", "digest": DIGEST}


def test_a_put_holds_all_of_its_params() -> None:
    wanted = parse_put(
        b'{"source": {"repository": "alpine"}, "params": {"image": "image/*.tar", "version": 2, '
        b'"tags": ["1.20", 3, "x"],'
        b'"annotations": {"empty": ""}, "tag_prefix": "", "from": "ghcr.io/a/b:1", "platforms": ["linux/arm64/v8"],'
        b'"images": [{"path": "a", "platform": null}], "mount_from": ["ghcr.io/base/image"], "if_exists": "fail"}}',
        "/artifacts",
    )
    assert (wanted.image, wanted.version, wanted.tags) == ("image/*.tar", "2", ("1.20", "3", "x"))
    assert wanted.annotations == {"empty": ""}
    assert wanted.from_reference is not None
    assert wanted.from_reference.tag == "1"
    assert wanted.platforms == (Platform("linux", "arm64"),)
    assert [(part.path, part.platform) for part in wanted.images] == [("a", None)]
    assert [str(name) for name in wanted.mount_from] == ["ghcr.io/base/image"]
    assert (wanted.if_exists, put().if_exists) == ("fail", "overwrite")


def test_check_and_get_ignore_content_trust_and_put_refuses_it() -> None:
    trust = {"server": "https://notary.example.com", "repository_key": SECRET}
    assert source(content_trust=trust).content_trust
    assert get(content_trust=trust).source.content_trust
    with pytest.raises(RequestError, match="retired") as caught:
        parse_put(raw(source={"repository": "alpine", "content_trust": trust}), "/artifacts")
    assert SECRET not in caught.value.message


@pytest.mark.parametrize("kind", ["source", "get", "put"])
def test_no_field_of_a_schema_is_accepted_and_ignored(kind: str) -> None:
    schema = load_schema(kind)
    fields = schema["properties"] if kind == "source" else load_params(schema)
    assert isinstance(fields, dict)
    code = "".join(
        Path(module.__file__ or "").read_text()
        for module in (get_module, put_module, source_module, credentials_module)
    )
    unread = [name for name in fields if f'"{name}"' not in code]
    assert unread == []


def load_params(schema: dict[str, JSON]) -> JSON:
    properties = schema["properties"]
    assert isinstance(properties, dict)
    params = properties["params"]
    assert isinstance(params, dict)
    return params["properties"]


@pytest.mark.parametrize("field", ["docker_config_json", "gcp", "zzz", "repository"])
@pytest.mark.parametrize("opening", ["[", '{"a":'])
@pytest.mark.parametrize("depth", [100, 300, 900, 100_000])
def test_a_deeply_nested_request_is_an_error(field: str, opening: str, depth: int) -> None:
    inner = opening * depth + "1" + ("]" if opening == "[" else "}") * depth
    for name in ("a", r"\u0061"):
        with pytest.raises(RequestError):
            parse_check(f'{{"source": {{"repository": "{name}", "{field}": {inner}}}}}'.encode())


def test_documented_fields_are_read_in_any_case_and_the_keys_of_maps_are_data() -> None:
    written = b"""{"Source": {"Repository": "x", "TAG": "1", "Platform": {"OS": "linux", "Architecture": "arm64"},
        "auths": {"Ghcr.io": {"Username": "a", "PASSWORD": "b"}, "ghcr.io:1": {"username": "c", "password": "d"}}}}"""
    found = parse_check(written).source
    assert (found.name, found.tag, str(found.platform)) == ("x", "1", "linux/arm64")
    assert sorted(found.auths) == ["Ghcr.io", "ghcr.io:1"]


@pytest.mark.parametrize("fields", [{"tag": "1", "Tag": "2"}, {"Tag": "1", "TAG": "2"}, {"tag": "", "Tag": "2"}])
def test_a_field_in_two_spellings_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(RequestError, match=r"Tag|TAG"):
        source(**fields)
