"""check without `tag`: lists the repository's tags, filters them, and looks up the digests of the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from registry_image.concourse.request.pattern import compile_pattern
from registry_image.concourse.request.source import Source
from registry_image.concourse.request.version import Cursor, Version
from registry_image.concourse.tag_rules import Candidate, Rank, VersionRule, one_per_digest, rank
from registry_image.errors import NotFound, RegistryError, RequestError
from registry_image.oci.cached import CachedReader
from registry_image.oci.digest import Digest
from registry_image.oci.reference import is_tag
from registry_image.registry.repository import Repository
from registry_image.semver.version import SemVer
from registry_image.transfer.resolve import MAX_LOOKUPS, creation_times, digest_of, resolve_tags
from registry_image.transfer.workers import parallel_map

#: The most tags whose digests one check looks up: the largest known repository has some 200,000, and a check looks up
#: some 400 in a second.
MAX_FOLLOWED = 250_000
_Found = TypeVar("_Found")


def list_versions(repository: Repository, source: Source, cursor: Cursor | None) -> list[Version]:
    """Oldest first. Raises ResourceError; NotFound for a missing repository, unless `on_missing` is ``empty``."""
    mode = _matching if source.tag_regex else _semantic
    return mode(repository, source, cursor)


def _semantic(repository: Repository, source: Source, cursor: Cursor | None) -> list[Version]:
    rule = VersionRule.of(source)
    is_excluded = _exclusion(source)
    follows_bare = source.latest and rule.constraint is None

    def follows(tag: str) -> bool:
        named = rule.read(tag) is not None or (follows_bare and tag == rule.bare_tag)
        return named and not is_excluded(tag)

    known = _ask_first(cursor, follows, lambda tag: digest_of(repository, tag))
    listed = _Listed.of((tag for tag in _tags(repository, source) if not is_excluded(tag)), rule, cursor)
    followed = listed.all
    candidates = []
    if cursor is not None and listed.start is not None:
        # If the cursor's tag has not moved, only greater versions need a request.
        for digest in resolve_tags(repository, [cursor.tag], known).values():
            candidates.append(Candidate(tag=cursor.tag, version=listed.start, digest=digest))
            if digest == cursor.digest:
                followed = listed.greater
    wanted = followed.tags()
    if listed.bare and follows_bare:
        wanted.append(rule.bare_tag)
    digests = resolve_tags(repository, wanted, known)
    newest = digests.pop(rule.bare_tag, None)
    for tag, digest in digests.items():
        if (version := rule.read(tag)) is not None:
            candidates.append(Candidate(tag=tag, version=version, digest=digest))
    versions = [Version(tag=best.tag, digest=best.digest) for best in one_per_digest(candidates)]
    if newest is not None and all(version.digest != newest for version in versions):
        versions.append(Version(tag=rule.bare_tag, digest=newest))
    return versions


class _Followed:
    """Tags to look up, each once, in the registry's order. No more of them stay in memory than may be looked up."""

    def __init__(self) -> None:
        self._tags: dict[str, None] = {}

    def add(self, tag: str) -> None:
        if len(self._tags) <= MAX_FOLLOWED:
            self._tags[tag] = None

    def tags(self) -> list[str]:
        """Raises RequestError if there were more than MAX_FOLLOWED."""
        self.check()
        return list(self._tags)

    def check(self) -> None:
        """The same before all are known."""
        if len(self._tags) > MAX_FOLLOWED:
            raise RequestError(
                f"check: this source follows more than {MAX_FOLLOWED} tags: each of them would have to be looked up",
                hint="follow fewer, with `semver_constraint`, `variant`, `tag_regex` or `exclude_regex`",
            )


@dataclass(slots=True)
class _Listed:
    """The tags that name versions: ``all`` but the cursor's, and of them those ``greater`` than it. ``start`` is the
    cursor's version if its tag is there, and ``bare`` says whether the bare tag is."""

    all: _Followed = field(default_factory=_Followed)
    greater: _Followed = field(default_factory=_Followed)
    start: SemVer | None = None
    bare: bool = False

    @classmethod
    def of(cls, tags: Iterator[str], rule: VersionRule, cursor: Cursor | None) -> _Listed:
        listed = cls()
        start = rule.read(cursor.tag) if cursor is not None else None
        for tag in tags:
            listed.bare = listed.bare or tag == rule.bare_tag
            version = rule.read(tag)
            if version is None:
                continue
            if cursor is not None and tag == cursor.tag:
                listed.start = version
                continue
            listed.all.add(tag)
            if start is None:
                listed.all.check()
            elif version.precedence > start.precedence:
                listed.greater.add(tag)
                listed.greater.check()
        return listed


def _ask_first(
    cursor: Cursor | None, follows: Callable[[str], bool], ask: Callable[[str], _Found | None]
) -> dict[str, _Found | None]:
    """What ``ask`` finds for the cursor's tag, None if it has gone. Empty if the source does not follow the tag, and if
    the registry refuses to tell: the list says whether the tag has to be looked up.

    It is asked for before the list: where nothing answers, that is known after a quarter of the time.
    """
    if cursor is None or not is_tag(cursor.tag) or not follows(cursor.tag):
        return {}
    try:
        return {cursor.tag: ask(cursor.tag)}
    except RegistryError as error:
        if error.retryable:
            raise
        return {}


def _exclusion(source: Source) -> Callable[[str], bool]:
    """Whether `exclude_regex` leaves a tag out."""
    if not source.exclude_regex:
        return lambda tag: False
    excluded = compile_pattern(source.exclude_regex, "source.exclude_regex")
    return lambda tag: excluded.search(tag) is not None


def _tags(repository: Repository, source: Source) -> Iterator[str]:
    return _tags_if_any(repository) if source.on_missing == "empty" else repository.tags()


def _tags_if_any(repository: Repository) -> Iterator[str]:
    """None, and a line in the log, for a missing repository."""
    try:
        yield from repository.tags()
    except NotFound as error:
        repository.client.listener.note(error.message + (f": {error.hint}" if error.hint else ""))


def _matching(repository: Repository, source: Source, cursor: Cursor | None) -> list[Version]:
    wanted = compile_pattern(source.tag_regex, "source.tag_regex")
    is_excluded = _exclusion(source)

    def follows(tag: str) -> bool:
        return wanted.search(tag) is not None and not is_excluded(tag)

    if source.sort == "created":
        return _by_creation(repository, source, cursor, follows)
    known = _ask_first(cursor, follows, lambda tag: digest_of(repository, tag))
    tags = _followed(repository, source, follows)
    if source.sort == "semver" or source.sort == "numeric":
        return _by_rank(repository, {tag: rank(tag, wanted, source.sort) for tag in tags}, cursor, known)
    if source.sort == "lexical":
        tags.sort()
    return [Version(tag=tag, digest=digest) for tag, digest in resolve_tags(repository, tags, known).items()]


def _followed(repository: Repository, source: Source, follows: Callable[[str], bool]) -> list[str]:
    followed = _Followed()
    for tag in _tags(repository, source):
        if follows(tag):
            followed.add(tag)
            followed.check()
    return followed.tags()


def _by_rank(
    repository: Repository, ranks: Mapping[str, Rank], cursor: Cursor | None, known: Mapping[str, Digest | None]
) -> list[Version]:
    """Tags of a lower rank than the cursor's are not looked up if the cursor's tag still has the cursor's digest."""
    digests: dict[str, Digest] = {}
    if cursor is not None and cursor.tag in ranks:
        digests = resolve_tags(repository, [cursor.tag], known)
        if cursor.digest is not None and digests.get(cursor.tag) == cursor.digest:
            # A tag of equal rank may be new: the order of the registry's list does not say when it was pushed.
            ranks = {tag: each for tag, each in ranks.items() if each >= ranks[cursor.tag]}
    digests |= resolve_tags(repository, [tag for tag in ranks if cursor is None or tag != cursor.tag])
    # Sorting is stable: tags of equal rank keep the registry's order.
    return [Version(tag=tag, digest=digests[tag]) for tag in sorted(ranks, key=ranks.__getitem__) if tag in digests]


def _by_creation(
    repository: Repository, source: Source, cursor: Cursor | None, follows: Callable[[str], bool]
) -> list[Version]:
    """Each tag's manifest is needed for the creation time of its image, so one GET of it replaces the HEAD."""
    reader = CachedReader(repository)

    def fetch(tag: str) -> Version | None:
        try:
            manifest = repository.tagged(tag)
        except NotFound:
            return None
        reader.keep(manifest)
        return Version(tag=tag, digest=manifest.digest)

    known = _ask_first(cursor, follows, fetch)
    tags = _followed(repository, source, follows)
    found = parallel_map(lambda tag: known[tag] if tag in known else fetch(tag), tags, MAX_LOOKUPS)
    versions = [version for version in found if version is not None]
    times = creation_times(reader, [version.digest for version in versions], source.platform)
    return sorted(versions, key=lambda version: times[version.digest])
