"""Whether a host speaks TLS or, where that is allowed, plain HTTP: found out once (docs/adr/0031)."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from registry_image.net.http import StreamingReply
from registry_image.net.transport_error import NoTLS

#: Seconds for TLS to come about where plain HTTP is allowed, four times as long after each time it was too short: a
#: plain server may wait for ever for the end of what it takes for a request line, as Python's does.
PROBE_TIMEOUT = 0.3
#: Seconds that the longest probe takes, as long as any other connection may.
MAX_PROBE_TIMEOUT = 15.0


class Schemes:
    """What is known of each host. All addresses of registries are https until a host is found to be plain."""

    def __init__(self) -> None:
        self._plain_allowed: set[str] = set()
        self._plain: dict[str, bool] = {}
        self._patience: dict[str, float] = {}

    def allow_plain_http(self, host: str) -> None:
        """From now on ``https://host`` means plain HTTP where no TLS answers (a bad certificate stays an error)."""
        self._plain_allowed.add(host)

    def is_unknown(self, url: str) -> bool:
        """Whether ``find`` must find out first: plain HTTP is allowed there, and nothing has answered yet."""
        host = _host(url)
        return host in self._plain_allowed and host not in self._plain

    def apply(self, url: str) -> str:
        """``url`` in the scheme that its host was found to speak."""
        return _in_clear(url) if self._plain.get(_host(url)) else url

    def find(
        self, url: str, probe: Callable[[float], StreamingReply], send_in_clear: Callable[[str], StreamingReply]
    ) -> StreamingReply:
        """The first answer that ``url`` gives: to ``probe`` over TLS, which is given the seconds to connect in, or to
        ``send_in_clear``, which is given the address for it. Raises what they raise."""
        host = _host(url)
        patience = self._patience.get(host, PROBE_TIMEOUT)
        try:
            reply = probe(patience)
        except NoTLS as error:
            self._patience[host] = min(MAX_PROBE_TIMEOUT, patience * 4)
            reply = send_in_clear(_in_clear(url))
            if error.retryable and _wants_tls(reply):
                reply.close()
                raise  # TLS only failed for once
            self._plain[host] = True
        else:
            self._plain[host] = False
        return reply


def _wants_tls(reply: StreamingReply) -> bool:
    """Whether it is what Go, nginx and Apache say to plain HTTP where TLS is meant."""
    return reply.status == HTTPStatus.BAD_REQUEST or reply.headers.get("location").startswith("https:")


def _host(url: str) -> str:
    """Host and port of an https address."""
    return url.removeprefix("https://").partition("/")[0]


def _in_clear(url: str) -> str:
    return url.replace("https", "http", 1)
