"""Whom we believe: the system's roots plus the pipeline's own; and who we are to servers that ask for a certificate."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCertificate:
    """A certificate chain and its key, both PEM text, shown to ``host`` (host[:port]) only; "" shows it to every server."""

    certificate: str
    key: str = field(repr=False)
    host: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TLS:
    """``ca_certs``: PEM texts, added to the system's store (never to a list that a Python package ships)."""

    ca_certs: tuple[str, ...] = ()
    client_certs: tuple[ClientCertificate, ...] = ()
