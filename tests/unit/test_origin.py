"""Origins of URLs, trust by the name of a host, and the parts of URLs that may be shown."""

from __future__ import annotations

import pytest

from registry_image.errors import TransportError
from registry_image.net.origin import (
    is_internal,
    is_loopback_name,
    is_private_network,
    origin_of,
    redirect_problem,
    resolve_location,
    show_host,
    show_url,
)

METADATA = "http://169.254.169.254/latest/meta-data/"


def test_an_origin_has_its_default_port() -> None:
    assert origin_of("https://Ghcr.IO/v2/") == origin_of("https://ghcr.io:443/") == ("https", "ghcr.io", 443)
    assert origin_of("http://h/") == ("http", "h", 80)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://h/",
        "file:///etc/passwd",
        "https://",
        "/v2/",
        "https://h:99999/",
        "https://[::1/",
        "https://h/\r\nX: y",
        "https://169。254。169。254/",
        "https://%3169.254.169.254/",
        "https://169%2e254.169.254/",
        "https://%6cocalhost/",
        "https://[%66e80::1]/",
    ],
)
def test_an_invalid_address_is_refused(url: str) -> None:
    with pytest.raises(TransportError):
        origin_of(url)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "::ffff:169.254.169.254",
        "2002:a9fe:a9fe::",
        "localhost",
        "localhost.",
        "a.localhost",
        "a.localhost.",
        "localhost.localdomain",
        "ip6-localhost",
        "169.254.169.254.",
        "10.1.",
        "::10.0.0.1",
        "::ffff:0:10.0.0.1",
        "64:ff9b::169.254.169.254",
        "64:ff9b::a00:1",
        "64:ff9b:1::1",
        "168.63.129.16",
        "168.63.129.16.",
        "::ffff:168.63.129.16",
        "0xa83f8110",
    ],
)
def test_an_internal_address_is_known_in_any_spelling(host: str) -> None:
    assert is_internal(host)


@pytest.mark.parametrize(
    "host",
    [
        "auth.docker.io",
        "8.8.8.8",
        "2606:4700::1111",
        "10.example.com",
        "256.1.1.1",
        "1.2.3.4.5",
        "8.8.8.8.",
        "64:ff9b::8.8.8.8",
        "::8.8.8.8",
    ],
)
def test_an_address_outside_the_network_is_not_internal(host: str) -> None:
    assert not is_internal(host)


def test_only_rfc_1918_is_private_for_plain_http() -> None:
    assert all(map(is_private_network, ["10.0.0.1", "172.31.255.1", "192.168.0.9"]))
    assert not any(map(is_private_network, ["172.32.0.1", "169.254.1.1", "8.8.8.8", "ten.example", "::1", "fd00::1"]))


def test_loopback_names() -> None:
    assert all(map(is_loopback_name, ["127.0.0.1", "::1", "localhost", "registry.localhost"]))
    assert not any(map(is_loopback_name, ["127.0.0.2", "localhost.example.com", "notlocalhost"]))


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/v2/x?a=%2F", "https://h/v2/x?a=%2F"),
        ("https://cdn.example/x?sig=a%20b%2Bc&d=~", "https://cdn.example/x?sig=a%20b%2Bc&d=~"),
        ("//other/x", "https://other/x"),
    ],
)
def test_a_location_is_taken_verbatim_but_for_its_fragment(location: str, expected: str) -> None:
    # What is appended to a fragment, such as the digest of a blob, would not be sent.
    for fragment in ("", "#", "#there?x"):
        assert resolve_location("https://h/v2/y", location + fragment, "ask h") == expected


@pytest.mark.parametrize(
    "location",
    ["http://h:8080/v2/x", "http://h.example/v2/x", METADATA, "file:///etc/passwd", "ftp://h/", "https://[/"],
)
def test_a_location_never_leaves_tls(location: str) -> None:
    with pytest.raises(TransportError) as caught:
        resolve_location("https://h/v2/y", location, "ask h")
    assert not caught.value.retryable


def test_a_location_that_leaves_tls_is_refused_with_its_step_and_the_likely_cause() -> None:
    with pytest.raises(TransportError) as caught:
        resolve_location("https://h/v2/y", "http://other/x?sig=5ecret", "start to upload blob to h/y")
    assert caught.value.message == (
        "start to upload blob to h/y: https://h/v2/y leads from https to http://other/x: refused: "
        "a proxy in front of the registry that ends TLS must send X-Forwarded-Proto"
    )


@pytest.mark.parametrize(
    ("base", "location", "expected"),
    [
        ("https://h/v2/y", "http://h/x?a=%2F#", "https://h/x?a=%2F"),
        ("https://h/v2/y", "http://H:80/x", "https://h/x"),
        ("https://h/v2/y", "http://h:443/x", "https://h/x"),
        ("https://h:5000/v2/y", "http://h:5000/x", "https://h:5000/x"),
        ("https://h:5000/v2/y", "http://h/x", "https://h:5000/x"),
        ("https://h:5000/v2/y", "HTTP://h:80/x", "https://h:5000/x"),
        ("https://[fd00::1]:5000/v2/y", "http://[fd00::1]/x", "https://[fd00::1]:5000/x"),
        ("http://h/v2/y", "http://h:80/x", "http://h:80/x"),
    ],
)
def test_a_location_of_plain_http_on_the_same_host_goes_on_by_https(base: str, location: str, expected: str) -> None:
    assert resolve_location(base, location, "ask h") == expected


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/caf\u00e9?q=\u00fc", "https://h/caf%C3%A9?q=%C3%BC"),
        ("https://cdn.example/a b?c d", "https://cdn.example/a%20b?c%20d"),
        ("caf\u00e9%20%C3%A9", "https://h/v2/caf%C3%A9%20%C3%A9"),
    ],
)
def test_raw_characters_of_a_location_are_encoded_as_the_bytes_they_are(location: str, expected: str) -> None:
    as_read = location.encode().decode("latin-1")  # by http.client
    assert resolve_location("https://h/v2/y", as_read, "ask h") == expected


@pytest.mark.parametrize("location", ["https://caf\u00c3\u00a9/x", "https://a b/x", "/a\x01b", "/a\\b"])
def test_a_host_or_a_control_character_is_not_encoded(location: str) -> None:
    with pytest.raises(TransportError, match="is not an http or https address"):
        resolve_location("https://h/v2/y", location, "ask h")


def test_a_location_of_plain_http_may_go_anywhere() -> None:
    assert resolve_location("http://h/v2/y", "http://cdn/x", "ask") == "http://cdn/x"
    assert resolve_location("http://h/v2/y", "https://cdn/x", "ask") == "https://cdn/x"


@pytest.mark.parametrize(
    ("url", "home", "refused"),
    [
        ("https://auth.docker.io/token", "registry-1.docker.io", False),
        ("http://auth.docker.io/token", "registry-1.docker.io", True),
        (METADATA, "evil.example", True),
        ("https://10.0.0.1/token", "evil.example", True),
        ("https://localhost/token", "evil.example", True),
        ("https://10.0.0.1:8443/token", "10.0.0.1:5000", False),
        ("http://10.0.0.1:8080/token", "10.0.0.1:5000", True),
        ("http://127.0.0.1:8080/token", "127.0.0.1:5000", False),
        ("http://127.0.0.1:8080/token", "evil.example", True),
        ("https://10.0.0.2/token", "10.0.0.1:5000", False),
        ("https://169.254.169.254/token", "127.0.0.1:5000", True),
        ("https://10.0.0.2/token", "[::1]:5000", True),
        ("https://10.0.0.2/token", "localhost:5000", True),
    ],
)
def test_a_registry_cannot_send_us_to_every_address(url: str, home: str, refused: bool) -> None:
    assert bool(redirect_problem(url, home, insecure=False)) == refused
    assert redirect_problem(url, home, insecure=True) == ""


def test_possible_secrets_are_not_shown() -> None:
    url = "https://user:pa55@bucket.s3.amazonaws.com:8443/blob?X-Amz-Signature=5ecret#frag"
    assert show_url(url) == "https://bucket.s3.amazonaws.com:8443/blob"
    assert show_host(url) == "bucket.s3.amazonaws.com:8443"
    assert show_url("https://[::1]:5000/v2/?x") == "https://[::1]:5000/v2/"
    assert "\x1b" not in show_url("https://h/\x1b[31m")
    assert len(show_url("https://h/" + "x" * 60_000)) < 300
    assert "99999" not in show_url("https://h:99999/?5ecret")
