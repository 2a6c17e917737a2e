"""The request of put."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from registry_image.concourse.request.document import read_request
from registry_image.concourse.request.numbers import InexactText, advice
from registry_image.concourse.request.source import Source, read_platform, read_verify
from registry_image.concourse.request.validation import Mistakes
from registry_image.decode import JSONReader
from registry_image.errors import RequestError
from registry_image.oci.platform import Platform
from registry_image.oci.reference import Reference, RepositoryName

if TYPE_CHECKING:
    from registry_image.concourse.request.signatures import CosignSign, CosignVerify

IfExists: TypeAlias = Literal["overwrite", "skip", "fail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePart:
    """One image of a new index. ``path`` is relative to the put's directory; ``platform`` overrides the config's."""

    path: str
    platform: Platform | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PutRequest:
    """``directory`` holds the artifacts; ``from_reference`` is ``params.from``; "" and None mean absent."""

    source: Source
    directory: str
    image: str = ""
    images: tuple[ImagePart, ...] = ()
    from_reference: Reference | None = None
    platforms: tuple[Platform, ...] = ()
    version: str = ""
    keep_v: bool = False
    bump_aliases: bool = False
    tags: tuple[str, ...] = ()
    additional_tags: str = ""
    tag_prefix: str = ""
    if_exists: IfExists = "overwrite"
    annotations: Mapping[str, str] = field(default_factory=dict)
    mount_from: tuple[RepositoryName, ...] = ()
    create_repository: bool = False
    verify: CosignVerify | None = None
    sign: CosignSign | None = None
    dry_run: bool = False


def parse_put(raw: bytes, directory: str) -> PutRequest:
    """Raises RequestError."""
    mistakes = Mistakes()
    source, params, _ = read_request(raw, "put", mistakes)
    keep = mistakes.keep
    keep(lambda: _require_no_notary(source), None)
    if "params.from" not in mistakes.unread:
        keep(lambda: _require_promotion(params), None)
    if_exists = params.text("if_exists", "overwrite")
    request = PutRequest(
        source=source,
        directory=directory,
        image=params.text("image", ""),
        images=keep(lambda: tuple(_read_part(part) for part in params.children("images")), (), "params.images"),
        from_reference=keep(lambda: _read_from(params), None, "params.from"),
        platforms=keep(
            lambda: tuple(Platform.parse(text) for text in params.texts("platforms")), (), "params.platforms"
        ),
        version=keep(lambda: _as_written(params.text("version", ""), "version"), ""),
        keep_v=params.boolean("keep_v"),
        bump_aliases=params.boolean("bump_aliases"),
        tags=keep(lambda: _tags(params), ()),
        additional_tags=params.text("additional_tags", ""),
        tag_prefix=keep(lambda: _as_written(params.text("tag_prefix", ""), "tag_prefix"), ""),
        if_exists=next(word for word in get_args(IfExists) if word == if_exists),
        annotations=params.text_map("annotations"),
        mount_from=keep(
            lambda: tuple(RepositoryName.parse(text) for text in params.texts("mount_from")), (), "params.mount_from"
        ),
        create_repository=params.boolean("create_repository"),
        verify=keep(lambda: read_verify(params), None),
        sign=keep(lambda: _read_sign(params), None),
        dry_run=params.boolean("dry_run"),
    )
    mistakes.report()
    return request


def _read_from(params: JSONReader) -> Reference | None:
    return Reference.parse(params.text("from")) if params.has("from") else None


def _require_no_notary(source: Source) -> None:
    if source.content_trust:
        raise RequestError(
            "source.content_trust: Notary v1 is retired: its public server shuts down in December 2026",
            hint="remove `content_trust`, and sign as cosign does: `params.sign` of put, `verify` in source",
        )


def _require_promotion(params: JSONReader) -> None:
    if params.has("verify") and not params.has("from"):
        raise RequestError("params.verify: only what `from` promotes is verified before it is pushed")


def _tags(params: JSONReader) -> tuple[str, ...]:
    return tuple(_as_written(tag, f"tags.{position}") for position, tag in enumerate(params.texts("tags")))


def _read_part(part: JSONReader) -> ImagePart:
    return ImagePart(path=part.text("path"), platform=read_platform(part) if part.has("platform") else None)


def _read_sign(params: JSONReader) -> CosignSign | None:
    if not params.has("sign"):
        return None
    from registry_image.concourse.request.signatures import read_cosign_sign

    return read_cosign_sign(params.child("sign"))


def _as_written(text: str, field_name: str) -> str:
    """Raises RequestError for a number that YAML may have changed: a wrong tag would be moved."""
    if isinstance(text, InexactText):
        raise RequestError(f"params.{field_name}: {text} is a number in the pipeline", hint=advice(text))
    return text
