"""RFC 3161 timestamps: an authority says when a signature existed. Bundles of Rekor v2 have no other time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from registry_image.signing.signature import Signature
from registry_image.signing.trust import Authority

if TYPE_CHECKING:
    from rfc3161_client import TimeStampResponse


def verified_times(signature: Signature, authorities: Iterable[Authority]) -> Iterator[datetime]:
    """The time of each of the signature's timestamps that one of ``authorities`` gave; others are passed over."""
    if not signature.timestamps:
        return
    # Imported here: it is 7 MB that no signature with a log's promise needs.
    from rfc3161_client import decode_timestamp_response

    for raw in signature.timestamps:
        try:
            response = decode_timestamp_response(raw)
            time = response.tst_info.gen_time
        except ValueError:
            continue
        for authority in authorities:
            if time in authority.valid and _verifies(response, signature.value, authority):
                yield time
                break


def _verifies(response: TimeStampResponse, message: bytes, authority: Authority) -> bool:
    from rfc3161_client import VerificationError, VerifierBuilder

    if len(authority.chain) < 2:
        return False  # sigstore's own verifiers want a root besides the signer
    signer, *intermediates, root = authority.chain
    verifier = VerifierBuilder(tsa_certificate=signer, intermediates=intermediates, roots=[root]).build()
    try:
        return verifier.verify_message(response, message)
    except (VerificationError, ValueError):
        return False
