"""The request of check."""

from __future__ import annotations

from registry_image.concourse.request.document import read_request
from registry_image.concourse.request.source import Source
from registry_image.concourse.request.validation import Mistakes
from registry_image.concourse.request.version import Cursor
from registry_image.errors import InvalidManifest
from registry_image.oci.digest import Digest
from registry_image.record import record


@record(kw_only=True)
class CheckRequest:
    """``version`` is None at the first check."""

    source: Source
    version: Cursor | None = None


def parse_check(raw: bytes) -> CheckRequest:
    """Raises RequestError."""
    mistakes = Mistakes()
    source, _, version = read_request(raw, "check", mistakes)
    if source.tag is None and source.digest is None:
        _require_rules(source, mistakes)
    mistakes.report()
    cursor = Cursor(tag=version.text("tag", ""), digest=_well_formed(version.text("digest", "")))
    return CheckRequest(source=source, version=cursor if cursor.tag or cursor.digest else None)


def _require_rules(source: Source, mistakes: Mistakes) -> None:
    """``mistakes`` gets the rules for tags that are invalid. Imported here: one tag needs no rules."""
    if source.tag_regex or source.exclude_regex:
        from registry_image.concourse.request.pattern import require_patterns

        expressions = {"source.tag_regex": source.tag_regex, "source.exclude_regex": source.exclude_regex}
        require_patterns(expressions, mistakes)
    if source.semver_constraint and not source.tag_regex:
        from registry_image.semver.constraint import Constraint

        mistakes.keep(lambda: Constraint.parse(source.semver_constraint), None)


def _well_formed(digest: str) -> Digest | None:
    try:
        return Digest.parse(digest)
    except InvalidManifest:
        return None
