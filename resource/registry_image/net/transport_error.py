"""Turns the errors of the HTTP libraries into a TransportError that names the cause and a remedy."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from http.client import HTTPException, IncompleteRead, LineTooLong

from urllib3.exceptions import ConnectTimeoutError, HTTPError, LocationParseError, NewConnectionError, ProxyError

from registry_image.errors import TransportError, quote
from registry_image.net.head import HeadTooLarge
from registry_image.net.retry import Timeouts

#: The errors of requests (an OSError), urllib3, http.client, ssl and socket; ValueError is for an invalid URL.
LIBRARY_ERRORS = (OSError, HTTPError, HTTPException, ValueError)

_PLAIN_REASONS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL"})
_PROXY_HINT = "see the variables http_proxy, https_proxy and no_proxy of the worker"
#: OpenSSL's X509_V_ERR_…, by what is wrong with a certificate.
_DATES = (9, 10)
_NAMES = (62, 64)
_CLIENT_CERTIFICATE_HINT = "the server may want a certificate of yours: `client_certs`"
_EOF_HINT = f"{_CLIENT_CERTIFICATE_HINT}; or it speaks plain HTTP only: `insecure: true`"
_CLIENT_CERTIFICATE = "CERTIFICATE_REQUIRED", "BAD_CERTIFICATE", "HANDSHAKE_FAILURE", "UNKNOWN_CA"


class NoTLS(TransportError):
    """The server does not seem to speak TLS; plain HTTP may work, and is tried only where that is allowed."""


class Untrusted(TransportError):
    """The server's certificate leads to no authority that was loaded."""


def transport_error(
    error: BaseException, what: str, host: str, *, proxy: str = "", timeouts: Timeouts | None = None
) -> TransportError:
    """``proxy`` is the host and port of the proxy in between, if there is one; ``timeouts`` are what was waited."""
    chain = list(_causes(error))
    prefix = f"{what}: {host}"
    if any(isinstance(cause, LocationParseError) for cause in chain):
        # The library's text has the whole address, for a proxy with its password.
        return TransportError(f"{prefix}: invalid address, or invalid proxy", hint=_PROXY_HINT, retryable=False)
    if any(isinstance(cause, ProxyError) for cause in chain) or (proxy and _never_connected(chain)):
        reason = _reason(chain) or _last_message(chain)
        return TransportError(f"{prefix}: the proxy {proxy or '(unknown)'} failed: {reason}", hint=_PROXY_HINT)
    tls = next((cause for cause in chain if isinstance(cause, ssl.SSLError)), None)
    if tls is not None:
        return _explain_tls(tls, prefix, "" if proxy else host)
    return _explain_socket(chain, prefix, timeouts) or TransportError(
        f"{prefix}: the connection broke: {_last_message(chain)}"
    )


def _explain_tls(cause: ssl.SSLError, prefix: str, host: str) -> TransportError:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _explain_certificate(cause, prefix, host)
    reason = cause.reason or ""
    if reason in _PLAIN_REASONS:
        return NoTLS(
            f"{prefix}: TLS: the server answered without it",
            hint="if this registry speaks plain HTTP only, set `insecure: true`",
            retryable=False,
        )
    if isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError) or "EOF" in reason:
        return NoTLS(f"{prefix}: TLS: the server closed the connection", hint=_EOF_HINT)
    hint = _CLIENT_CERTIFICATE_HINT if reason.endswith(_CLIENT_CERTIFICATE) else None
    return TransportError(f"{prefix}: TLS: {reason.replace('_', ' ').lower() or cause}", hint=hint, retryable=False)


def _explain_certificate(cause: ssl.SSLCertVerificationError, prefix: str, host: str) -> TransportError:
    """``host`` is "" if it cannot be asked directly."""
    if cause.verify_code not in _DATES + _NAMES:
        return Untrusted(
            f"{prefix}: TLS: the certificate is not trusted: {cause.verify_message}",
            hint="if it is of a private certificate authority, or self-signed, add that certificate to `ca_certs`; "
            "`insecure: true` does not help: it allows plain HTTP, and TLS is verified all the same",
            retryable=False,
        )
    from registry_image.net import peer  # imports cryptography: only to explain

    name, _, port = host.rpartition(":") if host.rpartition(":")[2].isdigit() else (host, "", "443")
    address = name.strip("[]"), int(port)
    if cause.verify_code in _DATES:
        problem, says = (
            "has expired" if cause.verify_code == 10 else "is not valid yet",
            host and peer.validity(*address),
        )
        hint = "either the server needs a new certificate, or the worker's clock is wrong"
    else:
        problem, says = "is for another host", host and peer.names(*address)
        hint = "use a host that the certificate is for, or have one issued for this host"
    return TransportError(
        f"{prefix}: TLS: the certificate {problem}: {says or cause.verify_message}", hint=hint, retryable=False
    )


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
            hint="is the host in `repository` spelled right, and does the worker resolve it?"
            if unknown
            else "do the worker's name servers answer? They are in its /etc/resolv.conf",
            retryable=not unknown,
        )
    if among(ConnectionRefusedError):
        return NoTLS(f"{prefix}: connection refused", hint="nothing listens there: is the port right?")
    if among(ConnectionResetError, BrokenPipeError):
        return NoTLS(f"{prefix}: the connection was reset")
    large = next((cause for cause in chain if isinstance(cause, HeadTooLarge | LineTooLong)), None)
    if large is not None:
        return TransportError(f"{prefix}: {large}", retryable=False)
    if among(IncompleteRead):
        return TransportError(f"{prefix}: the connection ended before the answer did")
    if among(NewConnectionError):
        return NoTLS(f"{prefix}: no connection: {_reason(chain) or _last_message(chain)}")
    connect, stall = (f" in {s:.3g} s" for s in (timeouts.connect, timeouts.stall)) if timeouts else (" in time",) * 2
    if among(ConnectTimeoutError):  # after its subclass NewConnectionError
        return NoTLS(f"{prefix}: no connection{connect}", hint="is a firewall in between, or a proxy needed?")
    if among(TimeoutError):
        return NoTLS(
            f"{prefix}: stalled: no byte came{stall}",
            hint="the host took the connection and then said nothing: see its load, and proxies or firewalls before it",
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
