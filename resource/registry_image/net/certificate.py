"""The client certificate that a source has for a server: its text, which `net.tls` loads."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCertificate:
    """A certificate chain and its key, both PEM text, shown only to ``host`` (host[:port]); "" is every server."""

    certificate: str
    key: str = field(repr=False)
    host: str = ""
