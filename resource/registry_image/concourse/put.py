"""put: pushes an image to the repository and moves tags to it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from registry_image.concourse.connect import Connection, connect
from registry_image.concourse.console.console import Console
from registry_image.concourse.console.log import size_text
from registry_image.concourse.image_source import CosignImage, ImageToPush, open_image_to_push, require_one_image
from registry_image.concourse.inputs import read_artifact
from registry_image.concourse.metadata import StepResult, Taken, describe, wanted_labels
from registry_image.concourse.put_tags import MAX_TAGS_FILE, choose_tags, parse_tags
from registry_image.concourse.report import count, pushed, putting, short, tag_lines
from registry_image.concourse.request.put import IfExists, PutRequest
from registry_image.concourse.request.version import Version
from registry_image.errors import NoMatchingPlatform, RequestError, Unauthorized, UnsupportedMediaType
from registry_image.oci.content import ContentReader
from registry_image.oci.digest import Digest
from registry_image.oci.progress_reader import ProgressReader
from registry_image.oci.reference import RepositoryName
from registry_image.progress import Listener
from registry_image.record import replace
from registry_image.registry.upload import RepositoryWriter
from registry_image.transfer.copy import Copied, Graph, copy_graph, graph_of, put_tags, verify_graph
from registry_image.transfer.select import select_image

if TYPE_CHECKING:
    from registry_image.concourse.put_signatures import ImageSigner
    from registry_image.signing.policy import Policy

#: Referrers that are left out, each of which the log names.
SHOWN = 5
_UNSIGNED = (
    "warning: `source.verify` is set and this put does not sign (`params.sign`): "
    "a get of what it pushes fails unless a signature comes from elsewhere"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What happens to each tag. One that ``moves`` maps to its old digest, None if it is new; one that is ``kept`` has
    the digest already; one that is ``skipped`` maps to its own digest."""

    tags: tuple[str, ...]
    moves: dict[str, Digest | None]
    kept: tuple[str, ...]
    skipped: dict[str, Digest]

    @property
    def pointing(self) -> tuple[str, ...]:
        """The tags that have the digest after the put, in order."""
        return tuple(tag for tag in self.tags if tag not in self.skipped)


def put(request: PutRequest, console: Console) -> StepResult:
    """Checks all that can be checked before it sends anything. Raises ResourceError."""
    require_one_image(request)
    policy, signer = _policy(request), _signer(request)
    if request.source.verify is not None and signer is None:
        console.note(_UNSIGNED)
    connection = connect(request.source, console)
    if request.create_repository and connection.create is None:
        raise RequestError("params.create_repository: only ECR repositories are created before a push")
    console.at("looking up tags")
    tags = _tags(request, connection)
    console.at("reading the image")
    if not request.from_reference:
        # Opening may take a while: it compresses layers that are not compressed yet.
        console.announce(f"reading {request.image or count(len(request.images), 'image')}")
    with open_image_to_push(request, connection, policy) as image:
        console.at("looking up tags")
        plan = _plan(connection, tags, image.root.digest, request.if_exists)
        taken = _taken(request, connection, image, plan)
        copied = Copied()
        if image.derived_from is not None:
            console.announce(f"changed for this put: {image.derived_from} became {image.root.digest}")
        if request.dry_run:
            _print_plan(connection, image, plan, console)
            if signer is not None and plan.pointing:
                signer.tell(connection, image.root)
        elif plan.moves:
            copied = _push(request, connection, image, plan, console, signer)
        elif plan.kept:
            copied = _complete(connection, image, console)
            if signer is not None:
                signer.push(connection, RepositoryWriter(connection.origin, console), image.root)
        response = _answer(request, taken, image, plan, copied)
        if signer is not None and plan.pointing and not request.dry_run:
            response = replace(response, metadata={**response.metadata, "signed_by": signer.fingerprint})
        _sum_up(connection, image, plan, copied, console, dry_run=request.dry_run)
        return response


def _policy(request: PutRequest) -> Policy | None:
    """Whose signatures `from` wants. The source's `verify` is for get, but every step refuses one that is wrong."""
    if request.verify is None and request.source.verify is None:
        return None
    from registry_image.concourse.signatures import read_policy

    if request.source.verify is not None:
        read_policy(request.source.verify)
    return read_policy(request.verify) if request.verify is not None else None


def _signer(request: PutRequest) -> ImageSigner | None:
    if request.sign is None:
        return None
    from registry_image.concourse.put_signatures import ImageSigner

    return ImageSigner(request.sign)


def _tags(request: PutRequest, connection: Connection) -> tuple[str, ...]:
    additional: tuple[str, ...] = ()
    if request.additional_tags:
        field = "params.additional_tags"
        raw = read_artifact(request.directory, request.additional_tags, field, MAX_TAGS_FILE)
        additional = parse_tags(raw, f"{field}: {request.additional_tags}")
    return choose_tags(request, additional, connection.origin.tags)


def _plan(connection: Connection, tags: tuple[str, ...], digest: Digest, if_exists: IfExists) -> Plan:
    """Looks up every tag. Raises RequestError for a tag with another digest under ``if_exists: fail``."""
    existing = {tag: _existing(connection, tag, if_exists) for tag in tags}
    others = {tag: other for tag, other in existing.items() if other is not None and other != digest}
    if others and if_exists == "fail":
        known = ", ".join(f"{tag} ({other})" for tag, other in others.items())
        raise RequestError(
            f"put {digest} to {connection.origin.name}: tags exist with another digest: {known}",
            hint="`if_exists: overwrite` moves them, `if_exists: skip` leaves them",
        )
    skipped = others if if_exists == "skip" else {}
    kept = tuple(tag for tag in tags if existing[tag] == digest)
    moves = {tag: existing[tag] for tag in tags if tag not in kept and tag not in skipped}
    return Plan(tags=tags, moves=moves, kept=kept, skipped=skipped)


def _existing(connection: Connection, tag: str, if_exists: IfExists) -> Digest | None:
    try:
        # The tag will be overwritten: without an answer about it, at worst the image is pushed once more.
        descriptor = connection.origin.resolve(tag, sure=if_exists != "overwrite")
    except Unauthorized:
        # Docker Hub answers 401 for a repository that does not exist yet; the push will show whether we may push.
        if if_exists != "overwrite":
            raise
        return None
    return descriptor.digest if descriptor else None


def _push(
    request: PutRequest,
    connection: Connection,
    image: ImageToPush,
    plan: Plan,
    console: Console,
    signer: ImageSigner | None,
) -> Copied:
    graph = _graph(image, console)
    console.announce(putting(image.form, image.root.digest, connection.origin.name, graph))
    console.expect("upload", _sizes(graph))
    _verify(image, graph, console)
    if request.create_repository and connection.create is not None and connection.create():
        console.note(f"created repository {connection.origin.name}")
    console.at("pushing manifests and tags")
    writer = RepositoryWriter(connection.origin, console, _mounts(request, connection, image))
    signatures = tuple(image.signatures())
    if signer is None and not signatures:
        graph.leave_to_tags(image.root.digest)
    copied = copy_graph(image.reader, writer, graph)
    for each in signatures:
        copied += _push_signature(connection, writer, image.reader, each)
    if signer is not None:
        # First the signature, then the tags: no tag may point at an image that is not signed yet.
        signer.push(connection, writer, image.root)
    put_tags(writer, image.root, plan.moves)
    return copied


def _graph(image: ImageToPush, listener: Listener) -> Graph:
    graph = image.graph()
    for digest, subject in islice(graph.unrelated.items(), SHOWN):
        listener.note(f"warning: {digest} is left out: it is listed as a referrer of {subject}, but it is not one")
    if len(graph.unrelated) > SHOWN:
        listener.note(f"warning: {len(graph.unrelated) - SHOWN} more are left out for the same reason")
    return graph


def _complete(connection: Connection, image: ImageToPush, console: Console) -> Copied:
    """Brings the signatures and attestations that the repository lacks of a promoted image that it has already."""
    if image.promoted_from is None:
        return Copied()
    console.at("looking for signatures")
    writer = RepositoryWriter(connection.origin, console, image.mount_from)
    referrers = {
        manifest.digest: manifest.subject.digest
        for manifest in _graph(image, console).manifests.values()
        if manifest.subject is not None and manifest.digest != image.root.digest
    }
    there = {found.digest for subject in {*referrers.values()} for found in connection.origin.referrers(subject)}
    copied = Copied()
    for digest in referrers:
        if digest not in there:
            copied += copy_graph(image.reader, writer, graph_of(image.reader, image.reader.manifest(digest)))
    for each in image.signatures():
        copied += _push_signature(connection, writer, image.reader, each)
    return copied


def _verify(image: ImageToPush, graph: Graph, listener: Listener) -> None:
    if not image.verified:
        listener.expect("verify", _sizes(graph))
        verify_graph(ProgressReader(image.reader, listener, "verify"), graph)


def _sizes(graph: Graph) -> dict[str, int]:
    return {blob.digest.short: blob.size for blob in graph.blobs.values()}


def _push_signature(
    connection: Connection, writer: RepositoryWriter, reader: ContentReader, signature: CosignImage
) -> Copied:
    existing = connection.origin.resolve(signature.tag)
    if existing is not None:
        if existing.digest != signature.digest:
            # cosign keeps all signatures of an image under this one tag; overwriting would delete those made here.
            connection.listener.note(
                f"warning: {signature.tag} is not replaced: the repository has signatures of its own"
            )
        return Copied()
    manifest = reader.manifest(signature.digest)
    graph = graph_of(reader, manifest)
    if any(each.subject and each.subject.digest != signature.subject for each in graph.manifests.values()):
        # Pushed with our credentials, it would be attached to another image.
        connection.listener.note(f"warning: {signature.tag} is left out: it belongs to another image")
        return Copied()
    graph.leave_to_tags(signature.digest)
    copied = copy_graph(reader, writer, graph)
    put_tags(writer, manifest, [signature.tag])
    return copied


def _mounts(request: PutRequest, connection: Connection, image: ImageToPush) -> tuple[RepositoryName, ...]:
    host = connection.origin.name.host
    for name in request.mount_from:
        if name.host != host:
            connection.listener.note(f"warning: params.mount_from: {name} is not on {host}: nothing is mounted from it")
    return (*image.mount_from, *request.mount_from)


def _print_plan(connection: Connection, image: ImageToPush, plan: Plan, console: Console) -> None:
    note = console.note
    note(f"dry run: nothing is pushed to {connection.origin.name}")
    if plan.moves:
        graph = _graph(image, console)
        _verify(image, graph, console)
        console.close()
        writer = RepositoryWriter(connection.origin, Listener())
        missing = [blob for blob in graph.blobs.values() if not writer.has(blob)]
        note(
            f"dry run: would upload {len(missing)} of {len(graph.blobs)} blobs "
            f"({size_text(sum(blob.size for blob in missing))}) and {len(graph.manifests)} manifests"
        )
    for tag in plan.tags:
        if tag in plan.skipped:
            note(f"dry run: {tag}: would be skipped: it exists with {plan.skipped[tag]}")
        else:
            note(f"dry run: {tag}: " + ("has this digest already" if tag in plan.kept else "would be pushed"))


def _sum_up(
    connection: Connection, image: ImageToPush, plan: Plan, copied: Copied, console: Console, *, dry_run: bool
) -> None:
    requests = connection.client.traffic.requests
    if dry_run:
        console.done(f"nothing was pushed, as params.dry_run says; {count(requests, 'request')}")
        return
    # Close first: the results belong below the last frame.
    console.close()
    for line in tag_lines(image.root.digest, plan.moves):
        console.announce(line)
    if plan.kept:
        console.announce(f"already {short(image.root.digest)}: {', '.join(plan.kept)}")
    for tag, digest in plan.skipped.items():
        console.announce(f"skipped {tag}: it exists with {digest}")
    console.done(pushed(image.root.digest, plan.pointing, copied, requests))


def _answer(request: PutRequest, taken: Taken, image: ImageToPush, plan: Plan, copied: Copied) -> StepResult:
    """The version is the first tag with the digest; if all were skipped, the first tag with its own digest."""
    if not plan.pointing:
        version = Version(tag=plan.tags[0], digest=plan.skipped[plan.tags[0]])
        return StepResult(version=version, metadata={"repository": taken.name, **version.as_json()})
    metadata = describe(taken) | {
        "tags": " ".join(plan.pointing),
        "bytes_uploaded": str(copied.bytes_uploaded),
        "blobs_reused": str(copied.blobs_reused),
    }
    if image.derived_from is not None:
        metadata["changed_from"] = str(image.derived_from)
    for name, value in wanted_labels(request.source, taken).items():
        metadata.setdefault(name, value)
    return StepResult(version=taken.version, metadata=metadata)


def _taken(request: PutRequest, connection: Connection, image: ImageToPush, plan: Plan) -> Taken:
    """What a get of it would take: without an image if there is none for the platform.

    It is read before anything is sent, so that nothing is pushed that no get could read.
    """
    version = Version(tag=(plan.pointing or plan.tags)[0], digest=image.root.digest)
    selected = None
    if plan.pointing:
        with suppress(NoMatchingPlatform, UnsupportedMediaType):
            selected = select_image(image.reader, image.root, request.source.platform, Listener())
    return Taken(name=connection.name, version=version, root=image.root, image=selected)
