"""What the certificate of a server says about itself. Imported only after it was refused, to explain why."""

from __future__ import annotations

import ssl
from contextlib import suppress
from datetime import UTC, datetime

from cryptography import x509

from registry_image.errors import quote

#: Seconds to fetch the certificate again.
_TIMEOUT = 5.0
#: How many names an error lists.
_SHOWN = 5


def validity(host: str, port: int) -> str | None:
    """Such as ``valid from 2026-01-01 to 2026-04-01; it is now 2026-05-02 09:30 UTC``; "" if it is valid now, None if
    it cannot be had."""
    certificate = _certificate(host, port)
    if certificate is None:
        return None
    first, now, last = certificate.not_valid_before_utc, datetime.now(UTC), certificate.not_valid_after_utc
    if first <= now <= last:
        return ""
    return f"valid from {first:%Y-%m-%d} to {last:%Y-%m-%d}; it is now {now:%Y-%m-%d %H:%M} UTC"


def names(host: str, port: int) -> str:
    """The names that it is for, such as ``'a.example', 'b.example'``; "" if it cannot be had."""
    certificate = _certificate(host, port)
    if certificate is None:
        return ""
    found: list[str] = []
    with suppress(x509.ExtensionNotFound, ValueError):
        listed = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found = [str(name.value) for name in listed if isinstance(name, x509.DNSName | x509.IPAddress)]
    shown = ", ".join(quote(name) for name in found[:_SHOWN]) or "no name at all"
    return shown + (f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")


def _certificate(host: str, port: int) -> x509.Certificate | None:
    """Not verified: it is only to be shown. The connection carries nothing of ours."""
    with suppress(OSError, ValueError):
        return x509.load_pem_x509_certificate(ssl.get_server_certificate((host, port), timeout=_TIMEOUT).encode())
    return None
