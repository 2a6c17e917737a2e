"""Selects a platform's image: through indexes, nested ones too, to the manifest and its config."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice

from registry_image.errors import InvalidManifest, NoMatchingPlatform, NotAnImage, ResourceError, quote
from registry_image.oci import mediatype
from registry_image.oci.config import MAX_CONFIG_SIZE, parse_config
from registry_image.oci.content import ContentReader, Manifests, read_child, read_small_blob
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.image import Image
from registry_image.oci.manifest import Index, Manifest
from registry_image.oci.platform import Platform, choose
from registry_image.progress import Listener, Silence

#: How deep indexes may nest. Tools make two levels.
MAX_DEPTH = 8
#: The most nested indexes that are read to find one image.
MAX_INDEXES = 100
#: The most bytes of all documents that are read to find one image: those above it stay in memory.
MAX_SEARCHED = 8 * 1024 * 1024
#: The most entries of one index that are tried for the platform: the first may be artifacts.
MAX_CANDIDATES = 10
#: The platform of an index's child that names none, as in the first indexes.
DEFAULT_PLATFORM = Platform("linux", "amd64")
_KNOWN = mediatype.MANIFESTS | mediatype.INDEXES
_SILENCE = Silence()


def select_image(
    reader: ContentReader, root: Manifest | Index, platform: Platform, listener: Listener = _SILENCE
) -> Image:
    """The image for ``platform`` in ``root``, which was read from ``reader``; manifest and config are verified.

    A single manifest is taken whatever its platform, with a note. Raises NoMatchingPlatform; NotAnImage for an
    artifact; InvalidManifest; what ``reader`` raises.
    """
    search = _Search(reader, root, platform)
    manifest = search.descend(root, 0) or search.artifact
    if manifest is None:
        raise search.nothing()
    if not manifest.is_image:
        kind = manifest.artifact_type or manifest.config.media_type
        raise NotAnImage(f"manifest {manifest.digest}: not an image but an artifact of type {quote(kind)}")
    what = f"config of {manifest.digest}"
    config = parse_config(read_small_blob(reader, manifest.config, what, limit=MAX_CONFIG_SIZE), what=what)
    image = Image(manifest=manifest, config=config)
    _ = image.layers  # raises now if layers and diff IDs do not pair up
    if manifest is root and choose(platform, [config.platform]) is None:
        named = f"is for {config.platform}, not {platform}" if str(config.platform) else "names no platform"
        listener.note(f"note: the image {named}: it is the only one there is")
    return image


def matching(platform: Platform, entries: Iterable[Descriptor]) -> Iterator[Descriptor]:
    """The entries of an index that ``platform`` can run, best first; those for artifacts come last.

    Of equal ones, an entry that names its platform goes before one that names none, which counts as linux/amd64; then
    one that demands features of the operating system comes after one that demands none; then the index's order counts.
    """
    ordered = sorted(entries, key=lambda entry: (entry.platform is None, bool(entry.os_features)))
    for artifacts in (False, True):
        candidates = [entry for entry in ordered if bool(entry.artifact_type) is artifacts]
        while (position := choose(platform, map(_platform, candidates))) is not None:
            yield candidates.pop(position)


def available(entries: Iterable[Descriptor]) -> list[str]:
    """The platforms of the images among ``entries``, each once."""
    platforms = (_platform(entry) for entry in entries if not entry.artifact_type)
    return list(dict.fromkeys(str(platform) for platform in platforms if not platform.is_unknown))


class _Search:
    """A search for the image's manifest for ``platform``. ``artifact`` is the best match that is no image."""

    def __init__(self, reader: Manifests, root: Manifest | Index, platform: Platform) -> None:
        self.artifact: Manifest | None = None
        self._available: list[str] = []
        self._reader = reader
        self._root = root
        self._platform = platform
        self._read = 0
        self._size = 0

    def descend(self, document: Manifest | Index, depth: int) -> Manifest | None:
        """Tries the children with a platform first, then nested indexes in order. Whether a manifest is an image, its
        config decides: artifacts of OCI 1.1 are listed like images."""
        if isinstance(document, Manifest):
            if document.is_image:
                return document
            self.artifact = self.artifact or document
            return None
        if depth >= MAX_DEPTH:
            raise InvalidManifest(f"index {self._root.digest}: nested more than {MAX_DEPTH} deep")
        children = [child for child in document.manifests if child.media_type in _KNOWN]
        candidates = [child for child in children if _has_platform(child)]
        self._available += available(candidates)
        nested = (child for child in children if not _has_platform(child))
        for child in chain(islice(matching(self._platform, candidates), MAX_CANDIDATES), nested):
            manifest = self.descend(self._child(child), depth + 1)
            if manifest is not None:
                return manifest
        return None

    def nothing(self) -> ResourceError:
        """Why there is no image and no artifact."""
        what, root = f"index {self._root.digest}", self._root
        kinds = list(dict.fromkeys(child.media_type for child in root.manifests)) if isinstance(root, Index) else []
        if kinds and not _KNOWN.intersection(kinds):
            # BuildKit's caches are indexes of layers.
            return NotAnImage(f"{what}: no image in it, but {quote(', '.join(kinds))}")
        return NoMatchingPlatform(what, wanted=str(self._platform), available=list(dict.fromkeys(self._available)))

    def _child(self, entry: Descriptor) -> Manifest | Index:
        self._read += 1
        if self._read > MAX_INDEXES:
            raise InvalidManifest(f"more than {MAX_INDEXES} nested indexes")
        document = read_child(self._reader, entry)
        self._size += len(document.raw)
        if self._size > MAX_SEARCHED:
            raise InvalidManifest(f"index {self._root.digest}: nested indexes of more than {MAX_SEARCHED} bytes")
        return document


def _platform(entry: Descriptor) -> Platform:
    return entry.platform or DEFAULT_PLATFORM


def _has_platform(child: Descriptor) -> bool:
    return child.platform is not None or child.media_type in mediatype.MANIFESTS
