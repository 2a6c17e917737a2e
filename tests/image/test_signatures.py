"""Signatures with what is in the image: cosign's encrypted keys, certificates and timestamps."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from registry_image.oci.digest import Digest
from tests.image.container import BUILD, Ran, step
from tests.support import images
from tests.support.engine import Engine
from tests.support.fakeregistry import fake_registry
from tests.support.registry import Registry
from tests.support.signed import COSIGN, referring
from tests.support.sigstore import ISSUER, SUBJECT, Recipe, Sigstore
from tests.support.tar import archive, file

pytestmark = [pytest.mark.xdist_group("engine"), pytest.mark.timeout(900)]

BUILT = images.image(images.layer(archive(file("hello", "world\n"))))
KEY, OTHER = COSIGN["keys"]["p256"], COSIGN["keys"]["other"]


def get(
    engine: Engine, image: str, request: dict[str, object], verify: object, directory: Path, *, status: int = 0
) -> Ran:
    """``request`` is that of a get, without what its source verifies."""
    directory.mkdir()
    source = cast("dict[str, object]", request["source"]) | {"verify": {"cosign": verify}}
    request = request | {"source": source}
    ran = step(engine, image, request, "/opt/resource/in", BUILD, mount=directory, status=status)
    assert set(ran.changes) <= {"A /tmp/build", "C /tmp"}
    return ran


def signed_by(ran: Ran) -> str:
    assert isinstance(ran.answer, dict)
    return str({pair["name"]: pair["value"] for pair in ran.answer["metadata"]}["signed_by"])


@pytest.mark.parametrize("form", ["classic", "bundle"])
def test_put_signs_with_an_encrypted_key_of_cosign_and_get_verifies_it(
    engine: Engine, image: str, registry: Registry, repository_name: str, tmp_path: Path, form: str
) -> None:
    images.write_layout(tmp_path / "image", BUILT)
    source = registry.source(repository_name)
    sign = {"cosign": {"key": KEY["private"], "password": COSIGN["password"], "format": form}}
    asked = {"source": source | {"tag": "1"}, "params": {"image": "image", "sign": sign}}
    put = step(engine, image, asked, "/opt/resource/out", BUILD, mount=tmp_path)

    assert isinstance(put.answer, dict)
    request = {"source": source, "version": put.answer["version"]}
    got = get(engine, image, request, {"keys": [KEY["public"]]}, tmp_path / "got")
    assert signed_by(got) == signed_by(put)
    assert (tmp_path / "got/rootfs/hello").read_text() == "world\n"
    refused = get(engine, image, request, {"keys": [OTHER["public"]]}, tmp_path / "refused", status=1)
    assert "by another key" in refused.stderr
    assert list((tmp_path / "refused").iterdir()) == []


def test_get_verifies_an_identity_by_a_timestamp(engine: Engine, image: str, tmp_path: Path) -> None:
    sigstore = Sigstore()
    bundle = sigstore.bundle(Digest.parse(BUILT.digest), Recipe(version="0.0.2", promise=False, stamped=("tsa",)))
    wanted = {"keyless": [{"issuer": ISSUER, "subject": SUBJECT}]}
    with fake_registry() as registry:
        registry.add("app", BUILT, "1")
        registry.add("app", referring(BUILT.manifest, bundle))
        request: dict[str, object] = {
            "source": {"repository": f"{registry.host}/app"},
            "version": {"digest": BUILT.digest},
        }
        root = {"trusted_root": sigstore.trusted_root().decode()}
        assert signed_by(get(engine, image, request, wanted | root, tmp_path / "got")) == f"{SUBJECT} ({ISSUER})"
        # Without a root of their own, those that ship are believed: sigstore's public ones.
        refused = get(engine, image, request, wanted, tmp_path / "refused", status=1)
    assert "no signature that counts" in refused.stderr
    assert (tmp_path / "got/rootfs/hello").read_text() == "world\n"
    assert list((tmp_path / "refused").iterdir()) == []
