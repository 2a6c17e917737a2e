"""What put signs with and what it pushes: others' signatures stay, and OpenSSL and our own verifier take ours."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from registry_image.errors import InvalidManifest, RequestError, SignatureError, TransportError
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Digest
from registry_image.oci.manifest import Manifest
from registry_image.signing.found import MAX_SIGNATURES
from registry_image.signing.make import Push, Signing, signatures_to_push
from registry_image.signing.policy import Policy, verify
from registry_image.signing.secret import SigningKey, read_signing_key
from tests.support.signed import COSIGN, SignedImage, by_cosign

IMAGE = Descriptor(
    media_type="application/vnd.oci.image.index.v1+json", digest=Digest.of(b"an image"), size=len(b"an image")
)
COSIGN_KEY = COSIGN["keys"]["p256"]["private"]
PASSWORD = COSIGN["password"]
FORMS = ("classic", "bundle")


def pkcs8(
    key: ec.EllipticCurvePrivateKey | RSAPrivateKey | Ed25519PrivateKey | X25519PrivateKey, password: str = ""
) -> str:
    encryption = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption).decode()


P256 = ec.generate_private_key(ec.SECP256R1())
RSA = generate_private_key(65537, 2048)


def signing(key: ec.EllipticCurvePrivateKey | RSAPrivateKey = P256, *forms: str, **annotations: str) -> Signing:
    return Signing(key=SigningKey(key), annotations=annotations, forms=forms or ("classic",))


def sign(image: SignedImage, how: Signing) -> tuple[Push, ...]:
    pushes = signatures_to_push(image, IMAGE, "registry.test/app", how)
    image.push(pushes)
    return pushes


def counts(image: SignedImage, how: Signing, **annotations: str) -> str:
    return verify(image, IMAGE.digest, Policy(keys=(how.key.public,), annotations=annotations), "app")


# Keys.


def test_cosigns_encrypted_key_signs_as_its_public_key_says() -> None:
    how = Signing(key=read_signing_key(COSIGN_KEY, PASSWORD, "params.sign.cosign.key"))
    pem = how.key.public.key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()
    assert pem == COSIGN["keys"]["p256"]["public"]


@pytest.mark.parametrize("between", [" ", "\r\n", " \n  ", "\n\n"])
def test_a_key_is_read_however_yaml_laid_out_its_lines(between: str) -> None:
    laid_out = f" {between.join(COSIGN_KEY.splitlines())}{between}"
    assert read_signing_key(laid_out, PASSWORD, "key").public == read_signing_key(COSIGN_KEY, PASSWORD, "key").public


def test_the_older_name_of_cosigns_keys_is_read() -> None:
    older = COSIGN_KEY.replace("SIGSTORE", "COSIGN")
    assert read_signing_key(older, PASSWORD, "key").public == read_signing_key(COSIGN_KEY, PASSWORD, "key").public


@pytest.mark.parametrize("key", [P256, ec.generate_private_key(ec.SECP384R1()), RSA], ids=["P-256", "P-384", "RSA"])
@pytest.mark.parametrize("password", ["", "secret"])
def test_keys_of_openssl_are_read(key: ec.EllipticCurvePrivateKey | RSAPrivateKey, password: str) -> None:
    assert read_signing_key(pkcs8(key, password), password or None, "key").public == SigningKey(key).public


def test_the_older_form_of_an_elliptic_key_is_read() -> None:
    pem = P256.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode()
    assert read_signing_key(pem, None, "key").public == SigningKey(P256).public


def cosign_key(params: dict[str, int] | None = None, **changes: object) -> str:
    """The fixture's key with other parameters, or other fields, in its envelope."""
    lines = COSIGN_KEY.strip().splitlines()
    document = json.loads(base64.b64decode("".join(lines[1:-1])))
    document["kdf"]["params"] |= params or {}
    for name, value in changes.items():
        document[name] = document[name] | value if isinstance(value, dict) else value
    return "\n".join((lines[0], base64.b64encode(json.dumps(document).encode()).decode(), lines[-1]))


def test_a_key_in_another_envelope_of_the_same_form_is_read() -> None:
    assert (
        read_signing_key(cosign_key(), PASSWORD, "key").public == read_signing_key(COSIGN_KEY, PASSWORD, "key").public
    )


@pytest.mark.parametrize(
    ("pem", "password", "says"),
    [
        (COSIGN_KEY, "a wrong one", "the password opens"),
        (COSIGN_KEY, None, "the password opens"),
        (cosign_key(params={"N": 1 << 30}), PASSWORD, "the password opens"),
        (cosign_key(params={"p": 1 << 20}), PASSWORD, "the password opens"),
        (cosign_key(params={"r": 0}), PASSWORD, "the password opens"),
        (cosign_key(cipher={"name": "rot13"}), PASSWORD, "the password opens"),
        (cosign_key(kdf=None), PASSWORD, "the password opens"),
        (cosign_key(ciphertext="?"), PASSWORD, "the password opens"),
        (COSIGN_KEY[:200], PASSWORD, "the password opens"),
        (pkcs8(P256, "secret"), "a wrong one", "the password opens"),
        (pkcs8(P256, "secret"), None, "a password is needed"),
        (pkcs8(P256), "secret", "it is not encrypted: no password"),
        (COSIGN["keys"]["p256"]["public"], None, "not a private key"),
        ("cosign.key", None, "not a private key"),
        ("", None, "not a private key"),
        (pkcs8(Ed25519PrivateKey.generate()), None, "an Ed25519 key"),
        (pkcs8(X25519PrivateKey.generate()), None, "cannot sign"),
        (pkcs8(ec.generate_private_key(ec.SECP256K1())), None, "secp256k1"),
    ],
)
def test_a_key_that_cannot_sign_is_refused_and_never_shown(pem: str, password: str | None, says: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_signing_key(pem, password, "params.sign.cosign.key")
    told = f"{caught.value.message} {caught.value.hint}"
    assert caught.value.message.startswith("params.sign.cosign.key: ")
    assert says in caught.value.message
    assert caught.value.__cause__ is None
    for secret in (password, *pem.splitlines()[1:-1]):
        assert not secret or secret not in told


# Signatures.


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("key", [P256, ec.generate_private_key(ec.SECP521R1()), RSA], ids=["P-256", "P-521", "RSA"])
def test_what_is_signed_counts(form: str, key: ec.EllipticCurvePrivateKey | RSAPrivateKey) -> None:
    how = signing(key, form, env="prod")
    image = SignedImage(IMAGE.digest)
    (push,) = sign(image, how)
    assert push.form == form
    assert push.tag == (image.signature_tag if form == "classic" else None)
    assert counts(image, how, env="prod") == how.key.public.fingerprint
    with pytest.raises(SignatureError):
        counts(image, how, env="test")


def openssl_verifies(directory: Path, key: SigningKey, signature: str, message: bytes) -> bool:
    pem = key.public.key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (directory / "key.pub").write_bytes(pem)
    (directory / "signature").write_bytes(base64.b64decode(signature))
    (directory / "message").write_bytes(message)
    command = ["openssl", "dgst", "-sha256", "-verify", "key.pub", "-signature", "signature", "message"]
    return subprocess.run(command, cwd=directory, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("key", [P256, ec.generate_private_key(ec.SECP384R1()), RSA], ids=["P-256", "P-384", "RSA"])
def test_openssl_verifies_both_forms(key: ec.EllipticCurvePrivateKey | RSAPrivateKey, tmp_path: Path) -> None:
    """With SHA-256 whatever the curve: cosign 3.1.1 does not verify its own P-384 and P-521 signatures."""
    how = signing(key, "classic", "bundle")
    classic, bundle = sign(SignedImage(IMAGE.digest), how)
    assert isinstance(classic.manifest, Manifest)
    assert isinstance(bundle.manifest, Manifest)
    layer = classic.manifest.layers[0]
    value = layer.annotations["dev.cosignproject.cosign/signature"]
    payload = classic.blobs[layer.digest]
    assert openssl_verifies(tmp_path, how.key, value, payload)
    assert not openssl_verifies(tmp_path, how.key, value, payload + b" ")
    envelope = json.loads(bundle.blobs[bundle.manifest.layers[0].digest])["dsseEnvelope"]
    statement = base64.b64decode(envelope["payload"])
    message = b"DSSEv1 28 application/vnd.in-toto+json %d %b" % (len(statement), statement)
    assert openssl_verifies(tmp_path, how.key, envelope["signatures"][0]["sig"], message)


def test_the_classic_form_is_cosigns() -> None:
    (push,) = sign(SignedImage(IMAGE.digest), signing())
    assert isinstance(push.manifest, Manifest)
    layer = push.manifest.layers[0]
    assert push.blobs[layer.digest] == (
        b'{"critical":{"identity":{"docker-reference":"registry.test/app"},'
        b'"image":{"docker-manifest-digest":"%b"},"type":"cosign container image signature"},"optional":null}'
        % str(IMAGE.digest).encode()
    )
    assert layer.media_type == "application/vnd.dev.cosign.simplesigning.v1+json"
    assert json.loads(push.blobs[push.manifest.config.digest])["rootfs"]["diff_ids"] == [str(layer.digest)]
    assert push.manifest.config.media_type == "application/vnd.oci.image.config.v1+json"


def test_the_bundle_form_is_cosigns() -> None:
    how = signing(P256, "bundle", env="prod")
    (push,) = sign(SignedImage(IMAGE.digest), how)
    assert isinstance(push.manifest, Manifest)
    assert push.manifest.artifact_type == "application/vnd.dev.sigstore.bundle.v0.3+json"
    assert push.manifest.subject == IMAGE
    assert push.manifest.config.media_type == "application/vnd.oci.empty.v1+json"
    assert push.blobs[push.manifest.config.digest] == b"{}"
    bundle = json.loads(push.blobs[push.manifest.layers[0].digest])
    hint = base64.b64decode(bundle["verificationMaterial"]["publicKey"]["hint"]).hex()
    assert f"sha256:{hint}" == how.key.public.fingerprint
    assert json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"])) == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": IMAGE.digest.hex}, "annotations": {"env": "prod"}}],
        "predicateType": "https://sigstore.dev/cosign/sign/v1",
        "predicate": {},
    }


@pytest.mark.parametrize("form", FORMS)
def test_the_same_signature_is_not_added_twice(form: str) -> None:
    image = SignedImage(IMAGE.digest)
    assert len(sign(image, signing(P256, form, env="prod"))) == 1
    assert sign(image, signing(P256, form, env="prod")) == ()
    assert len(sign(image, signing(P256, form, env="test"))) == 1
    assert len(sign(image, signing(P256, form))) == 1
    assert len(sign(image, signing(RSA, form, env="prod"))) == 1
    assert sign(image, signing(RSA, form, env="prod")) == ()
    assert counts(image, signing(P256, form), env="test")
    assert counts(image, signing(RSA, form), env="prod")


def test_a_broken_signature_is_not_taken_for_the_same() -> None:
    image = SignedImage(IMAGE.digest)
    image.add_classic(({}, b"{}"), ({"dev.cosignproject.cosign/signature": "AAAA"}, b"{"))
    assert len(sign(image, signing())) == 1
    assert counts(image, signing())


def test_others_signatures_stay_as_they_are() -> None:
    image = by_cosign("c2-id")
    there = json.loads(image.tags[image.signature_tag])
    subject = Descriptor(media_type=IMAGE.media_type, digest=image.digest, size=517)
    (push,) = signatures_to_push(image, subject, "registry.test/app", signing())
    after = json.loads(push.manifest.raw)
    assert after["layers"][:-1] == there["layers"]
    assert len(after["layers"]) == 2
    config = json.loads(push.blobs[Digest.parse(after["config"]["digest"])])
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in after["layers"]]
    assert len(config["history"]) == 2
    image.push([push])
    assert verify(image, image.digest, Policy(keys=(signing().key.public,)), "app")


def test_half_of_a_surrogate_pair_in_anothers_signature_stays_as_it_is() -> None:
    image = SignedImage(IMAGE.digest)
    image.add_classic(({"note": "\ud800"}, b"{}"))
    (push,) = sign(image, signing())
    assert json.loads(push.manifest.raw)["layers"][0]["annotations"] == {"note": "\ud800"}
    assert counts(image, signing())


def test_what_is_there_and_is_no_signature_is_left_alone() -> None:
    image = SignedImage(IMAGE.digest)
    image.add_classic(({}, b"{}"))
    tag = image.signature_tag
    image.tags[tag] = image.tags[tag].replace(b"vnd.dev.cosign.simplesigning.v1+json", b"vnd.oci.image.layer.v1.tar")
    with pytest.raises(InvalidManifest, match="something else than signatures"):
        sign(image, signing())
    image.tags[tag] = b'{"schemaVersion": 2, "manifests": []}'
    with pytest.raises(InvalidManifest, match="an index"):
        sign(image, signing())


def test_there_is_no_room_for_more_than_are_looked_at() -> None:
    image = SignedImage(IMAGE.digest)
    image.add_classic(*(({}, b"%d" % number) for number in range(MAX_SIGNATURES)))
    with pytest.raises(SignatureError, match="no room"):
        sign(image, signing())
    assert counts(image, signing(P256, "bundle")) if sign(image, signing(P256, "bundle")) else False


def test_a_look_up_that_fails_is_not_taken_for_unsigned() -> None:
    image = SignedImage(IMAGE.digest)
    image.broken[image.signature_tag] = TransportError("no answer")
    with pytest.raises(TransportError):
        sign(image, signing())
