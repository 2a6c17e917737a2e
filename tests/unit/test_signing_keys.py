"""Signatures by key: which keys verify, which of their signatures count in both forms, what a policy refuses."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import TypeAlias

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from registry_image.errors import (
    ContentError,
    NotFound,
    RequestError,
    SignatureError,
    TransportError,
    Unavailable,
)
from registry_image.oci.digest import Digest
from registry_image.record import replace
from registry_image.signing.found import MAX_SIGNATURE_SIZE, MAX_SIGNATURES
from registry_image.signing.keys import read_public_key
from registry_image.signing.policy import Policy, verify
from tests.support.signed import COSIGN, SignedImage, by_cosign
from tests.support.sigstore import Document

Private: TypeAlias = "ec.EllipticCurvePrivateKey | RSAPrivateKey | Ed25519PrivateKey"
Sign: TypeAlias = Callable[[bytes], bytes]

IMAGE = Digest.of(b"an image")
OURS = ec.generate_private_key(ec.SECP256R1())
FORMS = ("classic", "bundle")
#: Its algorithm is 1.3.101.127, which nobody has registered.
UNREGISTERED = f"""\
-----BEGIN PUBLIC KEY-----
{base64.b64encode(bytes.fromhex("302a300506032b657f032100") + bytes(32)).decode()}
-----END PUBLIC KEY-----
"""
PREDICATE = "dev.sigstore.bundle.predicateType"


def public_pem(key: Private | X25519PrivateKey) -> str:
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def policy(key: Private = OURS, **annotations: str) -> Policy:
    return Policy(keys=(read_public_key(public_pem(key), "keys[0]"),), annotations=annotations)


def ours(data: bytes) -> bytes:
    return OURS.sign(data, ec.ECDSA(hashes.SHA256()))


def payload(**changes: object) -> bytes:
    critical = {
        "identity": {"docker-reference": "registry.test/elsewhere"},
        "image": {"docker-manifest-digest": str(IMAGE)},
        "type": "cosign container image signature",
    }
    optional = changes.pop("optional", None)
    return json.dumps({"critical": critical | changes, "optional": optional}).encode()


def classic(sign: Sign = ours, raw: bytes | None = None) -> tuple[dict[str, str], bytes]:
    raw = payload() if raw is None else raw
    return {"dev.cosignproject.cosign/signature": base64.b64encode(sign(raw)).decode()}, raw


def statement(**changes: object) -> Document:
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": IMAGE.hex}, "annotations": {}}],
        "predicateType": "https://sigstore.dev/cosign/sign/v1",
        "predicate": {},
        **changes,
    }


def bundle(sign: Sign = ours, said: object = None, kind: str = "application/vnd.in-toto+json") -> Document:
    raw = json.dumps(said or statement()).encode()
    encoded = f"DSSEv1 {len(kind)} {kind} {len(raw)} ".encode() + raw
    return {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": ""}},
        "dsseEnvelope": {
            "payload": base64.b64encode(raw).decode(),
            "payloadType": kind,
            "signatures": [{"sig": base64.b64encode(sign(encoded)).decode()}],
        },
    }


def signed(form: str, sign: Sign = ours) -> SignedImage:
    image = SignedImage(IMAGE)
    if form == "classic":
        image.add_classic(classic(sign))
    else:
        image.add_bundle(bundle(sign))
    return image


def refused(image: SignedImage, wanted: Policy | None = None) -> str:
    with pytest.raises(SignatureError) as caught:
        verify(image, image.digest, wanted or policy(), "registry.test/app")
    return caught.value.message


# By real cosign.


@pytest.mark.parametrize("case", ["c2-key", "c3-key-classic", "c3-key-bundle"])
def test_what_cosign_signed_with_a_key_counts(case: str) -> None:
    image = by_cosign(case)
    key = read_public_key(COSIGN["keys"]["p256"]["public"], "keys[0]")
    assert verify(image, image.digest, Policy(keys=(key,), annotations={"env": "prod"}), "app") == key.fingerprint
    other = read_public_key(COSIGN["keys"]["other"]["public"], "keys[0]")
    assert verify(image, image.digest, Policy(keys=(other, key)), "app") == key.fingerprint
    assert "by another key" in refused(image, Policy(keys=(other,)))


def test_an_attestation_by_the_same_key_is_no_signature() -> None:
    """cosign 3.1.1 takes it for one; it may well say that the scan failed."""
    key = read_public_key(COSIGN["keys"]["p256"]["public"], "keys[0]")
    assert "an attestation ('https://cosign.sigstore.dev/attestation/v1')" in refused(
        by_cosign("c3-attestation-only"), Policy(keys=(key,))
    )


def test_a_bundles_hint_names_the_other_key() -> None:
    key = read_public_key(COSIGN["keys"]["p256"]["public"], "keys[0]")
    assert f"by another key ({key.fingerprint})" in refused(by_cosign("c3-key-bundle"))


@pytest.mark.parametrize("name", ["cosign/certificate", "cosign/bundle", "cosign/rfc3161timestamp"])
def test_half_of_a_surrogate_pair_in_an_annotation_hides_no_good_signature(name: str) -> None:
    """A JSON escape may write one, and UTF-8 has no bytes for it."""
    annotations, raw = classic()
    image = SignedImage(IMAGE)
    image.add_classic(({**annotations, f"dev.sigstore.{name}": "\ud800"}, raw), (annotations, raw))
    assert verify(image, IMAGE, policy(), "registry.test/app") == policy().keys[0].fingerprint


# Keys and hashes.

P256, P384, P521 = (ec.generate_private_key(curve()) for curve in (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1))
RSA = generate_private_key(65537, 2048)
ED25519 = Ed25519PrivateKey.generate()


def ecdsa(key: ec.EllipticCurvePrivateKey, digest: hashes.HashAlgorithm) -> tuple[Private, Sign]:
    return key, lambda data: key.sign(data, ec.ECDSA(digest))


KEYS: dict[str, tuple[Private, Sign]] = {
    "P-256": ecdsa(P256, hashes.SHA256()),
    "P-384 with SHA-256": ecdsa(P384, hashes.SHA256()),
    "P-384 with SHA-384": ecdsa(P384, hashes.SHA384()),
    "P-521 with SHA-256": ecdsa(P521, hashes.SHA256()),
    "P-521 with SHA-512": ecdsa(P521, hashes.SHA512()),
    "RSA": (RSA, lambda data: RSA.sign(data, padding.PKCS1v15(), hashes.SHA256())),
    "Ed25519": (ED25519, ED25519.sign),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KEYS)
def test_keys_of_these_kinds_verify(form: str, kind: str) -> None:
    key, sign = KEYS[kind]
    image = signed(form, sign)
    assert verify(image, IMAGE, policy(key), "app") == policy(key).keys[0].fingerprint
    assert "by another key" in refused(image)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("key", "sign"),
    [
        ecdsa(P256, hashes.SHA384()),
        ecdsa(P384, hashes.SHA512()),
        ecdsa(P521, hashes.SHA384()),
        (RSA, lambda data: RSA.sign(data, padding.PKCS1v15(), hashes.SHA512())),
        (RSA, lambda data: RSA.sign(data, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())),
    ],
    ids=["P-256 with SHA-384", "P-384 with SHA-512", "P-521 with SHA-384", "RSA with SHA-512", "RSA-PSS"],
)
def test_other_hashes_and_paddings_do_not_count(form: str, key: Private, sign: Sign) -> None:
    assert "by another key" in refused(signed(form, sign), policy(key))


def test_a_fingerprint_is_openssls_of_the_public_key() -> None:
    der = OURS.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert policy().keys[0].fingerprint == str(Digest.of(der))


@pytest.mark.parametrize(
    ("pem", "says"),
    [
        ("", "not a public key in PEM"),
        ("release.pub", "not a public key in PEM"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "not a public key in PEM"),
        (public_pem(P256) + public_pem(P384), "more than one PEM text"),
        (public_pem(generate_private_key(65537, 1024)), "an RSA key of 1024 bits"),  # noqa: S505  # weak on purpose
        (public_pem(ec.generate_private_key(ec.SECP256K1())), "secp256k1"),
        (public_pem(X25519PrivateKey.generate()), "not supported"),
        (UNREGISTERED, "not supported"),
        (COSIGN["keys"]["p256"]["private"], "expected a public key, got a private one"),
    ],
)
def test_what_is_no_public_key_is_refused_before_anything_is_sent(pem: str, says: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_public_key(pem, "source.verify.cosign.keys[0]")
    assert caught.value.message.startswith("source.verify.cosign.keys[0]: ")
    assert says in caught.value.message


# What is signed.


@pytest.mark.parametrize("form", FORMS)
def test_a_signature_over_other_bytes_does_not_count(form: str) -> None:
    assert "by another key" in refused(signed(form, lambda data: ours(data + b" ")))


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (payload(image={"docker-manifest-digest": str(Digest.of(b"other"))}), "of another image"),
        (payload(image={"manifest-digest": str(IMAGE)}), "docker-manifest-digest"),
        (payload(type="atomic container signature"), "not 'cosign container image signature'"),
        (b"{}", "critical"),
        (b"[" * 100_000, "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (json.dumps({"critical": None, "optional": 3}).encode(), "critical"),
    ],
)
def test_a_payload_by_the_key_must_be_a_signature_of_the_image(raw: bytes, says: str) -> None:
    image = SignedImage(IMAGE)
    image.add_classic(classic(raw=raw))
    assert says in refused(image)


@pytest.mark.parametrize(
    ("said", "says"),
    [
        (statement(subject=[{"digest": {"sha256": "0" * 64}}]), "of another image"),
        (statement(subject=[{"digest": {"sha512": IMAGE.hex}}]), "of another image"),
        (statement(subject=[]), "about 0 subjects"),
        (statement(subject=[{"digest": {"sha256": IMAGE.hex}}, {"digest": {"sha256": "0" * 64}}]), "about 2 subjects"),
        (statement(predicateType="https://slsa.dev/provenance/v1"), "an attestation"),
        (statement(_type="https://in-toto.io/Statement/v0.1"), "statement of type"),
    ],
)
def test_a_statement_by_the_key_must_be_a_signature_of_the_image(said: Document, says: str) -> None:
    image = SignedImage(IMAGE)
    image.add_bundle(bundle(said=said))
    assert says in refused(image)


def test_an_envelope_of_another_type_does_not_count() -> None:
    image = SignedImage(IMAGE)
    image.add_bundle(bundle(kind="application/json"))
    assert "an envelope of 'application/json'" in refused(image)


@pytest.mark.parametrize("count", [0, 2])
def test_an_envelope_has_one_signature(count: int) -> None:
    document = bundle()
    document["dsseEnvelope"]["signatures"] *= count
    image = SignedImage(IMAGE)
    image.add_bundle(document)
    assert f"{count} signatures in one envelope" in refused(image)


@pytest.mark.parametrize("form", FORMS)
def test_all_annotations_must_be_signed(form: str) -> None:
    image = SignedImage(IMAGE)
    said = {"env": "prod", "n": "1"}
    image.add_classic(classic(raw=payload(optional=said | {"number": 7}))) if form == "classic" else image.add_bundle(
        bundle(said=statement(subject=[{"digest": {"sha256": IMAGE.hex}, "annotations": said | {"number": 7}}]))
    )
    assert verify(image, IMAGE, policy(env="prod", n="1"), "app")
    assert "it says 'prod'" in refused(image, policy(env="test"))
    assert "it does not say it" in refused(image, policy(env="prod", missing=""))
    assert "it does not say it" in refused(image, policy(number="7"))


# What is found.


def test_a_broken_signature_does_not_hide_a_good_one() -> None:
    image = SignedImage(IMAGE)
    broken: list[tuple[dict[str, str], bytes]] = [
        ({}, b"{}"),
        ({"dev.cosignproject.cosign/signature": "no base64!"}, payload()),
        ({"dev.cosignproject.cosign/signature": "AAAA"}, payload()),
        (classic()[0] | {"dev.sigstore.cosign/certificate": "none"}, payload()),
        (classic()[0] | {"dev.sigstore.cosign/bundle": "["}, payload()),
        (classic(raw=b"{}")[0], b"{}"),
    ]
    image.add_classic(*broken)
    assert "6 found" in refused(image)
    image.add_classic(*broken, classic())
    assert verify(image, IMAGE, policy(), "app")


@pytest.mark.parametrize(
    "broken", [b"", b"{}", b"[", b"\xff", b'{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json"}']
)
def test_a_broken_bundle_does_not_hide_a_good_one(broken: bytes) -> None:
    image = SignedImage(IMAGE)
    image.add_bundle(broken)
    assert "1 found: bundle" in refused(image)
    image.add_bundle(bundle())
    assert verify(image, IMAGE, policy(), "app")


def test_a_classic_signature_that_does_not_count_does_not_hide_a_bundle() -> None:
    """cosign 3 looks at one form only."""
    image = signed("classic", lambda data: b"\0")
    image.add_bundle(bundle())
    assert verify(image, IMAGE, policy(), "app")


def test_a_bundle_counts_whatever_its_descriptor_says() -> None:
    """cosign 3.1.1 writes the empty config's type into the fallback index; others write what they like."""
    image = SignedImage(IMAGE)
    image.add_bundle(bundle(), listed_as="application/vnd.cncf.notary.signature")
    assert verify(image, IMAGE, policy(), "app")


def test_other_referrers_are_no_signatures() -> None:
    image = SignedImage(IMAGE)
    image.add_referrer(
        json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": image.add_blob(b"{}", "application/vnd.oci.empty.v1+json"),
                "layers": [image.add_blob(b"{}", "application/spdx+json")],
            }
        ).encode(),
        "application/spdx+json",
    )
    assert refused(image).endswith("no signature that counts: none found")


def test_a_bundle_that_refers_to_another_image_does_not_count() -> None:
    image = SignedImage(IMAGE)
    image.add_bundle(bundle(), subject=Digest.of(b"other"))
    assert "refers to another image" in refused(image)


def test_a_bundle_is_the_only_layer_of_its_manifest() -> None:
    image = signed("bundle")
    document = json.loads(image.manifests.popitem()[1])
    document["layers"].append(document["layers"][0])
    image.listed.clear()
    image.add_referrer(json.dumps(document).encode(), "")
    assert "has 2 layers" in refused(image)


@pytest.mark.parametrize("form", FORMS)
def test_a_blob_must_be_what_its_digest_promises(form: str) -> None:
    image = signed(form)
    for digest, data in image.blobs.items():
        image.blobs[digest] = data + b" "
    assert "size mismatch" in refused(image)


@pytest.mark.parametrize("form", FORMS)
def test_a_blob_that_is_not_there_does_not_count(form: str) -> None:
    image = signed(form)
    image.blobs.clear()
    assert "is not there" in refused(image)


@pytest.mark.parametrize("form", FORMS)
def test_a_blob_over_the_bound_is_not_asked_for(form: str) -> None:
    image = SignedImage(IMAGE)
    large = b" " * (MAX_SIGNATURE_SIZE + 1)
    image.add_classic(classic(raw=large)) if form == "classic" else image.add_bundle(large)
    assert f"more than {MAX_SIGNATURE_SIZE}" in refused(image)
    assert str(Digest.of(large)) not in image.asked


@pytest.mark.parametrize("form", FORMS)
def test_no_more_than_a_hundred_are_looked_at(form: str) -> None:
    image = SignedImage(IMAGE)
    if form == "classic":
        image.add_classic(classic(), *(classic(lambda data: b"\0") for _ in range(MAX_SIGNATURES)))
    else:
        for number in range(MAX_SIGNATURES):
            image.add_bundle(bundle(lambda data, number=number: b"\0%d" % number))  # type: ignore[misc]
        image.add_bundle(bundle())
    message = refused(image)
    assert "101 found" in message
    assert len(message) < 2000


def test_of_many_classic_signatures_the_newest_are_looked_at() -> None:
    image = SignedImage(IMAGE)
    image.add_classic(*(classic(lambda data: b"\0") for _ in range(MAX_SIGNATURES)), classic())
    assert verify(image, IMAGE, policy(), "app")


def test_a_signature_is_found_behind_an_attestation_of_each_day() -> None:
    """As a registry lists them, with the annotations of their manifests."""
    image = SignedImage(IMAGE)
    for day in range(MAX_SIGNATURES + 1):
        image.add_bundle(bundle(said=statement(predicateType=f"https://scan.test/{day}")))
        image.listed[-1] = replace(image.listed[-1], annotations={PREDICATE: f"https://scan.test/{day}"})
    image.add_bundle(bundle())
    for said in ({PREDICATE: "https://sigstore.dev/cosign/sign/v1"}, {}):
        image.listed[-1] = replace(image.listed[-1], annotations=said)
        image.asked.clear()
        assert verify(image, IMAGE, policy(), "app")
        assert len(image.asked) == 4


def test_a_classic_signature_costs_two_requests_and_a_bundle_four() -> None:
    for form, requests in (("classic", 2), ("bundle", 4)):
        image = signed(form)
        verify(image, IMAGE, policy(), "app")
        assert len(image.asked) == requests


# Look-ups that fail.


@pytest.mark.parametrize("place", ["tag", "referrers", "manifest", "blob"])
@pytest.mark.parametrize("error", [TransportError("no answer"), Unavailable("in trouble", status=503)])
def test_a_look_up_that_fails_is_never_unsigned(place: str, error: TransportError | Unavailable) -> None:
    image = signed("bundle")
    blob, manifest = next(iter(image.blobs)), next(iter(image.manifests))
    asked = {"tag": image.signature_tag, "referrers": "referrers", "manifest": manifest, "blob": blob}[place]
    image.broken[asked] = error
    with pytest.raises(type(error)) as caught:
        verify(image, IMAGE, policy(), "app")
    assert caught.value is error


@pytest.mark.parametrize("place", ["tag", "referrers"])
def test_an_answer_that_is_none_is_its_own_error_unless_a_signature_counts(place: str) -> None:
    image = signed("bundle" if place == "tag" else "classic")
    broken = ContentError("get manifest: expected a manifest, got a web page")
    image.broken[image.signature_tag if place == "tag" else "referrers"] = broken
    assert verify(image, IMAGE, policy(), "app")
    with pytest.raises(ContentError) as caught:
        verify(image, IMAGE, policy(P384), "app")
    assert caught.value is broken


def test_a_referrer_that_is_not_there_does_not_hide_a_good_one() -> None:
    image = SignedImage(IMAGE)
    image.add_bundle(bundle(lambda data: b"\0"))
    gone = next(iter(image.manifests))
    image.broken[gone] = NotFound(f"manifest {gone}", status=404)
    image.add_bundle(bundle())
    assert verify(image, IMAGE, policy(), "app")


def test_an_unsigned_image_says_how_to_sign_it() -> None:
    image = SignedImage(IMAGE)
    with pytest.raises(SignatureError) as caught:
        verify(image, IMAGE, policy(), "registry.test/app")
    assert caught.value.message == f"verify registry.test/app@{IMAGE}: no signature that counts: none found"
    assert "params.sign.cosign" in str(caught.value.hint)
    assert not caught.value.retryable
