"""The recipes of docs/recipes.md, played with the real executables against real registries.

In the recipe for a cloud, moto answers for Amazon's services, and a real registry for ECR's.
"""

from __future__ import annotations

import json
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
import yaml

from tests.conftest import StartRegistry
from tests.support import aws, examples, images, runner, tables, tar
from tests.support.clouds import OIDC_TOKEN
from tests.support.concourse import Json, Others, Player
from tests.support.internet import forward, internet
from tests.support.registry import HTPASSWD, Config, Registry
from tests.support.signed import COSIGN

RECIPES = examples.by_heading((tables.TOP / "docs" / "recipes.md").read_text())
IMAGE = images.image(
    tar.archive(tar.directory("etc"), tar.file("etc/os-release", b"NAME=test\n")), config={"Entrypoint": ["/app"]}
)
ANOTHER = images.image(tar.archive(tar.file("another")), config={"Entrypoint": ["/app"]})
SIGNATURE = images.manifest_of(images.blob(b"{}"), [images.blob(b"signed by cosign")])
BUILDER = "concourse/oci-build-task"
SIGNATURE_TAG = f"sha256-{IMAGE.digest[7:]}.sig"


class Stage:
    """What the recipes find: `registry` for registry.example.com, `staging` for the other registries."""

    def __init__(self, registry: Registry, staging: Registry, directory: Path, unique: str) -> None:
        self.registry, self.staging, self.directory, self.unique = registry, staging, directory, unique
        self.variables: dict[str, object] = {
            "registry.ca": registry.ca.read_text() if registry.ca else None,
            **login("registry", registry),
            **login("staging", staging),
        }
        self.environment: dict[str, str] = {}

    def play(self, recipe: str, others: Others | None = None) -> Player:
        return self.play_text(RECIPES[recipe], others)

    def play_text(self, text: str, others: Others | None = None) -> Player:
        """Plays a pipeline whose registries are ours, everything in repositories of this test."""
        text = text.replace("sha256:…", IMAGE.digest)
        for name, registry in (("registry", self.registry), ("staging", self.staging)):
            text = text.replace(f"{name}.example.com/", f"{registry.host}/{self.unique}/")
            text = text.replace(f"{name}.example.com", registry.host)
        text = text.replace(f"repository: {BUILDER}", f"repository: {self.staging.host}/{self.unique}/{BUILDER}")
        player = Player(
            pipeline=cast("Json", yaml.safe_load(text)),
            directory=Path(tempfile.mkdtemp(dir=self.directory)),
            others=others or {},
            variables=dict(self.variables),
            environment=self.environment,
        )
        player.play()
        return player

    def has_builder(self) -> None:
        images.push(self.staging, f"{self.unique}/{BUILDER}", IMAGE, "0.11.1")

    def has(self, repository: str, *tags: str, image: images.Content = IMAGE) -> None:
        images.push(self.registry, f"{self.unique}/{repository}", image, *tags)

    def digest_at(self, repository: str, tag: str) -> str:
        """The digest that the registry has at a tag."""
        source = self.registry.source(f"{self.unique}/{repository}", tag=tag)
        return runner.check({"source": source}).versions[-1]["digest"]


def login(name: str, registry: Registry) -> dict[str, object]:
    """Its variables; an open registry never asks for what they say."""
    return {f"{name}.username": registry.username or "anyone", f"{name}.password": registry.password or "anything"}


@pytest.fixture
def stage(registry: Registry, repository_name: str, tmp_path: Path) -> Stage:
    return Stage(registry, registry, tmp_path, repository_name)


@pytest.fixture
def private(htpasswd_registry: Registry, registry: Registry, repository_name: str, tmp_path: Path) -> Stage:
    """The registry of the recipes wants a login."""
    return Stage(htpasswd_registry, registry, tmp_path, repository_name)


def built(architecture: str = images.ARCHITECTURE) -> Callable[[Path], None]:
    """What oci-build-task leaves: a docker-save tarball."""
    layer = tar.archive(tar.file("app", b"built"))
    described = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Entrypoint": ["/app"]},
        "rootfs": {"type": "layers", "diff_ids": [images.digest_of(layer)]},
    }
    config = json.dumps(described).encode()
    listing = json.dumps([{"Config": "config.json", "RepoTags": None, "Layers": ["layer.tar"]}]).encode()
    members = {"layer.tar": layer, "config.json": config, "manifest.json": listing}
    tarball = tar.archive(*(tar.file(name, data) for name, data in members.items()))

    def make(directory: Path) -> None:
        (directory / "image.tar").write_bytes(tarball)

    return make


def version(directory: Path) -> None:
    (directory / "version").write_text("1.2.3")


def test_the_image_of_a_task(stage: Stage) -> None:
    stage.has("tools/golang", "1.23")
    stage.has("tools/linter", "1")
    played = stage.play("The image of a task")
    assert played.steps == ["get golang", "task unit", "get image of lint", "task lint"]


def test_a_private_registry(private: Stage) -> None:
    private.has("team/app", "1")
    assert private.play("A private registry").steps == ["get app", "task smoke-test"]


def test_semantic_versions(stage: Stage) -> None:
    stage.has("library/base", "3.18.9-alpine", "3.19.1", "3.21.0-rc.1-alpine", "4.0.0-alpine")
    stage.has("library/base", "3.20.1-alpine", image=ANOTHER)
    stage.has("tools/shell", "1")
    played = stage.play("Semantic versions, within a constraint")
    assert (played.directory / "base" / "tag").read_text() == "3.20.1-alpine"
    assert not (played.directory / "base" / "rootfs").exists()


def test_tags_that_are_dates(stage: Stage) -> None:
    stage.has("team/nightly", "2026.9.30", "latest", "2025.12.31", "2026.10.1-9")
    stage.has("team/nightly", "2026.10.1-10", image=ANOTHER)
    played = stage.play("Tags that are dates")
    assert (played.directory / "nightly" / "tag").read_text() == "2026.10.1-10"


def test_through_a_mirror(stage: Stage) -> None:
    images.push(stage.registry, "library/alpine", IMAGE, "3")
    played = stage.play("Through a mirror")
    assert (played.directory / "alpine" / "digest").read_text() == IMAGE.digest
    assert (played.directory / "alpine" / "repository").read_text() == "alpine"


def test_an_authority_of_your_own(tls_registry: Registry, repository_name: str, tmp_path: Path) -> None:
    stage = Stage(tls_registry, tls_registry, tmp_path, repository_name)
    stage.has("team/app", "1")
    played = stage.play("A registry with a certificate of your own authority")
    assert played.steps == ["get app", "task test"]


def test_build_and_push(private: Stage) -> None:
    private.has_builder()
    private.has("team/app", "1.2.2", "1.2", "1", "latest", "2.0.0")
    recipe = "Build an image, push it under a version and its aliases"
    played = private.play(recipe, {"version": version, "image": built()})
    assert played.steps == ["get image of build", "task build", "put app"]
    pushed = private.digest_at("team/app", "1.2.3")
    assert pushed != IMAGE.digest
    assert {private.digest_at("team/app", tag) for tag in ("1.2", "1")} == {pushed}
    assert private.digest_at("team/app", "latest") == IMAGE.digest  # 2.0.0 is greater


def test_one_index_for_several_platforms(stage: Stage) -> None:
    stage.has_builder()
    others = {"amd64": built("amd64"), "arm64": built("arm64")}
    played = stage.play("One index for several platforms", others)
    assert played.steps[-2:] == ["put app", "get app"]
    index = json.loads((played.directory / "app" / "index.json").read_text())
    assert [each["platform"]["architecture"] for each in index["manifests"]] == ["amd64", "arm64"]


def test_promote(private: Stage) -> None:
    source = f"{private.unique}/team/app"
    images.push(private.staging, source, IMAGE, "candidate")
    images.push(private.staging, source, SIGNATURE, SIGNATURE_TAG)
    played = private.play("Promote from one registry to another, with its signatures", {"version": version})
    assert played.steps == ["get staging", "task accept", "put production"]
    assert {private.digest_at("team/app", tag) for tag in ("1.2.3", "1.2", "1", "latest")} == {IMAGE.digest}
    assert private.digest_at("team/app", SIGNATURE_TAG) == SIGNATURE.digest


def test_sign_and_verify(private: Stage) -> None:
    private.has_builder()
    recipe = "Sign what is built, run only what is signed"
    key = COSIGN["keys"]["p256"]
    private.variables |= {"cosign.pub": key["public"], "cosign.key": key["private"]}
    private.variables |= {"cosign.password": COSIGN["password"]}
    played = private.play(recipe, {"image": built()})
    assert played.steps == ["get image of build", "task build", "put app", "get app", "get signed-app", "task deploy"]
    private.variables["cosign.pub"] = COSIGN["keys"]["other"]["public"]
    with pytest.raises(AssertionError, match="no signature that counts"):
        private.play(recipe, {"image": built()})


def test_a_cloud(start_registry: StartRegistry, registry: Registry, repository_name: str, tmp_path: Path) -> None:
    ecr = start_registry(Config(auth="htpasswd", htpasswd=HTPASSWD + aws.HTPASSWD))
    stage = Stage(ecr, registry, tmp_path, repository_name)
    stage.has_builder()
    region = "eu-central-1.amazonaws.com"
    text = RECIPES["A cloud with identity tokens"]
    ours = "repository: team/app"
    assert ours in text
    text = text.replace(ours, f"repository: {repository_name}/team/app\n    ca_certs: [((proxy.ca))]")
    with aws.moto(checking=False) as amazon, internet(tmp_path / "internet") as web:
        web.routes[rf"{aws.ACCOUNT}\.dkr\.ecr\.{region}"] = forward(ecr.url)
        web.routes[rf"(sts|api\.ecr)\.{region}"] = forward(amazon.url)
        stage.environment = {**web.environment, "AWS_EC2_METADATA_DISABLED": "true"}
        stage.variables |= {"aws:token": OIDC_TOKEN, "proxy.ca": web.authority.pem}
        played = stage.play_text(text, {"image": built()})
    assert played.steps == ["get image of build", "task build", "put app"]
    assert stage.digest_at("team/app", "latest") != IMAGE.digest
    asked = [call.headers["x-amz-target"].split(".")[1] for call in web.calls if call.host == f"api.ecr.{region}"]
    assert asked == ["GetAuthorizationToken", "CreateRepository"]
    assert {call.host for call in web.calls if OIDC_TOKEN in call.body.decode(errors="replace")} == {f"sts.{region}"}


def test_docker_load(stage: Stage) -> None:
    stage.has("tools/database", "17")
    stage.has("tools/dind", "1")
    played = stage.play("Load an image into a Docker Engine")
    with tarfile.open(played.directory / "database" / "image.tar") as archive:
        listing = archive.extractfile("manifest.json")
        assert listing is not None
        assert json.load(listing)[0]["RepoTags"] == [f"{stage.registry.host}/{stage.unique}/tools/database:17"]


def test_the_type_of_a_whole_worker(stage: Stage) -> None:
    stage.has("team/app", "1")
    assert stage.play("The type of a whole worker").steps == ["get app", "task test"]


def test_the_example_that_readme_sets_as_a_pipeline(stage: Stage) -> None:
    stage.has("alpine", "3")
    text = (tables.TOP / "docs" / "example.yml").read_text().replace("alpine, tag", "registry.example.com/alpine, tag")
    assert stage.play_text(text).steps == ["get alpine", "task hello"]


def test_every_recipe_is_played() -> None:
    played = Path(__file__).read_text()
    assert [recipe for recipe in RECIPES if f'"{recipe}"' not in played] == []
