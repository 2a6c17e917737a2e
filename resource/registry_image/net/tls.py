"""The certificate authorities that are trusted, and the client certificates that are shown."""

from __future__ import annotations

import contextlib
import os
import re
import ssl
import stat

from registry_image.errors import RequestError
from registry_image.net.certificate import ClientCertificate
from registry_image.record import record

_HTTPS = ":443"
#: The names under which OpenSSL looks for an authority in a directory. Compiled when first used, which is hardly ever.
_BY_HASH = r"[0-9a-f]{8}\.[0-9]+"


@record(kw_only=True)
class TLS:
    """``ca_certs``: PEM texts, added to the system's store (never to a list that a Python package ships)."""

    ca_certs: tuple[str, ...] = ()
    client_certs: tuple[ClientCertificate, ...] = ()

    def certificate_for(self, host: str) -> ClientCertificate | None:
        """The first for ``host``, else the first for every server."""
        name = host.removesuffix(_HTTPS)
        named = (item for item in self.client_certs if item.host.lower().removesuffix(_HTTPS) == name)
        return next(named, next((item for item in self.client_certs if not item.host), None))

    def context(self, certificate: ClientCertificate | None) -> ssl.SSLContext:
        """Trusts the system's authorities that have files of their own, which OpenSSL reads on demand; `trust_bundle`
        adds the others. Raises RequestError, naming the field, for an invalid certificate."""
        # The directory is SSL_CERT_DIR, else mostly /etc/ssl/certs. Without one, this reads the whole bundle.
        context = ssl.create_default_context(capath=ssl.get_default_verify_paths().capath)
        # Python 3.13 sets it (cpython#107361). It refuses certificates without a key identifier, which many private
        # authorities issue.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        for position, pem in enumerate(self.ca_certs):
            try:
                # OpenSSL takes ASCII only, and bundles name authorities in comments in any language.
                context.load_verify_locations(cadata=pem.encode("ascii", "ignore").decode("ascii"))
            except (ssl.SSLError, ValueError) as error:
                raise RequestError(
                    f"source.ca_certs[{position}]: no certificate can be read from it",
                    hint="each entry is the text of a PEM file, BEGIN CERTIFICATE line and all",
                ) from error
        if certificate is not None:
            _load_chain(context, certificate, f"source.client_certs[{self.client_certs.index(certificate)}]")
        return context


def trust_bundle(context: ssl.SSLContext) -> None:
    """Adds the system's authorities that OpenSSL does not look up by itself: those of the bundle (SSL_CERT_FILE, else
    ca-certificates.crt), and those in other files of the directory.

    A worker may mount its certificates without the files that their links lead to; then only the bundle has them. Or it
    adds a file that is neither linked nor in the bundle, as with `workerAdditionalCerts` of Concourse's Helm chart;
    registry-image, as all tools in Go, reads every file there. Reading the bundle takes 20 ms of CPU time, twice what
    starting Python does, so all this waits for a certificate that is not trusted without it.
    """
    context.load_default_certs()
    paths = ssl.get_default_verify_paths()
    if paths.capath is not None:
        for path in _other_files(paths.capath, paths.cafile):
            with contextlib.suppress(OSError):  # it holds no certificate
                context.load_verify_locations(path)


def _other_files(directory: str, bundle: str | None) -> list[str]:
    """The files in ``directory`` that are not the bundle and have no link by hash, each once."""
    found = [bundle] if bundle else []
    with contextlib.suppress(OSError):  # a directory that may not be read
        found += os.listdir(directory)
    names: dict[tuple[int, int], list[str]] = {}
    for name in found:
        with contextlib.suppress(OSError):  # a link that leads nowhere
            status = os.stat(os.path.join(directory, name))
            if stat.S_ISREG(status.st_mode):
                names.setdefault((status.st_dev, status.st_ino), []).append(name)
    return [
        os.path.join(directory, each[0])
        for each in names.values()
        if bundle not in each and not any(re.fullmatch(_BY_HASH, name) for name in each)
    ]


def _load_chain(context: ssl.SSLContext, certificate: ClientCertificate, field: str) -> None:
    # Python's ssl reads keys from files only. An unnamed file in memory keeps ours off the disk, where other teams'
    # containers could find it.
    handle = os.memfd_create("client-certificate", os.MFD_CLOEXEC)
    try:
        os.write(handle, f"{certificate.certificate}\n{certificate.key}\n".encode())
        context.load_cert_chain(f"/proc/self/fd/{handle}", password=_no_password)
    except (OSError, ValueError) as error:
        reason = error.reason if isinstance(error, ssl.SSLError) else str(error)
        if reason == "KEY_VALUES_MISMATCH":
            raise RequestError(f"{field}: the key does not belong to the certificate") from error
        raise RequestError(
            f"{field}: the certificate or its key cannot be used" + (f": {reason}" if reason else ""),
            hint="`cert` and `key` are PEM texts, BEGIN lines and all, the key without a password",
        ) from error
    finally:
        os.close(handle)


def _no_password() -> str:
    # Without this function OpenSSL would ask on the terminal.
    raise ValueError("the key is encrypted")
