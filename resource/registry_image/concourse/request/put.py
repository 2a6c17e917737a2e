"""The request of put."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar, get_args

from registry_image.concourse.request.document import read_request
from registry_image.concourse.request.numbers import InexactText, advice
from registry_image.concourse.request.pattern import require_patterns
from registry_image.concourse.request.source import Source, read_platform, read_verify, shown
from registry_image.concourse.request.validation import Mistakes
from registry_image.decode import JSONReader
from registry_image.errors import RequestError, quote
from registry_image.oci.platform import Platform
from registry_image.oci.reference import TAG_GRAMMAR, Reference, RepositoryName, is_tag
from registry_image.semver.version import SemVer

if TYPE_CHECKING:
    from registry_image.concourse.request.signatures import CosignSign, CosignVerify

_From = TypeVar("_From")
_To = TypeVar("_To")
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
    require_patterns(shown(source), mistakes)
    if "params.from" not in mistakes.unread:
        keep(lambda: _require_promotion(params), None)
    if_exists = params.text("if_exists", "overwrite")
    prefix = keep(lambda: _as_written(params.text("tag_prefix", "")), "", "params.tag_prefix")
    request = PutRequest(
        source=source,
        directory=directory,
        image=params.text("image", ""),
        images=_each(mistakes, "images", params.children("images"), _read_part),
        from_reference=keep(lambda: _read_from(params), None, "params.from"),
        platforms=_each(mistakes, "platforms", params.texts("platforms"), Platform.parse),
        version=keep(lambda: _version(params), "", "params.version"),
        keep_v=params.boolean("keep_v"),
        bump_aliases=params.boolean("bump_aliases"),
        tags=_each(mistakes, "tags", params.texts("tags"), partial(_tag, prefix)),
        additional_tags=params.text("additional_tags", ""),
        tag_prefix=prefix,
        if_exists=next(word for word in get_args(IfExists) if word == if_exists),
        annotations=params.text_map("annotations"),
        mount_from=_each(mistakes, "mount_from", params.texts("mount_from"), RepositoryName.parse),
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


def _each(mistakes: Mistakes, field: str, values: Iterable[_From], read: Callable[[_From], _To]) -> tuple[_To, ...]:
    """What ``read`` makes of each of the ``values``; ``mistakes`` gets the others, by their positions."""
    made = [mistakes.keep(partial(read, each), None, f"params.{field}[{n}]") for n, each in enumerate(values)]
    return tuple(each for each in made if each is not None)


def _tag(prefix: str, text: str) -> str:
    """``text``, which follows ``prefix`` in the registry."""
    tag = f"{prefix}{_as_written(text)}" if text else ""  # not the prefix alone
    if not is_tag(tag):
        raise RequestError(f"{quote(tag)} is not a tag", hint=TAG_GRAMMAR)
    return text


def _version(params: JSONReader) -> str:
    version = _as_written(params.text("version", ""))
    if version:
        read_version(version)
    return version


def read_version(text: str) -> SemVer:
    """Raises RequestError for what is no version, or none that a tag can hold."""
    version = SemVer.parse(text)
    if version is None:
        raise RequestError(
            f"{quote(text)} is not a semantic version",
            hint="expected the version itself: `load_var` reads it from a file"
            if "/" in text
            else "a version is like 1.2.3; other tags belong to `tags`",
        )
    if version.metadata:
        raise RequestError(
            f"{quote(text)}: a tag cannot hold build metadata: + is not allowed",
            hint="omit it, or join it with a hyphen",
        )
    return version


def _read_part(part: JSONReader) -> ImagePart:
    return ImagePart(path=part.text("path"), platform=read_platform(part) if part.has("platform") else None)


def _read_sign(params: JSONReader) -> CosignSign | None:
    if not params.has("sign"):
        return None
    from registry_image.concourse.request.signatures import read_cosign_sign

    return read_cosign_sign(params.child("sign"))


def _as_written(text: str) -> str:
    """Raises RequestError for a number that YAML may have changed: a wrong tag would be moved."""
    if isinstance(text, InexactText):
        raise RequestError(f"{text} is a number in the pipeline", hint=advice(text))
    return text
