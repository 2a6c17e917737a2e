"""What a worker does with the image: every container is a fresh one, its root may be read-only, and its certificates,
proxies and identities come from outside."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.conftest import StartRegistry
from tests.image.container import BUILD, step
from tests.support import aws, clouds, images, parts
from tests.support.aws import moto
from tests.support.clouds import CLIENT_ID, OIDC_TOKEN, PROVIDER, TENANT, Azure, Google
from tests.support.engine import Engine
from tests.support.internet import Internet, forward, internet
from tests.support.registry import HTPASSWD, Config, Registry
from tests.support.tar import archive, file

pytestmark = [pytest.mark.xdist_group("engine"), pytest.mark.timeout(900)]

BUILT = images.image(images.layer(archive(file("hello", "world\n"))), images.layer(archive(file("more", b"x")), "zstd"))
#: Where a step's directory is mounted, and the directory that this is in.
MOUNTED = {"A /tmp/build", "C /tmp"}
READ_ONLY = ("--read-only", "--tmpfs=/tmp")


@pytest.fixture
def source(registry: Registry, repository_name: str) -> dict[str, object]:
    """Of a repository that holds `BUILT`."""
    images.push(registry, repository_name, BUILT, "latest")
    return registry.source(repository_name)


def every_step(engine: Engine, image: str, source: object, directory: Path, *options: str) -> set[str]:
    """Run check, get in every format, put of each, and failures, each in a container of its own; what they changed."""
    version = {"tag": "latest", "digest": BUILT.digest}
    check = step(engine, image, {"source": source}, "/opt/resource/check", options=options)
    assert check.answer == [version]
    changed = set(check.changes)
    for kind, params in (
        ("rootfs", {}),
        ("oci", {"format": "oci"}),
        ("oci-layout", {"format": "oci-layout"}),
        ("all", {"formats": ["rootfs", "oci", "oci-layout"]}),
        ("skipped", {"skip_download": True}),
    ):
        got = directory / kind
        got.mkdir()
        request = {"source": source, "version": version, "params": params}
        ran = step(engine, image, request, "/opt/resource/in", BUILD, mount=got, options=options)
        assert (got / "digest").read_text() == BUILT.digest
        changed |= set(ran.changes)
    for path in ("oci/image.tar", "oci-layout/oci"):
        request = {"source": source, "params": {"image": path, "additional_tags": "oci/tag"}}
        ran = step(engine, image, request, "/opt/resource/out", BUILD, mount=directory, options=options)
        changed |= set(ran.changes)
    nothing: dict[str, object] = {"source": {}}
    misspelt: dict[str, object] = {"source": {"repository": "127.0.0.1:1/none", "tga": "x"}}
    for wrong in (nothing, misspelt):
        changed |= set(step(engine, image, wrong, "/opt/resource/check", status=1, options=options).changes)
    return changed


def test_the_first_run_of_each_step_leaves_nothing_in_the_container(
    engine: Engine, image: str, source: object, tmp_path: Path
) -> None:
    assert every_step(engine, image, source, tmp_path) <= MOUNTED


def test_each_step_works_with_a_read_only_root_and_memory_on_tmp(
    engine: Engine, image: str, source: object, tmp_path: Path
) -> None:
    assert every_step(engine, image, source, tmp_path, *READ_ONLY) <= MOUNTED
    assert (tmp_path / "all" / "rootfs" / "hello").read_text() == "world\n"
    assert (tmp_path / "all" / "rootfs" / "more").read_text() == "x"


# -- Certificates ------------------------------------------------------------------------------------------------------


def hashed(directory: Path, pem: str) -> None:
    """A file for each authority and links by hash, as Debian has it."""
    (directory / "authority.pem").write_text(pem)
    command = [parts.need("openssl"), "rehash", str(directory)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def bundle(directory: Path, pem: str) -> None:
    """One file, as others have it."""
    (directory / "ca-certificates.crt").write_text(pem)


def dangling(directory: Path, pem: str) -> None:
    """Debian's directory as a worker mounts it: the files that its links lead to stay on the worker."""
    bundle(directory, pem)
    (directory / "authority.pem").symlink_to("/usr/local/share/ca-certificates/authority.crt")
    (directory / "0123abcd.0").symlink_to("authority.pem")


def additional(directory: Path, pem: str) -> None:
    """As Concourse's Helm chart adds authorities to a worker: a file beside the others, without a link by hash."""
    (directory / "worker-additional-certs.pem").write_text(pem)


@pytest.mark.parametrize("store", [hashed, bundle, dangling, additional])
def test_a_store_mounted_over_the_image_s_is_the_one_that_is_trusted(
    engine: Engine,
    image: str,
    tls_registry: Registry,
    repository_name: str,
    tmp_path: Path,
    store: Callable[[Path, str], None],
) -> None:
    images.push(tls_registry, repository_name, BUILT, "latest")
    assert tls_registry.ca is not None
    request = {"source": {"repository": f"{tls_registry.host}/{repository_name}", "tag": "latest"}}
    refused = step(engine, image, request, "/opt/resource/check", status=1)
    assert "certificate" in refused.stderr

    store(tmp_path, tls_registry.ca.read_text())
    mounted = (f"--volume={tmp_path}:/etc/ssl/certs:ro",)
    ran = step(engine, image, request, "/opt/resource/check", options=mounted)
    assert ran.answer == [{"tag": "latest", "digest": BUILT.digest}]


def test_the_image_s_own_store_is_whole_and_hashed(engine: Engine, image: str) -> None:
    script = """
import os, re, ssl
names = os.listdir("/etc/ssl/certs")
hashed = [name for name in names if re.fullmatch(r"[0-9a-f]{8}\\.[0-9]+", name)]
assert len(hashed) > 100, len(hashed)
assert all(os.path.exists(f"/etc/ssl/certs/{name}") for name in names)
paths = ssl.get_default_verify_paths()
assert os.path.realpath(paths.capath) == "/etc/ssl/certs", paths
assert os.path.realpath(paths.cafile) == "/etc/ssl/certs/ca-certificates.crt", paths
print(len(ssl.create_default_context().get_ca_certs()))
"""
    printed = engine.docker("run", "--rm", "--network=none", image, "python", "-I", "-c", script)
    assert int(printed) > 100


# -- Proxies and clouds ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def behind(start_registry: StartRegistry) -> Registry:
    """What stands behind every cloud's names."""
    return start_registry(Config(auth="htpasswd", htpasswd=HTPASSWD + aws.HTPASSWD + clouds.HTPASSWD))


@pytest.fixture
def web(tmp_path: Path, behind: Registry) -> Iterator[Internet]:
    with internet(tmp_path / "internet") as running:
        site = forward(behind.url)
        running.routes[r"[0-9]{12}\.dkr\.ecr\..*"] = site
        running.routes["europe-docker.pkg.dev"] = site
        azure = Azure()
        clouds.on(running, azure=azure, google=Google())
        running.routes[r".*\.azurecr\.io"] = azure.registry(site)
        yield running


def follows(engine: Engine, image: str, web: Internet, source: Mapping[str, object]) -> None:
    environment = {**web.environment, "AWS_EC2_METADATA_DISABLED": "true", "REGISTRY_IMAGE_WAIT_SCALE": "0"}
    request = {"source": {"tag": "v1", "ca_certs": [web.authority.pem], **source}}
    for options in ((), READ_ONLY):
        ran = step(engine, image, request, "/opt/resource/check", environment=environment, options=options)
        assert ran.answer == [{"tag": "v1", "digest": BUILT.digest}], ran.stderr
        assert set(ran.changes) <= MOUNTED


def test_a_registry_is_reached_through_a_proxy_of_the_environment(
    engine: Engine, image: str, web: Internet, registry: Registry, repository_name: str
) -> None:
    images.push(registry, repository_name, BUILT, "v1")
    web.routes["registry.example"] = forward(registry.url)
    follows(engine, image, web, {"repository": f"registry.example/{repository_name}"})
    assert {call.host for call in web.calls} == {"registry.example"}


def test_each_cloud_logs_in(engine: Engine, image: str, web: Internet, behind: Registry, repository_name: str) -> None:
    images.push(behind, repository_name, BUILT, "v1")
    google = {"gcp": {"workload_identity_provider": PROVIDER}, "oidc_token": OIDC_TOKEN}
    azure = {"azure_acr": True, "azure_client_id": CLIENT_ID, "azure_tenant_id": TENANT, "oidc_token": OIDC_TOKEN}
    follows(engine, image, web, {"repository": f"europe-docker.pkg.dev/{repository_name}", **google})
    follows(engine, image, web, {"repository": f"contoso.azurecr.io/{repository_name}", **azure})
    with moto(checking=True) as amazon:
        web.routes[r"(sts|api\.ecr)\..*\.amazonaws\.com"] = forward(amazon.url)
        keys = {"aws_access_key_id": amazon.access_key, "aws_secret_access_key": amazon.secret_key}
        follows(engine, image, web, {"repository": repository_name, "aws_region": aws.REGION, **keys})
        # STS answers in XML. The role's account has a registry whose password the one behind the names does not know.
        source = {"repository": repository_name, "aws_region": aws.REGION, "ca_certs": [web.authority.pem], **keys}
        roles = {"aws_role_arns": [aws.ROLE, aws.FARTHER_ROLE]}
        ran = step(
            engine,
            image,
            {"source": source | roles},
            "/opt/resource/check",
            environment=web.environment,
            status=1,
        )
        assert aws.OTHER_ACCOUNT in ran.stderr
        assert "401" in ran.stderr
    assert "sts.googleapis.com" in {call.host for call in web.calls}


def test_a_key_of_a_google_service_account_signs(engine: Engine, image: str) -> None:
    # google-auth signs with cryptography or with a package of Python alone, which does not ship.
    script = """
import sys
sys.path.append(f"/opt/.venv/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages")
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth.crypt import RSASigner
key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
print(len(RSASigner.from_string(pem.decode()).sign(b"message")))
"""
    assert engine.docker("run", "--rm", "--network=none", image, "python", "-IS", "-c", script) == b"256\n"


def test_a_traceback_shows_lines_of_ours_and_of_the_standard_library(engine: Engine, image: str) -> None:
    script = """
import json, sys, traceback
sys.path += ["/opt/resource"]
from registry_image.oci.digest import Digest
for wrong in (json.loads, Digest.parse):
    try:
        wrong("{")
    except Exception:
        traceback.print_exc(file=sys.stdout)
"""
    said = engine.docker("run", "--rm", "--network=none", image, "python", "-IS", "-c", script).decode()
    assert re.search(r'File "/usr/.*/json/__init__.py", line \d+, in loads\n +\S', said), said
    assert re.search(r'File "/opt/resource/registry_image/.*", line \d+, in \w+\n +\S', said), said
