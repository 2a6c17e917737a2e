"""Which tags a put moves: decided from the request and the tags that exist, before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from registry_image.concourse.request.put import PutRequest
from registry_image.errors import NotFound, RequestError, quote
from registry_image.oci.reference import is_tag
from registry_image.semver.version import SemVer

#: The most that is read of an `additional_tags` file, in bytes: some 500 tags of full length, and pushing takes a
#: request for each.
MAX_TAGS_FILE = 64 * 1024


def choose_tags(
    request: PutRequest, additional: Sequence[str], list_tags: Callable[[], Iterable[str]]
) -> tuple[str, ...]:
    """The tags in the order in which they are answered, each once: the source's, the version, its aliases, then the
    params' ``tags`` and ``additional``, what the `additional_tags` file holds.

    ``list_tags`` is called only where aliases are to be bumped; NotFound out of it means that there are none yet.
    Raises RequestError for a version that is none, tags that break the grammar, and if there is no tag at all.
    """
    tags: list[str] = []
    if request.source.tag is not None:
        tags.append(request.source.tag)
    if request.version:
        tags += _of_version(request, list_tags)
    more = (*request.tags, *additional)
    if request.tag_prefix and not more:
        raise RequestError("params.tag_prefix: there are no `tags` or `additional_tags` to put it before")
    tags += [request.tag_prefix + tag for tag in more]
    if not tags:
        raise RequestError(
            "put: no tag to push", hint="set `tag` in source, or `version`, `tags` or `additional_tags` in params"
        )
    for tag in tags:
        if not is_tag(tag):
            raise RequestError(f"put: {quote(tag)} is not a tag", hint="tags are at most 128 of A-Z a-z 0-9 . _ -")
    return tuple(dict.fromkeys(tags))


def parse_tags(raw: bytes, what: str) -> tuple[str, ...]:
    """The tags in an `additional_tags` file, separated by white space. Raises RequestError, naming ``what``."""
    if len(raw) > MAX_TAGS_FILE:
        raise RequestError(f"{what}: more than {MAX_TAGS_FILE} bytes")
    try:
        return tuple(raw.decode("utf-8").split())
    except UnicodeDecodeError as error:
        raise RequestError(f"{what}: expected tags separated by white space, got {quote(raw[:60])}") from error


def _of_version(request: PutRequest, list_tags: Callable[[], Iterable[str]]) -> Iterator[str]:
    version = SemVer.parse(request.version)
    if version is None:
        raise RequestError(
            f"params.version: {quote(request.version)} is not a semantic version",
            hint="it is the version itself: `load_var` reads one from a file" if "/" in request.version else None,
        )
    if version.metadata:
        raise RequestError(
            f"params.version: {quote(request.version)}: no tag can have build metadata, as it begins with a +",
            hint="leave it out, or join it by a hyphen",
        )
    variant = request.source.variant
    prefix = "v" if request.keep_v and request.version.startswith("v") else ""
    suffix = f"-{variant}" if variant else ""
    yield f"{prefix}{version}{suffix}"
    if request.bump_aliases and not version.prerelease:
        greater = [
            other.precedence for other in _final_versions(list_tags, suffix) if other.precedence > version.precedence
        ]
        major, minor = version.precedence[:1], version.precedence[:2]
        if not greater:
            yield variant or "latest"
        if not any(other[:1] == major for other in greater):
            yield f"{prefix}{version.major}{suffix}"
        if not any(other[:2] == minor for other in greater):
            yield f"{prefix}{version.major}.{version.minor}{suffix}"


def _final_versions(list_tags: Callable[[], Iterable[str]], suffix: str) -> Iterator[SemVer]:
    """Those of the same variant; of others, a version reads as a pre-release."""
    try:
        for tag in list_tags():
            if tag.endswith(suffix):
                version = SemVer.parse(tag.removesuffix(suffix))
                if version is not None and not version.prerelease:
                    yield version
    except NotFound:
        return
