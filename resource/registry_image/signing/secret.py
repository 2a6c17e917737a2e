"""The private key that put signs with, in cosign's encrypted form or as OpenSSL writes it."""

from __future__ import annotations

import hashlib
from base64 import b64decode

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from registry_image.decode import JSONReader
from registry_image.errors import InvalidManifest, RequestError
from registry_image.signing.keys import PublicKey, accept_key
from registry_image.signing.reading import Rejected, read_base64

#: What cosign writes now, and what it wrote before 2.0.
_COSIGN = ("ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY")
#: The most memory that scrypt may take, in bytes. cosign's parameters need 64 MiB; OpenSSL allows 32 unless told.
MAX_SCRYPT_MEMORY = 256 * 1024 * 1024
#: The most lanes of scrypt: each takes the whole time again. cosign writes 1.
MAX_SCRYPT_LANES = 4
#: In bytes, as NaCl's secretbox has them.
_SECRET_SIZE = 32


class SigningKey:
    """Signs with SHA-256 whatever the curve: both cosign 2 and 3 verify that, and not always the curve's own hash."""

    def __init__(self, key: ec.EllipticCurvePrivateKey | RSAPrivateKey) -> None:
        self._key = key
        self.public: PublicKey = accept_key(key.public_key())

    def sign(self, message: bytes) -> bytes:
        if isinstance(self._key, RSAPrivateKey):
            return self._key.sign(message, padding.PKCS1v15(), hashes.SHA256())
        return self._key.sign(message, ec.ECDSA(hashes.SHA256()))


def read_signing_key(pem: str, password: str | None, field: str) -> SigningKey:
    """The key in ``pem``. Raises RequestError, which names ``field`` and shows neither key nor password."""
    encoded = None if password is None else password.encode()
    try:
        if any(f"-----BEGIN {label}-----" in pem for label in _COSIGN):
            key = serialization.load_der_private_key(_decrypt_cosign(pem, encoded or b"", field), None)
        else:
            key = serialization.load_pem_private_key(pem.strip().encode(), encoded)
    except TypeError:
        # `cryptography` raises it for a missing password and for one that is not needed.
        problem = "it is encrypted: a password is needed" if password is None else "it is not encrypted: no password"
        raise RequestError(f"{field}: {problem}", hint=f"see `password` beside {field}") from None
    except (ValueError, UnsupportedAlgorithm):
        raise RequestError(
            f"{field}: not a private key in PEM that the password opens",
            hint=f"see `password` beside {field}"
            if "ENCRYPTED" in pem
            else "`cosign generate-key-pair` makes one, and `openssl genpkey`",
        ) from None
    if isinstance(key, Ed25519PrivateKey):
        # cosign 3 signs Ed25519 prehashed and verifies its own signatures no more than cosign 2 does.
        raise RequestError(f"{field}: an Ed25519 key: the versions of cosign disagree on its signatures: use ECDSA")
    if not isinstance(key, ec.EllipticCurvePrivateKey | RSAPrivateKey):
        raise RequestError(f"{field}: a key that cannot sign: expected ECDSA or RSA")
    try:
        return SigningKey(key)
    except Rejected as rejected:
        raise RequestError(f"{field}: {rejected}") from None


def _decrypt_cosign(pem: str, password: bytes, field: str) -> bytes:
    """The PKCS #8 in cosign's form: scrypt over the password, then NaCl's secretbox. Raises ValueError."""
    # As the library reads PEM: indented, or in one line as YAML folds it.
    body = "".join(pem.split("-----")[2].split())
    try:
        document = JSONReader.parse(b64decode(body, validate=True), field)
        kdf, cipher = document.child("kdf"), document.child("cipher")
        if (kdf.text("name"), cipher.text("name")) != ("scrypt", "nacl/secretbox"):
            raise ValueError("another cipher")
        params = kdf.child("params")
        n, r, p = params.integer("N"), params.integer("r"), params.integer("p")
        salt, nonce = read_base64(kdf, "salt"), read_base64(cipher, "nonce")
        sealed = read_base64(document, "ciphertext")
    except (InvalidManifest, Rejected):
        # Their text quotes what they read.
        raise ValueError("not cosign's form") from None
    if not (n > 1 and r > 0 and 0 < p <= MAX_SCRYPT_LANES and 128 * n * r < MAX_SCRYPT_MEMORY):
        raise ValueError("scrypt would take too long")
    secret = hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=MAX_SCRYPT_MEMORY, dklen=_SECRET_SIZE)
    # Imported here: only cosign's own form needs it.
    from nacl.exceptions import CryptoError
    from nacl.secret import SecretBox

    try:
        return SecretBox(secret).decrypt(sealed, nonce)
    except CryptoError:
        raise ValueError("wrong password") from None
