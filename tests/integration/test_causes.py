"""What goes wrong on the way to a registry is named by its cause, with what to do about it."""

from __future__ import annotations

import datetime

import pytest
from cryptography import x509

from registry_image.errors import TransportError
from registry_image.net import scheme
from registry_image.net.http import Request
from registry_image.net.retry import ONCE
from registry_image.net.tls import TLS
from tests.support import images
from tests.support.certificates import Authority, KeyPair
from tests.support.clients import STALL, a_client, a_repository
from tests.support.fakeregistry import fake_registry, stall
from tests.support.silent import closed_port

DAYS = datetime.timedelta(days=1)


@pytest.fixture(autouse=True)
def slow_handshakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """On loopback, which may be plain, TLS has 0.3 seconds at first: few on a busy machine for clients that never ask
    again."""
    monkeypatch.setattr(scheme, "PROBE_TIMEOUT", scheme.MAX_PROBE_TIMEOUT)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def refusal(pair: KeyPair, *, trusted: Authority | None = None, insecure: bool = False) -> TransportError:
    with fake_registry(pair) as registry:
        client = a_client(tls=TLS(ca_certs=(trusted.pem,) if trusted else ()), policy=ONCE)
        with pytest.raises(TransportError) as caught:
            a_repository(registry, "a/b", client=client, insecure=insecure).resolve("1")
        assert registry.log == []
    return caught.value


@pytest.mark.parametrize(("age", "problem"), [(10 * DAYS, "has expired"), (-10 * DAYS, "is not valid yet")])
def test_a_certificate_of_another_time_is_shown_with_its_dates(
    authority: Authority, age: datetime.timedelta, problem: str
) -> None:
    pair = authority.issue(age=age)
    error = refusal(pair, trusted=authority)
    certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    assert f"the certificate {problem}: valid from {first:%Y-%m-%d} to {last:%Y-%m-%d}; it is now " in error.message
    assert "clock" in (error.hint or "")
    assert "ca_certs" not in (error.hint or "")


def test_a_certificate_of_another_host_is_shown_with_its_names(authority: Authority) -> None:
    names = tuple(f"{name}.example" for name in "abcdefg")
    error = refusal(authority.issue(names=names), trusted=authority)
    listed = ", ".join(repr(name) for name in names[:5])
    assert error.message.endswith(f"the certificate is for another host: {listed} and 2 more")
    assert "ca_certs" not in (error.hint or "")


@pytest.mark.parametrize("insecure", [True, False])
def test_a_certificate_of_an_unknown_authority_says_that_insecure_does_not_help(
    authority: Authority, insecure: bool
) -> None:
    error = refusal(authority.issue(), insecure=insecure)
    assert "the certificate is not trusted" in error.message
    assert "`ca_certs`" in (error.hint or "")
    assert "`insecure: true` does not help" in (error.hint or "")


@pytest.mark.parametrize("protocol", ["http", "https"])
@pytest.mark.parametrize("user", ["", "user:pa55@"])
def test_a_proxy_that_is_down_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, protocol: str, user: str
) -> None:
    request = Request(method="GET", url=f"{protocol}://registry.example.com/", what="ask")
    with closed_port() as (address, port):
        monkeypatch.setenv(f"{protocol}_proxy", f"http://{user}{address}:{port}")
        with pytest.raises(TransportError) as caught:
            a_client(policy=ONCE).fetch(request, 10)
    failed = f"the proxy {address}:{port} failed: connection refused"
    assert caught.value.message == f"ask: registry.example.com: {failed}"
    assert "https_proxy" in (caught.value.hint or "")


@pytest.mark.parametrize("after", [0, 5])
def test_a_stall_says_how_long_was_waited_and_where_to_look(after: int) -> None:
    with fake_registry() as registry:
        registry.add("a/b", images.image(), "1")
        registry.script("GET", "/manifests/", stall(after), always=True)
        repository = a_repository(registry, "a/b", client=a_client(policy=ONCE, stall=STALL))
        with pytest.raises(TransportError, match=rf"stalled: no byte came in {STALL:.3g} s$") as caught:
            repository.tagged("1")
    assert "firewall" in (caught.value.hint or "")
