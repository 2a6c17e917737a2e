"""The ``source`` of a resource, typed: what a pipeline says once about a repository, for check, get and put."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from registry_image.auth.credentials import Credentials
from registry_image.net.tls import ClientCertificate
from registry_image.oci.digest import Digest
from registry_image.oci.platform import Platform
from registry_image.oci.reference import RepositoryName

Sort: TypeAlias = Literal["registry", "semver", "numeric", "created", "lexical"]
Progress: TypeAlias = Literal["bars", "plain", "none"]

DEFAULT_CONCURRENT_DOWNLOADS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """A server asked before the origin: ``host[:port]``, a path that goes before every name, and who we are there."""

    host: str
    prefix: str = ""
    insecure: bool = False
    credentials: Credentials | None = None

    def name_of(self, origin: RepositoryName) -> RepositoryName:
        """What the mirror calls the origin's repository."""
        return RepositoryName(self.host, f"{self.prefix}/{origin.path}" if self.prefix else origin.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class AWS:
    """The ``aws_…`` fields; "" where absent. ``role_arns`` are assumed in order (`aws_role_arn` is a chain of one)."""

    region: str = ""
    access_key_id: str = ""
    secret_access_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    role_arns: tuple[str, ...] = ()
    external_id: str = ""
    account_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Azure:
    """The ``azure_…`` fields; "" where absent. ``acr`` switches the login on."""

    acr: bool = False
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    tenant_id: str = ""
    environment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GCP:
    """``gcp``; "" where absent. ``service_account_json`` is the key's JSON text."""

    service_account_json: str = field(default="", repr=False)
    workload_identity_provider: str = ""
    service_account: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Fields are named as in the schema, where each is described; "" and None are absent.

    ``name`` is the repository as the pipeline spells it, without tag and digest, and ``repository`` what that means
    (for a bare ECR name the host comes from the login). ``tag`` and ``digest`` may come from ``repository:`` too.
    ``registry_mirrors`` and ``auths`` are keyed by the registry's host as in `RepositoryName.host`; the former holds
    ``registry_mirror`` as well, the latter ``docker_config_json``. ``warnings`` are for the log.
    """

    name: str
    repository: RepositoryName
    tag: str | None = None
    digest: Digest | None = None
    tag_regex: str = ""
    exclude_regex: str = ""
    sort: Sort = "registry"
    variant: str = ""
    semver_constraint: str = ""
    pre_releases: bool = False
    pre_release_prefixes: tuple[str, ...] = ()
    latest: bool = True
    on_missing: Literal["empty", "fail"] = "empty"
    credentials: Credentials | None = None
    auths: Mapping[str, Credentials] = field(default_factory=dict)
    client_certs: tuple[ClientCertificate, ...] = ()
    aws: AWS = AWS()  # noqa: RUF009 - frozen, so safe to share
    azure: Azure = Azure()  # noqa: RUF009
    gcp: GCP | None = None
    oidc_token: str = field(default="", repr=False)
    platform: Platform
    label_regex: str = ""
    annotation_regex: str = ""
    registry_mirrors: Mapping[str, Mirror] = field(default_factory=dict)
    insecure: bool = False
    ca_certs: tuple[str, ...] = ()
    content_trust: bool = False
    max_concurrent_downloads: int = DEFAULT_CONCURRENT_DOWNLOADS
    progress: Progress = "bars"
    debug: bool = False
    warnings: tuple[str, ...] = ()
