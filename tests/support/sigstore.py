"""A sigstore in this process: a certificate authority, a certificate log, a transparency log and a clock that signs.

`Sigstore.sign` makes one keyless signature in either form. A `Recipe` says how it is made, and each of its fields that
is changed breaks one rule and no other: everything that is signed is signed over what is really there.
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from registry_image.oci.digest import Digest

Document: TypeAlias = dict[str, Any]
Change: TypeAlias = Callable[[Document], object]

ISSUER = "https://issuer.test"
SUBJECT = "https://ci.test/o/app/release.yml@refs/heads/main"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
ISSUER_OID = ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
ISSUER_V1_OID = ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_SCT_LIST = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_MINUTE = timedelta(minutes=1)
_DETAILS = {
    256: ("PKIX_ECDSA_P256_SHA_256", "SHA2_256", hashlib.sha256),
    384: ("PKIX_ECDSA_P384_SHA_384", "SHA2_384", hashlib.sha384),
    521: ("PKIX_ECDSA_P521_SHA_512", "SHA2_512", hashlib.sha512),
}


def new_key(curve: ec.EllipticCurve | None = None) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(curve or ec.SECP256R1())


def spki(key: ec.EllipticCurvePrivateKey | Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def key_id(key: ec.EllipticCurvePrivateKey | Ed25519PrivateKey) -> bytes:
    return hashlib.sha256(spki(key)).digest()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def compact(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()


def utf8_string(text: str) -> bytes:
    """DER, for less than 128 bytes."""
    return bytes((0x0C, len(text.encode()))) + text.encode()


def same(document: Document) -> None:
    """The change that changes nothing."""


@dataclass(kw_only=True)
class Recipe:
    """How a signature is made. Times are minutes from noon, which is two to three minutes before the signature is made.

    A certificate lasts from 0 to 10.
    """

    annotations: Mapping[str, str] = field(default_factory=dict)
    issuer: bytes | None = utf8_string(ISSUER)
    issuer_v1: bytes | None = b"https://older.test"
    names: tuple[x509.GeneralName, ...] = (x509.UniformResourceIdentifier(SUBJECT),)
    curve: ec.EllipticCurve = field(default_factory=ec.SECP256R1)
    hash: hashes.HashAlgorithm = field(default_factory=hashes.SHA256)
    certificate_key: ec.EllipticCurvePrivateKey | None = None  # another than the one that signs
    usages: tuple[ObjectIdentifier, ...] = (ExtendedKeyUsageOID.CODE_SIGNING,)
    signs_digitally: bool = True
    is_ca: bool = False
    authority: str = "intermediate"
    scts: int = 1
    sct_key: str = "ct"  # who signs it
    sct_log: str = "ct"  # whose it says it is
    sct_minute: float = 1
    sct_hash: int = 4  # as TLS counts them: SHA-256
    sct_issuer: str = "intermediate"
    rekor_key: str = "rekor"
    rekor_log: str = "rekor"
    entry: bool = True
    promise: bool = True
    promise_key: str = ""  # default: rekor_key
    minute: int = 1
    proof: bool = True
    proof_change: Change = same
    note: str = ""  # what the checkpoint says; default: what is so
    checkpoint_key: str = ""  # default: rekor_key
    version: str = "0.0.1"  # of the entry's kind: "0.0.2" as Rekor v2
    body: Change = same  # before it is logged
    after: Change = same  # of the log entry, after everything was signed
    kind: tuple[str, str] | None = None  # what the bundle says of it
    stamped: tuple[str, ...] = ()  # who timestamps: "tsa", "other tsa", "lone tsa"
    stamp_over: bytes | None = None
    statement: Change = same
    payload: Change = same
    payload_type: str = "application/vnd.in-toto+json"
    bundle: Change = same


class Sigstore:
    """Its keys by name: ``root``, ``intermediate``, ``ct``, ``rekor``, and strangers under any other name."""

    def __init__(self, *, rekor: ec.EllipticCurvePrivateKey | Ed25519PrivateKey | None = None) -> None:
        self.noon = _noon()
        self.keys: dict[str, ec.EllipticCurvePrivateKey | Ed25519PrivateKey] = {"rekor": rekor or new_key()}
        self.root = self._authority("root", "root", None)
        self.intermediate = self._authority("intermediate", "root", 0)
        self.certificates = {"root": self.root, "intermediate": self.intermediate}
        self.certificates["tls only"] = self._authority("tls only", "root", 0, ExtendedKeyUsageOID.SERVER_AUTH)
        self.certificates["stranger"] = self._authority("stranger", "stranger", None)
        self.tsa = self._stamper("tsa")
        self.other_tsa = self._stamper("other tsa")
        self.lone_tsa = self._stamper("lone tsa", issuer="lone tsa")

    def key(self, name: str) -> ec.EllipticCurvePrivateKey:
        key = self.keys.setdefault(name, new_key())
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return key

    def _sign(self, name: str, data: bytes) -> bytes:
        key = self.keys.setdefault(name, new_key())
        if isinstance(key, Ed25519PrivateKey):
            return key.sign(data)
        return key.sign(data, ec.ECDSA(hashes.SHA256()))

    def _id(self, name: str) -> bytes:
        return key_id(self.keys.setdefault(name, new_key()))

    # The trusted root.

    def trusted_root(self, change: Change = same) -> bytes:
        start = {"start": (self.noon - 60 * _MINUTE).isoformat().replace("+00:00", "Z")}

        def log(name: str) -> Document:
            key = self.keys.setdefault(name, new_key())
            details = "PKIX_ED25519" if isinstance(key, Ed25519PrivateKey) else "PKIX_ECDSA_P256_SHA_256"
            return {
                "baseUrl": f"https://{name}.test",
                "hashAlgorithm": "SHA2_256",
                "publicKey": {"rawBytes": b64(spki(key)), "keyDetails": details, "validFor": dict(start)},
                "logId": {"keyId": b64(key_id(key))},
            }

        def authority(*chain: x509.Certificate) -> Document:
            return {
                "subject": {"organization": "test", "commonName": "test"},
                "uri": "https://authority.test",
                "certChain": {"certificates": [{"rawBytes": b64(each.public_bytes(Encoding.DER))} for each in chain]},
                "validFor": dict(start),
            }

        root = {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log("rekor")],
            "ctlogs": [log("ct")],
            "certificateAuthorities": [
                authority(self.intermediate, self.root),
                authority(self.certificates["tls only"], self.root),
            ],
            "timestampAuthorities": [authority(self.tsa, self.root), authority(self.lone_tsa)],
        }
        change(root)
        return json.dumps(root).encode()

    # Certificates.

    def _builder(self, name: str, issuer: str, start: float, end: float) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(_named(name))
            .issuer_name(_named(issuer))
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.noon + start * _MINUTE)
            .not_valid_after(self.noon + end * _MINUTE)
        )

    def _authority(
        self, name: str, issuer: str, length: int | None, usage: ObjectIdentifier = ExtendedKeyUsageOID.CODE_SIGNING
    ) -> x509.Certificate:
        public = self.key(name).public_key()
        builder = (
            self._builder(name, issuer, -60, 600)
            .public_key(public)
            .add_extension(x509.BasicConstraints(ca=True, path_length=length), critical=True)
            .add_extension(_usage(signs=False, is_ca=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(self._authority_key(issuer), critical=False)
        )
        if issuer != name:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        return builder.sign(self.key(issuer), hashes.SHA256())

    def _stamper(self, name: str, issuer: str = "root") -> x509.Certificate:
        public = self.key(name).public_key()
        return (
            self._builder(name, issuer, -60, 600)
            .public_key(public)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=True, is_ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(self._authority_key(issuer), critical=False)
            .sign(self.key(issuer), hashes.SHA256())
        )

    def _authority_key(self, issuer: str) -> x509.AuthorityKeyIdentifier:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key(issuer).public_key())

    def certificate(self, key: ec.EllipticCurvePrivateKey, recipe: Recipe) -> x509.Certificate:
        """A leaf as Fulcio makes it, with as many SCTs as the recipe says."""
        builder = (
            self._builder("", recipe.authority, 0, 10)
            .public_key(key.public_key())
            .add_extension(_usage(signs=recipe.signs_digitally, is_ca=recipe.is_ca), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(self._authority_key(recipe.authority), critical=False)
        )
        if recipe.is_ca:
            builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        if recipe.usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(recipe.usages), critical=False)
        if recipe.names:
            builder = builder.add_extension(x509.SubjectAlternativeName(recipe.names), critical=True)
        for oid, value in ((ISSUER_V1_OID, recipe.issuer_v1), (ISSUER_OID, recipe.issuer)):
            if value is not None:
                builder = builder.add_extension(x509.UnrecognizedExtension(oid, value), critical=False)
        if recipe.scts:
            tbs = builder.sign(self.key(recipe.authority), hashes.SHA256()).tbs_certificate_bytes
            scts = [self._sct(tbs, recipe) for _ in range(recipe.scts)]
            extension = x509.UnrecognizedExtension(_SCT_LIST, _octets(_counted(b"".join(map(_counted, scts)))))
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self.key(recipe.authority), hashes.SHA256())

    def _sct(self, tbs: bytes, recipe: Recipe) -> bytes:
        made = int((self.noon + recipe.sct_minute * _MINUTE).timestamp() * 1000).to_bytes(8, "big")
        issuer = self._id(recipe.sct_issuer)
        signed = b"\0\0" + made + b"\0\1" + issuer + len(tbs).to_bytes(3, "big") + tbs + b"\0\0"
        signature = _counted(self._sign(recipe.sct_key, signed))
        return b"\0" + self._id(recipe.sct_log) + made + b"\0\0" + bytes((recipe.sct_hash, 3)) + signature

    # Signatures.

    def classic(self, digest: Digest, recipe: Recipe | None = None) -> tuple[dict[str, str], bytes]:
        """The annotations of a layer, and its payload."""
        recipe = recipe or Recipe()
        document: Document = {
            "critical": {
                "identity": {"docker-reference": "registry.test/app"},
                "image": {"docker-manifest-digest": str(digest)},
                "type": "cosign container image signature",
            },
            "optional": dict(recipe.annotations) or None,
        }
        recipe.payload(document)
        payload = compact(document)
        key, certificate = self._signer(recipe)
        value = key.sign(payload, ec.ECDSA(recipe.hash))
        annotations = {
            "dev.cosignproject.cosign/signature": b64(value),
            "dev.sigstore.cosign/certificate": certificate.public_bytes(Encoding.PEM).decode(),
        }
        if recipe.entry:
            entry = self._entry(recipe, payload, payload, value, certificate)
            annotations["dev.sigstore.cosign/bundle"] = json.dumps(
                {
                    "SignedEntryTimestamp": entry["inclusionPromise"]["signedEntryTimestamp"],
                    "Payload": {
                        "body": entry["canonicalizedBody"],
                        "integratedTime": int(entry["integratedTime"]),
                        "logIndex": int(entry["logIndex"]),
                        "logID": base64.b64decode(entry["logId"]["keyId"]).hex(),
                    },
                }
            )
        for name in recipe.stamped:
            stamped = {"SignedRFC3161Timestamp": b64(self.timestamp(name, recipe.stamp_over or value))}
            annotations["dev.sigstore.cosign/rfc3161timestamp"] = json.dumps(stamped)
        return annotations, payload

    def bundle(self, digest: Digest, recipe: Recipe | None = None) -> Document:
        """A bundle v0.3 with a DSSE envelope."""
        recipe = recipe or Recipe()
        statement: Document = {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"digest": {digest.algorithm: digest.hex}, "annotations": dict(recipe.annotations)}],
            "predicateType": "https://sigstore.dev/cosign/sign/v1",
            "predicate": {},
        }
        recipe.statement(statement)
        payload = compact(statement)
        kind = recipe.payload_type.encode()
        message = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
        key, certificate = self._signer(recipe)
        value = key.sign(message, ec.ECDSA(recipe.hash))
        material: Document = {"certificate": {"rawBytes": b64(certificate.public_bytes(Encoding.DER))}}
        if recipe.entry:
            material["tlogEntries"] = [self._entry(recipe, payload, message, value, certificate)]
        if recipe.stamped:
            stamps = [self.timestamp(name, recipe.stamp_over or value) for name in recipe.stamped]
            material["timestampVerificationData"] = {
                "rfc3161Timestamps": [{"signedTimestamp": b64(stamp)} for stamp in stamps]
            }
        bundle: Document = {
            "mediaType": BUNDLE,
            "verificationMaterial": material,
            "dsseEnvelope": {
                "payload": b64(payload),
                "payloadType": recipe.payload_type,
                "signatures": [{"sig": b64(value)}],
            },
        }
        recipe.bundle(bundle)
        return bundle

    def _signer(self, recipe: Recipe) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        # A test may sign long after this sigstore was made, and OpenSSL stamps only the time that it is.
        self.noon = _noon()
        key = new_key(recipe.curve)
        return key, self.certificate(recipe.certificate_key or key, recipe)

    # The log.

    def _entry(
        self, recipe: Recipe, payload: bytes, message: bytes, value: bytes, certificate: x509.Certificate
    ) -> Document:
        kind, spec = _body(recipe, payload, message, value, certificate)
        body: Document = {"apiVersion": recipe.version, "kind": kind, "spec": spec}
        recipe.body(body)
        canonical = compact(body)
        seconds = int((self.noon + recipe.minute * _MINUTE).timestamp())
        log_id = self._id(recipe.rekor_log)
        promised = compact({"body": b64(canonical), "integratedTime": seconds, "logID": log_id.hex(), "logIndex": 1001})
        said = recipe.kind or (body["kind"], body["apiVersion"])
        entry: Document = {
            "logIndex": "1001",
            "logId": {"keyId": b64(log_id)},
            "kindVersion": {"kind": said[0], "version": said[1]},
            "integratedTime": str(seconds),
            "canonicalizedBody": b64(canonical),
        }
        if recipe.promise:
            signed = self._sign(recipe.promise_key or recipe.rekor_key, promised)
            entry["inclusionPromise"] = {"signedEntryTimestamp": b64(signed)}
        if recipe.proof:
            entry["inclusionProof"] = self._proof(recipe, canonical, log_id)
        recipe.after(entry)
        return entry

    def _proof(self, recipe: Recipe, body: bytes, log_id: bytes) -> Document:
        """Of the third entry of five: a path with hashes of both sides."""
        leaf = [hashlib.sha256(b"\0" + entry).digest() for entry in (b"a", b"b", body, b"d", b"e")]
        left, right = _node(leaf[0], leaf[1]), _node(leaf[2], leaf[3])
        root = _node(_node(left, right), leaf[4])
        proof: Document = {
            "logIndex": "2",
            "treeSize": "5",
            "rootHash": b64(root),
            "hashes": [b64(leaf[3]), b64(left), b64(leaf[4])],
        }
        note = recipe.note or f"rekor.test - 1\n5\n{b64(root)}\n"
        signature = log_id[:4] + self._sign(recipe.checkpoint_key or recipe.rekor_key, note.encode())
        proof["checkpoint"] = {"envelope": f"{note}\n\u2014 rekor.test {b64(signature)}\n"}
        recipe.proof_change(proof)
        return proof

    # The clock.

    def timestamp(self, name: str, data: bytes) -> bytes:
        """An RFC 3161 response over ``data``, of now, by OpenSSL."""
        certificate = {"tsa": self.tsa, "other tsa": self.other_tsa, "lone tsa": self.lone_tsa}[name]
        with TemporaryDirectory() as directory:
            place = Path(directory)
            (place / "data").write_bytes(data)
            (place / "tsa.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
            (place / "root.pem").write_bytes(self.root.public_bytes(Encoding.PEM))
            private = self.key(name).private_bytes(
                Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            (place / "key.pem").write_bytes(private)
            (place / "serial").write_text("01\n")
            (place / "ts.cnf").write_text(_TS_CONFIG)
            query = ["openssl", "ts", "-query", "-data", "data", "-sha256", "-cert", "-out", "query"]
            reply = ["openssl", "ts", "-reply", "-config", "ts.cnf", "-queryfile", "query", "-out", "reply"]
            for command in (query, reply):
                subprocess.run(command, cwd=place, check=True, capture_output=True)
            return (place / "reply").read_bytes()


_TS_CONFIG = """
[tsa]
default_tsa = authority
[authority]
serial = serial
crypto_device = builtin
signer_cert = tsa.pem
signer_key = key.pem
signer_digest = sha256
default_policy = 1.2.3.4
digests = sha256
accuracy = secs:1
ess_cert_id_alg = sha256
"""


def _body(
    recipe: Recipe, payload: bytes, message: bytes, value: bytes, certificate: x509.Certificate
) -> tuple[str, Document]:
    pem, der = certificate.public_bytes(Encoding.PEM), certificate.public_bytes(Encoding.DER)
    if recipe.version == "0.0.2":
        key = certificate.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        details, algorithm, digest = _DETAILS[key.key_size]
        verifier = {"x509Certificate": {"rawBytes": b64(der)}, "keyDetails": details}
        return "hashedrekord", {
            "hashedRekordV002": {
                "data": {"algorithm": algorithm, "digest": b64(digest(message).digest())},
                "signature": {"content": b64(value), "verifier": verifier},
            }
        }
    if message == payload:
        return "hashedrekord", {
            "data": {"hash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()}},
            "signature": {"content": b64(value), "publicKey": {"content": b64(pem)}},
        }
    return "dsse", {
        "envelopeHash": {"algorithm": "sha256", "value": "0" * 64},
        "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()},
        "signatures": [{"signature": b64(value), "verifier": b64(pem)}],
    }


def _noon() -> datetime:
    return datetime.now(UTC).replace(microsecond=0, second=0) - 2 * _MINUTE


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def _counted(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def _octets(data: bytes) -> bytes:
    """A DER OCTET STRING."""
    length = len(data).to_bytes((len(data).bit_length() + 7) // 8, "big")
    return b"\4" + (length if len(data) < 128 else bytes((0x80 + len(length),)) + length) + data


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])


def _usage(*, signs: bool, is_ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        content_commitment=False,
        key_encipherment=not signs and not is_ca,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
