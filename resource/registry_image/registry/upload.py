"""Pushes to a repository (distribution spec, "Pushing"): blobs by mount or upload, manifests byte for byte."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from urllib.parse import quote as url_quote
from urllib.parse import urlencode

from registry_image.decode import JSON, array_of, dump_json, parse_object
from registry_image.errors import (
    DigestMismatch,
    InvalidManifest,
    NotFound,
    RegistryError,
    ResourceError,
    TransportError,
    UnsupportedMediaType,
)
from registry_image.net.http import Auth, Reply, Request
from registry_image.net.origin import resolve_location
from registry_image.net.retry import ONCE
from registry_image.oci import mediatype
from registry_image.oci.content import BlobSource, open_verified
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Digest
from registry_image.oci.manifest import Index, Manifest, parse_manifest
from registry_image.oci.reference import RepositoryName
from registry_image.progress import Listener
from registry_image.record import replace
from registry_image.registry.referrers import fallback_tag
from registry_image.registry.repository import Repository

#: Seconds that a registry may take to accept more bytes: it may be writing the last ones to an object store.
SEND_TIMEOUT = 120.0
#: Seconds from the last byte of a blob to the answer: a registry with an object store copies the blob once more.
COMMIT_TIMEOUT = 900.0
#: The most that is read of an answer to a write, in bytes; its body is not used.
_MAX_ANSWER = 64 * 1024
#: A broken upload starts over this often, however long it took; then the client's retry policy decides.
_MAX_RESTARTS = 5
_CREATED = 201
#: An upload session is lost if the answer has one of the statuses or codes. ECR answers 416 and BLOB_UPLOAD_INVALID
#: (kaniko#607), ACR 404, Nexus 400.
_SESSION_LOST = (404, 416)
_SESSION_LOST_CODES = ("BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN")


class _SourceFailed(Exception):
    """``error`` came while the blob was read, not while it was sent: the source tries again by itself, or need not."""

    def __init__(self, error: ResourceError) -> None:
        super().__init__(error)
        self.error = error


class RepositoryWriter:
    """A ContentWriter into ``repository``. Threads may share it.

    Mounts each blob from the first repository of ``mount_from``, on the same registry, that has it.
    """

    def __init__(self, repository: Repository, listener: Listener, mount_from: Iterable[RepositoryName] = ()) -> None:
        self._repository = repository
        self._listener = listener
        host, path = repository.name.api_host, repository.name.path
        self._mounts = tuple(name.path for name in mount_from if name.api_host == host and name.path != path)

    @property
    def _auth(self) -> Auth:
        return self._repository.auth("pull", "push")

    def has(self, descriptor: Descriptor) -> bool:
        # 403 and 405 come from object stores behind the registry and do not say whether it has the blob.
        request = self._request("HEAD", f"blobs/{descriptor.digest}", "look for", descriptor, accept=(403, 404, 405))
        there = self._repository.client.fetch(request, 0).status == 200
        if there:
            self._listener.finish("upload", descriptor.digest.short)
        return there

    def put_blob(self, descriptor: Descriptor, source: BlobSource) -> int:
        """Raises ContentError if the blob does not match ``descriptor``: the registry then keeps nothing.

        A broken upload starts again at the first byte, because registries disagree on how to resume one.
        """
        session: str | None = None
        for path in self._mounts:
            mounted, session = self._mount(descriptor, path, session)
            if mounted:
                self._listener.finish("upload", descriptor.digest.short)
                return 0
        attempts = self._repository.client.attempts()
        restarts_left = _MAX_RESTARTS
        while True:
            try:
                if session is None:
                    session = self._start(descriptor)
                self._send(session, descriptor, source)
            except _SourceFailed as failure:
                raise failure.error from None
            except (RegistryError, TransportError) as error:
                if session is not None and restarts_left:
                    # An upload may take longer than the retry budget of one request.
                    restarts_left -= 1
                    attempts.progressed()
                    error = _retryable(error)
                attempts.failed(error)
            else:
                return descriptor.size
            session = None
            if self.has(descriptor):
                return descriptor.size  # the upload was complete, only its answer was lost

    def _mount(self, descriptor: Descriptor, path: str, session: str | None) -> tuple[bool, str | None]:
        """Whether the blob was mounted; if not, the upload session that the registry opened instead, or ``session``."""
        query = urlencode({"mount": str(descriptor.digest), "from": path})
        request = self._request("POST", f"blobs/uploads/?{query}", "mount", descriptor, mount_from=path)
        try:
            reply = self._repository.client.fetch(request, _MAX_ANSWER)
        except ResourceError:
            return False, session  # an ordinary upload works without mounting
        if reply.status == _CREATED:
            return True, None
        return False, self._location(reply, request.what) or session

    def _start(self, descriptor: Descriptor) -> str:
        request = self._request("POST", "blobs/uploads/", "start to upload", descriptor)
        reply = self._repository.client.fetch(request, _MAX_ANSWER)
        location = self._location(reply, request.what)
        if location is None:
            raise TransportError(f"{request.what}: the registry gave no Location", retryable=False)
        return location

    def _location(self, reply: Reply, what: str) -> str | None:
        """The address for the blob: it may be on another host, which gets no credentials."""
        location = reply.headers.get("location")
        if not location:
            return None
        url = resolve_location(reply.url, location, what)
        self._repository.check_address(url, f"{what}: refused to upload to")
        return url

    def _send(self, session: str, descriptor: Descriptor, source: BlobSource) -> None:
        part, what = descriptor.digest.short, f"upload blob {descriptor.digest} to {self._repository.name}"
        self._listener.begin("upload", part, descriptor.size)
        request = Request(
            method="PUT",
            # The registry's own query stays as it is: it may be signed.
            url=f"{session}{'&' if '?' in session else '?'}{urlencode({'digest': str(descriptor.digest)})}",
            what=what,
            headers={"Content-Type": "application/octet-stream"},
            body=lambda: self._pieces(descriptor, source),
            length=descriptor.size,
            auth=self._auth,
            policy=ONCE,
            check_redirect=self._repository.redirect_check(what),
            connect_timeout=SEND_TIMEOUT,
            stall_timeout=COMMIT_TIMEOUT,
        )
        reply = self._repository.client.fetch(request, _MAX_ANSWER)
        _check_digest(reply, descriptor.digest, what)
        self._listener.finish("upload", part)

    def _pieces(self, descriptor: Descriptor, source: BlobSource) -> Iterator[bytes]:
        """The blob, its last piece withheld until all of it is verified: a wrong blob never becomes complete."""
        part = descriptor.digest.short
        withheld = b""
        try:
            with open_verified(source, descriptor, f"blob {descriptor.digest}") as pieces:
                for piece in pieces:
                    if withheld:
                        yield withheld
                        self._listener.advance("upload", part, len(withheld))
                    withheld = bytes(piece)
        except ResourceError as error:
            raise _SourceFailed(error) from error
        yield withheld
        self._listener.advance("upload", part, len(withheld))

    def put_manifest(self, manifest: Manifest | Index, *, tag: str | None = None) -> None:
        reference = tag if tag is not None else str(manifest.digest)
        separator = ":" if tag is not None else "@"
        what = f"push {self._repository.name}{separator}{reference}"
        request = Request(
            method="PUT",
            url=self._repository.url(f"manifests/{url_quote(reference, safe=':')}"),
            what=what,
            headers={"Content-Type": manifest.media_type},
            body=manifest.raw,
            auth=self._auth,
            check_redirect=self._repository.redirect_check(what),
        )
        try:
            reply = self._repository.client.fetch(request, _MAX_ANSWER)
        except RegistryError as error:
            error.hint = error.hint or _hint(error, manifest)
            raise
        _check_digest(reply, manifest.digest, request.what)
        if manifest.subject is not None and not reply.headers.get("oci-subject"):
            self._list_referrer(manifest, manifest.subject.digest)

    def _list_referrer(self, manifest: Manifest | Index, subject: Digest) -> None:
        """Adds to the index that replaces the referrers API (spec, "Pushing Manifests with Subject")."""
        tag = fallback_tag(subject)
        listed = self._repository.resolve(tag)
        entries: list[JSON] = []
        if listed is not None:
            current = self._repository.manifest(listed.digest)
            if not isinstance(current, Index):
                raise UnsupportedMediaType(
                    f"list {manifest.digest} as referrer of {subject}: tag {tag} should be an index, "
                    f"but is {current.media_type}"
                )
            if any(entry.digest == manifest.digest for entry in current.manifests):
                return
            entries = array_of(parse_object(current.raw, f"tag {tag}"), "manifests")
        entries.append(_referrer(manifest))
        index = {"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": entries}
        self.put_manifest(parse_manifest(dump_json(index)), tag=tag)

    def _request(
        self,
        method: str,
        path: str,
        doing: str,
        descriptor: Descriptor,
        *,
        accept: tuple[int, ...] = (),
        mount_from: str = "",
    ) -> Request:
        auth = self._repository.auth("pull", "push", mount_from=mount_from) if mount_from else self._auth
        what = f"{doing} blob {descriptor.digest} in {self._repository.name}"
        return Request(
            method=method,
            url=self._repository.url(path),
            what=what,
            check_redirect=self._repository.redirect_check(what),
            # Without it some servers in front of registries answer 411 to a POST without a body.
            headers={"Content-Length": "0"} if method == "POST" else {},
            auth=auth,
            accept=accept,
            policy=ONCE if mount_from else None,
        )


_CHANGED = "the registry says that it keeps something else than what was sent: its operators must look at it"


def _retryable(error: RegistryError | TransportError) -> RegistryError | TransportError:
    """The same error, but retryable if the registry has lost the upload session."""
    if isinstance(error, RegistryError) and (error.status in _SESSION_LOST or error.code in _SESSION_LOST_CODES):
        return TransportError(error.message, hint=error.hint)
    return error


def _check_digest(reply: Reply, digest: Digest, what: str) -> None:
    """Raises DigestMismatch if the registry says that it keeps another digest."""
    kept = reply.headers.get("docker-content-digest")
    with suppress(InvalidManifest):
        if kept and Digest.parse(kept) != digest:
            raise DigestMismatch(what, expected=str(digest), actual=kept, hint=_CHANGED)


def _referrer(manifest: Manifest | Index) -> dict[str, JSON]:
    """The entry in the subject's list (spec, "Listing Referrers")."""
    artifact_type = manifest.artifact_type
    if not artifact_type and isinstance(manifest, Manifest):
        artifact_type = manifest.config.media_type
    return replace(manifest.descriptor, artifact_type=artifact_type, annotations=manifest.annotations).as_json()


def _hint(error: RegistryError, manifest: Manifest | Index) -> str | None:
    if error.status == 415 or error.code in ("UNSUPPORTED", "MANIFEST_INVALID"):
        return f"the registry may not take this kind of manifest ({manifest.media_type})"
    if isinstance(error, NotFound):
        return "the registry may want the repository to be created first"
    return None
