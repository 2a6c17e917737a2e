"""Reads a source's credentials: pairs, ``auths``, a pasted Docker ``config.json``, cloud settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry_image.auth.credentials import Credentials
from registry_image.decode import JSONReader, parse_json
from registry_image.errors import InvalidManifest, RequestError, quote
from registry_image.net.secrets import SECRETS
from registry_image.oci.reference import registry_host

if TYPE_CHECKING:
    from registry_image.auth.settings import CloudSettings, GCPSettings


def read_secret(reader: JSONReader, key: str, default: str | None = None) -> str:
    """A text that is hidden from now on in all that is written to stderr."""
    text = reader.text(key, default)
    SECRETS.add(text)
    return text


def read_pair(reader: JSONReader, warnings: list[str]) -> Credentials | None:
    """One of ``username`` and ``password`` alone means anonymous, as in registry-image, but with a warning."""
    username, password = reader.text("username", ""), read_secret(reader, "password", "")
    if username and password:
        return Credentials(username=username, password=password)
    if username or password:
        given, missing = ("username", "password") if username else ("password", "username")
        warnings.append(f"{reader.where}: {given} without {missing}: continuing anonymously")
    return None


def read_auths(reader: JSONReader, warnings: list[str]) -> dict[str, Credentials]:
    """By registry host; ``auths`` override ``docker_config_json``. Raises RequestError."""
    credentials: dict[str, Credentials] = {}
    if reader.has("docker_config_json"):
        credentials |= _read_docker_config(_docker_config(reader), warnings)
    for host, entry in reader.entries("auths"):
        _require_host(host, "source.auths")
        credentials[registry_host(host)] = _read_entry(entry)
    return credentials


def _require_host(key: str, where: str) -> None:
    """Raises RequestError for ``user:password@host``, without the text: it holds a password."""
    if "@" in key:
        raise RequestError(f"{where}: expected the names of hosts, without user and password before @")


def _read_entry(entry: JSONReader) -> Credentials:
    username, password = entry.text("username", ""), read_secret(entry, "password", "")
    token = read_secret(entry, "identity_token", "")
    if not token and not (username and password):
        raise RequestError(f"{entry.where}: expected username and password, or identity_token")
    return Credentials(username=username, password=password, identity_token=token)


def _docker_config(reader: JSONReader) -> JSONReader:
    where = "source.docker_config_json"
    if not reader.is_text("docker_config_json"):
        return reader.child("docker_config_json")
    try:
        return JSONReader(parse_json(reader.text("docker_config_json").encode(), where), where)
    except InvalidManifest:
        # The error's own text quotes the input, which may hold a secret.
        raise RequestError(f"{where}: not a JSON object") from None


def _read_docker_config(config: JSONReader, warnings: list[str]) -> dict[str, Credentials]:
    """docker/cli, config/configfile: ``identitytoken`` overrides ``auth`` (base64 of user:password)."""
    if config.has("credsStore") or config.has("credHelpers"):
        warnings.append("source.docker_config_json: credential helpers are not run")
    credentials = {}
    try:
        for key, entry in config.entries("auths"):
            _require_host(key, "source.docker_config_json: auths")
            username, password = entry.text("username", ""), read_secret(entry, "password", "")
            if read_secret(entry, "auth", ""):
                username, password = _decode(entry.text("auth"), key)
            token = read_secret(entry, "identitytoken", "")
            if token or (username and password):
                credentials[registry_host(key)] = Credentials(
                    username=username, password="" if token else password, identity_token=token
                )
    except InvalidManifest as error:
        raise RequestError(error.message) from None
    return credentials


def _decode(auth: str, key: str) -> tuple[str, str]:
    from base64 import b64decode

    try:
        username, colon, password = b64decode(auth, validate=True).decode("utf-8").partition(":")
    except ValueError:
        colon = ""
    if not colon:
        raise RequestError(f"source.docker_config_json: auths {quote(key)}: auth is not base64 of user:password")
    return username, password.rstrip("\0")


def read_clouds(reader: JSONReader, warnings: list[str]) -> CloudSettings | None:
    """``aws_…``, ``azure_…``, ``gcp`` and ``oidc_token``; None if the source has none of them, as most have."""
    if not any(key in ("gcp", "oidc_token") or key.startswith(("aws_", "azure_")) for key in reader):
        return None
    from registry_image.auth.settings import AWSSettings, AzureSettings, CloudSettings

    roles = reader.texts("aws_role_arns")
    if roles and reader.has("aws_role_arn"):
        raise RequestError(
            "source: `aws_role_arn` and `aws_role_arns` are both set", hint="list all in `aws_role_arns`"
        )
    if reader.has("aws_ecr_registry_id"):
        warnings.append("source.aws_ecr_registry_id is the older name of aws_account_id")
    return CloudSettings(
        aws=AWSSettings(
            region=reader.text("aws_region", ""),
            access_key_id=reader.text("aws_access_key_id", ""),
            secret_access_key=read_secret(reader, "aws_secret_access_key", ""),
            session_token=read_secret(reader, "aws_session_token", ""),
            role_arns=roles or ((reader.text("aws_role_arn"),) if reader.has("aws_role_arn") else ()),
            external_id=reader.text("aws_external_id", ""),
            account_id=reader.text("aws_account_id", reader.text("aws_ecr_registry_id", "")),
        ),
        azure=AzureSettings(
            acr=reader.boolean("azure_acr"),
            client_id=reader.text("azure_client_id", ""),
            client_secret=read_secret(reader, "azure_client_secret", ""),
            tenant_id=reader.text("azure_tenant_id", ""),
            environment=reader.text("azure_environment", ""),
        ),
        gcp=_gcp(reader.child("gcp")) if reader.has("gcp") else None,
        oidc_token=read_secret(reader, "oidc_token", ""),
    )


def _gcp(reader: JSONReader) -> GCPSettings:
    from registry_image.auth.settings import GCPSettings

    # The key is a JSON document; pipelines have it as text or as an object.
    key = "service_account_json"
    pasted = reader.has(key) and not reader.is_text(key)
    text = reader.json(key) if pasted else reader.text(key, "")
    # In JSON the lines of the private key are one string, with \n between them.
    SECRETS.add(text, text.replace("\\n", "\n"))
    return GCPSettings(
        service_account_json=text,
        workload_identity_provider=reader.text("workload_identity_provider", ""),
        service_account=reader.text("service_account", ""),
    )
