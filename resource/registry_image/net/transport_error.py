"""Turns the errors of the HTTP libraries into a TransportError that names the cause and a remedy."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator
from http.client import BadStatusLine, HTTPException, IncompleteRead, LineTooLong, RemoteDisconnected, UnknownProtocol

from urllib3.exceptions import ConnectTimeoutError, HTTPError, LocationParseError, NewConnectionError, ProxyError

from registry_image.errors import TransportError, quote
from registry_image.net.head import BadLength, HeadTooLarge, HeadTooSlow
from registry_image.net.retry import Timeouts
from registry_image.record import record

#: The errors of requests (an OSError), urllib3, http.client, ssl and socket; ValueError is for an invalid URL.
LIBRARY_ERRORS = (OSError, HTTPError, HTTPException, ValueError)

_PLAIN_REASONS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL"})
_REFUSED = (
    "nothing listens there, or a firewall refuses: is the port right? Without one it is 443, and 80 for plain HTTP"
)
PROXY_HINT = "see the variables http_proxy, https_proxy and no_proxy of the worker"
#: A 4xx to CONNECT, in http.client's words, but those that pass with time.
_TUNNEL_REFUSED = r"Tunnel connection failed: 4(?!08|29)"
#: OpenSSL's X509_V_ERR_…, by what is wrong with a certificate.
_EXPIRED = 10
_DATES = (9, _EXPIRED)
_NAMES = (62, 64)
#: No authority that is trusted vouches for it. Other certificates are unfit, whoever vouches for them.
_AUTHORITY = (2, 18, 19, 20, 21, 27)
_NO_AUTHORITY = "if it is of a private certificate authority, or self-signed, add that certificate to `ca_certs`"
_OTHER_AUTHORITY = "the certificates in `ca_certs` do not vouch for it: add the one of its authority"
_NOT_INSECURE = "`insecure: true` does not help: it allows plain HTTP, and TLS is verified all the same"
_UNFIT = "the server needs another certificate: this one would not do with any `ca_certs`"
_DATES_HINT = "either the server needs a new certificate, or the worker's clock is wrong"
_DATES_ABOVE = (
    "the server must send newer certificates of its authority, or `ca_certs` have them; or the clock is wrong"
)
_CERTIFICATE_MISSING = "the server may want a certificate of yours: `client_certs`"
_CERTIFICATE_SENT = "the server may not accept the certificate that `client_certs` has for it"
_PLAIN_HTTP = "if this is the registry itself, and it speaks plain HTTP only, set `insecure: true`"
_CLIENT_CERTIFICATE = "CERTIFICATE_REQUIRED", "BAD_CERTIFICATE", "HANDSHAKE_FAILURE", "UNKNOWN_CA"


class NoTLS(TransportError):
    """The server does not seem to speak TLS; plain HTTP may work, and is tried only where that is allowed."""


class Untrusted(TransportError):
    """The server's certificate leads to no authority that was loaded."""


@record(kw_only=True)
class Setting:
    """What is known of a connection. ``proxy`` is the host and port of the proxy in between, if there is one;
    ``timeouts`` are what was waited. ``has_authorities`` says whether `ca_certs` are set, ``has_certificate`` whether
    `client_certs` has one for the host."""

    proxy: str = ""
    timeouts: Timeouts | None = None
    has_authorities: bool = False
    has_certificate: bool = False


_UNKNOWN = Setting()


def transport_error(error: BaseException, what: str, host: str, setting: Setting = _UNKNOWN) -> TransportError:
    chain = list(_causes(error))
    prefix, proxy = f"{what}: {host}", setting.proxy
    if any(isinstance(cause, LocationParseError) for cause in chain):
        # The library's text has the whole address, for a proxy with its password.
        return TransportError(f"{prefix}: invalid address, or invalid proxy", hint=PROXY_HINT, retryable=False)
    if any(isinstance(cause, ProxyError) for cause in chain) or (proxy and _never_connected(chain)):
        return _explain_proxy(chain, f"{prefix}: the proxy {proxy or '(unknown)'} failed", setting)
    tls = next((cause for cause in chain if isinstance(cause, ssl.SSLError)), None)
    if isinstance(tls, ssl.SSLCertVerificationError):
        return _explain_certificate(tls, prefix, host, setting)
    if tls is not None:
        return _explain_tls(tls, prefix, setting)
    return _explain_socket(chain, prefix, setting.timeouts) or TransportError(
        f"{prefix}: the connection broke: {_last_message(chain)}"
    )


def _explain_proxy(chain: list[BaseException], prefix: str, setting: Setting) -> TransportError:
    certificate = next((cause for cause in chain if isinstance(cause, ssl.SSLCertVerificationError)), None)
    if certificate is not None:
        own = _OTHER_AUTHORITY if setting.has_authorities else _NO_AUTHORITY
        return Untrusted(
            f"{prefix}: TLS: the certificate is not trusted: {certificate.verify_message}",
            hint=own if certificate.verify_code in _AUTHORITY else PROXY_HINT,
            retryable=False,
        )
    reason = _reason(chain) or _last_message(chain)
    # A proxy that forbids the host, or wants another login, does so again.
    refused = re.search(_TUNNEL_REFUSED, reason) is not None
    return TransportError(f"{prefix}: {reason}", hint=PROXY_HINT, retryable=not refused)


def _explain_tls(cause: ssl.SSLError, prefix: str, setting: Setting) -> TransportError:
    reason = cause.reason or ""
    if reason in _PLAIN_REASONS:
        return NoTLS(f"{prefix}: TLS: the server answered without it", hint=_PLAIN_HTTP, retryable=False)
    certificate = _CERTIFICATE_SENT if setting.has_certificate else _CERTIFICATE_MISSING
    if isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError) or "EOF" in reason:
        return NoTLS(f"{prefix}: TLS: the server closed the connection", hint=f"{certificate}; {_PLAIN_HTTP}")
    hint = certificate if reason.endswith(_CLIENT_CERTIFICATE) else None
    return TransportError(f"{prefix}: TLS: {reason.replace('_', ' ').lower() or cause}", hint=hint, retryable=False)


def _explain_certificate(
    cause: ssl.SSLCertVerificationError, prefix: str, host: str, setting: Setting
) -> TransportError:
    # Behind a proxy the host cannot be asked for its certificate.
    name, _, port = host.rpartition(":") if host.rpartition(":")[2].isdigit() else (host, "", "443")
    address = None if setting.proxy else (name.strip("[]"), int(port))
    if cause.verify_code in _DATES:
        problem, hint = _explain_dates(cause, address)
    elif cause.verify_code in _NAMES:
        from registry_image.net import peer  # imports cryptography: only to explain

        problem = f"is for another host: {(address and peer.names(*address)) or cause.verify_message}"
        hint = "use a host that the certificate is for, or have one issued for this host"
    else:
        own = _OTHER_AUTHORITY if setting.has_authorities else _NO_AUTHORITY
        return Untrusted(
            f"{prefix}: TLS: the certificate is not trusted: {cause.verify_message}",
            hint=f"{own}; {_NOT_INSECURE}" if cause.verify_code in _AUTHORITY else _UNFIT,
            retryable=False,
        )
    return TransportError(f"{prefix}: TLS: the certificate {problem}", hint=hint, retryable=False)


def _explain_dates(cause: ssl.SSLCertVerificationError, address: tuple[str, int] | None) -> tuple[str, str]:
    """The problem and its hint."""
    from registry_image.net import peer  # imports cryptography: only to explain

    problem = "has expired" if cause.verify_code == _EXPIRED else "is not valid yet"
    dates = peer.validity(*address) if address else None
    if dates == "":
        return f"itself is valid, but one that vouches for it {problem}", _DATES_ABOVE
    return f"{problem}: {dates or cause.verify_message}", _DATES_HINT


def _never_connected(chain: list[BaseException]) -> bool:
    return any(isinstance(cause, NewConnectionError | ConnectTimeoutError | socket.gaierror) for cause in chain)


def _reason(chain: list[BaseException]) -> str:
    """Plain words for a connection that did not come about; "" if there are none."""
    for cause in reversed(chain):
        if isinstance(cause, ConnectionRefusedError):
            return "connection refused"
        if isinstance(cause, socket.gaierror):
            return f"DNS: {cause.strerror}"
        if isinstance(cause, OSError) and cause.errno and cause.strerror:
            return cause.strerror
    return "no connection in time" if any(isinstance(cause, ConnectTimeoutError) for cause in chain) else ""


def _explain_socket(chain: list[BaseException], prefix: str, timeouts: Timeouts | None) -> TransportError | None:
    def among(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in chain)

    lookup = next((cause for cause in chain if isinstance(cause, socket.gaierror)), None)
    if lookup is not None:
        unknown = lookup.errno == socket.EAI_NONAME
        return TransportError(
            f"{prefix}: DNS: {lookup.strerror}",
            hint="does the worker's DNS know this host? If it is from your pipeline, is it spelled right?"
            if unknown
            else "do the worker's name servers answer? They are in its /etc/resolv.conf",
            retryable=not unknown,
        )
    if among(ConnectionRefusedError):
        return NoTLS(f"{prefix}: connection refused", hint=_REFUSED)
    if among(RemoteDisconnected):
        return TransportError(f"{prefix}: the connection was closed without an answer")
    if among(ConnectionResetError, BrokenPipeError):
        return NoTLS(f"{prefix}: the connection was reset")
    bad = next((cause for cause in chain if isinstance(cause, BadLength | HeadTooLarge | LineTooLong)), None)
    if bad is not None:
        return TransportError(f"{prefix}: {bad}", retryable=False)
    foreign = next((cause for cause in chain if isinstance(cause, BadStatusLine | UnknownProtocol)), None)
    if foreign is not None:
        return TransportError(f"{prefix}: the answer is not HTTP/1: {quote(str(foreign).rstrip())}")
    if among(IncompleteRead):
        return TransportError(f"{prefix}: the connection ended before the answer did")
    if among(NewConnectionError):
        return NoTLS(f"{prefix}: no connection: {_reason(chain) or _last_message(chain)}")
    connect, stall = (f" in {s:.3g} s" for s in (timeouts.connect, timeouts.stall)) if timeouts else (" in time",) * 2
    if among(ConnectTimeoutError):  # after its subclass NewConnectionError
        return NoTLS(f"{prefix}: no connection{connect}", hint="is a firewall in between, or a proxy needed?")
    if among(HeadTooSlow):
        return NoTLS(
            f"{prefix}: stalled: the lines of its answer had no end{stall}",
            hint="bytes come, but very slowly: see the host's load, and proxies on the way",
        )
    if among(TimeoutError):
        return NoTLS(
            f"{prefix}: stalled: no byte came{stall}",
            hint="there is a connection, but nothing comes: see the host's load, and proxies or firewalls on the way",
        )
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """``error`` and its causes, outermost first: urllib3 keeps causes in `reason` and in its arguments.

    ``__context__`` is no cause: when plain HTTP fails too, it is the earlier failure of TLS.
    """
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        item = waiting.pop(0)
        if isinstance(item, BaseException) and id(item) not in seen:
            seen.add(id(item))
            yield item
            waiting += [getattr(item, "reason", None), *item.args, item.__cause__]


def _last_message(chain: list[BaseException]) -> str:
    # Libraries repeat addresses in their texts, and the query of a presigned address is a secret.
    return quote(str(chain[-1]).partition("?")[0] or type(chain[-1]).__name__)
