"""Public keys, read from PEM or DER, and the verification of signatures by them."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from registry_image.errors import RequestError
from registry_image.signing.reading import Rejected

_Key: TypeAlias = "ec.EllipticCurvePublicKey | RSAPublicKey | Ed25519PublicKey"

#: The curves, each with the hash that goes with it. cosign 2 signs SHA-256 with every curve; cosign 3 the curve's.
CURVES: dict[str, hashes.HashAlgorithm] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}
#: In bits. A shorter modulus can be factored (NIST SP 800-131A).
MIN_RSA_BITS = 2048
_UNSUPPORTED = "a key of a kind that is not supported: expected ECDSA, RSA or Ed25519"


class UnsupportedKey(Rejected):
    """A public key of a kind that this does not verify with."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """``der`` is the SubjectPublicKeyInfo."""

    key: _Key = field(repr=False, compare=False)
    der: bytes = field(repr=False)

    @property
    def fingerprint(self) -> str:
        return f"sha256:{hashlib.sha256(self.der).hexdigest()}"

    def verifies(self, signature: bytes, message: bytes, *, only_sha256: bool = False) -> bool:
        """Whether this key made ``signature`` of ``message``: by ECDSA, RSA with PKCS #1 v1.5, or Ed25519.

        The hash is SHA-256; with ECDSA and without ``only_sha256``, the curve's own is tried too.
        """
        sha256 = hashes.SHA256()
        if isinstance(self.key, ec.EllipticCurvePublicKey):
            for digest in (sha256,) if only_sha256 else (sha256, CURVES[self.key.curve.name]):
                with suppress(InvalidSignature):
                    self.key.verify(signature, message, ec.ECDSA(digest))
                    return True
            return False
        with suppress(InvalidSignature):
            if isinstance(self.key, RSAPublicKey):
                self.key.verify(signature, message, padding.PKCS1v15(), sha256)
            else:
                self.key.verify(signature, message)
            return True
        return False


def accept_key(key: object) -> PublicKey:
    """``key`` of the library, typed. Raises UnsupportedKey, and Rejected for an RSA key that is too short."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in CURVES:
            raise UnsupportedKey(f"a key on the curve {key.curve.name}: expected P-256, P-384 or P-521")
    elif isinstance(key, RSAPublicKey):
        if key.key_size < MIN_RSA_BITS:
            raise Rejected(f"an RSA key of {key.key_size} bits: expected {MIN_RSA_BITS} at least")
    elif not isinstance(key, Ed25519PublicKey):
        raise UnsupportedKey(_UNSUPPORTED)
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(key, der)


def read_der_key(der: bytes) -> PublicKey:
    """The key of a SubjectPublicKeyInfo. Raises Rejected, and UnsupportedKey where only its kind is the reason."""
    try:
        return accept_key(serialization.load_der_public_key(der))
    except UnsupportedAlgorithm:
        raise UnsupportedKey(_UNSUPPORTED) from None
    except ValueError:
        raise Rejected("not a public key in DER") from None


def read_public_key(pem: str, field: str) -> PublicKey:
    """One PEM public key of a policy. Raises RequestError, naming ``field`` and never the text."""
    if "PRIVATE KEY-----" in pem:
        raise RequestError(
            f"{field}: expected a public key, got a private one",
            hint="`cosign public-key --key cosign.key` writes the public one; whoever can read a source can read this",
        )
    if pem.count("-----BEGIN ") > 1:
        raise RequestError(f"{field}: more than one PEM text", hint="`keys` is a list: write one entry for each key")
    try:
        return accept_key(serialization.load_pem_public_key(pem.strip().encode()))
    except Rejected as rejected:
        raise RequestError(f"{field}: {rejected}") from None
    except UnsupportedAlgorithm:
        raise RequestError(f"{field}: {_UNSUPPORTED}") from None
    except ValueError:
        raise RequestError(
            f"{field}: not a public key in PEM", hint="it begins with -----BEGIN PUBLIC KEY-----, as in cosign.pub"
        ) from None
