"""A repository in a registry: the distribution spec's client side, as a RepositoryReader."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from typing import TYPE_CHECKING
from urllib.parse import quote as url_quote

from registry_image.auth.bearer import Account, Login
from registry_image.auth.credentials import CredentialProvider
from registry_image.errors import (
    ContentError,
    DigestMismatch,
    InvalidManifest,
    NotFound,
    RateLimited,
    RegistryError,
    ResourceError,
    TransportError,
    Unauthorized,
)
from registry_image.net.client import Client
from registry_image.net.error_response import NOT_A_REGISTRY
from registry_image.net.http import Auth, Headers, Reply, Request, StreamingReply
from registry_image.net.origin import internal_problem, is_loopback_name, is_private_network, origin_of, show_url
from registry_image.net.retry import ONCE, RetryPolicy
from registry_image.oci import mediatype
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Buffer, Digest
from registry_image.oci.reference import RepositoryName
from registry_image.record import EMPTY, replace

if TYPE_CHECKING:
    from registry_image.oci.manifest import Index, Manifest
    from registry_image.registry.download import Download

# A check of one tag only resolves it: the methods that read more import what they need (docs/start-up.md).

_ACCEPT = {"Accept": ", ".join(mediatype.ACCEPT)}
_OK = 200
_NOT_FOUND = 404
#: Statuses of a HEAD that a GET must confirm: some registries give them to HEAD only (Nexus 404, diun#1614).
_ASK_WITH_GET = (403, 404, 405)
#: How registries without the referrers API answer it, beside a web page (go-containerregistry reads them so too).
_NO_API = (400, 404, 405, 406)


class _NoReferrersAPI(Exception):
    """There is no answer but the tag that stands in for one."""


class Repository:
    """Reads one repository. Threads may share it. Credentials go to ``name.api_host`` and its token server only.

    ``insecure`` allows plain HTTP if the host has no TLS. Loopback names are always allowed it, and private addresses
    (RFC 1918) as long as there are no credentials.
    """

    def __init__(
        self,
        client: Client,
        name: RepositoryName,
        credentials: CredentialProvider | None = None,
        *,
        insecure: bool = False,
        policy: RetryPolicy | None = None,
    ) -> None:
        self.client = client
        self.name = name
        self._account = Account(client, name.api_host, credentials, insecure=insecure)
        self.insecure = insecure
        self._policy = policy
        self._lock = threading.Lock()
        self._logins: dict[tuple[str, ...], Login] = {}
        hostname = origin_of(self.url(""))[1]
        if insecure or is_loopback_name(hostname) or (credentials is None and is_private_network(hostname)):
            client.schemes.allow_plain_http(name.api_host)

    def url(self, path: str) -> str:
        """``https://<host>/v2/<name>/<path>``; the client changes the scheme if the host speaks plain HTTP."""
        return f"https://{self.name.api_host}/v2/{self.name.path}/{path}"

    def auth(self, *actions: str, mount_from: str = "") -> Auth:
        """The login for ``pull``, or ``pull`` and ``push``; the same object for the same arguments, to share its token.

        ``mount_from`` is the path of another repository on this registry. It gets a token of its own: servers that
        grant one of several scopes (harbor#2411) would leave the ordinary token without the right to push.
        """
        scopes = [f"repository:{self.name.path}:{','.join(actions)}"]
        if mount_from:
            scopes.append(f"repository:{mount_from}:pull")
        key = tuple(scopes)
        with self._lock:
            if key not in self._logins:
                self._logins[key] = Login(self._account, key)
            return self._logins[key]

    def check_address(self, url: str, refused: str) -> None:
        """Raises TransportError, which begins with ``refused``, for an address inside our network."""
        problem = internal_problem(url, self.name.api_host, insecure=self.insecure)
        if problem:
            raise TransportError(
                f"{refused} {show_url(url)}: {problem}",
                hint="set `insecure: true` if this registry is meant to be like that",
                retryable=False,
            )

    def redirect_check(self, what: str) -> Callable[[str], None]:
        """For a `Request` to this registry."""
        return lambda url: self.check_address(url, f"{what}: refused to follow a redirect to")

    def resolve(self, tag: str, *, sure: bool = True) -> Descriptor | None:
        """Takes one HEAD, and a GET if HEAD does not give the digest. ``tag`` may be the text of a digest.

        Without ``sure``, a 404 to HEAD stands if the GET that should confirm it fails; that GET is not retried.
        The descriptor's size is 0 if the registry does not give it.
        """
        what = f"resolve {self._named(tag)}"
        accept = (403, 405) if self.name.is_docker_hub else _ASK_WITH_GET
        try:
            reply = self.client.fetch(self._manifest_request("HEAD", tag, what, accept), 0)
            if reply.status == _OK and (descriptor := _from_head(reply.headers)) is not None:
                if ":" in tag and str(descriptor.digest) != tag:
                    raise DigestMismatch(what, expected=tag, actual=str(descriptor.digest))
                return descriptor
            return self._confirmed(tag, what, doubtful=reply.status == _NOT_FOUND and not sure)
        except NotFound as error:
            if error.hint == NOT_A_REGISTRY:
                self.client.listener.note(f"warning: {error.message}: {error.hint}")
            return None
        except RegistryError as error:
            if isinstance(error, Unauthorized | RateLimited):
                raise
            return self._ask_for_words(tag, what, error)

    def _ask_for_words(self, tag: str, what: str, refusal: RegistryError) -> Descriptor:
        """One GET: the answer to a HEAD has no body, so ``refusal`` lacks the registry's own words."""
        try:
            return self._get(tag, what, policy=ONCE).descriptor
        except RegistryError as error:
            raise (error if error.status == refusal.status else refusal) from None
        except ResourceError:
            raise refusal from None

    def _confirmed(self, tag: str, what: str, *, doubtful: bool) -> Descriptor | None:
        if not doubtful:
            return self._get(tag, what).descriptor
        try:
            return self._get(tag, what, ONCE).descriptor
        except NotFound:
            raise
        except (RegistryError, TransportError) as error:
            self.client.listener.note(f"warning: {error.message}: taken for a tag that does not exist, as HEAD said")
            return None

    def manifest(self, digest: Digest) -> Manifest | Index:
        return self._get(str(digest), f"get manifest {self.name}@{digest}")

    def tagged(self, tag: str) -> Manifest | Index:
        """By GET, which counts as a pull at Docker Hub and makes a pull-through cache fetch the manifest."""
        return self._get(tag, f"get manifest {self._named(tag)}")

    def _get(self, reference: str, what: str, policy: RetryPolicy | None = None) -> Manifest | Index:
        from registry_image.oci.manifest import MAX_MANIFEST_SIZE, parse_manifest

        request = self._manifest_request("GET", reference, what)
        reply = self.client.fetch(replace(request, policy=policy or request.policy), MAX_MANIFEST_SIZE)
        content_type = reply.headers.get("content-type")
        if content_type.startswith("text/html"):
            raise ContentError(f"{what}: expected a manifest, got a web page", hint=NOT_A_REGISTRY)
        digest = Digest.parse(reference) if ":" in reference else None
        return parse_manifest(reply.body, digest=digest, content_type=content_type, what=what)

    def blob(self, descriptor: Descriptor) -> AbstractContextManager[Iterator[Buffer]]:
        """Resumes broken connections by Range; the pieces are not verified (see BlobSource)."""
        return closing(self.download(descriptor).pieces())

    def download(self, descriptor: Descriptor, *, offset: int = 0) -> Download:
        from registry_image.registry.download import Download

        what = f"get blob {self.name}@{descriptor.digest}"

        def open_blob(headers: dict[str, str], accept: tuple[int, ...]) -> StreamingReply:
            request = self._request("GET", self.url(f"blobs/{descriptor.digest}"), what, headers, accept)
            request = replace(request, policy=ONCE)
            try:
                return self.client.open(request)
            except NotFound:
                if not descriptor.urls:
                    raise
                from registry_image.registry.foreign import open_foreign

                return open_foreign(self.client, request, descriptor, self.name.api_host, insecure=self.insecure)

        return Download(open_blob, descriptor, what, self.client.attempts(self._policy), offset=offset)

    def referrers(self, digest: Digest) -> tuple[Descriptor, ...]:
        from registry_image.oci.manifest import MAX_MANIFEST_SIZE
        from registry_image.registry.referrers import MAX_REFERRERS_SIZE, fallback_tag, read_referrers
        from registry_image.registry.tags import pages

        what, first = f"referrers of {self.name}@{digest}", self.url(f"referrers/{digest}")

        def get(url: str) -> Reply:
            ask = self._first_referrers if url == first else self._list
            return ask(url, what, MAX_MANIFEST_SIZE)

        try:
            return read_referrers((reply.body for reply in pages(first, get, what, MAX_REFERRERS_SIZE)), what)
        except _NoReferrersAPI:
            pass
        try:
            request = self._manifest_request("GET", fallback_tag(digest), what)
            return read_referrers([self.client.fetch(request, MAX_MANIFEST_SIZE).body], what)
        except NotFound:
            return ()

    def _first_referrers(self, url: str, what: str, limit: int) -> Reply:
        """The first page. Raises _NoReferrersAPI for an answer by which the registry does not know the question."""
        try:
            reply = self._list(url, what, limit)
        except RegistryError as error:
            if error.status in _NO_API:
                raise _NoReferrersAPI from None
            raise
        media_type = reply.headers.get("content-type").partition(";")[0].strip()
        if media_type not in (mediatype.OCI_INDEX, "") or not reply.body.lstrip().startswith(b"{"):
            raise _NoReferrersAPI
        return reply

    def tags(self) -> Iterator[str]:
        """All tags, in the registry's order, page by page as needed. Raises NotFound for a missing repository."""
        from registry_image.registry.tags import FIRST_BYTE_TIMEOUT, MAX_PAGE_SIZE, PAGE, pages, read_tags

        what = f"list tags of {self.name}"

        def get(url: str) -> Reply:
            return self._list(url, what, MAX_PAGE_SIZE, stall_timeout=FIRST_BYTE_TIMEOUT)

        return read_tags(pages(self.url(f"tags/list?n={PAGE}"), get, what), what)

    def first_tags(self) -> Iterator[str]:
        """The first page of `tags`, without retries: for hints, which are not worth a wait."""
        from registry_image.registry.tags import MAX_PAGE_SIZE, PAGE, read_tags

        what = f"list tags of {self.name}"
        return read_tags(iter((self._list(self.url(f"tags/list?n={PAGE}"), what, MAX_PAGE_SIZE, policy=ONCE),)), what)

    def _list(
        self,
        url: str,
        what: str,
        limit: int,
        *,
        policy: RetryPolicy | None = None,
        stall_timeout: float | None = None,
    ) -> Reply:
        self.check_address(url, f"{what}: refused to follow a Link to")
        request = self._request("GET", url, what)
        return self.client.fetch(replace(request, policy=policy or request.policy, stall_timeout=stall_timeout), limit)

    def _named(self, tag: str) -> str:
        return f"{self.name}{'@' if ':' in tag else ':'}{tag}"

    def _manifest_request(self, method: str, reference: str, what: str, accept: tuple[int, ...] = ()) -> Request:
        return self._request(method, self.url(f"manifests/{url_quote(reference, safe=':+')}"), what, _ACCEPT, accept)

    def _request(
        self, method: str, url: str, what: str, headers: Mapping[str, str] = EMPTY, accept: tuple[int, ...] = ()
    ) -> Request:
        return Request(
            method=method,
            url=url,
            what=what,
            headers=headers,
            auth=self.auth("pull"),
            accept=accept,
            policy=self._policy,
            check_redirect=self.redirect_check(what),
        )


def _from_head(headers: Headers) -> Descriptor | None:
    """None if the digest is missing (as at times from ECR, distribution#3792) or invalid."""
    try:
        digest = Digest.parse(headers.get("docker-content-digest"))
    except InvalidManifest:
        return None
    media_type = headers.get("content-type").partition(";")[0].strip()
    size = 0 if headers.get("content-encoding") else headers.count("content-length") or 0
    return Descriptor(media_type=media_type, digest=digest, size=size)
