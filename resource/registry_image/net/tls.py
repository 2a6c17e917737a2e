"""Whom we believe: the system's roots plus the pipeline's own; and who we are to servers that ask for a certificate."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field

from registry_image.errors import RequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCertificate:
    """A certificate chain and its key, both PEM text, shown only to ``host`` (host[:port]); "" is every server."""

    certificate: str
    key: str = field(repr=False)
    host: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TLS:
    """``ca_certs``: PEM texts, added to the system's store (never to a list that a Python package ships)."""

    ca_certs: tuple[str, ...] = ()
    client_certs: tuple[ClientCertificate, ...] = ()

    def certificate_for(self, host: str) -> ClientCertificate | None:
        """The first that names ``host``, else the first that names none."""
        named = (item for item in self.client_certs if item.host == host)
        return next(named, next((item for item in self.client_certs if not item.host), None))

    def context(self, certificate: ClientCertificate | None) -> ssl.SSLContext:
        """Trusts the authorities that the system's store keeps in files of their own, found as they are needed; see
        `trust_bundle` for the rest. Raises RequestError, naming the field, for what is no certificate."""
        # Where OpenSSL finds the system's store: SSL_CERT_DIR, else mostly /etc/ssl/certs. Without such a directory,
        # all of the store is read here.
        context = ssl.create_default_context(capath=ssl.get_default_verify_paths().capath)
        # Strict since Python 3.13: it refuses private authorities whose certificates lack an extension, as many do.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        for position, pem in enumerate(self.ca_certs):
            try:
                # Bundles name authorities in comments, in any language; only what PEM itself is made of counts.
                context.load_verify_locations(cadata=pem.encode("ascii", "ignore").decode("ascii"))
            except (ssl.SSLError, ValueError) as error:
                raise RequestError(
                    f"source.ca_certs[{position}]: no certificate can be read from it",
                    hint="each entry is the text of a PEM file, BEGIN CERTIFICATE line and all",
                ) from error
        if certificate is not None:
            _load_chain(context, certificate)
        return context


def trust_bundle(context: ssl.SSLContext) -> None:
    """Adds the system's store in one file (SSL_CERT_FILE, else ca-certificates.crt): all there is where a worker's
    certificates are mounted without the files that their links lead to.

    Reading it takes 20 ms of CPU time, twice what starting Python does, so it is left until a certificate is doubted.
    """
    context.load_default_certs()


def _load_chain(context: ssl.SSLContext, certificate: ClientCertificate) -> None:
    # OpenSSL's wrapper reads keys from files only. An unnamed file in memory keeps ours off the disk, where other
    # teams' containers could find it.
    handle = os.memfd_create("client-certificate", os.MFD_CLOEXEC)
    try:
        os.write(handle, f"{certificate.certificate}\n{certificate.key}\n".encode())
        context.load_cert_chain(f"/proc/self/fd/{handle}", password=_no_password)
    except (OSError, ValueError) as error:
        reason = error.reason if isinstance(error, ssl.SSLError) else str(error)
        raise RequestError(
            "source.client_certs: the certificate or its key cannot be used" + (f": {reason}" if reason else ""),
            hint="both are PEM texts, the key without a password",
        ) from error
    finally:
        os.close(handle)


def _no_password() -> str:
    # Without it OpenSSL would ask a terminal that is not there.
    raise ValueError("the key is encrypted")
