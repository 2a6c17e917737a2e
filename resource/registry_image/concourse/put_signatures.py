"""put signs what it pushes, before a tag moves. Imported only by a put that has `sign`."""

from __future__ import annotations

from registry_image.concourse.connect import Connection
from registry_image.concourse.request.signatures import CosignSign
from registry_image.errors import RegistryError, ResourceError, Unauthorized
from registry_image.oci.manifest import Index, Manifest
from registry_image.registry.upload import RepositoryWriter
from registry_image.signing.make import Push, Signing, signatures_to_push
from registry_image.signing.secret import read_signing_key


class ImageSigner:
    """Signs images in a repository as ``wanted`` says.

    Making one sends nothing. It raises RequestError for a key that cannot sign, or a password that does not open it.
    """

    def __init__(self, wanted: CosignSign) -> None:
        key = read_signing_key(wanted.key, wanted.password, f"{wanted.where}.key")
        self._signing = Signing(key=key, annotations=wanted.annotations, forms=wanted.forms)

    @property
    def fingerprint(self) -> str:
        return self._signing.key.public.fingerprint

    def push(self, connection: Connection, writer: RepositoryWriter, root: Manifest | Index) -> None:
        """Signs ``root``, which is in the repository, unless it is signed so already. Raises ResourceError."""
        try:
            pushes = self._missing(connection, root)
            for push in pushes:
                for blob in push.descriptors:
                    if not writer.has(blob):
                        writer.put_blob(blob, push)
                writer.put_manifest(push.manifest, tag=push.tag)
        except ResourceError as error:
            if isinstance(error, RegistryError) and "bundle" not in self._signing.forms:
                error.hint = error.hint or "where tags cannot be overwritten, `format: bundle` signs without one"
            error.args = (f"sign {connection.origin.name}@{root.digest}: {error.message}: no tag was moved",)
            raise
        self._tell(connection, root, pushes, "signed")

    def tell(self, connection: Connection, root: Manifest | Index) -> None:
        """What `push` would do, asked of the registry but not sent to it."""
        try:
            pushes = self._missing(connection, root)
        except Unauthorized:
            # Docker Hub says so of a repository that does not exist yet; whether we may sign there, the push will tell.
            connection.listener.note(f"dry run: would be signed by {self.fingerprint}: {root.digest}")
            return
        self._tell(connection, root, pushes, "dry run: would be signed")

    def _missing(self, connection: Connection, root: Manifest | Index) -> tuple[Push, ...]:
        return signatures_to_push(connection.origin, root.descriptor, str(connection.origin.name), self._signing)

    def _tell(self, connection: Connection, root: Manifest | Index, pushes: tuple[Push, ...], what: str) -> None:
        for push in pushes:
            connection.listener.note(f"{what} by {self.fingerprint}: {root.digest} ({push.form})")
        if not pushes:
            connection.listener.note(f"signed already by {self.fingerprint}: {root.digest}")
