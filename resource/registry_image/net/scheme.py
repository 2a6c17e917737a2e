"""Whether a host speaks TLS or, where that is allowed, plain HTTP. Each host is probed once (docs/adr/0031)."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from registry_image.net.http import StreamingReply
from registry_image.net.transport_error import NoTLS

#: Seconds for the TLS handshake where plain HTTP is allowed; quadrupled after each failure. It must be short: to a
#: plain server such as Python's, the handshake looks like a request line that has not ended yet.
PROBE_TIMEOUT = 0.3
#: Seconds for the longest probe, as for any other connection.
MAX_PROBE_TIMEOUT = 15.0


class Schemes:
    """The scheme of each host. Addresses of registries are https until a probe finds plain HTTP."""

    def __init__(self) -> None:
        self._plain_allowed: set[str] = set()
        self._plain: dict[str, bool] = {}
        self._timeouts: dict[str, float] = {}

    def allow_plain_http(self, host: str) -> None:
        """From now on ``host`` may answer by plain HTTP if it has no TLS; a bad certificate stays an error."""
        self._plain_allowed.add(host)

    def is_unknown(self, url: str) -> bool:
        """Whether the host still has to be probed by `find`."""
        host = _host(url)
        return host in self._plain_allowed and host not in self._plain

    def apply(self, url: str) -> str:
        """``url`` with the scheme of its host."""
        return _plain_url(url) if self._plain.get(_host(url)) else url

    def find(
        self, url: str, probe: Callable[[float], StreamingReply], send_plain: Callable[[str], StreamingReply]
    ) -> StreamingReply:
        """The answer by TLS or, without TLS, by plain HTTP; later addresses of the host get the same scheme.

        ``probe`` takes the seconds to connect in, ``send_plain`` the http address. Raises what they raise.
        """
        host = _host(url)
        timeout = self._timeouts.get(host, PROBE_TIMEOUT)
        try:
            reply = probe(timeout)
        except NoTLS as error:
            self._timeouts[host] = min(MAX_PROBE_TIMEOUT, timeout * 4)
            reply = send_plain(_plain_url(url))
            if error.retryable and _wants_tls(reply):
                reply.close()
                raise  # the server has TLS, it only failed this time
            self._plain[host] = True
        else:
            self._plain[host] = False
        return reply


def _wants_tls(reply: StreamingReply) -> bool:
    """Whether the answer to plain HTTP is a TLS server's (of Go, nginx, Apache): 400, or a redirect to https."""
    return reply.status == HTTPStatus.BAD_REQUEST or reply.headers.get("location").startswith("https:")


def _host(url: str) -> str:
    return url.removeprefix("https://").partition("/")[0]


def _plain_url(url: str) -> str:
    return url.replace("https", "http", 1)
