"""The client certificate that a source has for a server: its text, which `net.tls` loads."""

from __future__ import annotations

from registry_image.record import Hidden, record


@record(kw_only=True)
class ClientCertificate:
    """A certificate chain and its key, both PEM text, shown only to ``host`` (host[:port]); "" is every server."""

    certificate: str
    key: Hidden[str]
    host: str = ""
