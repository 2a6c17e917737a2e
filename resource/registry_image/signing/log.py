"""Verifies, offline, that a transparency log's entry is this signature's, and that the log vouches for it.

In the order of sigstore's client specification: the entry's body, the log's promise (SET), its proof of inclusion.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric import ec

from registry_image.decode import JSONReader
from registry_image.errors import quote
from registry_image.signing.entry import InclusionProof, LogEntry
from registry_image.signing.keys import PublicKey
from registry_image.signing.reading import Rejected, base64_of, der_of, read_base64
from registry_image.signing.signature import Signature
from registry_image.signing.trust import Log

#: Rekor v2's names for what a signature is made with (sigstore's algorithm registry), and the hash of its digest.
_DETAILS = {
    "secp256r1": ("PKIX_ECDSA_P256_SHA_256", "SHA2_256", hashlib.sha256),
    "secp384r1": ("PKIX_ECDSA_P384_SHA_384", "SHA2_384", hashlib.sha384),
    "secp521r1": ("PKIX_ECDSA_P521_SHA_512", "SHA2_512", hashlib.sha512),
}
#: A line of a signed note: an em dash, the signer's name, base64 (C2SP, signed-note).
_NOTE_SIGNATURE = re.compile(r"\u2014 \S+ (\S+)")
#: The bytes of the key's identifier before a note's signature.
_NOTE_KEY_SIZE = 4


def verify_entry(entry: LogEntry, signature: Signature, key: PublicKey, log: Log) -> datetime | None:
    """The time at which the log promised to hold the signature, or None where it gives a proof and no promise.

    Raises Rejected or InvalidManifest. The caller checks that ``log.valid`` contains the time.
    """
    kind = _verify_body(entry, signature, key)
    if not entry.promise and entry.proof is None:
        raise Rejected("its log entry has neither a signed entry timestamp nor an inclusion proof")
    time = None
    if entry.promise:
        # Only the promise signs the time, and only Rekor v1 gives promises.
        if kind[1] != "0.0.1":
            raise Rejected(f"its log entry of kind {' '.join(kind)} has a signed entry timestamp")
        _verify_promise(entry, log)
        time = datetime.fromtimestamp(entry.integrated_time, UTC)
    if entry.proof is not None:
        _verify_proof(entry.body, entry.proof, log)
    return time


def _verify_promise(entry: LogEntry, log: Log) -> None:
    signed = {
        "body": base64.b64encode(entry.body).decode(),
        "integratedTime": entry.integrated_time,
        "logID": entry.log_id.hex(),
        "logIndex": entry.log_index,
    }
    # Canonical JSON (RFC 8785): for these keys and values that is sorted and without spaces.
    canonical = json.dumps(signed, separators=(",", ":"), sort_keys=True).encode()
    if not log.key.verifies(entry.promise, canonical):
        raise Rejected("its signed entry timestamp is not the log's")


def _verify_body(entry: LogEntry, signature: Signature, key: PublicKey) -> tuple[str, str]:
    """The body's kind and version. Raises Rejected unless it names this payload, signature and certificate.

    Otherwise an attacker could add the entry of a logged signature to one that was never logged (CVE-2022-36056).
    """
    body = JSONReader.parse(entry.body, "log entry")
    kind = body.text("kind"), body.text("apiVersion")
    if entry.kind is not None and entry.kind != kind:
        raise Rejected(f"its log entry says {' '.join(entry.kind)} outside and {' '.join(kind)} inside")
    spec = body.child("spec")
    if kind == ("hashedrekord", "0.0.1"):
        _verify_hashedrekord(spec, signature)
    elif kind == ("dsse", "0.0.1"):
        _verify_dsse(spec, signature)
    elif kind == ("hashedrekord", "0.0.2"):
        _verify_hashedrekord_v2(spec.child("hashedRekordV002"), signature, key)
    else:
        raise Rejected(f"its log entry is of kind {quote(' '.join(kind))}: expected hashedrekord or dsse")
    return kind


def _verify_hashedrekord(spec: JSONReader, signature: Signature) -> None:
    digest, signed = spec.child("data").child("hash"), spec.child("signature")
    logged = digest.text("algorithm"), digest.text("value")
    _require(logged == ("sha256", hashlib.sha256(signature.message).hexdigest()), "payload")
    _require(read_base64(signed, "content") == signature.value, "signature")
    _require(der_of(read_base64(signed.child("publicKey"), "content")) == signature.certificate, "certificate")


def _verify_dsse(spec: JSONReader, signature: Signature) -> None:
    # The entry has a hash of the whole envelope too, which cannot be checked: its JSON has no canonical form.
    digest = spec.child("payloadHash")
    logged = digest.text("algorithm"), digest.text("value")
    _require(logged == ("sha256", hashlib.sha256(signature.payload).hexdigest()), "payload")
    signatures = tuple(spec.children("signatures"))
    _require(len(signatures) == 1 and read_base64(signatures[0], "signature") == signature.value, "signature")
    _require(der_of(read_base64(signatures[0], "verifier")) == signature.certificate, "certificate")


def _verify_hashedrekord_v2(spec: JSONReader, signature: Signature, key: PublicKey) -> None:
    data, signed = spec.child("data"), spec.child("signature")
    verifier = signed.child("verifier")
    details = _DETAILS.get(key.key.curve.name) if isinstance(key.key, ec.EllipticCurvePublicKey) else None
    if details is None or verifier.text("keyDetails") != details[0]:
        raise Rejected(f"its log entry is of a key {quote(verifier.text('keyDetails'))}, which its certificate has not")
    logged = data.text("algorithm"), read_base64(data, "digest")
    _require(logged == (details[1], details[2](signature.message).digest()), "payload")
    _require(read_base64(signed, "content") == signature.value, "signature")
    _require(read_base64(verifier.child("x509Certificate"), "rawBytes") == signature.certificate, "certificate")


def _require(same: bool, what: str) -> None:
    if not same:
        raise Rejected(f"its log entry is of another {what}")


def _verify_proof(body: bytes, proof: InclusionProof, log: Log) -> None:
    """RFC 9162, 2.1.3.2, against the tree that the log's checkpoint signs."""
    size, root = _verify_checkpoint(proof.checkpoint, log)
    if (proof.tree_size, proof.root_hash) != (size, root):
        raise Rejected("its inclusion proof is of another tree than the log's checkpoint")
    if proof.log_index >= size:
        raise Rejected("its inclusion proof is of an entry that the log does not have")
    if _root(hashlib.sha256(b"\0" + body).digest(), proof) != root:
        raise Rejected("its inclusion proof does not lead to the log's root")


def _root(leaf: bytes, proof: InclusionProof) -> bytes:
    """The root that the path leads to; empty if it is too long or too short."""
    index, last, found = proof.log_index, proof.tree_size - 1, leaf
    for sibling in proof.hashes:
        if last == 0:
            return b""
        if index & 1 or index == last:
            found = hashlib.sha256(b"\1" + sibling + found).digest()
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            found = hashlib.sha256(b"\1" + found + sibling).digest()
        index, last = index >> 1, last >> 1
    return found if last == 0 else b""


def _verify_checkpoint(text: str, log: Log) -> tuple[int, bytes]:
    """The size and root hash of the tree that the log's key signs (C2SP, tlog-checkpoint)."""
    note, separator, signatures = text.partition("\n\n")
    lines = note.split("\n")
    if not separator or len(lines) < 3 or not re.fullmatch(r"[0-9]{1,19}", lines[1], re.ASCII):
        raise Rejected("its inclusion proof has no checkpoint that can be read")
    for line in signatures.split("\n"):
        if match := _NOTE_SIGNATURE.fullmatch(line):
            signed = base64_of(match[1], "checkpoint")
            if signed[:_NOTE_KEY_SIZE] != log.id[:_NOTE_KEY_SIZE]:
                continue
            if log.key.verifies(signed[_NOTE_KEY_SIZE:], f"{note}\n".encode()):
                return int(lines[1]), base64_of(lines[2], "checkpoint")
    raise Rejected("its inclusion proof's checkpoint is not signed by the log")
