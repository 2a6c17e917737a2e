"""Hints about connections, logins and the answers of registries."""

from __future__ import annotations

import errno
import socket
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path

from urllib3.exceptions import ConnectTimeoutError, ProxyError

from registry_image.auth.credentials import Credentials
from registry_image.errors import StorageError, TransportError, storage_error
from registry_image.net.certificate import ClientCertificate
from registry_image.net.error_response import registry_error
from registry_image.net.head import HeadTooSlow
from registry_image.net.http import Headers, Reply
from registry_image.net.retry import ONCE
from registry_image.net.tls import TLS
from registry_image.net.transport_error import Setting, transport_error
from registry_image.rootfs.layer_errors import DESTINATION_HINTS
from tests.hints.rows import Row, Situation
from tests.support import images
from tests.support.certificates import Authority
from tests.support.clients import a_client, a_repository
from tests.support.fakeregistry import FakeRegistry, fake_registry, redirect, status

NAME = "some/image"
CONTENT = images.image()
USER = Credentials(username="robot", password="pa55")
SPACED = Credentials(username="robot", password="pa55 ")
SPACED_IDENTITY = Credentials(username="robot", identity_token="1dentity\n")
IDENTITY = Credentials(username="robot", identity_token="1dentity")
DENIED = status(403, '{"errors": [{"code": "DENIED"}]}')
UNAUTHORIZED = status(401, '{"errors": [{"code": "UNAUTHORIZED"}]}')


def answered(code: int, error: str = "", page: bool = False) -> Situation:
    body = b"<html>" if page else f'{{"errors": [{{"code": "{error}", "message": "x"}}]}}'.encode()
    reply = Reply(status=code, headers=Headers([]), body=body, url="https://registry.example/")
    return lambda: registry_error("ask: registry.example", reply)


def resolving(credentials: Credentials | None, prepare: Callable[[FakeRegistry], None]) -> Situation:
    """Asks a registry with token logins for a tag."""

    def resolve() -> None:
        with fake_registry() as registry:
            registry.add(NAME, CONTENT, "1")
            registry.auth = "token"
            registry.accounts = {"robot": "pa55"}
            registry.identity_tokens = {"1dentity"}
            prepare(registry)
            client = a_client(policy=ONCE)
            a_repository(registry, NAME, client=client, credentials=credentials, insecure=True).resolve("1")

    return resolve


def ordinary(registry: FakeRegistry) -> None:
    """A registry that takes the login."""


def locked(registry: FakeRegistry) -> None:
    registry.accounts, registry.identity_tokens = {}, set()


def basic(registry: FakeRegistry) -> None:
    registry.auth = "basic"


def locked_basic(registry: FakeRegistry) -> None:
    registry.auth, registry.accounts = "basic", {}


def denying(registry: FakeRegistry) -> None:
    """As Docker Hub: the token server takes the login, and its token does not reach as far as this."""
    registry.script("HEAD", "/manifests/", UNAUTHORIZED, always=True)


def forbidding(registry: FakeRegistry) -> None:
    registry.script("HEAD", "/manifests/", DENIED, always=True)
    registry.script("GET", "/manifests/", DENIED, always=True)


def forbidding_basic(registry: FakeRegistry) -> None:
    basic(registry)
    forbidding(registry)


def gitlab(registry: FakeRegistry) -> None:
    registry.script("GET", "/token", DENIED, always=True)


def wordless(registry: FakeRegistry) -> None:
    """Asks for a login, and does not say which."""
    registry.auth = "none"
    denying(registry)
    registry.script("GET", "/v2/$", UNAUTHORIZED)


def sent_on(registry: FakeRegistry) -> None:
    elsewhere = f"http://localhost:{registry.host.partition(':')[2]}/elsewhere"
    for method in ("HEAD", "GET"):
        registry.script(method, "/manifests/", redirect(elsewhere), always=True)
        registry.script(method, "/elsewhere", DENIED, always=True)


def certificate(code: int, *, has_authorities: bool = False) -> Situation:
    """OpenSSL's X509_V_ERR_…; behind a proxy, so that nobody asks for the certificate."""
    error = ssl.SSLCertVerificationError(1, "x")
    error.verify_code, error.verify_message = code, "OpenSSL's words"
    setting = Setting(proxy="proxy.example:3128", has_authorities=has_authorities)
    return lambda: transport_error(error, "ask", "registry.example", setting)


def expired_above() -> TransportError:
    """OpenSSL says that a certificate has expired, and the server's own has not."""
    error = ssl.SSLCertVerificationError(1, "x")
    error.verify_code, error.verify_message = 10, "certificate has expired"
    with tempfile.TemporaryDirectory() as directory, fake_registry(Authority(Path(directory)).issue()) as registry:
        return transport_error(error, "ask", registry.host)


def tls(reason: str, *, has_certificate: bool = False) -> Situation:
    error = ssl.SSLError(1, "x")
    error.reason = reason
    return lambda: transport_error(error, "ask", "registry.example", Setting(has_certificate=has_certificate))


def failing(error: BaseException, proxy: str = "") -> Situation:
    return lambda: transport_error(error, "ask", "registry.example", Setting(proxy=proxy))


def loading(*, ca: str = "", cert: str = "", key: str = "") -> Situation:
    pair = ClientCertificate(certificate=cert, key=key) if cert else None
    return lambda: TLS(ca_certs=(ca,) if ca else (), client_certs=(pair,) if pair else ()).context(pair)


def issued() -> tuple[str, str, str, str]:
    """A certificate, its key, another key, and their authority's certificate, in PEM."""
    with tempfile.TemporaryDirectory() as directory:
        authority = Authority(Path(directory))
        pair, other = authority.issue(), authority.issue()
        return pair.certificate.read_text(), pair.key.read_text(), other.key.read_text(), authority.pem


CERT, KEY, OTHER_KEY, CA = issued()


def redirected(insecure: bool) -> Situation:
    """The registry sends us to the address that hands out a cloud's credentials."""

    def resolve() -> None:
        with fake_registry() as registry:
            registry.script("HEAD", ".", redirect("https://169.254.169.254/latest"))
            a_repository(registry, NAME, client=a_client(policy=ONCE), insecure=insecure).check_address(
                "https://169.254.169.254/", "refused"
            )

    return resolve


def token_server_by_http(insecure: bool) -> Situation:
    def resolve() -> None:
        with fake_registry() as registry:
            registry.auth, registry.realm = "token", "http://token.invalid/token"
            a_repository(registry, NAME, client=a_client(policy=ONCE), insecure=insecure).resolve("1")

    return resolve


def disk(number: int) -> Situation:
    return lambda: storage_error(OSError(number, "x"), "writing", DESTINATION_HINTS)


def disk_elsewhere(number: int) -> Situation:
    return lambda: StorageError("reading", errno=number)


NETWORK = (
    Row(
        "there is no such repository, or it is hidden from whoever lacks the right to see it",
        (answered(404, "NAME_UNKNOWN"),),
        (answered(404, "MANIFEST_UNKNOWN"), answered(404), answered(404, "NAME_UNKNOWN", page=True)),
    ),
    Row(
        "the repository has no such tag or digest",
        (answered(404, "MANIFEST_UNKNOWN"),),
        (answered(404), answered(404, "NAME_UNKNOWN"), answered(429, "MANIFEST_UNKNOWN")),
    ),
    Row(
        "the registry lost a part of this image: push it again",
        (answered(404, "BLOB_UNKNOWN"), answered(500, "BLOB_UNKNOWN")),
        (answered(400, "MANIFEST_BLOB_UNKNOWN"), answered(404, "BLOB_UPLOAD_UNKNOWN")),
    ),
    Row(
        "wait, or ask less often; another account, or any login at all, may have a higher limit",
        (answered(429), answered(429, "TOOMANYREQUESTS")),
        (answered(503), answered(403)),
    ),
    Row("the registry wants to be paid", (answered(402),), (answered(403), answered(400))),
    Row("the proxy wants a login", (answered(407),), (answered(401), answered(502))),
    Row("limits the size of what it takes", (answered(413), answered(413, page=True)), (answered(400), answered(414))),
    Row(
        "this host, or a proxy on the way to it, has a problem of its own",
        (answered(500), answered(502, page=True), answered(503), answered(504)),
        # docker-registry refuses a foreign layer with 500: nothing is wrong with it.
        (answered(500, "MANIFEST_BLOB_UNKNOWN"), answered(503, "DENIED"), answered(501), answered(400)),
    ),
    Row(
        "the answer is a web page, which registries do not send",
        (answered(404, page=True), answered(401, page=True), answered(400, page=True)),
        (answered(404), answered(502, page=True), answered(429, page=True)),
    ),
    Row(
        "no credentials are set for ",
        (resolving(None, forbidding), resolving(None, denying), resolving(None, gitlab), resolving(None, locked_basic)),
        (resolving(IDENTITY, locked), resolving(USER, locked), resolving(USER, denying), resolving(USER, wordless)),
    ),
    Row(
        "the registry does not take the credentials of ",
        (resolving(USER, locked_basic),),
        (resolving(USER, denying), resolving(USER, locked), resolving(USER, wordless), resolving(None, locked_basic)),
    ),
    Row(
        "the token server refuses the credentials of ",
        (resolving(USER, locked), resolving(IDENTITY, locked), resolving(USER, gitlab)),
        (resolving(USER, denying), resolving(USER, locked_basic), resolving(None, gitlab)),
    ),
    Row(
        "is logged in but may not do this: see its permissions; the repository may not exist",
        (resolving(USER, denying), resolving(USER, forbidding), resolving(USER, forbidding_basic)),
        (resolving(USER, locked), resolving(USER, locked_basic), resolving(USER, wordless), resolving(None, denying)),
    ),
    Row(
        "were not sent: the registry asked for no login that we know",
        (resolving(USER, wordless),),
        (resolving(USER, denying), resolving(None, wordless), resolving(USER, locked)),
    ),
    Row(
        "the registry sent us on to this host, which gets no login",
        (resolving(USER, sent_on), resolving(None, sent_on)),
        (resolving(USER, forbidding), resolving(USER, ordinary)),
    ),
    Row(
        "ends in white space",
        (resolving(SPACED, locked), resolving(SPACED, locked_basic), resolving(SPACED_IDENTITY, locked)),
        (resolving(USER, locked), resolving(SPACED, wordless)),
    ),
    Row(
        "set `insecure: true` if this registry is meant to be like that",
        (redirected(insecure=False), token_server_by_http(insecure=False)),
        (redirected(insecure=True), token_server_by_http(insecure=True)),
    ),
    Row(
        "see the variables http_proxy, https_proxy and no_proxy of the worker",
        (failing(ProxyError("x", OSError("y"))), failing(socket.gaierror(-2, "x"), proxy="proxy.example:3128")),
        (failing(socket.gaierror(-2, "x")), failing(ConnectionRefusedError()), failing(TimeoutError(), "proxy:3128")),
    ),
    Row(
        "if this is the registry itself, and it speaks plain HTTP only, set `insecure: true`",
        (tls("WRONG_VERSION_NUMBER"), tls("UNEXPECTED_EOF_WHILE_READING")),
        (tls("TLSV1_ALERT_INTERNAL_ERROR"), tls("TLSV13_ALERT_CERTIFICATE_REQUIRED"), certificate(18)),
    ),
    Row(
        "the server may want a certificate of yours: `client_certs`",
        (tls("TLSV13_ALERT_CERTIFICATE_REQUIRED"), tls("UNEXPECTED_EOF_WHILE_READING")),
        (tls("TLSV13_ALERT_CERTIFICATE_REQUIRED", has_certificate=True), tls("UNSUPPORTED_PROTOCOL")),
    ),
    Row(
        "the server may not accept the certificate that `client_certs` has for it",
        (tls("TLSV1_ALERT_UNKNOWN_CA", has_certificate=True), tls("EOF", has_certificate=True)),
        (tls("TLSV1_ALERT_UNKNOWN_CA"), tls("UNSUPPORTED_PROTOCOL", has_certificate=True)),
    ),
    Row(
        "if it is of a private certificate authority, or self-signed, add that certificate to `ca_certs`",
        (certificate(18), certificate(20)),
        (certificate(18, has_authorities=True), certificate(66), certificate(10), certificate(62)),
    ),
    Row(
        "the certificates in `ca_certs` do not vouch for it: add the one of its authority",
        (certificate(19, has_authorities=True), certificate(20, has_authorities=True)),
        (certificate(20), certificate(26, has_authorities=True), certificate(64, has_authorities=True)),
    ),
    Row(
        "`insecure: true` does not help: it allows plain HTTP, and TLS is verified all the same",
        (certificate(18), certificate(20, has_authorities=True)),
        (certificate(10), certificate(62), certificate(67)),
    ),
    Row(
        "the server needs another certificate: this one would not do with any `ca_certs`",
        (certificate(26), certificate(66), certificate(68, has_authorities=True)),
        (certificate(18), certificate(21), certificate(9)),
    ),
    Row(
        "either the server needs a new certificate, or the worker's clock is wrong",
        (certificate(9), certificate(10)),
        (expired_above, certificate(18)),
    ),
    Row(
        "the server must send newer certificates of its authority, or `ca_certs` have them; or the clock is wrong",
        (expired_above,),
        (certificate(10), certificate(18)),
    ),
    Row(
        "use a host that the certificate is for, or have one issued for this host",
        (certificate(62), certificate(64)),
        (certificate(10), certificate(20)),
    ),
    Row(
        "does the worker's DNS know this host? If it is from your pipeline, is it spelled right?",
        (failing(socket.gaierror(socket.EAI_NONAME, "x")),),
        (failing(socket.gaierror(socket.EAI_NONAME, "x"), "proxy.example:3128"), failing(socket.gaierror(-3, "x"))),
    ),
    Row(
        "do the worker's name servers answer? They are in its /etc/resolv.conf",
        (failing(socket.gaierror(socket.EAI_AGAIN, "x")),),
        (failing(socket.gaierror(socket.EAI_NONAME, "x")), failing(socket.gaierror(socket.EAI_AGAIN, "x"), "proxy:1")),
    ),
    Row(
        "nothing listens there, or a firewall refuses: is the port right?",
        (failing(ConnectionRefusedError()),),
        (failing(ConnectionResetError()), failing(TimeoutError()), failing(ProxyError("x", ConnectionRefusedError()))),
    ),
    Row(
        "is a firewall in between, or a proxy needed?",
        (failing(ConnectTimeoutError(None, "x")),),
        (failing(ConnectTimeoutError(None, "x"), "proxy.example:3128"), failing(TimeoutError())),
    ),
    Row(
        "there is a connection, but nothing comes",
        (failing(TimeoutError()), failing(TimeoutError(), "proxy.example:3128")),
        (failing(ConnectTimeoutError(None, "x")), failing(ConnectionResetError()), failing(HeadTooSlow())),
    ),
    Row(
        "bytes come, but very slowly: see the host's load, and proxies on the way",
        (failing(HeadTooSlow()), failing(HeadTooSlow(), "proxy.example:3128")),
        (failing(TimeoutError()), failing(ConnectTimeoutError(None, "x"))),
    ),
    Row(
        "each entry is the text of a PEM file, BEGIN CERTIFICATE line and all",
        (loading(ca="/etc/ssl/ca.pem"), loading(ca=KEY), loading(ca=CA.replace("CERTIFICATE", "CERT"))),
        (loading(ca=CA), loading(cert=CERT, key="x")),
    ),
    Row(
        "`cert` and `key` are PEM texts, BEGIN lines and all, the key without a password",
        (loading(cert="x", key="y"), loading(cert=CERT, key="key.pem")),
        (loading(cert=CERT, key=KEY), loading(cert=KEY, key=CERT), loading(cert=CERT, key=OTHER_KEY)),
    ),
    Row(
        "free space, or inodes (`df -i`), on the worker's disk",
        (disk(errno.ENOSPC), disk_elsewhere(errno.ENOSPC)),
        (disk(errno.EDQUOT), disk(errno.EROFS)),
    ),
    Row("raise the quota of the worker's volume", (disk(errno.EDQUOT),), (disk(errno.ENOSPC),)),
    Row("raise the limit of open files (`ulimit -n`)", (disk(errno.EMFILE),), (disk(errno.ENFILE),)),
    Row("the disk reports a failure: see the kernel's log", (disk(errno.EIO),), (disk(errno.EROFS),)),
    Row("the destination is mounted read-only", (disk(errno.EROFS),), (disk_elsewhere(errno.EROFS), disk(errno.EIO))),
    Row("a file may be immutable (`lsattr`)", (disk(errno.EPERM),), (disk_elsewhere(errno.EPERM), disk(errno.EACCES))),
    Row("give a destination that this user may write", (disk(errno.EACCES),), (disk_elsewhere(errno.EACCES),)),
    Row("the filesystem allows no more links", (disk(errno.EMLINK),), (disk_elsewhere(errno.EMLINK), disk(errno.EIO))),
)
