"""Whatever somebody pushed beside an image, only our errors come out, and no damage makes a signature count."""

from __future__ import annotations

import base64
import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry_image.errors import SignatureError
from registry_image.oci.digest import Digest
from registry_image.signing.keys import read_public_key
from registry_image.signing.policy import Expected, Policy, Signatory, verify
from registry_image.signing.trust import read_trusted_root
from tests.support.signed import COSIGN, SignedImage
from tests.support.sigstore import ISSUER, SUBJECT, Recipe, Sigstore

IMAGE = Digest.of(b"an image")
SIGSTORE = Sigstore()
BUNDLE = SIGSTORE.bundle(IMAGE, Recipe(version="0.0.2", promise=False, stamped=("tsa",)))
CLASSIC = SIGSTORE.classic(IMAGE)
POLICY = Policy(
    keys=(read_public_key(COSIGN["keys"]["p256"]["public"], "keys[0]"),),
    keyless=(
        Signatory(
            issuer=Expected(shown=ISSUER, matches=ISSUER.__eq__),
            subject=Expected(shown=SUBJECT, matches=SUBJECT.__eq__),
        ),
    ),
    root=read_trusted_root(SIGSTORE.trusted_root(), "trusted_root"),
)
PLACES = st.integers(min_value=0, max_value=1 << 16)
BYTES = st.integers(min_value=0, max_value=255)


def damaged(data: bytes, place: int, byte: int) -> bytes:
    """``data`` with one byte that is another."""
    place %= len(data)
    other = byte if byte != data[place] else byte ^ 1
    return data[:place] + bytes((other,)) + data[place + 1 :]


def refused(image: SignedImage) -> None:
    with pytest.raises(SignatureError):
        verify(image, IMAGE, POLICY, "app")


def test_what_is_damaged_below_counts_when_it_is_whole() -> None:
    whole = SignedImage(IMAGE)
    whole.add_bundle(BUNDLE)
    assert verify(whole, IMAGE, POLICY, "app")
    whole.listed.clear()
    whole.add_classic(CLASSIC)
    assert verify(whole, IMAGE, POLICY, "app")


@settings(max_examples=300)
@given(PLACES, BYTES)
def test_a_certificate_with_one_other_byte_does_not_count(place: int, byte: int) -> None:
    bundle = json.loads(json.dumps(BUNDLE))
    certificate = bundle["verificationMaterial"]["certificate"]
    certificate["rawBytes"] = base64.b64encode(damaged(base64.b64decode(certificate["rawBytes"]), place, byte)).decode()
    image = SignedImage(IMAGE)
    image.add_bundle(bundle)
    refused(image)


@settings(max_examples=200)
@given(PLACES, BYTES)
def test_a_timestamp_with_one_other_byte_is_no_bug(place: int, byte: int) -> None:
    """A byte of what its authority did not sign may be another."""
    bundle = json.loads(json.dumps(BUNDLE))
    (stamp,) = bundle["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"]
    stamp["signedTimestamp"] = base64.b64encode(
        damaged(base64.b64decode(stamp["signedTimestamp"]), place, byte)
    ).decode()
    image = SignedImage(IMAGE)
    image.add_bundle(bundle)
    with suppress(SignatureError):
        assert verify(image, IMAGE, POLICY, "app") == f"{SUBJECT} ({ISSUER})"


@settings(max_examples=200)
@given(PLACES, BYTES)
def test_a_bundle_with_one_other_byte_is_no_bug(place: int, byte: int) -> None:
    image = SignedImage(IMAGE)
    image.add_bundle(damaged(json.dumps(BUNDLE).encode(), place, byte))
    with suppress(SignatureError):
        assert verify(image, IMAGE, POLICY, "app") == f"{SUBJECT} ({ISSUER})"


@given(PLACES, BYTES)
def test_a_payload_with_one_other_byte_does_not_count(place: int, byte: int) -> None:
    annotations, payload = CLASSIC
    image = SignedImage(IMAGE)
    image.add_classic((annotations, damaged(payload, place, byte)))
    refused(image)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just("AAAA"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=300)
@given(st.data(), VALUES)
def test_a_bundle_with_anything_in_a_field_is_no_bug(data: st.DataObject, value: object) -> None:
    bundle = json.loads(json.dumps(BUNDLE))
    place = bundle
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else list(range(len(place)))))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = value
    image = SignedImage(IMAGE)
    image.add_bundle(bundle)
    with suppress(SignatureError):
        assert verify(image, IMAGE, POLICY, "app") == f"{SUBJECT} ({ISSUER})"


@given(st.dictionaries(st.sampled_from([*CLASSIC[0], "other"]), st.text(max_size=40), max_size=4), st.binary())
def test_annotations_of_any_kind_are_no_bug(changed: dict[str, str], payload: bytes) -> None:
    image = SignedImage(IMAGE)
    image.add_classic((CLASSIC[0] | changed, payload))
    refused(image)
