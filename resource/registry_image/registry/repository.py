"""A repository in a registry: the distribution spec's client side, as a ContentReader."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager

from registry_image.auth.credentials import CredentialProvider
from registry_image.net.client import Auth, Client
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Buffer, Digest
from registry_image.oci.manifest import Index, Manifest
from registry_image.oci.reference import RepositoryName


class Repository:
    """Reads one repository. Threads may share it. Credentials go to ``name.api_host`` and its token server only.

    ``insecure`` allows plain HTTP where no TLS answers; loopback names need no permission, and private addresses
    (RFC 1918) none while there are no credentials.
    """

    def __init__(
        self,
        client: Client,
        name: RepositoryName,
        credentials: CredentialProvider | None = None,
        *,
        insecure: bool = False,
    ) -> None:
        self.client = client
        self.name = name
        raise NotImplementedError

    def url(self, path: str) -> str:
        """``https://<host>/v2/<name>/<path>``; the client knows when that host speaks plain HTTP."""
        raise NotImplementedError

    def auth(self, *actions: str, mount_from: str = "") -> Auth:
        """The login for these actions (``pull``; ``pull``, ``push``), one object for each set, so tokens are shared.

        ``mount_from`` is the path of another repository on this registry: a token of its own with both scopes.
        """
        raise NotImplementedError

    def resolve(self, tag: str) -> Descriptor | None:
        """One HEAD where nothing is amiss; GET when HEAD cannot answer. ``tag`` may be a digest's text."""
        raise NotImplementedError

    def manifest(self, digest: Digest) -> Manifest | Index:
        raise NotImplementedError

    def blob(self, descriptor: Descriptor) -> AbstractContextManager[Iterator[Buffer]]:
        """Resumed by Range where the connection broke; the pieces are not verified (see ContentReader)."""
        raise NotImplementedError

    def referrers(self, digest: Digest) -> tuple[Descriptor, ...]:
        raise NotImplementedError

    def tags(self) -> Iterator[str]:
        """Every tag, in the registry's order, page by page as asked for. Raises NotFound for a missing repository."""
        raise NotImplementedError
