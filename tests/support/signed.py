"""What hangs on an image: a reader in memory of tags, manifests, blobs and referrers, and fixtures by real cosign."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from registry_image.errors import NotFound, ResourceError
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Buffer, Digest
from registry_image.oci.manifest import Index, Manifest, parse_manifest
from registry_image.signing.make import Push
from registry_image.signing.signature import BUNDLE, SIMPLE_SIGNING
from tests.support.images import Blob, Content, blob, manifest_of

DATA = Path(__file__).with_name("data")
#: Made by cosign 2.5.0 and 3.1.1: images signed by key and keyless, an attestation, and the keys.
COSIGN = json.loads((DATA / "cosign.json").read_text())
#: Of the sigstore that signed the keyless ones.
COSIGN_ROOT = (DATA / "cosign_trusted_root.json").read_bytes()


class SignedImage:
    """A SignatureReader of one image's signatures. ``asked`` lists the requests that a registry would see.

    ``broken`` maps what is asked for (a tag, a digest, "referrers") to the error that is raised instead.
    """

    def __init__(self, digest: Digest) -> None:
        self.digest = digest
        self.tags: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.blobs: dict[str, bytes] = {}
        self.listed: list[Descriptor] = []
        self.broken: dict[str, ResourceError] = {}
        self.asked: list[str] = []

    @property
    def signature_tag(self) -> str:
        return f"{self.digest.algorithm}-{self.digest.hex}.sig"

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if what in self.broken:
            raise self.broken[what]

    def tagged(self, tag: str) -> Manifest | Index:
        self._ask(tag)
        if tag not in self.tags:
            raise NotFound(f"manifest {tag}", status=404)
        return parse_manifest(self.tags[tag])

    def manifest(self, digest: Digest) -> Manifest | Index:
        self._ask(str(digest))
        if str(digest) not in self.manifests:
            raise NotFound(f"manifest {digest}", status=404)
        return parse_manifest(self.manifests[str(digest)], digest=digest)

    @contextmanager
    def blob(self, descriptor: Descriptor) -> Iterator[Iterator[Buffer]]:
        self._ask(str(descriptor.digest))
        if str(descriptor.digest) not in self.blobs:
            raise NotFound(f"blob {descriptor.digest}", status=404)
        yield iter((self.blobs[str(descriptor.digest)],))

    def referrers(self, digest: Digest) -> tuple[Descriptor, ...]:
        self._ask("referrers")
        return tuple(self.listed)

    def add_blob(self, data: bytes, media_type: str) -> dict[str, object]:
        digest = str(Digest.of(data))
        self.blobs[digest] = data
        return {"mediaType": media_type, "size": len(data), "digest": digest}

    def add_classic(self, *signatures: tuple[Mapping[str, str], bytes]) -> None:
        """Each is a layer's annotations and its payload."""
        layers = [
            self.add_blob(payload, SIMPLE_SIGNING) | {"annotations": dict(annotations)}
            for annotations, payload in signatures
        ]
        self.tags[self.signature_tag] = _manifest(
            self.add_blob(b"{}", "application/vnd.oci.image.config.v1+json"), layers
        )

    def add_bundle(self, bundle: object, *, subject: Digest | None = None, listed_as: str = BUNDLE) -> None:
        raw = bundle if isinstance(bundle, bytes) else json.dumps(bundle).encode()
        layer = self.add_blob(raw, BUNDLE)
        empty = self.add_blob(b"{}", "application/vnd.oci.empty.v1+json")
        about = {
            "artifactType": BUNDLE,
            "subject": {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": str(subject or self.digest),
                "size": 2,
            },
        }
        self.add_referrer(_manifest(empty, [layer], about), listed_as)

    def add_referrer(self, raw: bytes, artifact_type: str) -> None:
        manifest = parse_manifest(raw)
        self.manifests[str(manifest.digest)] = raw
        self.listed.append(
            Descriptor(
                media_type=manifest.media_type, digest=manifest.digest, size=len(raw), artifact_type=artifact_type
            )
        )

    def push(self, pushes: Iterable[Push]) -> None:
        """Keeps what put would push."""
        for push in pushes:
            self.blobs |= {str(digest): data for digest, data in push.blobs.items()}
            if push.tag is not None:
                self.tags[push.tag] = push.manifest.raw
            else:
                self.add_referrer(push.manifest.raw, push.manifest.artifact_type)


def _manifest(config: object, layers: list[dict[str, object]], more: Mapping[str, object] | None = None) -> bytes:
    document = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": layers,
    }
    return json.dumps(document | dict(more or {})).encode()


def referring(about: Blob, bundle: object) -> Content:
    """What cosign pushes to attach ``bundle`` to an image, whose manifest is ``about``."""
    return manifest_of(
        blob(b"{}", "application/vnd.oci.empty.v1+json"),
        [blob(json.dumps(bundle).encode(), BUNDLE)],
        artifactType=BUNDLE,
        subject={"mediaType": about.media_type, "digest": about.digest, "size": about.size},
    )


def by_cosign(case: str) -> SignedImage:
    """The image of the fixture ``case`` as a registry has it."""
    image = SignedImage(Digest.parse(COSIGN["digest"]))
    image.blobs = {digest: base64.b64decode(data) for digest, data in COSIGN["blobs"].items()}
    for reference, raw in COSIGN["cases"][case]["attached"]:
        if ":" in reference:
            image.manifests[reference] = raw.encode()
        elif reference == image.signature_tag:
            image.tags[reference] = raw.encode()
        else:
            index = parse_manifest(raw.encode())
            assert isinstance(index, Index)
            image.listed = list(index.manifests)
    return image
