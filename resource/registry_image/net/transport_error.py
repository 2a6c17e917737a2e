"""No answer came: which of the ways that can happen it was, in a sentence for whoever must mend it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from http.client import HTTPException, IncompleteRead

from urllib3.exceptions import ConnectTimeoutError, HTTPError, LocationParseError, NewConnectionError, ProxyError

from registry_image.errors import TransportError, quote

#: What comes out of requests (an OSError), urllib3, http.client, ssl and socket; ValueError for what no URL can hold.
LIBRARY_ERRORS = (OSError, HTTPError, HTTPException, ValueError)

_PLAIN_REASONS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL"})
_PROXY_HINT = "see the variables http_proxy, https_proxy and no_proxy of the worker"
_CLIENT_CERTIFICATE_HINT = "the server may want a certificate of yours: `client_certs`"
_EOF_HINT = f"{_CLIENT_CERTIFICATE_HINT}; or it speaks plain HTTP only: `insecure: true`"
_CLIENT_CERTIFICATE = "CERTIFICATE_REQUIRED", "BAD_CERTIFICATE", "HANDSHAKE_FAILURE", "UNKNOWN_CA"


class NoTLS(TransportError):
    """Nothing that speaks TLS answered, as far as can be told; plain HTTP may (only tried where that is allowed)."""


class Untrusted(TransportError):
    """The server's certificate does not lead to an authority that was loaded."""


def transport_error(error: BaseException, what: str, host: str) -> TransportError:
    """The TransportError that says what ``error``, from the socket or any layer above it, means for ``what``."""
    chain = list(_causes(error))
    begin = f"{what}: {host}"
    if any(isinstance(cause, LocationParseError) for cause in chain):
        # Its text has the whole address, and a proxy's its password.
        return TransportError(f"{begin}: this address, or that of a proxy, is none", hint=_PROXY_HINT, retryable=False)
    if any(isinstance(cause, ProxyError) for cause in chain):
        return TransportError(
            f"{begin}: the proxy failed: {_last_words(chain)}",
            hint=_PROXY_HINT,
        )
    tls = next((cause for cause in chain if isinstance(cause, ssl.SSLError)), None)
    if tls is not None:
        return _explain_tls(tls, begin)
    return _explain_socket(chain, begin) or TransportError(f"{begin}: the connection broke: {_last_words(chain)}")


def _explain_tls(cause: ssl.SSLError, begin: str) -> TransportError:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return Untrusted(
            f"{begin}: TLS: the certificate is not trusted: {cause.verify_message}",
            hint="if this is a private certificate authority, add its certificate to `ca_certs`",
            retryable=False,
        )
    reason = cause.reason or ""
    if reason in _PLAIN_REASONS:
        return NoTLS(
            f"{begin}: TLS: the server answered without it",
            hint="if this registry speaks plain HTTP only, set `insecure: true`",
            retryable=False,
        )
    if isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError) or "EOF" in reason:
        return NoTLS(f"{begin}: TLS: the server closed the connection", hint=_EOF_HINT)
    hint = None
    if reason.endswith(_CLIENT_CERTIFICATE):
        hint = _CLIENT_CERTIFICATE_HINT
    return TransportError(f"{begin}: TLS: {reason.replace('_', ' ').lower() or cause}", hint=hint, retryable=False)


def _explain_socket(chain: list[BaseException], begin: str) -> TransportError | None:
    def among(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in chain)

    lookup = next((cause for cause in chain if isinstance(cause, socket.gaierror)), None)
    if lookup is not None:
        return TransportError(
            f"{begin}: DNS: {lookup.strerror}",
            hint="is the host in `repository` spelled right, and does the worker resolve it?",
            retryable=lookup.errno != socket.EAI_NONAME,
        )
    if among(ConnectionRefusedError):
        return NoTLS(f"{begin}: connection refused", hint="nothing listens there: is the port right?")
    if among(ConnectionResetError, BrokenPipeError):
        return NoTLS(f"{begin}: the connection was reset")
    if among(IncompleteRead):
        return TransportError(f"{begin}: the connection ended before the answer did")
    if among(NewConnectionError):
        return NoTLS(f"{begin}: no connection: {_last_words(chain)}")
    if among(ConnectTimeoutError):  # of which urllib3 makes NewConnectionError a kind
        return NoTLS(f"{begin}: no connection in time", hint="is a firewall in between, or a proxy needed?")
    if among(TimeoutError):
        return NoTLS(f"{begin}: stalled: no byte came in time")
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """``error`` and all it came from, outermost first: urllib3 keeps causes in `reason` and in its arguments.

    Not its context: where plain HTTP fails too, that would be what TLS said before.
    """
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        item = waiting.pop(0)
        if isinstance(item, BaseException) and id(item) not in seen:
            seen.add(id(item))
            yield item
            waiting += [getattr(item, "reason", None), *item.args, item.__cause__]


def _last_words(chain: list[BaseException]) -> str:
    # Libraries repeat addresses in their texts, and what follows a question mark may be a presigned one's secret.
    return quote(str(chain[-1]).partition("?")[0] or type(chain[-1]).__name__)
