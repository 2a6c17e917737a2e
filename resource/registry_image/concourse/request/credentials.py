"""Reads a source's credentials: pairs, ``auths``, a pasted Docker ``config.json``, cloud settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from registry_image.auth.credentials import Credentials
from registry_image.concourse.request.validation import field_of
from registry_image.decode import JSONReader
from registry_image.errors import InvalidManifest, RequestError, quote
from registry_image.net.secrets import SECRETS
from registry_image.oci.reference import RepositoryName, is_host, registry_host

if TYPE_CHECKING:
    from registry_image.auth.settings import CloudSettings, GCPSettings


_CONFIG = "source.docker_config_json"
_PASTE = "it takes the content of Docker's config.json as it is: not its base64, and not its path"
_LOGIN = "`username` and `password`, or `auth` of both"
#: The name by which credential helpers say that their secret is an identity token (docker/cli, native_store).
_TOKEN_USER = "<token>"  # noqa: S105 (no secret)

#: Fields that mean nothing without one of the others.
_NEEDS = {
    "aws_session_token": ("aws_access_key_id",),
    "aws_external_id": ("aws_role_arn", "aws_role_arns"),
    **dict.fromkeys(("azure_client_id", "azure_client_secret", "azure_tenant_id", "azure_environment"), ("azure_acr",)),
}


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
        warnings.append(f"{field_of(reader)}: {given} without {missing}: continuing anonymously")
    return None


def read_auths(reader: JSONReader, warnings: list[str]) -> dict[str, Credentials]:
    """For `find_credentials`; ``auths`` override ``docker_config_json``. Raises RequestError."""
    credentials: dict[str, Credentials] = {}
    if reader.has("docker_config_json"):
        credentials |= _read_docker_config(_docker_config(reader), warnings)
    for key in require_no_logins(reader, "auths", "source.auths"):
        if not is_host(registry_host(key)):
            raise RequestError(f"source.auths: {quote(key)} is not the host of a registry, such as ghcr.io")
    for key, entry in reader.entries("auths"):
        read = _read_entry(entry)
        if read is None:
            raise RequestError(f"{field_of(entry)}: expected {_LOGIN}, or `identity_token`")
        credentials[auths_key(key)] = read
    return credentials


def find_credentials(auths: Mapping[str, Credentials], name: RepositoryName) -> Credentials | None:
    """Those of the longest key that is ``name``, one of its namespaces or its host (containers-auth.json(5))."""
    folded = {key.lower(): credentials for key, credentials in auths.items()}  # hosts compare without case
    key = str(name).lower()
    while key:
        if key in folded:
            return folded[key]
        key = key.rpartition("/")[0]
    return None


def require_no_logins(reader: JSONReader, field: str, where: str) -> tuple[str, ...]:
    """The keys of the map ``field``. Raises RequestError for one like ``user:password@host``, which no text may repeat.

    Call it before anything else is read of the map: errors name the key that they are about.
    """
    keys = reader.keys(field)
    if any("@" in key for key in keys):
        raise RequestError(f"{where}: expected the names of hosts, without user and password before @")
    return keys


def auths_key(text: str) -> str:
    """``host`` or ``host/namespace``. Docker writes keys that end in the version of an API, which is no namespace."""
    path = text.removeprefix("https://").removeprefix("http://").partition("/")[2].strip("/")
    return registry_host(text) if path in ("", "v1", "v2") else f"{registry_host(text)}/{path}"


def _read_entry(entry: JSONReader) -> Credentials | None:
    """None for an entry without credentials, which Docker leaves where a credential helper has them.

    The token goes first, then ``auth``, which is base64 of user:password (docker/cli, config/configfile).
    """
    token = read_secret(entry, "identity_token", "") or read_secret(entry, "identitytoken", "")
    username, password = entry.text("username", ""), read_secret(entry, "password", "")
    if read_secret(entry, "auth", ""):
        username, password = _decode(entry.text("auth"), f"{field_of(entry)}.auth")
    if username == _TOKEN_USER:
        token = token or password
    if not token and not (username and password):
        return None
    return Credentials(username=username, password="" if token else password, identity_token=token)


def _docker_config(reader: JSONReader) -> JSONReader:
    pasted = reader.is_text("docker_config_json")
    try:
        return JSONReader.parse(
            reader.text("docker_config_json") if pasted else reader.json("docker_config_json"), _CONFIG
        )
    except InvalidManifest as error:
        raise RequestError(error.message, hint=_PASTE if pasted else None) from None


def _read_docker_config(config: JSONReader, warnings: list[str]) -> dict[str, Credentials]:
    if config.has("credsStore") or config.has("credHelpers"):
        warnings.append(f"{_CONFIG}: credential helpers are not run")
    elif not config.has("auths"):
        warnings.append(f"{_CONFIG}: it has no `auths`: not used")
    credentials = {}
    require_no_logins(config, "auths", f"{_CONFIG}.auths")
    try:
        for key, entry in config.entries("auths"):
            read = _read_entry(entry)
            if read is not None:
                credentials[auths_key(key)] = read
            elif any(entry.has(field) for field in ("username", "password", "auth", "registrytoken")):
                warnings.append(f"{field_of(entry)}: expected {_LOGIN}, or `identitytoken`: not used")
    except InvalidManifest as error:
        raise RequestError(error.message) from None
    return credentials


def _decode(auth: str, where: str) -> tuple[str, str]:
    """Line ends, as of the command base64, missing padding and the alphabet of base64url do not matter."""
    from base64 import b64decode

    try:
        packed = "".join(auth.split()).rstrip("=")
        padded = packed.translate(str.maketrans("-_", "+/")) + "=" * (-len(packed) % 4)
        username, colon, password = b64decode(padded, validate=True).decode("utf-8").partition(":")
    except ValueError:
        colon = ""
    if not colon:
        raise RequestError(
            f"{where}: expected base64 of user:password", hint="`username` and `password` say the same without base64"
        )
    return username, password.rstrip("\0")


def read_clouds(reader: JSONReader, warnings: list[str]) -> CloudSettings | None:
    """``aws_…``, ``azure_…``, ``gcp`` and ``oidc_token``; None if the source has none of them, as most have."""
    if not any(key in ("gcp", "oidc_token") or key.startswith(("aws_", "azure_")) for key in reader):
        return None
    from registry_image.auth.settings import AZURE_ENVIRONMENTS, AWSSettings, AzureSettings, CloudSettings

    roles = reader.texts("aws_role_arns")
    if roles and reader.has("aws_role_arn"):
        raise RequestError(
            "source: `aws_role_arn` and `aws_role_arns` are both set", hint="list all in `aws_role_arns`"
        )
    if reader.has("aws_ecr_registry_id"):
        warnings.append("source.aws_ecr_registry_id is the older name of aws_account_id")
    for field, needed in _NEEDS.items():
        if reader.has(field) and all(reader.json(name) in ("null", "false") for name in needed):
            warnings.append(f"source.{field}: not used without `{needed[0]}`")
    environment = reader.text("azure_environment", "")
    if environment and environment not in AZURE_ENVIRONMENTS:
        warnings.append(
            f"source.azure_environment: {quote(environment)} is none of {', '.join(AZURE_ENVIRONMENTS)}: "
            "the registry's host says which cloud it is"
        )
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
            environment=environment if environment in AZURE_ENVIRONMENTS else "",
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
