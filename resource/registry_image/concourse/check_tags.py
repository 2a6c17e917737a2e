"""check of a whole repository: its tags are listed, those that play no part left out, and only the others looked up."""

from __future__ import annotations

from collections.abc import Iterator

from registry_image.concourse.request.source import Source
from registry_image.concourse.request.version import Cursor, Version
from registry_image.concourse.tag_rules import Found, VersionRule, one_per_digest
from registry_image.registry.repository import Repository
from registry_image.transfer.resolve import resolve_tags


def follow(repository: Repository, source: Source, cursor: Cursor | None) -> list[Version]:
    """Oldest first. Raises ResourceError, NotFound for a missing repository among them."""
    if source.tag_regex:
        return _matches(repository, source)
    return _versions(repository, source, cursor)


def _versions(repository: Repository, source: Source, cursor: Cursor | None) -> list[Version]:
    rule = VersionRule.of(source)
    candidates = {}
    bare = False
    for tag in _tags(repository, source):
        if (version := rule.read(tag)) is not None:
            candidates[tag] = version
        bare = bare or tag == rule.bare_tag
    found = []
    if cursor is not None and (start := candidates.pop(cursor.tag, None)) is not None:
        # Looked up by itself: if it stands where it stood, what is not greater need not be asked for.
        for digest in resolve_tags(repository, [cursor.tag]).values():
            found.append(Found(tag=cursor.tag, version=start, digest=digest))
            if digest == cursor.digest:
                floor = start.precedence
                candidates = {tag: version for tag, version in candidates.items() if version.precedence > floor}
    follows_bare = bare and source.latest and rule.constraint is None
    digests = resolve_tags(repository, [*candidates, rule.bare_tag] if follows_bare else list(candidates))
    newest = digests.pop(rule.bare_tag, None)
    found += [Found(tag=tag, version=candidates[tag], digest=digest) for tag, digest in digests.items()]
    versions = [Version(tag=each.tag, digest=each.digest) for each in one_per_digest(found)]
    if newest is not None and all(version.digest != newest for version in versions):
        versions.append(Version(tag=rule.bare_tag, digest=newest))
    return versions


def _tags(repository: Repository, source: Source) -> Iterator[str]:
    if not source.exclude_regex:
        return repository.tags()
    from registry_image.concourse.pattern import compile_pattern

    excluded = compile_pattern(source.exclude_regex, "source.exclude_regex")
    return (tag for tag in repository.tags() if excluded.search(tag) is None)


def _matches(repository: Repository, source: Source) -> list[Version]:
    from registry_image.concourse.pattern import compile_pattern
    from registry_image.concourse.tag_rules import in_order

    wanted = compile_pattern(source.tag_regex, "source.tag_regex")
    tags = dict.fromkeys(tag for tag in _tags(repository, source) if wanted.search(tag) is not None)
    digests = resolve_tags(repository, in_order(list(tags), wanted, source.sort))
    versions = [Version(tag=tag, digest=digest) for tag, digest in digests.items()]
    if source.sort == "created":
        from registry_image.transfer.resolve import creation_times

        times = creation_times(repository, digests.values(), source.platform)
        versions.sort(key=lambda version: times[version.digest])
    return versions
