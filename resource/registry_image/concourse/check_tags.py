"""check without `tag`: lists the repository's tags, filters them, and looks up the digests of the rest."""

from __future__ import annotations

from collections.abc import Iterator

from registry_image.concourse.pattern import compile_pattern
from registry_image.concourse.request.source import Source
from registry_image.concourse.request.version import Cursor, Version
from registry_image.concourse.tag_rules import Candidate, VersionRule, in_order, one_per_digest
from registry_image.errors import NotFound
from registry_image.registry.repository import Repository
from registry_image.transfer.resolve import creation_times, resolve_tags


def list_versions(repository: Repository, source: Source, cursor: Cursor | None) -> list[Version]:
    """Oldest first. Raises ResourceError; NotFound for a missing repository, unless `on_missing` is ``empty``."""
    return _matching(repository, source) if source.tag_regex else _semantic(repository, source, cursor)


def _semantic(repository: Repository, source: Source, cursor: Cursor | None) -> list[Version]:
    rule = VersionRule.of(source)
    wanted = {}
    bare = False
    for tag in _tags(repository, source):
        if (version := rule.read(tag)) is not None:
            wanted[tag] = version
        bare = bare or tag == rule.bare_tag
    candidates = []
    if cursor is not None and (start := wanted.pop(cursor.tag, None)) is not None:
        # Looked up first: if the cursor's tag has not moved, only greater versions need a request.
        for digest in resolve_tags(repository, [cursor.tag]).values():
            candidates.append(Candidate(tag=cursor.tag, version=start, digest=digest))
            if digest == cursor.digest:
                floor = start.precedence
                wanted = {tag: version for tag, version in wanted.items() if version.precedence > floor}
    follows_bare = bare and source.latest and rule.constraint is None
    digests = resolve_tags(repository, [*wanted, rule.bare_tag] if follows_bare else list(wanted))
    newest = digests.pop(rule.bare_tag, None)
    candidates += [Candidate(tag=tag, version=wanted[tag], digest=digest) for tag, digest in digests.items()]
    versions = [Version(tag=best.tag, digest=best.digest) for best in one_per_digest(candidates)]
    if newest is not None and all(version.digest != newest for version in versions):
        versions.append(Version(tag=rule.bare_tag, digest=newest))
    return versions


def _tags(repository: Repository, source: Source) -> Iterator[str]:
    tags = _tags_if_any(repository) if source.on_missing == "empty" else repository.tags()
    if not source.exclude_regex:
        return tags
    excluded = compile_pattern(source.exclude_regex, "source.exclude_regex")
    return (tag for tag in tags if excluded.search(tag) is None)


def _tags_if_any(repository: Repository) -> Iterator[str]:
    """None, and a line in the log, for a missing repository."""
    try:
        yield from repository.tags()
    except NotFound as error:
        repository.client.listener.note(error.message + (f": {error.hint}" if error.hint else ""))


def _matching(repository: Repository, source: Source) -> list[Version]:
    wanted = compile_pattern(source.tag_regex, "source.tag_regex")
    tags = dict.fromkeys(tag for tag in _tags(repository, source) if wanted.search(tag) is not None)
    digests = resolve_tags(repository, in_order(list(tags), wanted, source.sort))
    versions = [Version(tag=tag, digest=digest) for tag, digest in digests.items()]
    if source.sort == "created":
        times = creation_times(repository, digests.values(), source.platform)
        versions.sort(key=lambda version: times[version.digest])
    return versions
