"""The typed ``source`` of a resource, which check, get and put share."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar, get_args

from registry_image.auth.credentials import Credentials
from registry_image.concourse.request.credentials import (
    auths_key,
    read_auths,
    read_clouds,
    read_pair,
    read_secret,
    require_no_logins,
)
from registry_image.concourse.request.numbers import InexactText, advice
from registry_image.concourse.request.validation import Mistakes, field_of
from registry_image.decode import JSONReader
from registry_image.errors import InvalidManifest, RequestError, quote
from registry_image.net.certificate import ClientCertificate
from registry_image.oci.digest import Digest
from registry_image.oci.platform import Platform
from registry_image.oci.reference import (
    DOCKER_HUB,
    TAG_GRAMMAR,
    Reference,
    RepositoryName,
    is_host,
    is_tag,
    registry_host,
)
from registry_image.record import EMPTY, record

if TYPE_CHECKING:
    from registry_image.auth.settings import CloudSettings
    from registry_image.concourse.request.signatures import CosignVerify

Sort: TypeAlias = Literal["registry", "semver", "numeric", "created", "lexical"]
OnMissing: TypeAlias = Literal["", "empty", "fail"]
Progress: TypeAlias = Literal["bars", "plain", "none"]

DEFAULT_CONCURRENT_DOWNLOADS = 4
#: Stands for a repository whose name is a mistake.
_NOWHERE = Reference("", RepositoryName("", ""), None, None)


@record(kw_only=True)
class Mirror:
    """A server to ask before the origin. ``host`` is host[:port], ``prefix`` a path in front of every repository."""

    host: str
    prefix: str = ""
    insecure: bool = False
    credentials: Credentials | None = None

    def name_of(self, origin: RepositoryName) -> RepositoryName:
        """The mirror's name for a repository of the origin."""
        return RepositoryName(self.host, f"{self.prefix}/{origin.path}" if self.prefix else origin.path)


@record(kw_only=True)
class Source:
    """The schema describes the fields; "" and None mean absent.

    ``name`` is the pipeline's spelling of the repository without tag and digest, ``repository`` its full name (a bare
    ECR name gets its host from the login). ``tag`` and ``digest`` may come from the pipeline's ``repository``.
    ``registry_mirrors`` (with ``registry_mirror``) are keyed by `RepositoryName.host`; ``auths`` (with
    ``docker_config_json``) are for `find_credentials`. ``clouds`` is None without cloud fields. ``warnings`` are for
    the log.
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
    on_missing: OnMissing = ""
    credentials: Credentials | None = None
    auths: Mapping[str, Credentials] = EMPTY
    client_certs: tuple[ClientCertificate, ...] = ()
    clouds: CloudSettings | None = None
    platform: Platform
    label_regex: str = ""
    annotation_regex: str = ""
    registry_mirrors: Mapping[str, Mirror] = EMPTY
    insecure: bool = False
    ca_certs: tuple[str, ...] = ()
    verify: CosignVerify | None = None
    content_trust: bool = False
    max_concurrent_downloads: int = DEFAULT_CONCURRENT_DOWNLOADS
    progress: Progress = "bars"
    debug: bool = False
    warnings: tuple[str, ...] = ()


def read_source(reader: JSONReader, mistakes: Mistakes) -> Source:
    """``reader`` holds a source that conforms to the schema. ``mistakes`` gets what a schema cannot express; the result
    is of no use then."""
    warnings: list[str] = []
    keep = mistakes.keep
    reference = keep(lambda: Reference.parse(reader.text("repository")), _NOWHERE, "source.repository")
    machine = Platform.of_this_machine()
    digest, tag = keep(lambda: _digest(reader), None), keep(lambda: _tag(reader, warnings), None)
    one = "one tag is set" if tag or reference.tag else "`tag_regex` is set" if reader.has("tag_regex") else ""
    for field in ("tag_regex", "semver_constraint"):
        if one and f"`{field}`" not in one and reader.has(field):
            warnings.append(f"source: {one}: `{field}` is not used")
    return Source(
        name=reference.name,
        repository=reference.repository,
        tag=keep(lambda: _agreed("tag", tag, reference.tag), None),
        digest=keep(lambda: _agreed("digest", digest, reference.digest), None),
        tag_regex=reader.text("tag_regex", ""),
        exclude_regex=reader.text("exclude_regex", ""),
        sort=keep(lambda: _sort(reader), "registry"),
        variant=reader.text("variant", ""),
        semver_constraint=reader.text("semver_constraint", ""),
        pre_releases=reader.boolean("pre_releases"),
        pre_release_prefixes=reader.texts("pre_release_prefixes"),
        latest=reader.boolean("latest", default=True),
        on_missing=next(known for known in get_args(OnMissing) if known == reader.text("on_missing", "")),
        credentials=read_pair(reader, warnings),
        auths=keep(lambda: read_auths(reader, warnings), {}),
        client_certs=keep(lambda: tuple(_client_certs(reader)), ()),
        clouds=keep(lambda: read_clouds(reader, warnings), None),
        platform=keep(lambda: read_platform(reader), machine, "source.platform") if reader.has("platform") else machine,
        label_regex=reader.text("label_regex", ""),
        annotation_regex=reader.text("annotation_regex", ""),
        registry_mirrors=keep(lambda: _mirrors(reader, warnings), {}),
        insecure=reader.boolean("insecure"),
        ca_certs=reader.texts("ca_certs"),
        verify=keep(lambda: read_verify(reader), None),
        content_trust=reader.has("content_trust"),
        max_concurrent_downloads=reader.integer("max_concurrent_downloads", DEFAULT_CONCURRENT_DOWNLOADS),
        progress=next(known for known in get_args(Progress) if known == reader.text("progress", "bars")),
        debug=reader.boolean("debug"),
        warnings=tuple(warnings),
    )


def shown(source: Source) -> dict[str, str]:
    """The expressions, by their fields, of what get and put show."""
    return {"source.label_regex": source.label_regex, "source.annotation_regex": source.annotation_regex}


def _digest(reader: JSONReader) -> Digest | None:
    return parse_digest(reader.text("digest"), "source.digest") if reader.has("digest") else None


def _tag(reader: JSONReader, warnings: list[str]) -> str | None:
    tag = reader.text("tag") if reader.has("tag") else None
    if isinstance(tag, InexactText):
        warnings.append(f"source.tag: {tag} is a number in the pipeline: {advice(tag)}")
    if tag is not None and not is_tag(tag):
        raise RequestError(f"source.tag: {quote(tag)} is not a tag", hint=TAG_GRAMMAR)
    return tag


def _client_certs(reader: JSONReader) -> Iterator[ClientCertificate]:
    for position, entry in enumerate(reader.children("client_certs")):
        host = entry.text("domain").removeprefix("https://").removesuffix("/")
        key = read_secret(entry, "key")
        if not is_host(host):
            raise RequestError(f"source.client_certs[{position}].domain: expected host or host:port")
        yield ClientCertificate(certificate=entry.text("cert"), key=key, host=host)


def read_verify(reader: JSONReader) -> CosignVerify | None:
    """The field ``verify``, as in the source and put's params. Raises RequestError."""
    if not reader.has("verify"):
        return None
    from registry_image.concourse.request.signatures import read_cosign_verify

    return read_cosign_verify(reader.child("verify"))


def parse_digest(text: str, where: str) -> Digest:
    """Raises RequestError."""
    try:
        return Digest.parse(text)
    except InvalidManifest as error:
        raise RequestError(f"{where}: {error.message}") from None


def read_platform(reader: JSONReader) -> Platform:
    """``platform`` is text or an object; this machine supplies its missing fields. Raises RequestError."""
    if reader.is_text("platform"):
        return Platform.parse(reader.text("platform"))
    wanted, machine = reader.child("platform"), Platform.of_this_machine()
    architecture = wanted.text("architecture", "")
    return Platform.of(
        wanted.text("os", machine.os),
        architecture or machine.architecture,
        wanted.text("variant", "" if architecture else machine.variant),
    )


_T = TypeVar("_T")


def _agreed(field_name: str, given: _T | None, in_repository: _T | None) -> _T | None:
    """``repository`` may carry a tag and a digest, but must not contradict the fields."""
    if given is not None and in_repository is not None and given != in_repository:
        raise RequestError(
            f"source.{field_name}: {quote(str(given))} contradicts source.repository, whose {field_name} is "
            f"{quote(str(in_repository))}",
            hint=f"remove `{field_name}`, or what follows the name in `repository`",
        )
    return given if given is not None else in_repository


def _sort(reader: JSONReader) -> Sort:
    order = reader.text("sort", "created" if reader.boolean("created_at_sort") else "registry")
    if reader.boolean("created_at_sort") and order != "created":
        raise RequestError(f"source: `created_at_sort` and `sort: {order}` are both set")
    return next(known for known in get_args(Sort) if known == order)


def _mirrors(reader: JSONReader, warnings: list[str]) -> dict[str, Mirror]:
    mirrors = {}
    if reader.has("registry_mirror"):
        mirrors[DOCKER_HUB] = _mirror(reader, "registry_mirror", warnings)
    if reader.has("registry_mirrors"):
        for key in require_no_logins(reader, "registry_mirrors", "source.registry_mirrors"):
            _require_registry(key)
        table = reader.child("registry_mirrors")
        for key in table:
            host = auths_key(key).lower()
            if host in mirrors:
                warnings.append(f"{field_of(table)}: two mirrors are set for {host}: the last one is used")
            mirrors[host] = _mirror(table, key, warnings)
    return mirrors


def _require_registry(key: str) -> None:
    """Raises RequestError unless the name of a repository can begin with ``key``: its mirror would never be asked."""
    host = auths_key(key)
    if not is_host(host) or not ("." in host or ":" in host or host == "localhost"):
        raise RequestError(f"source.registry_mirrors: {quote(key)} is not the host of a registry, such as ghcr.io")


def _mirror(table: JSONReader, key: str, warnings: list[str]) -> Mirror:
    """An object, or only its ``host``, which is host[:port][/path] or a URL."""
    reader = JSONReader({"host": table.text(key)}, f"{table.where}: {key}") if table.is_text(key) else table.child(key)
    text = reader.text("host")
    scheme, separator, rest = text.rpartition("://")
    host, _, prefix = rest.partition("/")
    proper = is_host(host) and re.fullmatch(r"[\w.~/-]*", prefix, re.ASCII) is not None
    if not proper or (separator and scheme not in ("http", "https")):
        # Not quoted: it may hold user:password@.
        where = field_of(table) + f".{key}" if table.is_text(key) else f"{field_of(reader)}.host"
        raise RequestError(f"{where}: expected host, host:port or an http(s) URL without user and query")
    return Mirror(
        host=registry_host(host),
        prefix=prefix.strip("/"),
        insecure=scheme == "http",
        credentials=read_pair(reader, warnings),
    )
