"""Names of repositories and tags, with Docker Hub's shorthand (distribution/reference)."""

from __future__ import annotations

import re

from registry_image.errors import InvalidManifest, RequestError, bare, quote
from registry_image.oci.digest import Digest
from registry_image.record import record

DOCKER_HUB = "index.docker.io"
_DOCKER_HUB_NAMES = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
#: The host of Docker Hub's API.
_DOCKER_HUB_API = "registry-1.docker.io"

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_HOST = re.compile(
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:.]+\])(?::([0-9]{1,5}))?",
    re.ASCII,
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)
#: The grammar of `is_tag`, for hints.
TAG_GRAMMAR = "a tag is at most 128 of A-Z a-z 0-9 . _ - and begins with neither . nor -"
#: Length of a repository name without its host, in characters (distribution/reference, NameTotalLengthMax).
MAX_NAME_LENGTH = 255
MAX_PORT = 65_535
_ALGORITHMS = ("sha256:", "sha384:", "sha512:")


def registry_host(text: str) -> str:
    """The host of `RepositoryName` for a registry as people write it: ``docker.io``, ``https://ghcr.io/v2/``, or
    Docker's own key for Docker Hub, ``https://index.docker.io/v1/``."""
    host = text.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return DOCKER_HUB if host.lower() in _DOCKER_HUB_NAMES else host


def is_host(text: str) -> bool:
    """Whether ``text`` is ``host`` or ``host:port``, as at the start of a name."""
    match = _HOST.fullmatch(text)
    return match is not None and (match[1] is None or 0 < int(match[1]) <= MAX_PORT)


def is_tag(text: str) -> bool:
    """Whether ``text`` follows the grammar of tags (distribution spec, "Pulling manifests")."""
    return _TAG.fullmatch(text) is not None


def _require_no_login(text: str) -> None:
    """Raises RequestError for ``user:password@host/name``, without what stands before the @: it may be a password."""
    if "@" in text:
        rest = bare(text.rpartition("@")[2])
        tag = "" if "/" in rest else "a tag follows a colon; "
        raise RequestError(
            f"repository …@{rest}: no login belongs before @, and only a digest after it",
            hint=f"{tag}a login belongs to `username` and `password`, or to `auths`",
        )


@record()
class RepositoryName:
    """A registry's host, in lower case, and a path: ``RepositoryName.parse("alpine")`` is
    ``index.docker.io/library/alpine``."""

    host: str
    path: str

    @classmethod
    def parse(cls, text: str) -> RepositoryName:
        """Raises RequestError unless ``text`` is ``[host[:port]/]path``. A first part with a dot, a colon or named
        ``localhost`` is a host; otherwise the name is Docker Hub's."""
        _require_no_login(text)
        scheme, separator, _ = text.partition("://")
        if separator:
            raise RequestError(f"repository {quote(text)}: expected [host[:port]/]name, without {bare(scheme)}://")
        first, slash, rest = text.partition("/")
        if slash and ("." in first or ":" in first or first == "localhost"):
            host, path = first, rest
        else:
            host, path = DOCKER_HUB, text
        if not is_host(host):
            raise RequestError(f"repository {quote(text)}: {quote(host)} is not a host name, or host:port")
        host = host.lower()
        if host in _DOCKER_HUB_NAMES:
            host = DOCKER_HUB
            if "/" not in path:
                path = f"library/{path}"
        if len(path) > MAX_NAME_LENGTH:
            raise RequestError(f"repository {quote(text)}: a name of more than {MAX_NAME_LENGTH} characters")
        if not _PATH.fullmatch(path):
            raise RequestError(
                f"repository {quote(text)}: {quote(path)} is not a repository name",
                hint="names are lower-case letters, digits and single . _ - or / between them",
            )
        return cls(host, path)

    @property
    def is_docker_hub(self) -> bool:
        return self.host == DOCKER_HUB

    @property
    def api_host(self) -> str:
        """The host (and port) that serves the distribution API."""
        return _DOCKER_HUB_API if self.is_docker_hub else self.host

    def __str__(self) -> str:
        return f"{self.host}/{self.path}"


@record()
class Reference:
    """``repository[:tag][@digest]`` as a user writes it; ``name`` is the unchanged text before tag and digest."""

    name: str
    repository: RepositoryName
    tag: str | None
    digest: Digest | None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Raises RequestError unless ``text`` is a reference."""
        rest, at, digest_text = text.partition("@")
        if not digest_text.startswith(_ALGORITHMS) or "@" in digest_text:
            _require_no_login(text)
        try:
            digest = Digest.parse(digest_text) if at else None
        except InvalidManifest as error:
            raise RequestError(f"repository {quote(text)}: {error.message}") from error
        head, slash, last = rest.rpartition("/")
        last, colon, tag = last.partition(":")
        name = f"{head}{slash}{last}"
        if colon and not is_tag(tag):
            raise RequestError(f"repository {quote(text)}: {quote(tag)} is not a tag", hint=TAG_GRAMMAR)
        return cls(name, RepositoryName.parse(name), tag if colon else None, digest)
