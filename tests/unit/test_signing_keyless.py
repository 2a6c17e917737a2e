"""Keyless signatures: each rule broken alone, in both forms, and sigstore's own verifier asked about every bundle."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID
from sigstore.errors import Error as SigstoreError
from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier
from sigstore.verify.policy import UnsafeNoOp

from registry_image.errors import SignatureError
from registry_image.oci.digest import Digest
from registry_image.signing.keys import read_public_key
from registry_image.signing.policy import Expected, Policy, Signatory, verify
from registry_image.signing.trust import public_good, read_trusted_root
from tests.support.signed import COSIGN, COSIGN_ROOT, SignedImage, by_cosign
from tests.support.sigstore import ISSUER, SUBJECT, Change, Document, Recipe, Sigstore, new_key, utf8_string

IMAGE = Digest.of(b"an image")


@pytest.fixture(scope="module")
def sigstore() -> Sigstore:
    return Sigstore()


def exactly(text: str) -> Expected:
    return Expected(shown=text, matches=text.__eq__)


def signatory(issuer: str = ISSUER, subject: str = SUBJECT) -> Signatory:
    return Signatory(issuer=exactly(issuer), subject=exactly(subject))


def policy(root: bytes, *who: Signatory, **annotations: str) -> Policy:
    return Policy(keyless=who or (signatory(),), root=read_trusted_root(root, "trusted_root"), annotations=annotations)


def signed(sigstore: Sigstore, form: str, recipe: Recipe) -> SignedImage:
    image = SignedImage(IMAGE)
    if form == "classic":
        image.add_classic(sigstore.classic(IMAGE, recipe))
    else:
        image.add_bundle(sigstore.bundle(IMAGE, recipe))
    return image


def second_opinion(bundle: Document, root: bytes, directory: Path) -> str:
    """Why sigstore's own verifier refuses ``bundle``; empty if it does not."""
    (directory / "root.json").write_bytes(root)
    logging.getLogger("sigstore").setLevel(logging.ERROR)  # it warns of the policy that asks for nobody
    verifier = Verifier(trusted_root=TrustedRoot.from_file(str(directory / "root.json")))
    try:
        verifier.verify_dsse(Bundle.from_json(json.dumps(bundle)), UnsafeNoOp())
    except (SigstoreError, x509.ExtensionNotFound, ValueError) as error:
        return str(error) or type(error).__name__
    return ""


# What counts.

GOOD = {
    "as ever": Recipe(),
    "with a timestamp beside the log's promise": Recipe(stamped=("tsa",)),
    "with a stranger's timestamp beside the log's promise": Recipe(stamped=("other tsa",)),
    "with a key of P-384": Recipe(curve=ec.SECP384R1()),
    "with a key of P-521": Recipe(curve=ec.SECP521R1()),
    "with the older issuer alone": Recipe(issuer=None, issuer_v1=ISSUER.encode()),
    "with annotations": Recipe(annotations={"env": "prod"}),
}
GOOD_BUNDLES = {
    "by Rekor v2": Recipe(version="0.0.2", promise=False, stamped=("tsa",)),
    "by Rekor v2 with a key of P-384": Recipe(version="0.0.2", promise=False, stamped=("tsa",), curve=ec.SECP384R1()),
    "with a timestamp for the promise": Recipe(promise=False, stamped=("tsa",)),
    "with two timestamps of which one counts": Recipe(promise=False, stamped=("tsa", "other tsa")),
}


@pytest.mark.parametrize("form", ["classic", "bundle"])
@pytest.mark.parametrize("case", GOOD)
def test_a_signature_of_whom_the_policy_names_counts(sigstore: Sigstore, form: str, case: str) -> None:
    image = signed(sigstore, form, GOOD[case])
    assert verify(image, IMAGE, policy(sigstore.trusted_root()), "app") == f"{SUBJECT} ({ISSUER})"


@pytest.mark.parametrize("case", [*GOOD, *GOOD_BUNDLES])
def test_sigstore_takes_the_bundles_that_count(sigstore: Sigstore, case: str, tmp_path: Path) -> None:
    bundle = sigstore.bundle(IMAGE, (GOOD | GOOD_BUNDLES)[case])
    image = SignedImage(IMAGE)
    image.add_bundle(bundle)
    assert verify(image, IMAGE, policy(sigstore.trusted_root()), "app") == f"{SUBJECT} ({ISSUER})"
    assert second_opinion(bundle, sigstore.trusted_root(), tmp_path) == ""


def test_a_log_may_sign_with_ed25519(tmp_path: Path) -> None:
    sigstore = Sigstore(rekor=Ed25519PrivateKey.generate())
    bundle = sigstore.bundle(IMAGE, Recipe(version="0.0.2", promise=False, stamped=("tsa",)))
    image = SignedImage(IMAGE)
    image.add_bundle(bundle)
    assert verify(image, IMAGE, policy(sigstore.trusted_root()), "app") == f"{SUBJECT} ({ISSUER})"
    assert second_opinion(bundle, sigstore.trusted_root(), tmp_path) == ""


def test_a_sigstore_stamps_as_well_long_after_it_was_made(sigstore: Sigstore) -> None:
    """A module of tests makes one at import, and the certificate of an identity lasts ten minutes."""
    sigstore.noon -= timedelta(hours=1)
    image = signed(sigstore, "bundle", GOOD_BUNDLES["by Rekor v2"])
    assert verify(image, IMAGE, policy(sigstore.trusted_root()), "app") == f"{SUBJECT} ({ISSUER})"


def test_a_bundle_without_a_proof_counts_by_its_logs_promise(sigstore: Sigstore, tmp_path: Path) -> None:
    """As a classic signature, which never has a proof; sigstore cannot read such a bundle at all."""
    image = signed(sigstore, "bundle", Recipe(proof=False))
    assert verify(image, IMAGE, policy(sigstore.trusted_root()), "app") == f"{SUBJECT} ({ISSUER})"
    assert second_opinion(sigstore.bundle(IMAGE, Recipe(proof=False)), sigstore.trusted_root(), tmp_path)


@pytest.mark.parametrize("case", ["c2-id", "c3-id-bundle"])
def test_what_cosign_signed_without_a_key_counts(case: str) -> None:
    image = by_cosign(case)
    who = signatory("https://issuer.lab.test", "dev@lab.test")
    assert verify(image, image.digest, policy(COSIGN_ROOT, who), "app") == "dev@lab.test (https://issuer.lab.test)"


def test_sigstore_takes_cosigns_bundle_too(tmp_path: Path) -> None:
    bundles = [base64.b64decode(blob) for blob in COSIGN["blobs"].values()]
    keyless = [json.loads(blob) for blob in bundles if b"tlogEntries" in blob]
    assert len(keyless) == 1
    assert second_opinion(keyless[0], COSIGN_ROOT, tmp_path) == ""


# What does not, each for one reason.


@dataclass(frozen=True, kw_only=True)
class Broken:
    """``says`` is in our reason. ``lenient`` says why sigstore takes the bundle, or that the rule is the caller's."""

    recipe: Callable[[Sigstore], Recipe]
    says: str
    forms: tuple[str, ...] = ("classic", "bundle")
    root: Change = field(default=lambda root: None)
    lenient: str = ""


def recipe(**fields: object) -> Callable[[Sigstore], Recipe]:
    return lambda sigstore: Recipe(**fields)  # type: ignore[arg-type]  # each test names fields of Recipe


def put(*path: str | int, value: object) -> Change:
    """A change that sets what is at ``path``."""

    def change(document: Document) -> None:
        place = document
        for step in path[:-1]:
            place = place[step]  # type: ignore[index]  # a list's step is a number
        place[path[-1]] = value  # type: ignore[index]

    return change


def of_both(classic: Change, bundle: Change) -> Change:
    """A change of a log entry's body, which has another shape in each form."""
    return lambda body: (bundle if body["kind"] == "dsse" else classic)(body)


def pem_of_another(sigstore: Sigstore) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    certificate = sigstore.certificate(new_key(), Recipe())
    return base64.b64encode(certificate.public_bytes(Encoding.PEM)).decode()


def ended(section: str) -> Change:
    """The trust in all of ``section`` ended an hour before the signature."""

    def change(root: Document) -> None:
        for each in root[section]:
            period = each["publicKey"]["validFor"] if "publicKey" in each else each["validFor"]
            period["end"] = period["start"]

    return change


def not_begun(section: str) -> Change:
    def change(root: Document) -> None:
        for each in root[section]:
            period = each["publicKey"]["validFor"] if "publicKey" in each else each["validFor"]
            period["start"] = "2999-01-01T00:00:00Z"

    return change


V2: dict[str, object] = {"version": "0.0.2", "promise": False, "stamped": ("tsa",)}
BUNDLE_ONLY = ("bundle",)

BROKEN = {
    # The signature.
    "made by another key than the certificate's": Broken(
        recipe=lambda sigstore: Recipe(certificate_key=new_key()), says="not by its certificate's key"
    ),
    "of SHA-384 with P-384": Broken(
        recipe=recipe(curve=ec.SECP384R1(), hash=hashes.SHA384()), says="not by its certificate's key"
    ),
    # The log.
    "without a log entry": Broken(recipe=recipe(entry=False), says="no log entry"),
    "of a log that is not trusted": Broken(
        recipe=recipe(rekor_key="own", rekor_log="own"), says="of a log that is not trusted"
    ),
    "of a log that was not trusted any more": Broken(
        recipe=recipe(), root=ended("tlogs"), says="log was not trusted at that time", lenient="it looks at the start"
    ),
    "of a log that was not trusted yet": Broken(
        recipe=recipe(), root=not_begun("tlogs"), says="log was not trusted at that time"
    ),
    "with a promise by another key": Broken(recipe=recipe(promise_key="own"), says="timestamp is not the log's"),
    "with another time than was promised": Broken(
        recipe=recipe(after=lambda entry: entry.update(integratedTime=str(int(entry["integratedTime"]) + 1))),
        says="timestamp is not the log's",
    ),
    "with another index than was promised": Broken(
        recipe=recipe(after=put("logIndex", value="1002")), says="timestamp is not the log's"
    ),
    "with an index that is no number": Broken(
        recipe=recipe(after=put("logIndex", value="many")), says="logIndex: not a number", forms=BUNDLE_ONLY
    ),
    "with a negative index": Broken(
        recipe=recipe(after=put("logIndex", value=-1)), says="logIndex: negative", forms=BUNDLE_ONLY
    ),
    "with neither promise nor proof": Broken(
        recipe=recipe(promise=False, proof=False, stamped=("tsa",)), says="neither", forms=BUNDLE_ONLY
    ),
    "with a proof and a time that nobody signed": Broken(
        recipe=recipe(promise=False), says="no trusted time", forms=BUNDLE_ONLY
    ),
    "of Rekor v2 with a promise": Broken(
        recipe=recipe(version="0.0.2", stamped=("tsa",)), says="has a signed entry timestamp", forms=BUNDLE_ONLY
    ),
    "of another kind inside than outside": Broken(
        recipe=recipe(kind=("hashedrekord", "0.0.1")), says="outside", forms=BUNDLE_ONLY
    ),
    "of a kind that is no signature's": Broken(recipe=recipe(body=put("kind", value="rpm")), says="of kind"),
    # The log's entry is this signature's.
    "logged for another payload": Broken(
        recipe=recipe(
            body=of_both(
                put("spec", "data", "hash", "value", value="0" * 64),
                put("spec", "payloadHash", "value", value="0" * 64),
            )
        ),
        says="of another payload",
    ),
    "logged for another signature": Broken(
        recipe=recipe(
            body=of_both(
                put("spec", "signature", "content", value="AAAA"),
                put("spec", "signatures", 0, "signature", value="AAAA"),
            )
        ),
        says="of another signature",
    ),
    "logged for another certificate": Broken(
        recipe=lambda sigstore: Recipe(
            body=of_both(
                put("spec", "signature", "publicKey", "content", value=pem_of_another(sigstore)),
                put("spec", "signatures", 0, "verifier", value=pem_of_another(sigstore)),
            )
        ),
        says="of another certificate",
    ),
    "logged twice in one entry": Broken(
        recipe=recipe(body=lambda body: body["spec"]["signatures"].append(body["spec"]["signatures"][0])),
        says="of another signature",
        forms=BUNDLE_ONLY,
    ),
    "logged by Rekor v2 for another payload": Broken(
        recipe=recipe(**V2, body=put("spec", "hashedRekordV002", "data", "digest", value="AAAA")),
        says="of another payload",
        forms=BUNDLE_ONLY,
    ),
    "logged by Rekor v2 for another signature": Broken(
        recipe=recipe(**V2, body=put("spec", "hashedRekordV002", "signature", "content", value="AAAA")),
        says="of another signature",
        forms=BUNDLE_ONLY,
    ),
    "logged by Rekor v2 for another certificate": Broken(
        recipe=recipe(
            **V2,
            body=put("spec", "hashedRekordV002", "signature", "verifier", "x509Certificate", "rawBytes", value="AAAA"),
        ),
        says="of another certificate",
        forms=BUNDLE_ONLY,
    ),
    "logged by Rekor v2 for a key of another kind": Broken(
        recipe=recipe(
            **V2,
            body=put("spec", "hashedRekordV002", "signature", "verifier", "keyDetails", value="PKIX_ED25519"),
        ),
        says="of a key",
        forms=BUNDLE_ONLY,
    ),
    # The proof.
    "with a path to another root": Broken(
        recipe=recipe(proof_change=put("hashes", 0, value=base64.b64encode(bytes(32)).decode())),
        says="does not lead to the log's root",
        forms=BUNDLE_ONLY,
    ),
    "with a path from another place": Broken(
        recipe=recipe(proof_change=put("logIndex", value="3")), says="does not lead", forms=BUNDLE_ONLY
    ),
    "with a path that is too long": Broken(
        recipe=recipe(proof_change=lambda proof: proof["hashes"].append(proof["hashes"][0])),
        says="does not lead",
        forms=BUNDLE_ONLY,
    ),
    "with a path that is too short": Broken(
        recipe=recipe(proof_change=lambda proof: proof["hashes"].pop()), says="does not lead", forms=BUNDLE_ONLY
    ),
    "with a place beyond the tree": Broken(
        recipe=recipe(proof_change=put("logIndex", value="5")), says="does not have", forms=BUNDLE_ONLY
    ),
    "with a checkpoint by another key": Broken(
        recipe=recipe(checkpoint_key="own"), says="checkpoint is not signed by the log", forms=BUNDLE_ONLY
    ),
    "with a checkpoint of another tree": Broken(
        recipe=recipe(proof_change=put("rootHash", value=base64.b64encode(bytes(32)).decode())),
        says="of another tree",
        forms=BUNDLE_ONLY,
    ),
    "with another size than the checkpoint's": Broken(
        recipe=recipe(proof_change=put("treeSize", value="6")),
        says="of another tree",
        forms=BUNDLE_ONLY,
        lenient="it compares the root alone",
    ),
    "with a proof without its checkpoint": Broken(
        recipe=recipe(proof_change=lambda proof: proof.pop("checkpoint")), says="checkpoint", forms=BUNDLE_ONLY
    ),
    "with a checkpoint without a size": Broken(
        recipe=recipe(note="rekor.test - 1\nfive\nAAAA\n"), says="no checkpoint that can be read", forms=BUNDLE_ONLY
    ),
    "with a checkpoint that says nothing": Broken(
        recipe=recipe(note="rekor.test - 1\n"), says="no checkpoint that can be read", forms=BUNDLE_ONLY
    ),
    "with a checkpoint that nobody signed": Broken(
        recipe=recipe(
            proof_change=lambda proof: proof["checkpoint"].update(
                envelope=proof["checkpoint"]["envelope"].partition("\u2014")[0]
            )
        ),
        says="checkpoint is not signed by the log",
        forms=BUNDLE_ONLY,
    ),
    # The clock.
    "with a timestamp by a stranger alone": Broken(
        recipe=recipe(promise=False, stamped=("other tsa",)), says="no trusted time", forms=BUNDLE_ONLY
    ),
    "with a timestamp of an authority without a root": Broken(
        recipe=recipe(promise=False, stamped=("lone tsa",)), says="no trusted time", forms=BUNDLE_ONLY
    ),
    "with a timestamp over something else": Broken(
        recipe=recipe(promise=False, stamped=("tsa",), stamp_over=b"else"), says="no trusted time", forms=BUNDLE_ONLY
    ),
    "with a timestamp of an authority that is not trusted any more": Broken(
        recipe=recipe(promise=False, stamped=("tsa",)),
        root=ended("timestampAuthorities"),
        says="no trusted time",
        forms=BUNDLE_ONLY,
    ),
    "with a timestamp where no authority is trusted": Broken(
        recipe=recipe(stamped=("tsa",)), root=put("timestampAuthorities", value=[]), says="names no timestamp authority"
    ),
    "with the same timestamp twice": Broken(
        recipe=recipe(
            stamped=("tsa",),
            bundle=lambda bundle: bundle["verificationMaterial"]["timestampVerificationData"].update(
                rfc3161Timestamps=2 * bundle["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"]
            ),
        ),
        says="same timestamp twice",
        forms=BUNDLE_ONLY,
    ),
    # The certificate.
    "before the certificate was valid": Broken(recipe=recipe(minute=-1), says="not one of a trusted authority"),
    "after the certificate was valid": Broken(recipe=recipe(minute=11), says="not one of a trusted authority"),
    "with a certificate by a stranger": Broken(
        recipe=recipe(authority="stranger", sct_issuer="stranger"), says="not one of a trusted authority"
    ),
    "with a certificate of an authority that is not trusted any more": Broken(
        recipe=recipe(),
        root=ended("certificateAuthorities"),
        says="no authority was trusted at that time",
        lenient="it looks at the start",
    ),
    "with a certificate of an authority for TLS": Broken(
        recipe=recipe(authority="tls only", sct_issuer="tls only"),
        says="not one of a trusted authority",
        lenient="it does not look at what an authority may be for",
    ),
    "with a certificate that is an authority's": Broken(
        recipe=recipe(is_ca=True), says="not one of a trusted authority"
    ),
    "with a certificate for TLS": Broken(
        recipe=recipe(usages=(ExtendedKeyUsageOID.CLIENT_AUTH,)), says="not for code signing"
    ),
    "with a certificate that does not say what for": Broken(recipe=recipe(usages=()), says="for code signing"),
    "with a certificate whose key is not for signing": Broken(
        recipe=recipe(signs_digitally=False), says="not for code signing"
    ),
    "with a certificate without an SCT": Broken(recipe=recipe(scts=0), says="no certificate timestamp"),
    "with a certificate with two SCTs": Broken(recipe=recipe(scts=2), says="has 2 certificate timestamps"),
    "with an SCT by another key": Broken(recipe=recipe(sct_key="own"), says="(SCT) is not the log's"),
    "with an SCT that says it is of SHA-512": Broken(recipe=recipe(sct_hash=6), says="(SCT) is not of SHA-256"),
    "with an SCT of a log that is not trusted": Broken(
        recipe=recipe(sct_key="own", sct_log="own"), says="of a certificate log that is not trusted"
    ),
    "with an SCT for another issuer": Broken(recipe=recipe(sct_issuer="root"), says="(SCT) is not the log's"),
    "with an SCT of a log that was not trusted any more": Broken(
        recipe=recipe(),
        root=ended("ctlogs"),
        says="certificate's log was not trusted",
        lenient="it looks at the start",
    ),
    # Whom it names.
    "with another issuer": Broken(
        recipe=recipe(issuer=utf8_string("https://other.test")), says="by another issuer", lenient="the policy's"
    ),
    "with another issuer and the wanted one in the older place": Broken(
        recipe=recipe(issuer=utf8_string("https://other.test"), issuer_v1=ISSUER.encode()),
        says="by another issuer",
        lenient="the policy's",
    ),
    "with an issuer that is not DER": Broken(
        recipe=recipe(issuer=ISSUER.encode(), issuer_v1=ISSUER.encode()),
        says="not a UTF8String",
        lenient="the policy's",
    ),
    "with an issuer in DER of another type": Broken(
        recipe=recipe(issuer=b"\x13" + utf8_string(ISSUER)[1:]), says="not a UTF8String", lenient="the policy's"
    ),
    "with an issuer and more behind it": Broken(
        recipe=recipe(issuer=utf8_string(ISSUER) + b"\0"), says="not a UTF8String", lenient="the policy's"
    ),
    "without an issuer": Broken(
        recipe=recipe(issuer=None, issuer_v1=None), says="names no issuer", lenient="the policy's"
    ),
    "with another subject": Broken(
        recipe=recipe(names=(x509.UniformResourceIdentifier(f"{SUBJECT}x"),)),
        says="by another subject",
        lenient="the policy's",
    ),
    "with the subject as a DNS name": Broken(
        recipe=recipe(names=(x509.DNSName("ci.test"),)), says="names nobody", lenient="the policy's"
    ),
    "without a subject": Broken(recipe=recipe(names=()), says="not one of a trusted authority"),
    # What was signed.
    "of another image": Broken(
        recipe=recipe(
            payload=put("critical", "image", "docker-manifest-digest", value=str(Digest.of(b"other"))),
            statement=put("subject", 0, "digest", "sha256", value="0" * 64),
        ),
        says="of another image",
        lenient="the caller's",
    ),
    "of another type": Broken(
        recipe=recipe(
            payload=put("critical", "type", value="atomic container signature"),
            statement=put("predicateType", value="https://slsa.dev/provenance/v1"),
        ),
        says="not",
        lenient="the caller's",
    ),
}
CASES = [(case, form) for case, broken in BROKEN.items() for form in broken.forms]


@pytest.mark.parametrize(("case", "form"), CASES)
def test_a_signature_does_not_count(sigstore: Sigstore, case: str, form: str) -> None:
    broken = BROKEN[case]
    image = signed(sigstore, form, broken.recipe(sigstore))
    with pytest.raises(SignatureError) as caught:
        verify(image, IMAGE, policy(sigstore.trusted_root(broken.root)), "app")
    assert "1 found" in caught.value.message
    assert broken.says in caught.value.message


@pytest.mark.parametrize("case", [case for case, broken in BROKEN.items() if "bundle" in broken.forms])
def test_sigstore_refuses_the_same_bundles(sigstore: Sigstore, case: str, tmp_path: Path) -> None:
    """Where ours refuses more, the case says which rule that is."""
    broken = BROKEN[case]
    bundle = sigstore.bundle(IMAGE, broken.recipe(sigstore))
    refused = second_opinion(bundle, sigstore.trusted_root(broken.root), tmp_path)
    assert bool(refused) != bool(broken.lenient)


@pytest.mark.parametrize("form", ["classic", "bundle"])
def test_annotations_must_all_be_signed(sigstore: Sigstore, form: str) -> None:
    image = signed(sigstore, form, Recipe(annotations={"env": "prod", "team": "a"}))
    root = sigstore.trusted_root()
    assert verify(image, IMAGE, policy(root, env="prod"), "app")
    for wanted in ({"env": "test"}, {"env": "prod", "missing": ""}):
        with pytest.raises(SignatureError, match="not with the annotation"):
            verify(image, IMAGE, policy(root, **wanted), "app")


@pytest.mark.parametrize("form", ["classic", "bundle"])
def test_a_key_or_an_identity_suffices(sigstore: Sigstore, form: str) -> None:
    other = read_public_key(COSIGN["keys"]["other"]["public"], "keys[0]")
    image = signed(sigstore, form, Recipe())
    both = Policy(keys=(other,), keyless=(signatory(),), root=read_trusted_root(sigstore.trusted_root(), "root"))
    assert verify(image, IMAGE, both, "app") == f"{SUBJECT} ({ISSUER})"
    with pytest.raises(SignatureError, match="by another key"):
        verify(image, IMAGE, Policy(keys=(other,)), "app")


@pytest.mark.parametrize("form", ["classic", "bundle"])
def test_both_halves_of_one_identity_must_match(sigstore: Sigstore, form: str) -> None:
    image = signed(sigstore, form, Recipe())
    halves = (signatory(subject="https://else.test"), signatory(issuer="https://else.test"))
    with pytest.raises(SignatureError) as caught:
        verify(image, IMAGE, policy(sigstore.trusted_root(), *halves), "app")
    assert SUBJECT in caught.value.message
    assert ISSUER in caught.value.message


def test_another_sigstores_signature_does_not_count(sigstore: Sigstore) -> None:
    image = signed(sigstore, "classic", Recipe())
    everyone = Policy(keyless=(signatory(),), root=public_good())
    with pytest.raises(SignatureError, match="not trusted"):
        verify(image, IMAGE, everyone, "app")
