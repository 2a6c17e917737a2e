"""check and in against the real registry behind a proxy that breaks its connections."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.support import images, runner, tar
from tests.support.faultproxy import How, fault_proxy
from tests.support.registry import Registry

NO_WAITING = {"REGISTRY_IMAGE_WAIT_SCALE": "0"}
FILES = {f"file-{number}": random.Random(number).randbytes(700_000) for number in range(3)}
IMAGE = images.image(*(images.layer(tar.archive(tar.file(name, data)), "gzip") for name, data in FILES.items()))
PLACES = [0, 150, 3_000, 40_000, 90_000, 200_000, 400_000, 600_000]


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_get_survives_broken_connections(registry: Registry, repository_name: str, tmp_path: Path, how: How) -> None:
    images.push(registry, repository_name, IMAGE, "latest")
    with fault_proxy(registry.host) as proxy:
        source = {"repository": f"{proxy.host}/{repository_name}", "tag": "latest", "insecure": True}
        checked = runner.check({"source": source}, environment=NO_WAITING)
        assert checked.versions == [{"tag": "latest", "digest": IMAGE.digest}]
        for place in PLACES:
            proxy.break_next(after=place, how=how)
        got = runner.get({"source": source, "version": checked.versions[0]}, tmp_path, environment=NO_WAITING)
        assert got.status == 0, got.stderr
    assert {name: (tmp_path / "rootfs" / name).read_bytes() for name in FILES} == FILES
    assert got.stderr.count("trying again") >= len(PLACES) // 2
    if how == "close":
        assert proxy.sent < sum(map(len, FILES.values())) * 1.05 + 50_000  # resumed: no byte of a layer twice


def test_a_get_from_a_dying_registry_leaves_nothing(registry: Registry, repository_name: str, tmp_path: Path) -> None:
    images.push(registry, repository_name, IMAGE, "latest")
    with fault_proxy(registry.host) as proxy:
        source = {"repository": f"{proxy.host}/{repository_name}", "tag": "latest", "insecure": True}
        version = {"tag": "latest", "digest": IMAGE.digest}
        for _ in range(200):
            proxy.break_next(after=2_000)
        failed = runner.get({"source": source, "version": version}, tmp_path, environment=NO_WAITING)
    runner.failed(failed, repository_name)
    assert os.listdir(tmp_path) == []
