"""Who must have signed an image, and whether one of them did."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from registry_image.errors import ContentError, SignatureError, quote
from registry_image.oci.digest import Digest
from registry_image.signing.found import SignatureReader, bundle_candidates, classic_candidates
from registry_image.signing.identity import verify_identity
from registry_image.signing.keys import PublicKey
from registry_image.signing.reading import Rejected
from registry_image.signing.signature import Signature
from registry_image.signing.trust import TrustedRoot

#: How many signatures that do not count a message tells of.
MAX_TOLD = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """One half of an identity: ``matches`` compares a whole text; ``shown`` is what it compares with, for messages."""

    shown: str
    matches: Callable[[str], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signatory:
    """Who may sign without a key. Both halves must match: a subject means nothing without who vouches for it."""

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
        # Only now: what it says is worth nothing before it is known whose word it is.
        signed = signature.annotations(digest)
        for name, value in self.annotations.items():
            if signed.get(name) != value:
                told = f"it says {quote(signed[name])}" if name in signed else "it does not say it"
                raise Rejected(f"not with the annotation {quote(name)}: {quote(value)}: {told}")
        return signer

    def _key(self, signature: Signature) -> str | None:
        verifying = (key for key in self.keys if key.verifies(signature.value, signature.message))
        return next((key.fingerprint for key in verifying), None)

    def _identity(self, signature: Signature) -> str:
        if not signature.certificate:
            raise Rejected(f"by {'another' if self.keys else 'a'} key{_hinted(signature.hint)}")
        if self.root is None:
            raise Rejected("by another key: its certificate counts only where `keyless` names whose")
        identity = verify_identity(signature, self.root)
        for wanted in self.keyless:
            if wanted.issuer.matches(identity.issuer):
                for subject in identity.subjects:
                    if wanted.subject.matches(subject):
                        return f"{subject} ({identity.issuer})"
        raise Rejected(self._not_wanted(identity.issuer, identity.subjects))

    def _not_wanted(self, issuer: str, subjects: tuple[str, ...]) -> str:
        half = "subject" if any(wanted.issuer.matches(issuer) for wanted in self.keyless) else "issuer"
        named = ", ".join(map(quote, subjects))
        return f"by another {half}: its certificate names subject {named} and issuer {quote(issuer)}"


def verify(reader: SignatureReader, digest: Digest, policy: Policy, what: str) -> str:
    """Who signed ``digest``, in the words of `Policy.signer`, by the first signature that counts.

    Raises SignatureError, naming ``what`` and why none counts; TransportError, RegistryError or ContentError for a
    look-up that fails, since then nobody knows what there is.
    """
    reasons: list[str] = []
    failed: ContentError | None = None
    for look_up in (classic_candidates, bundle_candidates):
        try:
            for candidate in look_up(reader, digest):
                try:
                    return policy.signer(candidate.read(), digest)
                except Rejected as rejected:
                    reasons.append(f"{candidate.form}: {rejected}")
                except ContentError as error:
                    reasons.append(f"{candidate.form}: {error.message}")
        except ContentError as error:
            # Not an answer, but the other form may be there.
            failed = failed or error
    if failed is not None:
        raise failed
    raise SignatureError(f"verify {what}@{digest}: no signature that counts: {_told(reasons)}", hint=_hint(reasons))


def _told(reasons: list[str]) -> str:
    if not reasons:
        return "none found"
    more = [f"and {len(reasons) - MAX_TOLD} more"] if len(reasons) > MAX_TOLD else []
    return f"{len(reasons)} found: {'; '.join(reasons[:MAX_TOLD] + more)}"


def _hint(reasons: list[str]) -> str:
    if not reasons:
        return (
            "sign it: `params.sign.cosign` of the put that pushes it, or `cosign sign`. A signature of an index does "
            "not stand for the platforms in it: for a version with a platform's digest, `cosign sign --recursive`"
        )
    return "`verify` says which signatures count, and the message why those that were found do not"


def _hinted(hint: str) -> str:
    """The fingerprint in a bundle's hint, as `PublicKey.fingerprint` writes it."""
    try:
        digest = base64.b64decode(hint, validate=True)
    except (binascii.Error, ValueError):
        return ""
    return f" (sha256:{digest.hex()})" if len(digest) == 32 else ""
