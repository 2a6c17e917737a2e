"""The settings of the clouds. Imported only for a source that names one."""

from __future__ import annotations

from dataclasses import dataclass, field

AZURE_ENVIRONMENTS = ("AzurePublic", "AzureGovernment", "AzureChina")


@dataclass(frozen=True, slots=True, kw_only=True)
class AWSSettings:
    """The ``aws_…`` fields; "" where absent. ``role_arns`` are assumed in order (`aws_role_arn` is a chain of one)."""

    region: str = ""
    access_key_id: str = ""
    secret_access_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    role_arns: tuple[str, ...] = ()
    external_id: str = ""
    account_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureSettings:
    """The ``azure_…`` fields; "" where absent. ``acr`` switches the login on, ``environment`` is one of
    AZURE_ENVIRONMENTS."""

    acr: bool = False
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    tenant_id: str = ""
    environment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GCPSettings:
    """``gcp``; "" where absent. ``service_account_json`` is the key's JSON text."""

    service_account_json: str = field(default="", repr=False)
    workload_identity_provider: str = ""
    service_account: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudSettings:
    """``oidc_token`` is the identity token for one of the clouds; "" if absent."""

    aws: AWSSettings = AWSSettings()
    azure: AzureSettings = AzureSettings()
    gcp: GCPSettings | None = None
    oidc_token: str = field(default="", repr=False)
