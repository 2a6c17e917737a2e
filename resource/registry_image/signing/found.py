"""Finds an image's signatures in a registry: under cosign's ``.sig`` tag, and in bundles that refer to the image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NoReturn, Protocol, TypeAlias

from registry_image.errors import ContentError, InvalidManifest, NotFound
from registry_image.oci import mediatype
from registry_image.oci.content import ContentReader, read_small_blob
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Digest
from registry_image.oci.manifest import Index, Manifest
from registry_image.signing.claims import SIGN_PREDICATE
from registry_image.signing.reading import Rejected
from registry_image.signing.signature import (
    BUNDLE,
    PREDICATE_ANNOTATION,
    SIMPLE_SIGNING,
    Signature,
    read_bundle,
    read_classic,
)

#: The most signatures of each form that are looked at.
MAX_SIGNATURES = 100
#: The most that is read of one signature's blob, in bytes; real ones have up to 8 KiB.
MAX_SIGNATURE_SIZE = 1024 * 1024
#: Downloads and parses a signature that was found. Raises Rejected or ContentError if it is broken.
Candidate: TypeAlias = Callable[[], Signature]
_TOO_MANY = f"there are more than {MAX_SIGNATURES}: the others were not looked at"
#: The artifact types of bundles in lists of referrers. cosign 3.1.1 writes the second into the fallback index, instead
#: of the first; an index by another tool may have none.
_LIKELY_TYPES = (BUNDLE, mediatype.EMPTY, "")


class SignatureReader(ContentReader, Protocol):
    """A repository. Its methods raise NotFound for what is not there; any other error leaves open whether it is."""

    def tagged(self, tag: str) -> Manifest | Index:
        """What ``tag`` points at now."""

    def referrers(self, digest: Digest) -> tuple[Descriptor, ...]:
        """Manifests whose ``subject`` is ``digest``."""


def signature_tag(digest: Digest) -> str:
    return f"{digest.algorithm}-{digest.hex}.sig"


def classic_candidates(reader: SignatureReader, digest: Digest) -> Iterator[Candidate]:
    """The layers under the ``.sig`` tag. Raises TransportError, RegistryError or ContentError if the look-up fails."""
    manifest = classic_manifest(reader, digest)
    layers = [layer for layer in manifest.layers if layer.media_type == SIMPLE_SIGNING] if manifest else []
    # The last ones are the newest: cosign appends, and an image that is built the same each day gets one each day.
    for layer in layers[-MAX_SIGNATURES:]:
        yield partial(_read_classic, reader, layer)
    if len(layers) > MAX_SIGNATURES:
        yield partial(_reject, _TOO_MANY)


def classic_manifest(reader: SignatureReader, digest: Digest) -> Manifest | None:
    """The manifest under the ``.sig`` tag, if there is one. Raises InvalidManifest for an index."""
    try:
        found = reader.tagged(signature_tag(digest))
    except NotFound:
        return None
    if isinstance(found, Index):
        raise InvalidManifest(f"{signature_tag(digest)}: an index: expected a manifest of signatures")
    return found


def bundle_candidates(reader: SignatureReader, digest: Digest) -> Iterator[Candidate]:
    """The bundles that refer to ``digest``. Raises TransportError, RegistryError or ContentError if a look-up fails."""
    referrers = [each for each in reader.referrers(digest) if each.media_type not in mediatype.INDEXES]
    # Likely ones come first. The others are read too, because a fallback index may give a bundle any type.
    referrers.sort(key=_unlikeliness)
    for referrer in referrers[:MAX_SIGNATURES]:
        try:
            manifest = reader.manifest(referrer.digest)
        except (NotFound, ContentError) as error:
            yield partial(_reject, error.message)
            continue
        if isinstance(manifest, Manifest) and _holds_bundle(manifest):
            yield partial(_read_bundle, reader, digest, manifest)
    if len(referrers) > MAX_SIGNATURES:
        yield partial(_reject, _TOO_MANY)


def _unlikeliness(entry: Descriptor) -> tuple[int, bool]:
    """An attestation is a bundle too, and an image may have one of each day; only its annotation tells."""
    said = entry.annotations.get(PREDICATE_ANNOTATION, "")
    return {SIGN_PREDICATE: 0, "": 1}.get(said, 2), entry.artifact_type not in _LIKELY_TYPES


def _holds_bundle(manifest: Manifest) -> bool:
    return BUNDLE in (manifest.artifact_type, *(layer.media_type for layer in manifest.layers))


def _read_classic(reader: SignatureReader, layer: Descriptor) -> Signature:
    return read_classic(layer.annotations, _blob(reader, layer))


def _read_bundle(reader: SignatureReader, digest: Digest, manifest: Manifest) -> Signature:
    if manifest.subject is None or manifest.subject.digest != digest:
        raise Rejected(f"its manifest {manifest.digest} refers to another image")
    if len(manifest.layers) != 1:
        raise Rejected(f"its manifest has {len(manifest.layers)} layers: expected one")
    return read_bundle(_blob(reader, manifest.layers[0]))


def _blob(reader: SignatureReader, layer: Descriptor) -> bytes:
    try:
        return read_small_blob(reader, layer, f"signature {layer.digest}", limit=MAX_SIGNATURE_SIZE)
    except NotFound:
        raise Rejected(f"its blob {layer.digest} is not there") from None


def _reject(reason: str) -> NoReturn:
    raise Rejected(reason)
