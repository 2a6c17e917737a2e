"""Whose signatures of an image count, and the search for one that does."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from registry_image.errors import ContentError, SignatureError, bare, quote
from registry_image.oci.digest import Digest
from registry_image.signing.found import SignatureReader, bundle_candidates, classic_candidates
from registry_image.signing.identity import verify_identity
from registry_image.signing.keys import PublicKey
from registry_image.signing.reading import Rejected
from registry_image.signing.signature import Signature
from registry_image.signing.trust import TrustedRoot

#: The most reasons that a message lists.
MAX_REASONS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """One half of an identity: ``matches`` compares a whole text; ``shown`` is what it compares with, for messages."""

    shown: str
    matches: Callable[[str], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signatory:
    """Who may sign without a key. Both must match: a subject means nothing without the issuer that vouches for it."""

    issuer: Expected
    subject: Expected


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One signature by any of ``keys`` or ``keyless``, with all of ``annotations``, suffices.

    ``root`` is there if ``keyless`` is not empty.
    """

    keys: tuple[PublicKey, ...] = ()
    keyless: tuple[Signatory, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    root: TrustedRoot | None = None

    def signer(self, signature: Signature, digest: Digest) -> str:
        """Who signed: a key's fingerprint, or a subject and its issuer. Raises Rejected or InvalidManifest."""
        signer = self._key(signature) or self._identity(signature)
        # Read only now: what an unknown signer wrote means nothing.
        signed = signature.annotations(digest)
        for name, value in self.annotations.items():
            if signed.get(name) != value:
                found = f"it says {quote(signed[name])}" if name in signed else "it does not say it"
                raise Rejected(f"not with the annotation {quote(name)}: {quote(value)}: {found}")
        return signer

    def _key(self, signature: Signature) -> str | None:
        verifying = (key for key in self.keys if key.verifies(signature.value, signature.message))
        return next((key.fingerprint for key in verifying), None)

    def _identity(self, signature: Signature) -> str:
        if not signature.certificate:
            raise Rejected(f"by {'another' if self.keys else 'a'} key{_fingerprint(signature.hint)}")
        if self.root is None:
            raise Rejected("by another key: its certificate counts only where `keyless` names whose")
        identity = verify_identity(signature, self.root)
        for wanted in self.keyless:
            if wanted.issuer.matches(identity.issuer):
                for subject in identity.subjects:
                    if wanted.subject.matches(subject):
                        return f"{bare(subject)} ({bare(identity.issuer)})"
        half = "subject" if any(wanted.issuer.matches(identity.issuer) for wanted in self.keyless) else "issuer"
        named = f"subject {', '.join(map(quote, identity.subjects))} and issuer {quote(identity.issuer)}"
        raise Rejected(f"by another {half}: its certificate names {named}")


def verify(reader: SignatureReader, digest: Digest, policy: Policy, what: str) -> str:
    """Who signed ``digest`` (`Policy.signer`), by the first signature that counts; classic ones cost fewer requests.

    Raises SignatureError, naming ``what`` and why none counts; TransportError, RegistryError or ContentError if a
    look-up fails, because there may be a signature that was not found.
    """
    reasons: list[str] = []
    failed: ContentError | None = None
    for form, look_up in (("classic", classic_candidates), ("bundle", bundle_candidates)):
        try:
            for read in look_up(reader, digest):
                try:
                    return policy.signer(read(), digest)
                except (Rejected, ContentError) as error:
                    reasons.append(f"{form}: {error}")
        except ContentError as error:
            # A signature of the other form may count.
            failed = failed or error
    if failed is not None:
        raise failed
    raise SignatureError(f"verify {what}@{digest}: no signature that counts: {_listed(reasons)}", hint=_hint(reasons))


def _listed(reasons: list[str]) -> str:
    if not reasons:
        return "none found"
    more = [f"and {len(reasons) - MAX_REASONS} more"] if len(reasons) > MAX_REASONS else []
    return f"{len(reasons)} found: {'; '.join(reasons[:MAX_REASONS] + more)}"


def _hint(reasons: list[str]) -> str:
    if not reasons:
        return (
            "sign it: `params.sign.cosign` of the put that pushes it, or `cosign sign`. A signature of an index does "
            "not stand for the platforms in it: for a version with a platform's digest, `cosign sign --recursive`"
        )
    return "`verify` says which signatures count, and the message why those that were found do not"


def _fingerprint(hint: str) -> str:
    """The fingerprint in a bundle's hint, as `PublicKey.fingerprint` writes it."""
    try:
        digest = base64.b64decode(hint, validate=True)
    except (binascii.Error, ValueError):
        return ""
    return f" (sha256:{digest.hex()})" if len(digest) == 32 else ""
