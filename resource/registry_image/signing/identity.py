"""Keyless signatures: verifies the certificate that one was made with, and reads whom it names.

This needs no network. A certificate is valid for ten minutes, so a log or a timestamp authority of the trusted root
must say that the signature existed in that time.
"""

from __future__ import annotations

import hashlib
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509 import verification
from cryptography.x509.certificate_transparency import LogEntryType, SignedCertificateTimestamp
from cryptography.x509.oid import ExtendedKeyUsageOID

from registry_image.errors import quote
from registry_image.signing.keys import accept_key
from registry_image.signing.log import verify_entry
from registry_image.signing.reading import Rejected
from registry_image.signing.signature import Signature
from registry_image.signing.timestamp import verified_times
from registry_image.signing.trust import Authority, Log, TrustedRoot

#: Fulcio's extensions for the issuer, which logged the signer in: a DER UTF8String, and before that the bare text.
_ISSUER = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_ISSUER_V1 = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_UTF8_STRING = 0x0C
#: Held while the filters of warnings are changed: they are the process's, and the library may verify in many threads.
_FILTERS = threading.Lock()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: What `cryptography` raises for a certificate that breaks its format, when that part is read; its warning of what it
#: will refuse some day; and what `datetime` raises for a time after the year 9999.
_MALFORMED = (
    CryptographyDeprecationWarning,
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a certificate names: ``subjects`` are e-mail addresses and URIs, for which ``issuer`` vouches."""

    issuer: str
    subjects: tuple[str, ...]


def verify_identity(signature: Signature, root: TrustedRoot) -> Identity:
    """Who made the signature. Raises Rejected, or InvalidManifest, which say what is wrong."""
    with _wellformed():
        certificate = x509.load_der_x509_certificate(signature.certificate)
        key = accept_key(certificate.public_key())
        # sigstore's own verifier knows no other hash here, whatever the curve.
        if not key.verifies(signature.value, signature.message, only_sha256=True):
            raise Rejected("its signature is not by its certificate's key")
        if signature.entry is None:
            raise Rejected("it has no log entry")
        log = _find(root.logs, signature.entry.log_id, "its log entry is of a log that is not trusted")
        promised = verify_entry(signature.entry, signature, key, log)
        times = [] if promised is None else [promised]
        if signature.timestamps and not root.timestamp_authorities:
            raise Rejected("it has a timestamp, and the trusted root names no timestamp authority")
        times += verified_times(signature, root.timestamp_authorities)
        if not times:
            raise Rejected("no trusted time: neither its log nor a trusted timestamp authority says when it was made")
        for time in times:
            if time not in log.valid:
                raise Rejected(f"its log was not trusted at that time ({time:%Y-%m-%d %H:%M:%S})")
            chain = _verify_chain(certificate, root.authorities, time)
            _verify_certificate_log(certificate, chain[1], root.certificate_logs)
        _verify_usage(certificate)
        return Identity(issuer=_issuer(certificate), subjects=_subjects(certificate))


@contextmanager
def _wellformed() -> Iterator[None]:
    try:
        with _FILTERS, warnings.catch_warnings():
            warnings.simplefilter("error", CryptographyDeprecationWarning)
            yield
    except _MALFORMED as error:
        raise Rejected(f"its certificate cannot be read: {quote(str(error), limit=80)}") from None


def _find(logs: tuple[Log, ...], log_id: bytes, problem: str) -> Log:
    for log in logs:
        if log.id == log_id:
            return log
    raise Rejected(f"{problem}: {log_id.hex()[:64]}")


def _verify_chain(
    certificate: x509.Certificate, authorities: tuple[Authority, ...], time: datetime
) -> list[x509.Certificate]:
    """The chain from ``certificate`` to the root of a trusted authority. Raises Rejected unless all of it was valid at
    ``time``."""
    reason = "no authority was trusted at that time"
    for authority in authorities:
        if time not in authority.valid:
            continue
        # The default extension policies are for TLS and refuse the extended key usage of code signing.
        verifier = (
            verification.PolicyBuilder()
            .store(verification.Store([authority.chain[-1]]))
            .time(time)
            .extension_policies(
                ca_policy=verification.ExtensionPolicy.webpki_defaults_ca().may_be_present(
                    x509.ExtendedKeyUsage, verification.Criticality.NON_CRITICAL, _may_sign_code
                ),
                ee_policy=verification.ExtensionPolicy.webpki_defaults_ee().may_be_present(
                    x509.ExtendedKeyUsage, verification.Criticality.NON_CRITICAL, None
                ),
            )
            .build_client_verifier()
        )
        try:
            return verifier.verify(certificate, list(authority.chain[:-1])).chain
        except verification.VerificationError as error:
            reason = str(error)
    raise Rejected(f"its certificate is not one of a trusted authority at {time:%Y-%m-%d %H:%M:%S}: {quote(reason)}")


def _may_sign_code(_: object, __: x509.Certificate, usage: x509.ExtendedKeyUsage | None) -> None:
    if usage is not None and ExtendedKeyUsageOID.CODE_SIGNING not in usage:
        raise ValueError("an authority whose certificates are not for code signing")


def _verify_usage(certificate: x509.Certificate) -> None:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        extended = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        raise Rejected("its certificate does not say that it is for code signing") from None
    if not usage.digital_signature or ExtendedKeyUsageOID.CODE_SIGNING not in extended:
        raise Rejected("its certificate is not for code signing")


def _verify_certificate_log(certificate: x509.Certificate, issuer: x509.Certificate, logs: tuple[Log, ...]) -> None:
    """The embedded SCT: a trusted log promised to show the certificate to everybody (RFC 6962, 3.2)."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.PrecertificateSignedCertificateTimestamps).value
    except x509.ExtensionNotFound:
        raise Rejected("its certificate has no certificate timestamp (SCT)") from None
    if len(found) != 1:
        raise Rejected(f"its certificate has {len(found)} certificate timestamps (SCT): expected one")
    sct = found[0]
    log = _find(logs, sct.log_id, "its certificate is of a certificate log that is not trusted")
    time = sct.timestamp.replace(tzinfo=UTC)
    if time not in log.valid:
        raise Rejected(f"its certificate's log was not trusted at {time:%Y-%m-%d %H:%M:%S}")
    if not isinstance(sct.signature_hash_algorithm, hashes.SHA256):
        raise Rejected("its certificate timestamp (SCT) is not of SHA-256")
    if not log.key.verifies(sct.signature, _signed_by_log(sct, time, certificate, issuer)):
        raise Rejected("its certificate timestamp (SCT) is not the log's")


def _signed_by_log(
    sct: SignedCertificateTimestamp, time: datetime, certificate: x509.Certificate, issuer: x509.Certificate
) -> bytes:
    """What an SCT's signature is over: version, kind, time, the issuer's key and the certificate without its SCT."""
    issuer_key = issuer.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    precertificate = certificate.tbs_precertificate_bytes
    return b"".join(
        (
            bytes((sct.version.value, 0)),
            ((time - _EPOCH) // timedelta(milliseconds=1)).to_bytes(8, "big"),
            LogEntryType.PRE_CERTIFICATE.value.to_bytes(2, "big"),
            hashlib.sha256(issuer_key).digest(),
            len(precertificate).to_bytes(3, "big"),
            precertificate,
            len(sct.extension_bytes).to_bytes(2, "big"),
            sct.extension_bytes,
        )
    )


def _issuer(certificate: x509.Certificate) -> str:
    values = {
        each.oid: each.value.value
        for each in certificate.extensions
        if isinstance(each.value, x509.UnrecognizedExtension)
    }
    if _ISSUER in values:
        return _utf8_string(values[_ISSUER])
    if _ISSUER_V1 in values:
        return values[_ISSUER_V1].decode()
    raise Rejected("its certificate names no issuer")


def _utf8_string(der: bytes) -> str:
    """The text of a DER UTF8String that is all of ``der``."""
    if len(der) < 2 or der[0] != _UTF8_STRING:
        raise Rejected("its certificate's issuer is not a UTF8String")
    length, start = der[1], 2
    if length > 0x80:
        start += length - 0x80
        length = int.from_bytes(der[2:start], "big")
    if len(der) != start + length:
        raise Rejected("its certificate's issuer is not a UTF8String")
    return der[start:].decode()


def _subjects(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        raise Rejected("its certificate names nobody") from None
    found = (*names.get_values_for_type(x509.RFC822Name), *names.get_values_for_type(x509.UniformResourceIdentifier))
    if not found:
        raise Rejected("its certificate names nobody by an e-mail address or a URI")
    return found
