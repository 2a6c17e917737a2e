"""Chooses the tags of a put from the request and the existing tags. Pure but for ``list_tags``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from registry_image.concourse.request.put import PutRequest, read_version
from registry_image.errors import NotFound, RequestError, quote
from registry_image.oci.reference import TAG_GRAMMAR, is_tag
from registry_image.semver.version import SemVer

#: Limit of an `additional_tags` file in bytes: some 500 tags of full length, and each takes a request to push.
MAX_TAGS_FILE = 64 * 1024


def choose_tags(
    request: PutRequest, additional: Sequence[str], list_tags: Callable[[], Iterable[str]]
) -> tuple[str, ...]:
    """Each tag once, in this order: the source's, the version, its aliases, ``tags``, ``additional``.

    ``additional`` is from the `additional_tags` file. ``list_tags`` is called only to bump aliases; if it raises
    NotFound, there are no tags yet. Raises RequestError for an invalid tag, and without any tag.
    """
    tags: list[str] = []
    if request.source.tag is not None:
        tags.append(request.source.tag)
    if request.version:
        tags += _version_tags(request, list_tags)
    more = (*request.tags, *additional)
    if request.tag_prefix and not more:
        raise RequestError("params.tag_prefix: there are no `tags` or `additional_tags` to put it before")
    tags += [request.tag_prefix + tag for tag in more]
    if not tags:
        if request.additional_tags:
            raise RequestError("put: no tag to push: the file that `additional_tags` names is empty")
        raise RequestError(
            "put: no tag to push", hint="set `tag` in source, or `version`, `tags` or `additional_tags` in params"
        )
    for number, tag in enumerate(additional, start=1):
        if not is_tag(request.tag_prefix + tag):
            # Not quoted: it may be any file of the build.
            raise RequestError(f"params.additional_tags: word {number} of the file is not a tag", hint=TAG_GRAMMAR)
    for tag in tags:
        if not is_tag(tag):  # the other tags were read as such
            raise RequestError(f"params.version with source.variant: {quote(tag)} is not a tag", hint=TAG_GRAMMAR)
    return tuple(dict.fromkeys(tags))


def parse_tags(raw: bytes, label: str) -> tuple[str, ...]:
    """Raises RequestError, whose text begins with ``label``."""
    if len(raw) > MAX_TAGS_FILE:
        raise RequestError(f"{label}: more than {MAX_TAGS_FILE} bytes")
    try:
        return tuple(raw.decode("utf-8-sig").split())  # Windows tools begin a file with a byte order mark
    except UnicodeDecodeError as error:
        raise RequestError(f"{label}: expected tags separated by white space: not UTF-8") from error


def _version_tags(request: PutRequest, list_tags: Callable[[], Iterable[str]]) -> Iterator[str]:
    version = read_version(request.version)
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
    """The final versions of one variant; tags of other variants parse as pre-releases."""
    try:
        for tag in list_tags():
            if tag.endswith(suffix):
                version = SemVer.parse(tag.removesuffix(suffix))
                if version is not None and not version.prerelease:
                    yield version
    except NotFound:
        return
