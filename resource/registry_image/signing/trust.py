"""The trusted root of a sigstore: its logs and authorities (sigstore's protobuf-specs, TrustedRoot)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from registry_image.decode import JSONReader
from registry_image.errors import InvalidManifest, RequestError, quote
from registry_image.signing.keys import PublicKey, UnsupportedKey, read_der_key
from registry_image.signing.reading import Rejected, read_base64

#: The root of the public good instance, sigstore.dev, with its date; `make trusted-root` renews it. It is not fetched
#: by TUF, because a get must not depend on a CDN.
PUBLIC_GOOD = Path(__file__).with_name("public_good.json")
_MEDIA_TYPE = "application/vnd.dev.sigstore.trustedroot"


@dataclass(frozen=True, slots=True)
class Period:
    start: datetime
    end: datetime | None

    def __contains__(self, time: datetime) -> bool:
        return self.start <= time and (self.end is None or time < self.end)


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """A transparency log or a certificate log. Entries and SCTs name it by ``id``."""

    id: bytes
    key: PublicKey
    valid: Period


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """A certificate or timestamp authority. ``chain`` goes from the certificate that signs to the root."""

    chain: tuple[x509.Certificate, ...]
    valid: Period


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedRoot:
    logs: tuple[Log, ...]
    certificate_logs: tuple[Log, ...]
    authorities: tuple[Authority, ...]
    timestamp_authorities: tuple[Authority, ...]


def public_good() -> TrustedRoot:
    """The root of the public good instance, as this package ships it."""
    document = JSONReader.parse(PUBLIC_GOOD.read_bytes(), "the public good's trusted root")
    return _read_root(document.child("trusted_root"))


def read_trusted_root(raw: bytes, field: str) -> TrustedRoot:
    """The root in ``raw``. Raises RequestError, naming ``field``, also for a root by which no signature could count."""
    try:
        return _read_root(JSONReader.parse(raw, field))
    except InvalidManifest as error:
        raise RequestError(error.message) from None
    except Rejected as rejected:
        raise RequestError(str(rejected)) from None


def _read_root(document: JSONReader) -> TrustedRoot:
    where = document.where
    if not (kind := document.text("mediaType")).startswith(_MEDIA_TYPE):
        raise Rejected(f"{where}: its mediaType is {quote(kind)}: expected {_MEDIA_TYPE}…")
    root = TrustedRoot(
        logs=_read_logs(document.children("tlogs")),
        certificate_logs=_read_logs(document.children("ctlogs")),
        authorities=tuple(map(_read_authority, document.children("certificateAuthorities"))),
        timestamp_authorities=tuple(map(_read_authority, document.children("timestampAuthorities"))),
    )
    needed = {"tlogs": root.logs, "ctlogs": root.certificate_logs, "certificateAuthorities": root.authorities}
    if missing := [name for name, found in needed.items() if not found]:
        raise Rejected(f"{where}: no {', no '.join(missing)}: by such a root no keyless signature counts")
    return root


def _read_logs(readers: Iterable[JSONReader]) -> tuple[Log, ...]:
    """Without those whose key is of an unsupported kind: a root may list a log of tomorrow beside those of today."""
    logs = []
    unsupported = None
    for reader in readers:
        try:
            logs.append(_read_log(reader))
        except UnsupportedKey as error:
            unsupported = Rejected(f"{reader.where}: {error}")
        except Rejected as rejected:
            raise Rejected(f"{reader.where}: {rejected}") from None
    if unsupported and not logs:
        raise unsupported
    return tuple(logs)


def _read_log(reader: JSONReader) -> Log:
    key = reader.child("publicKey")
    return Log(
        id=read_base64(reader.child("logId"), "keyId"),
        key=read_der_key(read_base64(key, "rawBytes")),
        valid=_read_period(key.child("validFor")),
    )


def _read_authority(reader: JSONReader) -> Authority:
    try:
        encoded = [read_base64(each, "rawBytes") for each in reader.child("certChain").children("certificates")]
        chain = tuple(map(x509.load_der_x509_certificate, encoded))
    except (ValueError, x509.InvalidVersion):
        raise Rejected(f"{reader.where}: certChain: not certificates in DER") from None
    if not chain:
        raise Rejected(f"{reader.where}: certChain: no certificates")
    return Authority(chain=chain, valid=_read_period(reader.child("validFor")))


def _read_period(reader: JSONReader) -> Period:
    return Period(_read_time(reader, "start"), _read_time(reader, "end") if reader.has("end") else None)


def _read_time(reader: JSONReader, key: str) -> datetime:
    text = reader.text(key)
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise Rejected(f"{reader.where}: {key}: not a time: {quote(text)}") from None
    if time.tzinfo is None:
        raise Rejected(f"{reader.where}: {key}: a time without its zone: {quote(text)}")
    return time
