"""Trusted certificates, client certificates, plain HTTP and proxies."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from registry_image.auth.credentials import Credentials
from registry_image.errors import RequestError, TransportError
from registry_image.net.adapter import skips_proxy
from registry_image.net.certificate import ClientCertificate
from registry_image.net.client import Client
from registry_image.net.http import Request, StreamingReply
from registry_image.net.scheme import Schemes
from registry_image.net.tls import TLS, trust_bundle
from registry_image.net.transport_error import NoTLS
from registry_image.oci.reference import RepositoryName
from registry_image.registry.repository import Repository
from tests.support import images, parts
from tests.support.certificates import Authority
from tests.support.clients import Time, a_client, a_repository
from tests.support.ear import Ear
from tests.support.fakehttp import Reply, serve
from tests.support.fakeregistry import FakeRegistry, drop, fake_registry
from tests.support.faultproxy import accepting, fault_proxy, talker, tunnelling_proxy
from tests.support.registry import Registry
from tests.support.silent import closed_port

NAME = "some/image"
BUILT = images.image(b"layer")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def secure(authority: Authority) -> Iterator[FakeRegistry]:
    with fake_registry(authority.issue()) as registry:
        registry.add(NAME, BUILT, "1")
        yield registry


@pytest.fixture
def plain() -> Iterator[FakeRegistry]:
    with fake_registry() as registry:
        registry.add(NAME, BUILT, "1")
        yield registry


def resolves(registry: FakeRegistry, client: Client | None = None, *, insecure: bool = False) -> bool:
    return a_repository(registry, NAME, client=client, insecure=insecure).resolve("1") is not None


def test_an_unknown_authority_is_refused_and_ca_certs_named(secure: FakeRegistry) -> None:
    time = Time()
    with pytest.raises(TransportError, match="the certificate is not trusted") as caught:
        resolves(secure, a_client(time=time))
    assert "`ca_certs`" in (caught.value.hint or "")
    assert time.waits == []
    assert secure.log == []


def test_ca_certs_are_trusted(secure: FakeRegistry, authority: Authority) -> None:
    assert resolves(secure, a_client(tls=TLS(ca_certs=(authority.pem,))))


def test_one_entry_of_ca_certs_may_hold_several(secure: FakeRegistry, authority: Authority, tmp_path: Path) -> None:
    bundle = Authority(tmp_path).pem + authority.pem
    assert resolves(secure, a_client(tls=TLS(ca_certs=(bundle,))))


def test_a_certificate_for_another_name_is_refused(authority: Authority) -> None:
    with fake_registry(authority.issue("other", names=("other.example",))) as registry:
        with pytest.raises(TransportError, match=r"the certificate is for another host: 'other\.example'$"):
            resolves(registry, a_client(tls=TLS(ca_certs=(authority.pem,))))
        assert registry.log == []


@pytest.mark.parametrize(
    "text", ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "ü"]
)
def test_invalid_ca_certs_are_named(text: str) -> None:
    client = a_client(tls=TLS(ca_certs=(text,)))
    with pytest.raises(RequestError, match=r"^source\.ca_certs\[0\]: no certificate can be read from it$"):
        Repository(client, RepositoryName.parse("127.0.0.1:1/a/b")).resolve("1")


def test_an_invalid_client_certificate_is_named_without_jargon() -> None:
    client = a_client(tls=TLS(client_certs=(ClientCertificate(certificate="x", key="y"),)))
    with pytest.raises(RequestError, match=r"^source\.client_certs\[0\]: the certificate or its key cannot be used$"):
        Repository(client, RepositoryName.parse("127.0.0.1:1/a/b")).resolve("1")


def test_the_systems_store_is_trusted_and_no_list_of_a_package(
    secure: FakeRegistry, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    # OpenSSL finds the system's store by SSL_CERT_FILE.
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    assert resolves(secure, a_client())


def test_a_store_of_single_files_is_trusted_without_reading_the_bundle(
    secure: FakeRegistry, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = parts.need("openssl")
    (tmp_path / "authority.pem").write_text(authority.pem)
    subprocess.run([program, "rehash", str(tmp_path)], check=True, capture_output=True, timeout=60)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.setenv("SSL_CERT_FILE", "/dev/null")
    monkeypatch.setattr("registry_image.net.adapter.trust_bundle", pytest.fail)
    assert resolves(secure, a_client())


def test_without_a_store_of_single_files_the_bundle_is_read(
    secure: FakeRegistry, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    assert resolves(secure, a_client())


def test_a_file_of_the_store_is_trusted_whatever_its_name(
    secure: FakeRegistry, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = tmp_path / "certs", Authority(tmp_path / "other").pem
    store.mkdir()
    (store / "README").write_text("no certificate")
    (store / "lost.pem").symlink_to("/nowhere/lost.crt")
    (store / "directory").mkdir()
    os.mkfifo(store / "queue")
    monkeypatch.setenv("SSL_CERT_DIR", str(store))
    monkeypatch.setenv("SSL_CERT_FILE", "/dev/null")
    with pytest.raises(TransportError, match="not trusted"):
        resolves(secure, a_client())
    # As Concourse's Helm chart adds authorities to a worker. `openssl rehash` would skip a file of several.
    (store / "worker-additional-certs.pem").write_text(other + authority.pem)
    assert resolves(secure, a_client())


def test_many_threads_read_the_bundle_at_once(
    secure: FakeRegistry, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    client = a_client()
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda _: resolves(secure, client), range(16)))


def test_what_only_a_package_trusts_is_not_trusted(
    secure: FakeRegistry, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # requests itself would trust it, by its variables and by certifi's file.
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.certificate))
    monkeypatch.setenv("CURL_CA_BUNDLE", str(authority.certificate))
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(authority.certificate))
    with pytest.raises(TransportError, match="not trusted"):
        resolves(secure, a_client())


def test_no_package_list_of_authorities_is_read(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An empty system's store: what is trusted besides `ca_certs` would come from a package.
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.setenv("SSL_CERT_FILE", "/dev/null")
    context = TLS(ca_certs=(authority.pem,)).context(None)
    trust_bundle(context)
    assert context.cert_store_stats()["x509"] == 1


# Client certificates.


@pytest.fixture
def mutual(authority: Authority) -> Iterator[tuple[str, ClientCertificate]]:
    """A server that asks for certificates of its authority, and such a certificate."""
    pair = authority.issue("client")
    certificate = ClientCertificate(certificate=pair.certificate.read_text(), key=pair.key.read_text())
    with serve(lambda ask: Reply(200), authority.issue(), clients=authority.certificate) as host:
        yield host, certificate


def get(host: str, *certificates: ClientCertificate, authority: Authority) -> int:
    client = a_client(tls=TLS(ca_certs=(authority.pem,), client_certs=certificates))
    return client.fetch(Request(method="GET", url=f"https://{host}/v2/", what="ask"), 1000).status


def test_a_client_certificate_opens_the_door(mutual: tuple[str, ClientCertificate], authority: Authority) -> None:
    host, certificate = mutual
    assert get(host, certificate, authority=authority) == 200


def test_a_client_certificate_may_be_for_one_host(mutual: tuple[str, ClientCertificate], authority: Authority) -> None:
    host, certificate = mutual
    here = ClientCertificate(certificate=certificate.certificate, key=certificate.key, host=host)
    assert get(host, here, authority=authority) == 200
    elsewhere = ClientCertificate(certificate=certificate.certificate, key=certificate.key, host="other.example")
    with pytest.raises(TransportError) as caught:
        get(host, elsewhere, authority=authority)
    assert "`client_certs`" in (caught.value.hint or "")


@pytest.mark.parametrize("domain", ["h.example", "h.example:443", "H.example"])
def test_the_port_of_https_does_not_matter_for_a_client_certificate(domain: str) -> None:
    certificate = ClientCertificate(certificate="c", key="k", host=domain)
    tls = TLS(client_certs=(certificate,))
    assert tls.certificate_for("h.example") == tls.certificate_for("h.example:443") == certificate
    assert tls.certificate_for("h.example:5000") is None


def test_without_a_client_certificate_the_error_names_the_field(
    mutual: tuple[str, ClientCertificate], authority: Authority
) -> None:
    with pytest.raises(TransportError, match="TLS: ") as caught:
        get(mutual[0], authority=authority)
    assert "`client_certs`" in (caught.value.hint or "")
    assert not caught.value.retryable


def test_an_invalid_client_certificate_is_named(authority: Authority) -> None:
    with pytest.raises(RequestError, match="client_certs") as caught:
        get("127.0.0.1:1", ClientCertificate(certificate="x", key="5ecret"), authority=authority)
    assert "5ecret" not in caught.value.message


def test_a_key_with_a_password_is_refused_and_nobody_asked_for_it(
    mutual: tuple[str, ClientCertificate], authority: Authority
) -> None:
    key = serialization.load_pem_private_key(mutual[1].key.encode(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"pass"),
    )
    locked = ClientCertificate(certificate=mutual[1].certificate, key=encrypted.decode())
    with pytest.raises(RequestError, match=r"client_certs\[0\]: .*encrypted"):
        get(mutual[0], locked, authority=authority)


def test_a_certificate_and_the_key_of_another_do_not_go_together(
    mutual: tuple[str, ClientCertificate], authority: Authority
) -> None:
    other = ClientCertificate(certificate=mutual[1].certificate, key=mutual[1].key, host="other.example")
    wrong = ClientCertificate(certificate=mutual[1].certificate, key=authority.issue("another").key.read_text())
    with pytest.raises(RequestError, match=r"^source\.client_certs\[1\]: the key does not belong to the certificate$"):
        get(mutual[0], other, wrong, authority=authority)


# Plain HTTP.


def test_loopback_may_be_plain_and_is_found_out_once(plain: FakeRegistry) -> None:
    client = a_client()
    assert resolves(plain, client)
    assert resolves(plain, client)
    assert client.traffic.requests == 2


@pytest.mark.parametrize("insecure", [False, True])
def test_tls_is_tried_first_and_its_certificate_checked(secure: FakeRegistry, insecure: bool) -> None:
    with pytest.raises(TransportError, match="not trusted"):
        resolves(secure, insecure=insecure)
    assert secure.log == []


def test_insecure_prefers_tls(secure: FakeRegistry, authority: Authority) -> None:
    assert resolves(secure, a_client(tls=TLS(ca_certs=(authority.pem,))), insecure=True)


def test_one_broken_connection_does_not_make_a_tls_registry_plain(tls_registry: Registry, repository_name: str) -> None:
    images.push(tls_registry, repository_name, BUILT, "1")
    assert tls_registry.ca is not None
    with fault_proxy(tls_registry.host) as proxy:
        proxy.break_next(after=0, how="reset")
        client = a_client(tls=TLS(ca_certs=(tls_registry.ca.read_text(),)))
        repository = Repository(client, RepositoryName.parse(f"{proxy.host}/{repository_name}"), insecure=True)
        # Its 400 to plain HTTP is not taken for a registry's answer.
        assert repository.resolve("1") is not None
        assert repository.resolve("1") is not None


def test_a_plain_server_that_waits_for_the_end_of_a_line_is_found_out_too() -> None:
    # As Python's http.server does.
    with mute_to_tls() as host:
        client = a_client()
        request = Request(method="GET", url=f"https://{host}/v2/", what="ask")
        client.schemes.allow_plain_http(host)
        assert client.fetch(request, 1000).body == b"hello"
        assert client.traffic.requests == 1


def test_a_tls_registry_whose_first_handshake_is_slow_is_asked_again(authority: Authority) -> None:
    with fake_registry(authority.issue()) as registry:
        registry.add(NAME, BUILT, "1")
        with tls_at_the_second_try(registry.host) as host:
            time = Time()
            client = a_client(time=time, tls=TLS(ca_certs=(authority.pem,)))
            assert Repository(client, RepositoryName.parse(f"{host}/{NAME}")).resolve("1") is not None
        assert time.waits
        assert [ask.method for ask in registry.log] == ["HEAD"]


def test_each_further_handshake_is_given_more_time_up_to_a_limit() -> None:
    schemes = Schemes()
    given: list[float] = []

    def too_slow(seconds: float) -> StreamingReply:
        given.append(seconds)
        raise NoTLS("timed out")

    def hangs_up(_: str) -> StreamingReply:
        raise TransportError("hung up")

    for _ in range(4):
        with pytest.raises(TransportError, match="hung up"):
            schemes.find("https://registry.test/v2/", too_slow, hangs_up)
    assert given == pytest.approx([0.3, 1.2, 4.8, 15])


@contextlib.contextmanager
def mute_to_tls() -> Iterator[str]:
    def handle(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            if client.recv(1) == b"G":
                client.recv(65536)
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
            while client.recv(65536):
                pass

    with accepting(handle) as host:
        yield host


@contextlib.contextmanager
def tls_at_the_second_try(upstream: str) -> Iterator[str]:
    """A TLS port whose first handshake gets no answer, however long the client waits.

    It answers plain HTTP with 400, as Go and nginx do; Python's server would send a TLS alert.
    """
    with fault_proxy(upstream) as proxy:
        slow = iter((True,))

        def handle(client: socket.socket) -> None:
            if client.recv(1, socket.MSG_PEEK) == b"H":
                with client:
                    client.recv(65536)
                    client.sendall(b"HTTP/1.0 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            elif next(slow, False):
                with client, contextlib.suppress(OSError):
                    while client.recv(65536):
                        pass
            else:
                proxy.serve(client)

        with accepting(handle) as host:
            yield host


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every name resolves to this machine."""
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, port, *rest, **more: real("127.0.0.1", port, *rest, **more))


def at(registry: FakeRegistry, hostname: str) -> RepositoryName:
    return RepositoryName.parse(f"{hostname}:{registry.host.partition(':')[2]}/{NAME}")


@pytest.mark.usefixtures("named")
@pytest.mark.parametrize("hostname", ["registry.example.com", "8.8.8.8"])
def test_no_other_host_may_be_plain_unless_insecure(plain: FakeRegistry, hostname: str) -> None:
    with pytest.raises(TransportError) as caught:
        Repository(a_client(), at(plain, hostname)).resolve("1")
    assert "`insecure: true`" in (caught.value.hint or "")
    assert plain.log == []
    assert Repository(a_client(), at(plain, hostname), insecure=True).resolve("1") is not None


@pytest.mark.usefixtures("named")
@pytest.mark.parametrize("hostname", ["10.0.0.1", "192.168.3.4", "172.20.0.1"])
def test_a_private_address_may_be_plain_while_there_are_no_credentials(plain: FakeRegistry, hostname: str) -> None:
    assert Repository(a_client(), at(plain, hostname)).resolve("1") is not None
    plain.log.clear()
    with pytest.raises(TransportError) as caught:
        Repository(a_client(), at(plain, hostname), lambda: Credentials(username="u", password="p")).resolve("1")
    assert "`insecure: true`" in (caught.value.hint or "")
    assert plain.log == []


# Proxies.


@pytest.fixture
def proxy() -> Iterator[FakeRegistry]:
    with fake_registry() as registry:
        registry.add(NAME, BUILT, "1")
        yield registry


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def status_of_direct_or_proxied(plain: FakeRegistry) -> int:
    url = f"http://registry.example.com:{plain.host.partition(':')[2]}/nothing"
    return a_client().fetch(Request(method="GET", url=url, what="ask", accept=(404,)), 1000).status


@pytest.mark.usefixtures("named")
@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_a_proxy_is_used(
    plain: FakeRegistry, proxy: FakeRegistry, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, f"http://user:pa55@{proxy.host}")
    assert status_of_direct_or_proxied(plain) == 404
    (ask,) = proxy.log
    assert ask.target == f"http://registry.example.com:{plain.host.partition(':')[2]}/nothing"
    assert ask.headers["proxy-authorization"].startswith("Basic ")
    assert plain.log == []


@pytest.mark.usefixtures("named")
@pytest.mark.parametrize("variable", ["no_proxy", "NO_PROXY"])
@pytest.mark.parametrize("bypass", ["registry.example.com", ".example.com", "example.com", "*", "other, .example.com"])
def test_no_proxy_is_honoured(
    plain: FakeRegistry, proxy: FakeRegistry, monkeypatch: pytest.MonkeyPatch, bypass: str, variable: str
) -> None:
    monkeypatch.setenv("http_proxy", f"http://{proxy.host}")
    monkeypatch.setenv(variable, bypass)
    assert status_of_direct_or_proxied(plain) == 404
    assert len(plain.log) == 1
    assert proxy.log == []


@pytest.mark.parametrize(
    ("hostname", "port", "entry"),
    [("registry.example.com", 443, "registry.example.com:443"), ("registry.example.com", 5000, "x, Example.com:5000"),
     ("registry.example.com", 5000, ".example.com:5000"), ("registry.example.com", 5000, "*.example.com:5000"),
     ("10.0.0.5", 5000, "10.0.0.5:5000"), ("fd00::5", 5000, "[fd00::5]:5000")],
)  # fmt: skip
def test_a_port_in_no_proxy_counts(monkeypatch: pytest.MonkeyPatch, hostname: str, port: int, entry: str) -> None:
    monkeypatch.setenv("no_proxy", entry)
    assert skips_proxy(hostname, port)
    assert not skips_proxy(hostname, port + 1)
    assert not skips_proxy("else.example.org", port)


@pytest.mark.parametrize(
    ("hostname", "entry"),
    [("registry.example.com", "*.example.com"), ("registry.example.com", "registry.example.com:, *.Example.com"),
     ("10.1.2.3", "10.0.0.0/8"), ("10.1.2.3", "10.9.9.9/8"), ("fd00::5", "fd00::5"), ("fd00::5", "[fd00::5]"),
     ("fd00::5", "fd00:0::5"), ("fd00::5", "fd00::/8")],
)  # fmt: skip
def test_an_entry_of_no_proxy_without_a_port_is_read_as_tools_in_go_do(
    monkeypatch: pytest.MonkeyPatch, hostname: str, entry: str
) -> None:
    monkeypatch.setenv("no_proxy", f"other.example, {entry}")
    assert skips_proxy(hostname, 443)
    assert skips_proxy(hostname, 5000)
    for other in ("example.org", "badexample.com", "11.1.2.3", "fe00::5", "registry.example.com.evil.org"):
        assert not skips_proxy(other, 443)


@pytest.mark.parametrize(
    "entry", ["", ",", ":", ":443", "/", "x/y", "fd00::/999", "10.0.0.0/x", "[", "[]:443", "*:5000"]
)
def test_an_entry_of_no_proxy_that_names_no_host_means_nothing(monkeypatch: pytest.MonkeyPatch, entry: str) -> None:
    monkeypatch.setenv("no_proxy", entry)
    assert not skips_proxy("registry.example.com", 443)
    assert not skips_proxy("10.1.2.3", 443)


def test_loopback_needs_no_proxy(plain: FakeRegistry, proxy: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, f"http://{proxy.host}")
    assert resolves(plain)
    assert proxy.log == []


def test_a_tunnel_is_asked_for_tls_and_a_refusal_is_the_proxys(
    proxy: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    with talker(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n") as host:
        monkeypatch.setenv("https_proxy", f"http://user:pa55@{host}")
        with pytest.raises(TransportError, match=r"the proxy 127\.0\.0\.1:\d+ failed: .*407") as caught:
            Repository(a_client(), RepositoryName.parse("registry.example.com/a/b")).resolve("1")
    assert "https_proxy" in (caught.value.hint or "")
    assert "pa55" not in caught.value.message


@pytest.mark.parametrize(
    ("answer", "retried"),
    [(b"403 Forbidden", False), (b"407 Proxy Authentication Required", False), (b"429 Slow", True), (b"502 Bad", True)],
)
def test_only_a_refusal_by_a_proxy_that_may_pass_is_retried(
    monkeypatch: pytest.MonkeyPatch, answer: bytes, *, retried: bool
) -> None:
    time = Time()
    with talker(b"HTTP/1.1 " + answer + b"\r\n\r\n") as host:
        monkeypatch.setenv("https_proxy", f"http://{host}")
        with pytest.raises(TransportError, match=f"the proxy {host} failed: 'Tunnel connection failed: "):
            Repository(a_client(time=time), RepositoryName.parse("registry.example.com/a/b")).resolve("1")
    assert bool(time.waits) == retried


@pytest.mark.parametrize("written", ["{proxy}", " http://{proxy} ", "HTTP://{proxy}/", "user:pa%2F55@{proxy}"])
def test_the_address_of_a_proxy_is_read_as_people_write_it(
    plain: FakeRegistry, proxy: FakeRegistry, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    monkeypatch.setenv("http_proxy", written.format(proxy=proxy.host))
    request = Request(method="GET", url="http://registry.example.com/nothing", what="ask", accept=(404,))
    assert a_client().fetch(request, 1000).status == 404
    (ask,) = proxy.log
    login = "Basic dXNlcjpwYS81NQ==" if "@" in written else None
    assert ask.headers.get("proxy-authorization") == login
    assert plain.log == []


def test_a_proxy_of_another_kind_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    time = Time()
    monkeypatch.setenv("https_proxy", "socks5://user:pa55@proxy.example:1080")
    with pytest.raises(TransportError, match=r"the proxy proxy\.example:1080 cannot be used: only") as caught:
        Repository(a_client(time=time), RepositoryName.parse("registry.example.com/a/b")).resolve("1")
    assert "https_proxy" in (caught.value.hint or "")
    assert time.waits == []


@pytest.mark.usefixtures("named")
def test_a_socks_proxy_for_all_programs_is_passed_over(plain: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "socks5h://proxy.example:1080")
    assert status_of_direct_or_proxied(plain) == 404
    assert len(plain.log) == 1


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_over_tls_is_trusted_as_a_registry_is(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, scheme: str
) -> None:
    request = Request(method="GET", url=f"{scheme}://registry.example.com/nothing", what="ask", accept=(404,))
    with serve(lambda ask: Reply(404), authority.issue()) as host:
        monkeypatch.setenv(f"{scheme}_proxy", f"https://{host}")
        stranger, time = Authority(tmp_path), Time()
        for tls, hint in ((TLS(), "add that certificate"), (TLS(ca_certs=(stranger.pem,)), "do not vouch for it")):
            with pytest.raises(
                TransportError, match=f"the proxy {host} failed: TLS: the certificate is not trusted: "
            ) as caught:
                a_client(tls=tls, time=time).fetch(request, 1000)
            assert hint in (caught.value.hint or "")
        assert time.waits == []
        client = a_client(tls=TLS(ca_certs=(authority.pem,)))
        if scheme == "http":
            assert client.fetch(request, 1000).status == 404
        else:
            with pytest.raises(TransportError, match="Tunnel connection failed: 501"):  # from this server
                client.fetch(request, 1000)


def test_tls_through_a_tunnel_is_verified_as_without_one(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    # The certificate is for the name in the request, which only the proxy can resolve.
    name = RepositoryName.parse(f"registry.example.com/{NAME}")
    with (
        fake_registry(authority.issue("far", names=("registry.example.com",))) as far,
        tunnelling_proxy(far.host) as (host, asked),
    ):
        far.add(NAME, BUILT, "1")
        monkeypatch.setenv("https_proxy", f"http://user:pa55@{host}")
        assert Repository(a_client(tls=TLS(ca_certs=(authority.pem,))), name).resolve("1") is not None
        (head,) = asked
        assert head.startswith("CONNECT registry.example.com:443 ")
        assert "proxy-authorization: basic" in head.lower()
        assert "proxy-authorization" not in far.log[0].headers
        with pytest.raises(
            TransportError, match=r"registry\.example\.com: TLS: the certificate is not trusted"
        ) as caught:
            Repository(a_client(), name).resolve("1")
        assert "`ca_certs`" in (caught.value.hint or "")


def test_a_dead_proxy_is_named_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    repository = Repository(a_client(), RepositoryName.parse("registry.example.com/a/b"))
    with closed_port() as (address, port):
        monkeypatch.setenv("https_proxy", f"http://user:pa55@{address}:{port}")
        with pytest.raises(TransportError, match=f"the proxy {address}:{port} failed: connection refused$") as caught:
            repository.resolve("1")
    assert "pa55" not in caught.value.message


# A real registry.


def test_a_real_registry_behind_tls(tls_registry: Registry, repository_name: str) -> None:
    images.push(tls_registry, repository_name, BUILT, "1")
    assert tls_registry.ca is not None
    ear = Ear()
    client = a_client(ear=ear, tls=TLS(ca_certs=(tls_registry.ca.read_text(),)))
    assert a_repository(tls_registry, repository_name, client=client).resolve("1") is not None
    assert ear.notes == []
    with pytest.raises(TransportError, match="not trusted"):
        a_repository(tls_registry, repository_name).resolve("1")


def test_a_registry_that_hangs_up_without_tls_is_tried_again(plain: FakeRegistry) -> None:
    plain.script("HEAD", ".", drop)
    assert resolves(plain)
