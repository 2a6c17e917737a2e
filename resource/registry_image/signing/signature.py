"""A signature of either form: its bytes, what they sign, and the certificate, log entry and timestamps beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from registry_image.decode import JSONReader
from registry_image.errors import quote
from registry_image.oci.digest import Digest
from registry_image.signing import claims
from registry_image.signing.entry import LogEntry, read_bundle_entry, read_classic_entry
from registry_image.signing.reading import Rejected, base64_of, der_of, read_base64

SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
#: The same format under its other name (sigstore's protobuf-specs).
BUNDLE_ALIAS = "application/vnd.dev.sigstore.bundle+json;version=0.3"

#: On a bundle's manifest, and so in the list of referrers: what its statement says.
PREDICATE_ANNOTATION = "dev.sigstore.bundle.predicateType"

SIGNATURE_ANNOTATION = "dev.cosignproject.cosign/signature"
CERTIFICATE_ANNOTATION = "dev.sigstore.cosign/certificate"
ENTRY_ANNOTATION = "dev.sigstore.cosign/bundle"
TIMESTAMP_ANNOTATION = "dev.sigstore.cosign/rfc3161timestamp"

#: The most RFC 3161 timestamps of one signature, as sigstore's own clients bound them.
MAX_TIMESTAMPS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """``value`` signs ``message``: in the classic form the payload itself, in a bundle its DSSE encoding.

    ``certificate`` is DER, empty for a signature by key. ``hint`` is the bundle's name for the key, which proves
    nothing. ``timestamps`` are RFC 3161 responses in DER.
    """

    classic: bool
    payload: bytes
    message: bytes
    value: bytes
    certificate: bytes = b""
    hint: str = ""
    entry: LogEntry | None = None
    timestamps: tuple[bytes, ...] = ()

    def annotations(self, digest: Digest) -> dict[str, str]:
        """What the signer added. Raises Rejected, or InvalidManifest, unless it is a signature of ``digest``."""
        read = claims.read_simple_payload if self.classic else claims.read_statement
        return read(self.payload, digest)


def read_classic(annotations: Mapping[str, str], payload: bytes) -> Signature:
    """From a layer of cosign's ``.sig`` image. Raises Rejected or InvalidManifest."""
    if not (value := annotations.get(SIGNATURE_ANNOTATION, "")):
        raise Rejected(f"no annotation {SIGNATURE_ANNOTATION}")
    timestamps: tuple[bytes, ...] = ()
    if stamped := annotations.get(TIMESTAMP_ANNOTATION):
        timestamps = (read_base64(JSONReader.parse(stamped, "timestamp"), "SignedRFC3161Timestamp"),)
    entry = annotations.get(ENTRY_ANNOTATION)
    certificate = annotations.get(CERTIFICATE_ANNOTATION)
    return Signature(
        classic=True,
        payload=payload,
        message=payload,
        value=base64_of(value, "signature"),
        certificate=der_of(certificate.encode("ascii", "replace")) if certificate else b"",
        entry=read_classic_entry(entry) if entry else None,
        timestamps=timestamps,
    )


def read_bundle(raw: bytes) -> Signature:
    """From a bundle v0.3 with a DSSE envelope. Raises Rejected or InvalidManifest."""
    bundle = JSONReader.parse(raw, "bundle")
    if (kind := bundle.text("mediaType")) not in (BUNDLE, BUNDLE_ALIAS):
        raise Rejected(f"a bundle of type {quote(kind)}: expected v0.3")
    material, envelope = bundle.child("verificationMaterial"), bundle.child("dsseEnvelope")
    signatures = tuple(envelope.children("signatures"))
    if len(signatures) != 1:
        raise Rejected(f"{len(signatures)} signatures in one envelope: expected one")
    if (payload_type := envelope.text("payloadType")) != claims.PAYLOAD_TYPE:
        raise Rejected(f"an envelope of {quote(payload_type)}: expected {claims.PAYLOAD_TYPE}")
    entries = tuple(material.children("tlogEntries"))
    if len(entries) > 1:
        raise Rejected(f"{len(entries)} log entries in one bundle: expected one")
    payload = read_base64(envelope, "payload")
    return Signature(
        classic=False,
        payload=payload,
        message=claims.pre_authentication_encoding(payload_type, payload),
        value=read_base64(signatures[0], "sig"),
        certificate=read_base64(material.child("certificate"), "rawBytes") if material.has("certificate") else b"",
        hint=material.child("publicKey").text("hint", "") if material.has("publicKey") else "",
        entry=read_bundle_entry(entries[0]) if entries else None,
        timestamps=_read_timestamps(material),
    )


def _read_timestamps(material: JSONReader) -> tuple[bytes, ...]:
    if not material.has("timestampVerificationData"):
        return ()
    found = tuple(material.child("timestampVerificationData").children("rfc3161Timestamps"))
    if len(found) > MAX_TIMESTAMPS:
        raise Rejected(f"{len(found)} timestamps: more than {MAX_TIMESTAMPS}")
    timestamps = tuple(read_base64(each, "signedTimestamp") for each in found)
    if len(set(timestamps)) != len(timestamps):
        raise Rejected("the same timestamp twice")
    return timestamps
