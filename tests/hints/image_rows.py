"""Hints about images: on disk, in a registry, and signed."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from registry_image.archive.compression import decompress
from registry_image.concourse.failure import complete
from registry_image.concourse.get import get
from registry_image.concourse.inputs import find_one
from registry_image.concourse.put import put
from registry_image.concourse.request.check import parse_check
from registry_image.concourse.request.get import parse_get
from registry_image.concourse.request.put import parse_put
from registry_image.errors import (
    DigestMismatch,
    NoMatchingPlatform,
    NotAnImage,
    NotFound,
    RateLimited,
    ResourceError,
    SizeMismatch,
    UnsupportedMediaType,
)
from registry_image.library import _Quiet
from registry_image.oci.digest import Digest
from registry_image.oci.manifest import parse_manifest
from registry_image.rootfs.staging import Staging
from registry_image.signing.found import MAX_SIGNATURES
from registry_image.signing.keys import read_public_key
from registry_image.signing.make import Signing, signatures_to_push
from registry_image.signing.policy import Policy, verify
from registry_image.signing.secret import read_signing_key
from registry_image.storage.detect import open_image
from registry_image.transfer.mutate import annotate
from tests.hints.rows import Row, Situation
from tests.support import images, tar
from tests.support.ear import Ear
from tests.support.fakeregistry import FakeRegistry, fake_registry, header, status
from tests.support.signed import COSIGN, SignedImage, by_cosign

NAME = "some/image"
CONSOLE = _Quiet(lambda _: None)
FILES = images.layer(tar.archive(tar.file("f", b"one")))
ONE = images.image(FILES)
DOCKER = images.image(FILES, docker=True)
NAMELESS = images.image(FILES, architecture="", os="")
BOTH = images.index(images.on(ONE, images.ARCHITECTURE), images.on(images.image(config={"User": "x"}), "s390x"))
CHART = images.manifest_of(images.blob(b"{}", "application/vnd.cncf.helm.config.v1+json"), [])
SCHEMA_1 = b'{"schemaVersion": 1, "name": "a", "tag": "b"}'
KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC = (
    KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
)
PRIVATE = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
LOCKED = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"pa55")
).decode()
SIGN = {"cosign": {"key": PRIVATE}}


def stored(*names: str, content: bytes = b"") -> Situation:
    """The image in a directory with ``names``."""

    def look() -> None:
        with tempfile.TemporaryDirectory() as directory:
            for name in names:
                (Path(directory) / name).parent.mkdir(parents=True, exist_ok=True)
                (Path(directory) / name).write_bytes(content)
            with open_image(directory, "image"):
                pass

    return look


def packed(*names: str, **documents: object) -> Situation:
    """The image in a tar with ``names``; ``documents`` are JSON files."""
    written = [tar.file(f"{name}.json", json.dumps(document).encode()) for name, document in documents.items()]

    def look() -> None:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "image.tar"
            path.write_bytes(tar.archive(*(tar.file(name, b"{}") for name in names), *written))
            with open_image(str(path), "image.tar"):
                pass

    return look


def linked(outside: bool) -> Situation:
    def look() -> None:
        with tempfile.TemporaryDirectory() as directory:
            layout, real = Path(directory) / "layout", Path(directory) / "index.json"
            images.write_layout(layout, images.index(ONE))
            (layout / "index.json").rename(real if outside else layout / "moved")
            (layout / "index.json").symlink_to(real if outside else "moved")
            with open_image(str(layout), "layout"):
                pass

    return look


def finding(pattern: str) -> Situation:
    def find() -> None:
        with tempfile.TemporaryDirectory() as directory:
            (Path(directory) / "image").mkdir()
            find_one(directory, pattern, "params.image")

    return find


def staged(name: str) -> Situation:
    def stage() -> None:
        with tempfile.TemporaryDirectory() as directory:
            (Path(directory) / "tag").touch()
            with Staging(directory, Ear()) as staging:
                staging.require_absent(name)

    return stage


def decompressing(data: bytes) -> Situation:
    return lambda: b"".join(decompress([data], "layer 1"))


def window(log: int) -> bytes:
    """The header of a zstd frame with a window of 2**log bytes, and a broken block."""
    return b"\x28\xb5\x2f\xfd\x00" + bytes([(log - 10) << 3]) + b"\xff" * 600


def putting(
    params: dict[str, object], prepare: Callable[[FakeRegistry], None], content: images.Content = ONE
) -> Situation:
    """A put of ``content``, whose failure is completed as `main` does it."""

    def push() -> None:
        with tempfile.TemporaryDirectory() as directory, fake_registry() as registry:
            images.write_layout(Path(directory) / "image", images.index(content))
            prepare(registry)
            document = {"source": {"repository": f"{registry.host}/{NAME}", "tag": "1"}, "params": params}
            request = parse_put(json.dumps(document).encode(), directory)
            try:
                put(request, CONSOLE)
            except ResourceError as error:
                complete(error, "out", request.source)
                raise

    return push


def getting(content: images.Content, digest: str = "", mirrored: bool = False, **more: object) -> Situation:
    def fetch() -> None:
        with tempfile.TemporaryDirectory() as directory, fake_registry() as registry:
            registry.add(NAME, content, "1")
            document = {
                "source": {"repository": f"{registry.host}/{NAME}", "tag": "1", **more},
                "version": {"tag": "1", "digest": digest or content.digest},
            }
            request = parse_get(json.dumps(document).encode(), directory)
            try:
                get(request, CONSOLE)
            except ResourceError as error:
                complete(error, "in", request.source)
                raise

    return fetch


def signed_then_got(digest: str, **params: object) -> Situation:
    """BOTH is pushed, signed with ``params``, and what of it has ``digest`` is got."""

    def run() -> None:
        with tempfile.TemporaryDirectory() as directory, fake_registry() as registry:
            images.write_layout(Path(directory) / "image", images.index(BOTH))
            source: dict[str, object] = {"repository": f"{registry.host}/{NAME}", "tag": "1"}
            request = parse_put(
                json.dumps({"source": source, "params": {"image": "image", **params}}).encode(), directory
            )
            put(request, CONSOLE)
            source["verify"] = {"cosign": {"keys": [PUBLIC]}}
            document = {"source": source, "version": {"tag": "1", "digest": digest}, "params": {"skip_download": True}}
            get(parse_get(json.dumps(document).encode(), f"{directory}/got"), CONSOLE)

    return run


def completed(error: Callable[[], ResourceError], step: str, **source: object) -> Situation:
    def act() -> ResourceError:
        request = parse_check(json.dumps({"source": {"repository": "registry.example/app", **source}}).encode())
        failure = error()
        complete(failure, step, request.source)
        return failure

    return act


def nothing(registry: FakeRegistry) -> None:
    """An empty registry."""


def moved(registry: FakeRegistry) -> None:
    registry.add(NAME, DOCKER, "1")


def unsupported(registry: FakeRegistry) -> None:
    registry.script("PUT", "/manifests/", status(415), always=True)


def missing(registry: FakeRegistry) -> None:
    registry.script("PUT", "/manifests/", status(404), always=True)


def failing(registry: FakeRegistry) -> None:
    registry.script("PUT", "/manifests/", status(400), always=True)


def lying(registry: FakeRegistry) -> None:
    registry.script("PUT", "/manifests/", header("docker-content-digest", f"sha256:{'0' * 64}"), always=True)


def immutable(registry: FakeRegistry) -> None:
    """Signatures cannot be put under their tag."""
    registry.script("PUT", "[.]sig", status(409), always=True)


def full_of_signatures() -> object:
    image = by_cosign("c2-key")
    key = read_signing_key(COSIGN["keys"]["p256"]["private"], COSIGN["password"], "key")
    tagged = json.loads(image.tags[image.signature_tag])
    tagged["layers"] *= MAX_SIGNATURES
    image.tags[image.signature_tag] = json.dumps(tagged).encode()
    descriptor = parse_manifest(json.dumps(tagged).encode()).descriptor
    subject = type(descriptor)(media_type=descriptor.media_type, digest=image.digest, size=1)
    return signatures_to_push(image, subject, "app", Signing(key=key, annotations={}, forms=("classic",)))


def unsigned() -> object:
    return verify(SignedImage(Digest.of(b"x")), Digest.of(b"x"), Policy(keys=(read_public_key(PUBLIC, "key"),)), "app")


def signed_by_another() -> object:
    image = by_cosign("c2-key")
    return verify(image, image.digest, Policy(keys=(read_public_key(PUBLIC, "key"),)), "app")


def mismatch() -> ResourceError:
    return DigestMismatch("blob", expected="sha256:a", actual="sha256:b")


def without(available: list[str]) -> Callable[[], ResourceError]:
    return lambda: NoMatchingPlatform("index", wanted="linux/arm64", available=available)


def limited() -> ResourceError:
    return RateLimited("ask", status=429, hint="wait")


def unknown(name: str) -> Callable[[], ResourceError]:
    return lambda: NotFound(f"push {name}:1", status=404, code="NAME_UNKNOWN", hint="there is no such repository")


ECR = "123456789012.dkr.ecr.us-east-1.amazonaws.com/app"
PLATFORMS = ["linux/amd64"]
MIRRORS = {"registry.example": {"host": "mirror.example"}}

IMAGES = (
    Row(
        "set `platform` to one of these (params of the get go before source)",
        (completed(without(PLATFORMS), "in"), getting(BOTH, platform="linux/arm64")),
        (completed(without([]), "in"), completed(without(PLATFORMS), "out"), completed(without(PLATFORMS), "check")),
    ),
    Row(
        "`params.platforms` takes the platforms that are there",
        (completed(without(PLATFORMS), "out"),),
        (completed(without([]), "out"), completed(without(PLATFORMS), "in")),
    ),
    Row(
        "to get an artifact, set `format: oci-layout`, or `skip_download: true`",
        (getting(CHART), completed(lambda: NotAnImage("x"), "in")),
        (completed(lambda: NotAnImage("x"), "out"), completed(lambda: UnsupportedMediaType("x"), "in"), getting(ONE)),
    ),
    Row(
        "try again; if it stays, the registry or a proxy in front of it serves damaged bytes",
        (completed(mismatch, "in"), completed(mismatch, "check")),
        (completed(mismatch, "out"), completed(limited, "in")),
    ),
    Row(
        "the image to push is damaged: build or save it again; with `from`, try again",
        (completed(mismatch, "out"), completed(lambda: SizeMismatch("x", expected=1, actual=2), "out")),
        (completed(mismatch, "in"), putting({"image": "image"}, lying)),
    ),
    Row(
        "; a mirror would take requests off it (",
        (completed(limited, "in"), completed(limited, "check", repository="alpine")),
        (completed(limited, "out"), completed(limited, "in", registry_mirrors=MIRRORS)),
    ),
    Row(
        "`registry_mirrors`",
        (completed(limited, "check"), completed(limited, "check", registry_mirror={"host": "mirror.example"})),
        (completed(limited, "check", repository="alpine"), completed(limited, "check", registry_mirrors=MIRRORS)),
    ),
    Row(
        "`create_repository: true` in params creates it",
        (
            completed(unknown(ECR), "out", repository=ECR),
            completed(unknown(ECR), "out", repository="app", aws_region="us-east-1"),
        ),
        (
            completed(unknown(ECR), "out", repository=ECR, username="AWS", password="pa55"),
            completed(unknown("ghcr.io/team/base"), "out", repository=ECR),
            completed(unknown(ECR), "in", repository=ECR),
            completed(unknown("registry.example/app"), "out"),
        ),
    ),
    Row(
        "Docker schema 1 is retired: push the image again with a current tool",
        (lambda: parse_manifest(SCHEMA_1),),
        (lambda: parse_manifest(b'{"mediaType": "application/x"}'),),
    ),
    Row(
        "build an OCI index instead (docker buildx: `oci-mediatypes=true`)",
        (lambda: annotate(parse_manifest(images.index(DOCKER, docker=True).manifest.data), {"a": "b"}),),
        (lambda: annotate(parse_manifest(BOTH.manifest.data), {"a": "b"}),),
    ),
    Row(
        "layers are gzip, zstd or plain tar; anything else must be converted when the image is built",
        (decompressing(b"BZh9" + b"x" * 600), decompressing(b"\xfd7zXZ\0" + b"x" * 600)),
        (decompressing(b"\x1f\x8b\x08" + b"x" * 600), decompressing(tar.archive(tar.file("BZh")))),
    ),
    Row(
        "compress it again, with `zstd --long=",
        (decompressing(window(28)),),
        (decompressing(window(27)), decompressing(tar.zstd(b"x"))),
    ),
    Row("give a destination without it: what another run left is never written over", (staged("tag"),), (staged("x"),)),
    Row(
        "a path begins with the name of what an earlier step got or made",
        (finding("image.tar"), finding("build/image.tar"), finding("*.tar"), finding("../"), finding(".")),
        (finding("image/image.tar"), finding("image/*.tar"), finding("image")),
    ),
    Row(
        "get the image with `params: {format: oci-layout}`",
        (
            stored("rootfs/bin", "metadata.json"),
            stored("rootfs/bin", "metadata.json", "index.json", "manifest.json", "digest", "repository"),
            stored("digest", "repository", "tag", "manifest.json", "config.json"),
        ),
        (stored("image.tar", "rootfs/bin", "metadata.json"), stored("oci/index.json"), stored("manifest.json")),
    ),
    Row(
        "set `image` to ",
        (stored("oci/index.json", "oci/oci-layout"), stored("image.tar", "digest", "repository")),
        (stored("oci/readme"), stored("rootfs/bin", "metadata.json"), stored()),
    ),
    Row(
        "push the tarball itself",
        (stored("manifest.json", "layer.tar"),),
        (
            stored("manifest.json", "digest", "repository"),
            stored("oci-layout", "blobs/x"),
            stored("manifest.json", "version"),
            packed("manifest.json"),
        ),
    ),
    Row(
        "write it to `oci:` (skopeo copy --all) or `oci-archive:` instead",
        (stored("manifest.json", "version", "0" * 64),),
        (stored("manifest.json", "layer.tar"), stored("version"), stored("manifest.json", "digest", "repository")),
    ),
    Row(
        "save it again with a current engine",
        (packed("repositories", "abc/layer.tar"),),
        (packed("blobs/x", "repositories"), packed("readme")),
    ),
    Row(
        "pack what is in the folder, not the folder: tar -C ",
        (packed("image/index.json", "image/oci-layout"),),
        (packed("image/readme"), packed("index.json", "oci-layout")),
    ),
    Row(
        "use `docker save`, or import it first",
        (packed("bin/sh", "etc/passwd"),),
        (packed("bin/sh", "readme"), packed("bin/manifest.json", "etc/passwd")),
    ),
    Row("copy the files instead of linking them (cp -rL)", (linked(outside=True),), (linked(outside=False),)),
    Row(
        "save each image to an archive of its own; `images` pushes several of them under one index",
        (
            packed(
                index={
                    "schemaVersion": 2,
                    "manifests": [images.on(each, "x").manifest.descriptor for each in (ONE, DOCKER)],
                }
            ),
        ),
        (packed(index=json.loads(BOTH.manifest.data)),),
    ),
    Row(
        "save each image to a tarball of its own",
        (packed(manifest=[{"Config": "a"}, {"Config": "b"}]),),
        (packed(manifest=[{"Config": "a"}]), packed(manifest=[])),
    ),
    Row(
        "set `platform` beside its `path`",
        (putting({"images": [{"path": "image"}]}, nothing, NAMELESS),),
        (putting({"images": [{"path": "image", "platform": "linux/amd64"}]}, nothing, NAMELESS),),
    ),
    Row(
        "`if_exists: overwrite` moves them, `if_exists: skip` leaves them",
        (putting({"image": "image", "if_exists": "fail"}, moved),),
        (putting({"image": "image", "if_exists": "fail"}, nothing), putting({"image": "image"}, moved)),
    ),
    Row(
        "the registry may not take this kind of manifest (",
        (putting({"image": "image"}, unsupported),),
        (putting({"image": "image"}, failing), putting({"image": "image"}, nothing)),
    ),
    Row(
        "the registry may want the repository to be created first",
        (putting({"image": "image"}, missing),),
        (putting({"image": "image"}, unsupported), putting({"image": "image"}, failing)),
    ),
    Row(
        "the registry says that it keeps something else than what was sent",
        (putting({"image": "image"}, lying),),
        (completed(mismatch, "out"),),
    ),
    Row(
        "where tags cannot be overwritten, `format: bundle` signs without one",
        (putting({"image": "image", "sign": SIGN}, immutable),),
        (putting({"image": "image", "sign": {"cosign": {"key": PRIVATE, "format": "bundle"}}}, failing),),
    ),
    Row(
        "`format: bundle` needs no common tag",
        (full_of_signatures,),
        (putting({"image": "image", "sign": SIGN}, nothing),),
    ),
    Row(
        "it is a platform of the index ",
        (signed_then_got(BOTH.children[0].digest, sign=SIGN),),
        (signed_then_got(BOTH.children[0].digest), signed_then_got(BOTH.digest, sign=SIGN)),
    ),
    Row(
        "sign it: `params.sign.cosign` of the put that pushes it, or `cosign sign`",
        (unsigned,),
        (signed_by_another,),
    ),
    Row(
        "`verify` says which signatures count, and the message why those that were found do not",
        (signed_by_another,),
        (unsigned,),
    ),
    Row(
        "`cosign public-key --key cosign.key` writes the public one",
        (lambda: read_public_key(PRIVATE, "key"), lambda: read_public_key(COSIGN["keys"]["p256"]["private"], "key")),
        (lambda: read_public_key(PUBLIC, "key"), lambda: read_public_key("cosign.pub", "key")),
    ),
    Row(
        "`keys` is a list: write one entry for each key",
        (lambda: read_public_key(PUBLIC + PUBLIC, "key"),),
        (lambda: read_public_key(PUBLIC, "key"),),
    ),
    Row(
        "it begins with -----BEGIN PUBLIC KEY-----, as in cosign.pub",
        (lambda: read_public_key("cosign.pub", "key"), lambda: read_public_key(PUBLIC[:80], "key")),
        (lambda: read_public_key(PRIVATE, "key"), lambda: read_public_key(PUBLIC, "key")),
    ),
    Row(
        "see `password` beside ",
        (
            lambda: read_signing_key(LOCKED, None, "key"),
            lambda: read_signing_key(LOCKED, "wrong", "key"),
            lambda: read_signing_key(PRIVATE, "pa55", "key"),
            lambda: read_signing_key(COSIGN["keys"]["p256"]["private"], "wrong", "key"),
        ),
        (lambda: read_signing_key("cosign.key", "pa55", "key"), lambda: read_signing_key(LOCKED, "pa55", "key")),
    ),
    Row(
        "`cosign generate-key-pair` makes one, and `openssl genpkey`",
        (lambda: read_signing_key("cosign.key", None, "key"), lambda: read_signing_key(PUBLIC, None, "key")),
        (lambda: read_signing_key(LOCKED, "wrong", "key"), lambda: read_signing_key(PRIVATE, None, "key")),
    ),
)
