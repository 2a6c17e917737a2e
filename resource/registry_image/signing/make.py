"""Makes what put pushes to sign an image: a signature in cosign's classic form, or a bundle."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from registry_image.decode import JSON, array_of, dump_json, key_of, parse_object
from registry_image.errors import ContentError, InvalidManifest, SignatureError
from registry_image.oci import mediatype
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Buffer, Digest
from registry_image.oci.manifest import Index, Manifest, parse_manifest
from registry_image.signing import claims
from registry_image.signing.found import (
    MAX_SIGNATURES,
    Candidate,
    SignatureReader,
    bundle_candidates,
    classic_candidates,
    classic_manifest,
    signature_tag,
)
from registry_image.signing.reading import Rejected
from registry_image.signing.secret import SigningKey
from registry_image.signing.signature import BUNDLE, PREDICATE_ANNOTATION, SIGNATURE_ANNOTATION, SIMPLE_SIGNING

_UNDATED = "0001-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """How to sign: ``forms`` are "classic", "bundle" or both."""

    key: SigningKey
    annotations: Mapping[str, str] = field(default_factory=dict)
    forms: tuple[str, ...] = ("classic",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """A signature's ``manifest``, to be pushed after its new ``blobs``; under ``tag``, or without one by its digest.

    A BlobSource of ``blobs``. ``form`` is "classic" or "bundle".
    """

    form: str
    manifest: Manifest | Index
    blobs: Mapping[Digest, bytes]
    tag: str | None

    @property
    def descriptors(self) -> tuple[Descriptor, ...]:
        """The descriptors of ``blobs``, as the manifest lists them."""
        manifest = self.manifest
        named = (manifest.config, *manifest.layers) if isinstance(manifest, Manifest) else ()
        return tuple(each for each in named if each.digest in self.blobs)

    def blob(self, descriptor: Descriptor) -> AbstractContextManager[Iterator[Buffer]]:
        return nullcontext(iter((self.blobs[descriptor.digest],)))


def signatures_to_push(
    reader: SignatureReader, subject: Descriptor, reference: str, signing: Signing
) -> tuple[Push, ...]:
    """What to push so that ``subject``, which ``reader`` holds as ``reference`` (host/repository), is signed.

    Nothing for a form in which this key has signed it with the same annotations: a second signature adds nothing.
    Raises what ``reader`` raises, InvalidManifest for a ``.sig`` tag of something else, and SignatureError for one
    that is full.
    """
    pushes = []
    for form in signing.forms:
        if form == "classic":
            if not _is_signed(classic_candidates(reader, subject.digest), subject.digest, signing):
                pushes.append(_classic(reader, subject.digest, reference, signing))
        elif not _is_signed(bundle_candidates(reader, subject.digest), subject.digest, signing):
            pushes.append(_bundle(subject, signing))
    return tuple(pushes)


def _is_signed(found: Iterable[Candidate], digest: Digest, signing: Signing) -> bool:
    for read in found:
        try:
            signature = read()
            ours = signing.key.public.verifies(signature.value, signature.message)
            if ours and signature.annotations(digest) == dict(signing.annotations):
                return True
        except (Rejected, ContentError):
            continue
    return False


def _classic(reader: SignatureReader, digest: Digest, reference: str, signing: Signing) -> Push:
    """The ``.sig`` image with one layer more: cosign keeps all signatures of an image under this one tag."""
    payload = claims.simple_payload(reference, digest, signing.annotations)
    signed = base64.b64encode(signing.key.sign(payload)).decode()
    layer: dict[str, JSON] = _descriptor(payload, SIMPLE_SIGNING) | {"annotations": {SIGNATURE_ANNOTATION: signed}}
    existing = _existing(reader, digest)
    digests = [str(each.digest) for each in existing.layers] if existing else []
    digests.append(str(Digest.of(payload)))
    config = dump_json(
        {
            "architecture": "",
            "created": _UNDATED,
            "history": [{"created": _UNDATED} for _ in digests],
            "os": "",
            "rootfs": {"type": "layers", "diff_ids": digests},
            "config": {},
        }
    )
    document: dict[str, JSON] = {"schemaVersion": 2, "mediaType": mediatype.OCI_MANIFEST}
    if existing is not None:
        # Others' signatures stay as they are, with every field.
        document = parse_object(existing.raw, "signatures")
    document[key_of(document, "config")] = _descriptor(config, mediatype.OCI_CONFIG)
    document[key_of(document, "layers")] = [*array_of(document, "layers"), layer]
    return _push("classic", document, (payload, config), signature_tag(digest))


def _existing(reader: SignatureReader, digest: Digest) -> Manifest | None:
    """The signatures under the ``.sig`` tag, if there are any. Raises unless one may be added."""
    manifest = classic_manifest(reader, digest)
    if manifest is None:
        return None
    if any(layer.media_type != SIMPLE_SIGNING for layer in manifest.layers):
        raise InvalidManifest(f"{signature_tag(digest)}: it holds something else than signatures: nothing is added")
    if len(manifest.layers) >= MAX_SIGNATURES:
        raise SignatureError(
            f"sign {digest}: {signature_tag(digest)} has {len(manifest.layers)} signatures: no room for another",
            hint="`format: bundle` needs no common tag",
        )
    return manifest


def _bundle(subject: Descriptor, signing: Signing) -> Push:
    payload = claims.statement(subject.digest, signing.annotations)
    signed = signing.key.sign(claims.pre_authentication_encoding(claims.PAYLOAD_TYPE, payload))
    hint = base64.b64encode(hashlib.sha256(signing.key.public.der).digest()).decode()
    bundle = dump_json(
        {
            "mediaType": BUNDLE,
            "verificationMaterial": {"publicKey": {"hint": hint}},
            "dsseEnvelope": {
                "payload": base64.b64encode(payload).decode(),
                "payloadType": claims.PAYLOAD_TYPE,
                "signatures": [{"sig": base64.b64encode(signed).decode()}],
            },
        }
    )
    document = {
        "schemaVersion": 2,
        "mediaType": mediatype.OCI_MANIFEST,
        "artifactType": BUNDLE,
        "config": _descriptor(b"{}", mediatype.EMPTY),
        "layers": [_descriptor(bundle, BUNDLE)],
        "annotations": {
            "dev.sigstore.bundle.content": "dsse-envelope",
            PREDICATE_ANNOTATION: claims.SIGN_PREDICATE,
        },
        "subject": {"mediaType": subject.media_type, "digest": str(subject.digest), "size": subject.size},
    }
    return _push("bundle", document, (bundle, b"{}"), None)


def _push(form: str, document: Mapping[str, object], blobs: Iterable[bytes], tag: str | None) -> Push:
    manifest = parse_manifest(dump_json(document), what=f"{form} signature")
    return Push(form=form, manifest=manifest, blobs={Digest.of(blob): blob for blob in blobs}, tag=tag)


def _descriptor(data: bytes, media_type: str) -> dict[str, JSON]:
    return {"mediaType": media_type, "size": len(data), "digest": str(Digest.of(data))}
