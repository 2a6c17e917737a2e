"""Reading any answer of a registry or token server returns a value or raises one of our errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from time import process_time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from registry_image.auth.bearer import read_token
from registry_image.auth.challenge import choose_challenge, parse_challenges
from registry_image.errors import ResourceError
from registry_image.net.error_response import registry_error
from registry_image.net.http import Headers, Reply
from registry_image.net.origin import (
    is_internal,
    is_private_network,
    origin_of,
    redirect_problem,
    resolve_location,
    show_host,
    show_url,
)
from registry_image.net.retry import parse_retry_after
from registry_image.oci import mediatype
from registry_image.oci.manifest import parse_manifest
from registry_image.registry.referrers import read_referrers
from registry_image.registry.tags import next_page, read_tags

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
KEYS = st.sampled_from(
    [
        "schemaVersion",
        "mediaType",
        "config",
        "layers",
        "manifests",
        "digest",
        "size",
        "platform",
        "subject",
        "annotations",
        "urls",
        "tags",
        "errors",
        "code",
        "message",
        "token",
        "access_token",
        "expires_in",
        "os",
        "variant",
    ]
)
VALUES = SCALARS | st.sampled_from(
    [*mediatype.ACCEPT, mediatype.DOCKER_SCHEMA1, "sha256:" + "a" * 64, "sha512:x", "half of a surrogate pair: \ud800"]
)
DOCUMENTS = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=25
)
BODIES = st.binary(max_size=200) | DOCUMENTS.map(lambda document: json.dumps(document).encode())
#: The characters that HTTP allows in a header, as http.client decodes them.
LINES = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=120)
ADDRESSES = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["http://", "https://", "HTTP://", "//", "/", "", "file://", "http:", "https:///"]),
    st.sampled_from(
        ["ghcr.io", "127.1", "0x7f.1", "[::1]", "[fe80::1%25x]", "2130706433", "[", "a@b", "h:99999", "h:x"]
    )
    | st.text(max_size=12),
    st.sampled_from(["", "/", "/v2/x", "?q", "#f"]),
    st.text(max_size=20),
)


def answer(body: bytes, *lines: tuple[str, str], status: int = 200) -> Reply:
    return Reply(status=status, headers=Headers(lines), body=body, url="https://ghcr.io/v2/a/b/tags/list?n=1000")


def ends_well(act: Callable[[], object]) -> None:
    with suppress(ResourceError):
        act()


@given(st.lists(LINES | st.builds('{} {}="{}", {}'.format, LINES, LINES, LINES, LINES), max_size=3))
def test_challenges(lines: list[str]) -> None:
    chosen = choose_challenge(parse_challenges(lines))
    assert chosen is None or chosen.scheme in ("basic", "bearer")


@given(BODIES)
@example(b'{"token": "t", "expires_in": 1e999}')
@example(b'{"token": "t", "expires_in": ' + b"9" * 5000 + b"}")
def test_token_answers(body: bytes) -> None:
    with suppress(ResourceError):
        token, life = read_token(body, "log in")
        assert token.isascii()
        assert token.isprintable()
        assert 0 < life <= 86_400


@given(st.integers(300, 999), BODIES, LINES, LINES)
def test_refusals(status: int, body: bytes, content_type: str, retry_after: str) -> None:
    error = registry_error(
        "resolve x",
        answer(body, ("content-type", content_type), ("retry-after", retry_after), status=status),
        now=1_800_000_000.0,
    )
    assert error.message.isprintable()
    assert len(error.message) < 1000
    assert error.status == status


@given(LINES)
@example("9" * 5000)
@example("Mon, 01 Jan 2001 00:00:00 +99999999999999999999")
@example("Fri, 31 Dec 9999 23:59:59 -2359")
def test_retry_after(value: str) -> None:
    seconds = parse_retry_after(value, 1_800_000_000.0)
    assert seconds is None or seconds >= 0


@given(LINES | st.builds('<{}>; rel="next"{}'.format, ADDRESSES, LINES))
def test_links(line: str) -> None:
    with suppress(ResourceError):
        url = next_page(answer(b"", ("link", line)))
        assert url is None or origin_of(url)[0] == "https"


@pytest.mark.parametrize("piece", ["<", "<a>", "<a>;", ";rel= ", '" ;', "; ", " ", '<a>; rel="'])
def test_a_hostile_link_header_takes_linear_time(piece: str) -> None:
    line = f"<a>; rel={piece * (65_000 // len(piece))}"
    begun = process_time()
    ends_well(lambda: next_page(answer(b"", ("link", line))))
    assert process_time() - begun < 1.0  # a backtracking pattern would take minutes


@given(BODIES)
def test_lists_of_tags_and_referrers(body: bytes) -> None:
    ends_well(lambda: list(read_tags(iter([answer(body)]), "list")))
    ends_well(lambda: read_referrers([body], "referrers"))


@given(BODIES, st.sampled_from([*mediatype.ACCEPT, "", "text/html", ";"]) | LINES)
def test_manifests(body: bytes, content_type: str) -> None:
    ends_well(lambda: parse_manifest(body, content_type=content_type))


@given(ADDRESSES)
def test_addresses(url: str) -> None:
    assert show_url(url).isprintable()
    show_host(url)
    with suppress(ResourceError):
        _, hostname, port = origin_of(url)
        assert 0 < port < 65_536
        is_private_network(hostname)
        if is_internal(hostname):
            assert redirect_problem(url, "ghcr.io", insecure=False)
    ends_well(lambda: resolve_location("https://ghcr.io/v2/", url))
