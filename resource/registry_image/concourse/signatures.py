"""Who must have signed an image, asked before anything of it is taken. Imported only where a request has `verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry_image.concourse.request.pattern import compile_pattern
from registry_image.concourse.request.signatures import CosignVerify, Wanted
from registry_image.errors import ContentError, ResourceError, SignatureError
from registry_image.oci.digest import Digest
from registry_image.oci.manifest import Index
from registry_image.signing.keys import read_public_key
from registry_image.signing.policy import Expected, Policy, Signatory, verify
from registry_image.signing.trust import public_good, read_trusted_root

if TYPE_CHECKING:
    from registry_image.concourse.connect import Connection
    from registry_image.registry.repository import Repository


def read_policy(wanted: CosignVerify) -> Policy:
    """Sends nothing. Raises RequestError for a policy that cannot hold."""
    root = None
    if wanted.keyless:
        field = f"{wanted.where}.trusted_root"
        root = read_trusted_root(wanted.trusted_root.encode(), field) if wanted.trusted_root else public_good()
    return Policy(
        keys=tuple(read_public_key(pem, f"{wanted.where}.keys[{n}]") for n, pem in enumerate(wanted.keys)),
        keyless=tuple(
            Signatory(issuer=_expected(each.issuer), subject=_expected(each.subject)) for each in wanted.keyless
        ),
        annotations=wanted.annotations,
        root=root,
    )


def _expected(wanted: Wanted) -> Expected:
    if not wanted.is_regex:
        return Expected(shown=wanted.text, matches=wanted.text.__eq__)
    pattern = compile_pattern(wanted.text, wanted.where)
    return Expected(shown=wanted.text, matches=lambda found: pattern.fullmatch(found) is not None)


def verify_version(connection: Connection, digest: Digest, tag: str, policy: Policy) -> str:
    """Who signed ``digest``. A mirror's signatures may be old: where they do not suffice, the origin is asked.

    ``tag``, "" if there is none, may name an index that has ``digest`` in it, for the hint. Raises SignatureError;
    other errors where a look-up fails.
    """
    if connection.mirror is not None:
        try:
            return verify(connection.reader(tag), digest, policy, connection.name)
        except (SignatureError, ContentError) as error:
            host = connection.mirror.name.host
            connection.listener.note(f"warning: mirror {host}: {error.message}: asking {connection.origin.name.host}")
    try:
        return verify(connection.origin, digest, policy, connection.name)
    except SignatureError as error:
        if tag and (index := _signed_index(connection.origin, digest, tag, policy)) is not None:
            error.hint = (
                f"it is a platform of the index {index}, which is signed; an index does not sign for its platforms: "
                "get the index, or sign each platform (`cosign sign --recursive`)"
            )
        raise


def _signed_index(origin: Repository, digest: Digest, tag: str, policy: Policy) -> Digest | None:
    """The index under ``tag`` if it has ``digest`` in it and is signed as it should be."""
    try:
        index = origin.tagged(tag)
        if isinstance(index, Index) and any(each.digest == digest for each in index.manifests):
            verify(origin, index.digest, policy, "index")
            return index.digest
    except ResourceError:
        pass  # a hint is not worth another error
    return None
