"""Selects an image by digest and platform: through indexes, nested ones too, to the manifest and its config."""

from __future__ import annotations

from registry_image.errors import InvalidManifest, NoMatchingPlatform, SizeMismatch, UnsupportedMediaType, quote
from registry_image.oci import mediatype
from registry_image.oci.config import MAX_CONFIG_SIZE, parse_config
from registry_image.oci.content import ContentReader, Manifests, read_small_blob
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Digest
from registry_image.oci.image import Image
from registry_image.oci.manifest import Index, Manifest
from registry_image.oci.platform import Platform, choose
from registry_image.progress import Listener, Silence

#: How deep indexes may nest. Tools make two levels.
MAX_DEPTH = 8
#: The most nested indexes that are read to find one image.
MAX_INDEXES = 100
#: The platform of an index's child that names none, as in the first indexes.
DEFAULT_PLATFORM = Platform("linux", "amd64")
_SILENCE = Silence()


def select_image(reader: ContentReader, digest: Digest, platform: Platform, listener: Listener = _SILENCE) -> Image:
    """The image for ``platform`` at ``digest``, manifest and config verified.

    A single manifest is taken whatever its platform, with a note. Raises NoMatchingPlatform; UnsupportedMediaType for
    an artifact; InvalidManifest; what ``reader`` raises.
    """
    return select_within(reader, reader.manifest(digest), platform, listener)


def select_within(
    reader: ContentReader, root: Manifest | Index, platform: Platform, listener: Listener = _SILENCE
) -> Image:
    """The same for a manifest or index that has been read."""
    search = _Search(reader, root, platform)
    manifest = search.descend(root, 0)
    if manifest is None:
        raise NoMatchingPlatform(f"index {root.digest}", wanted=str(platform), available=list(search.available))
    if not manifest.is_image:
        kind = manifest.artifact_type or manifest.config.media_type
        raise UnsupportedMediaType(
            f"manifest {manifest.digest}: not an image but an artifact of type {quote(kind)}",
            hint="use `format: oci-layout` or `skip_download: true` to get artifacts",
        )
    what = f"config of {manifest.digest}"
    config = parse_config(read_small_blob(reader, manifest.config, what, limit=MAX_CONFIG_SIZE), what=what)
    image = Image(manifest=manifest, config=config)
    _ = image.layers  # raises now if layers and diff IDs do not pair up
    if manifest is root and choose(platform, [config.platform]) is None:
        listener.note(f"note: the image is for {config.platform}, not {platform}: it is the only one there is")
    return image


class _Search:
    """A search for the manifest for ``platform``. ``available`` are the platforms that it has seen."""

    def __init__(self, reader: Manifests, root: Manifest | Index, platform: Platform) -> None:
        self.available: dict[str, None] = {}
        self._reader = reader
        self._root = root
        self._platform = platform
        self._read = 0

    def descend(self, document: Manifest | Index, depth: int) -> Manifest | None:
        """Tries the children with a platform first, then nested indexes in order."""
        if isinstance(document, Manifest):
            return document
        if depth >= MAX_DEPTH:
            raise InvalidManifest(f"index {self._root.digest}: nested more than {MAX_DEPTH} deep")
        known = mediatype.MANIFESTS | mediatype.INDEXES
        children = [child for child in document.manifests if child.media_type in known]
        candidates = [child for child in children if _has_platform(child)]
        platforms = [child.platform or DEFAULT_PLATFORM for child in candidates]
        self.available |= dict.fromkeys(str(platform) for platform in platforms if not platform.is_unknown)
        position = choose(self._platform, platforms)
        if position is not None:
            return self.descend(self._child(candidates[position]), depth + 1)
        for child in children:
            if not _has_platform(child):
                manifest = self.descend(self._child(child), depth + 1)
                if manifest is not None:
                    return manifest
        return None

    def _child(self, descriptor: Descriptor) -> Manifest | Index:
        self._read += 1
        if self._read > MAX_INDEXES:
            raise InvalidManifest(f"more than {MAX_INDEXES} nested indexes")
        document = self._reader.manifest(descriptor.digest)
        if len(document.raw) != descriptor.size:
            raise SizeMismatch(f"manifest {descriptor.digest}", expected=descriptor.size, actual=len(document.raw))
        return document


def _has_platform(child: Descriptor) -> bool:
    return child.platform is not None or child.media_type in mediatype.MANIFESTS
