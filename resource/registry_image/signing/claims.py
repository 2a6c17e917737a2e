"""What a signature signs: cosign's simple signing payload, or an in-toto statement in a DSSE envelope."""

from __future__ import annotations

from collections.abc import Mapping

from registry_image.decode import JSONReader, dump_json
from registry_image.errors import quote
from registry_image.oci.digest import Digest
from registry_image.signing.reading import Rejected

#: containers/image's "atomic container signature" has the same shape and another type.
CRITICAL_TYPE = "cosign container image signature"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
#: The predicate of cosign's signatures. Any other is an attestation, which may say of an image that its scan failed;
#: cosign 3.1.1 takes it for a signature.
SIGN_PREDICATE = "https://sigstore.dev/cosign/sign/v1"


def simple_payload(reference: str, digest: Digest, annotations: Mapping[str, str]) -> bytes:
    """The payload to sign. ``reference`` is ``host/repository``, for people: verifiers ignore it, because the image
    may be promoted."""
    critical = {
        "identity": {"docker-reference": reference},
        "image": {"docker-manifest-digest": str(digest)},
        "type": CRITICAL_TYPE,
    }
    return dump_json({"critical": critical, "optional": dict(annotations) or None})


def read_simple_payload(raw: bytes, digest: Digest) -> dict[str, str]:
    """The annotations. Raises Rejected, or InvalidManifest, unless it is a signature of ``digest``."""
    payload = JSONReader.parse(raw, "payload")
    critical = payload.child("critical")
    if (kind := critical.text("type")) != CRITICAL_TYPE:
        raise Rejected(f"its type is {quote(kind)}, not {quote(CRITICAL_TYPE)}")
    if (signed := critical.child("image").text("docker-manifest-digest")) != str(digest):
        raise Rejected(f"of another image: {quote(signed)}")
    return _texts(payload, "optional")


def statement(digest: Digest, annotations: Mapping[str, str]) -> bytes:
    subject = {"digest": {digest.algorithm: digest.hex}, "annotations": dict(annotations)}
    return dump_json({"_type": STATEMENT_TYPE, "subject": [subject], "predicateType": SIGN_PREDICATE, "predicate": {}})


def read_statement(raw: bytes, digest: Digest) -> dict[str, str]:
    """The annotations. Raises Rejected, or InvalidManifest, unless it is a signature of ``digest`` and nothing else."""
    document = JSONReader.parse(raw, "statement")
    if (predicate := document.text("predicateType")) != SIGN_PREDICATE:
        raise Rejected(f"an attestation ({quote(predicate)}), not a signature")
    if (kind := document.text("_type")) != STATEMENT_TYPE:
        raise Rejected(f"a statement of type {quote(kind)}, not {quote(STATEMENT_TYPE)}")
    subjects = tuple(document.children("subject"))
    if len(subjects) != 1:
        raise Rejected(f"a statement about {len(subjects)} subjects: expected one")
    signed = subjects[0].text_map("digest")
    if signed.get(digest.algorithm) != digest.hex:
        shown = ", ".join(f"{algorithm}:{encoded}" for algorithm, encoded in signed.items())
        raise Rejected(f"of another image: {quote(shown)}")
    return _texts(subjects[0], "annotations")


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """The bytes that a DSSE signature is over (secure-systems-lab/dsse, protocol.md)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _texts(reader: JSONReader, key: str) -> dict[str, str]:
    """The members that are text. Others may be signed beside them, and match no annotation."""
    if not reader.has(key):
        return {}
    child = reader.child(key)
    return {name: child.text(name) for name in child if child.is_text(name)}
