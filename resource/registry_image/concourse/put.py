"""put: an image into the repository, and the tags that are to point at it."""

from __future__ import annotations

from dataclasses import dataclass

from registry_image.concourse.connect import Connection, connect
from registry_image.concourse.console.log import size_text
from registry_image.concourse.formats import Told
from registry_image.concourse.image_source import Offer, open_offer
from registry_image.concourse.inputs import read_artifact
from registry_image.concourse.metadata import Response, Taken, describe, wanted_labels
from registry_image.concourse.put_tags import MAX_TAGS_FILE, choose_tags, parse_tags
from registry_image.concourse.request.put import IfExists, PutRequest
from registry_image.concourse.request.version import Version
from registry_image.errors import NoMatchingPlatform, RequestError, Unauthorized, UnsupportedMediaType
from registry_image.oci.digest import Digest
from registry_image.oci.manifest import Index, Manifest
from registry_image.oci.platform import Platform
from registry_image.oci.reference import RepositoryName
from registry_image.progress import Listener, Silence
from registry_image.registry.upload import RepositoryWriter
from registry_image.transfer.copy import Copied, copy_graph, graph_of, put_tags, verify_graph
from registry_image.transfer.select import select_within


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What becomes of each tag: it ``moves`` to the new digest, was ``kept`` as it has that already, or is
    ``skipped``, and then names the digest that it goes on to have."""

    tags: tuple[str, ...]
    moves: tuple[str, ...]
    kept: tuple[str, ...]
    skipped: dict[str, Digest]

    @property
    def pointing(self) -> tuple[str, ...]:
        """The tags that have the digest afterwards, in order."""
        return tuple(tag for tag in self.tags if tag not in self.skipped)


def put(request: PutRequest, listener: Listener) -> Response:
    """Raises ResourceError. Nothing is sent before everything that can be known of the request is known to be right."""
    connection = connect(request.source, listener)
    if request.create_repository and connection.create is None:
        raise RequestError("params.create_repository: only repositories of ECR are created before a push")
    tags = _tags(request, connection)
    with open_offer(request, connection) as offer:
        plan = _plan(connection, tags, offer.root.digest, request.if_exists)
        copied = Copied()
        if offer.made_of is not None:
            listener.note(f"changed for this put: {offer.made_of} became {offer.root.digest}")
        if request.dry_run:
            _tell(connection, offer, plan)
        else:
            if plan.moves:
                listener.note(f"pushing {offer.form} as {offer.root.digest} to {connection.origin.name}")
                copied = _push(request, connection, offer, plan)
            _sum_up(offer, plan, copied, listener)
        return _answer(request, connection, offer, plan, copied)


def _tags(request: PutRequest, connection: Connection) -> tuple[str, ...]:
    additional: tuple[str, ...] = ()
    if request.additional_tags:
        field = "params.additional_tags"
        raw = read_artifact(request.directory, request.additional_tags, field, MAX_TAGS_FILE)
        additional = parse_tags(raw, f"{field}: {request.additional_tags}")
    return choose_tags(request, additional, connection.origin.tags)


def _plan(connection: Connection, tags: tuple[str, ...], digest: Digest, if_exists: IfExists) -> Plan:
    """Looks up every tag. Raises RequestError for one that exists where that is to fail."""
    there: dict[str, Digest] = {}
    for tag in tags:
        found = _existing(connection, tag, if_exists)
        if found is not None:
            there[tag] = found
    others = {tag: found for tag, found in there.items() if found != digest}
    if others and if_exists == "fail":
        known = ", ".join(f"{tag} ({found})" for tag, found in others.items())
        raise RequestError(
            f"put {digest} to {connection.origin.name}: tags exist with another digest: {known}",
            hint="`if_exists: overwrite` moves them, `if_exists: skip` leaves them",
        )
    skipped = others if if_exists == "skip" else {}
    kept = tuple(tag for tag in tags if there.get(tag) == digest)
    moves = tuple(tag for tag in tags if tag not in kept and tag not in skipped)
    return Plan(tags=tags, moves=moves, kept=kept, skipped=skipped)


def _existing(connection: Connection, tag: str, if_exists: IfExists) -> Digest | None:
    try:
        found = connection.origin.resolve(tag)
    except Unauthorized:
        # Docker Hub says so of a repository that does not exist yet; whether we may push, the push will tell.
        if if_exists != "overwrite":
            raise
        return None
    return found.digest if found else None


def _push(request: PutRequest, connection: Connection, offer: Offer, plan: Plan) -> Copied:
    graph = offer.graph()
    if offer.local:
        verify_graph(Told(offer.reader, connection.listener, "verify"), graph)
    if request.create_repository and connection.create is not None and connection.create():
        connection.listener.note(f"created repository {connection.origin.name}")
    writer = RepositoryWriter(connection.origin, connection.listener, _mounts(request, connection, offer))
    copied = copy_graph(offer.reader, writer, graph)
    for tag, signature in offer.signatures():
        copied += _push_signature(connection, writer, offer, tag, signature)
    put_tags(writer, offer.root, plan.moves)
    return copied


def _push_signature(
    connection: Connection, writer: RepositoryWriter, offer: Offer, tag: str, signature: Manifest | Index
) -> Copied:
    there = connection.origin.resolve(tag)
    if there is not None and there.digest != signature.digest:
        # They hold what was signed there, and cosign keeps all of an image's signatures under this one tag.
        connection.listener.note(f"warning: {tag} is left as it is: the repository has signatures of its own")
        return Copied()
    copied = copy_graph(offer.reader, writer, graph_of(offer.reader, signature))
    put_tags(writer, signature, [tag])
    return copied


def _mounts(request: PutRequest, connection: Connection, offer: Offer) -> tuple[RepositoryName, ...]:
    host = connection.origin.name.host
    for name in request.mount_from:
        if name.host != host:
            connection.listener.note(f"warning: params.mount_from: {name} is not on {host}: nothing is mounted from it")
    return (*offer.mount_from, *request.mount_from)


def _tell(connection: Connection, offer: Offer, plan: Plan) -> None:
    """What would be pushed, asked of the registry but not sent to it."""
    note = connection.listener.note
    note(f"dry run: nothing is pushed to {connection.origin.name}")
    if plan.moves:
        graph = offer.graph()
        if offer.local:
            verify_graph(Told(offer.reader, connection.listener, "verify"), graph)
        writer = RepositoryWriter(connection.origin, connection.listener)
        missing = [blob for blob in graph.blobs.values() if not writer.has(blob)]
        note(
            f"dry run: would upload {len(missing)} of {len(graph.blobs)} blobs "
            f"({size_text(sum(blob.size for blob in missing))}) and {len(graph.manifests)} manifests"
        )
    for tag in plan.tags:
        if tag in plan.skipped:
            note(f"dry run: {tag}: would be skipped, it has {plan.skipped[tag]}")
        else:
            note(f"dry run: {tag}: " + ("has this digest already" if tag in plan.kept else "would be pushed"))


def _sum_up(offer: Offer, plan: Plan, copied: Copied, listener: Listener) -> None:
    if plan.moves:
        listener.note(
            f"pushed {', '.join(plan.moves)}: {copied.blobs_uploaded} blobs uploaded "
            f"({size_text(copied.bytes_uploaded)}), {copied.blobs_reused} were there"
        )
    if plan.kept:
        listener.note(f"unchanged, as already {offer.root.digest}: {', '.join(plan.kept)}")
    for tag, digest in plan.skipped.items():
        listener.note(f"skipped {tag}: it exists, as {digest}")


def _answer(request: PutRequest, connection: Connection, offer: Offer, plan: Plan, copied: Copied) -> Response:
    """The first tag that has the digest; if all were skipped, the first tag and what it has."""
    if plan.pointing:
        version = Version(tag=plan.pointing[0], digest=offer.root.digest)
    else:
        version = Version(tag=plan.tags[0], digest=plan.skipped[plan.tags[0]])
        named = {"repository": connection.name, "tag": version.tag, "digest": str(version.digest)}
        return Response(version=version, metadata=named)
    taken = _taken(connection, version, offer, request.source.platform)
    told = describe(taken.name, version, taken.manifest, taken.config)
    told |= {
        "tags": " ".join(plan.pointing),
        "bytes_uploaded": str(copied.bytes_uploaded),
        "blobs_reused": str(copied.blobs_reused),
    }
    if offer.made_of is not None:
        told["changed_from"] = str(offer.made_of)
    labels = wanted_labels(request.source, taken.manifest, taken.config)
    return Response(version=version, metadata=told | {name: labels[name] for name in labels if name not in told})


def _taken(connection: Connection, version: Version, offer: Offer, platform: Platform) -> Taken:
    """What a get of it would take."""
    try:
        image = select_within(offer.reader, offer.root, platform, Silence()).image
    except (NoMatchingPlatform, UnsupportedMediaType):
        image = None
    return Taken(name=connection.name, version=version, root=offer.root, image=image)
