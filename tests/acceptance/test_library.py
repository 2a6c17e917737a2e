"""The library: the page's examples run against a registry, and a pull that fails leaves nothing."""

from __future__ import annotations

import gc
import os
import re
import signal
import threading
from pathlib import Path

import pytest

import registry_image
from registry_image import Pulled, pull
from registry_image.errors import ContentError, NotFound, RegistryError, RequestError
from tests.support import images, tar
from tests.support.fakeregistry import fake_registry, status
from tests.support.registry import Registry

PAGE = Path(__file__).parents[2] / "docs" / "library.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
EXAMPLE_IMAGE = f"registry.example/app@sha256:{'0' * 64}"


@pytest.fixture(scope="module")
def content() -> images.Content:
    return images.image(images.layer(tar.archive(tar.file("a", "b"))), architecture="arm64")


@pytest.fixture(scope="module")
def reference(registry: Registry, content: images.Content) -> str:
    images.push(registry, "library/image", content, "latest")
    return f"{registry.host}/library/image@{content.digest}"


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_of_the_page_runs(
    example: str, reference: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert EXAMPLE_IMAGE in example
    exec(example.replace(EXAMPLE_IMAGE, reference).replace("/tmp/app", str(tmp_path)), {"__name__": "example"})  # noqa: S102
    assert (tmp_path / "rootfs" / "a").read_text() == "b"
    if "print(pulled" in example:
        assert capsys.readouterr().out == f"{tmp_path}/rootfs linux/arm64\n"


def test_the_result_says_what_was_laid_out_and_warnings_go_to_the_log(
    reference: str, content: images.Content, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log: list[str] = []
    pulled = pull(reference, tmp_path, platform="linux/s390x", log=log.append)
    assert isinstance(pulled, Pulled)
    assert pulled.rootfs == str(tmp_path / "rootfs")
    assert pulled.metadata["digest"] == content.digest
    assert (tmp_path / "digest").read_text() == content.digest
    assert ["linux/arm64" in line for line in log] == [True]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("reference", ["alpine", "alpine:3", "alpine@sha256:12", "a b@sha256:" + "0" * 64])
def test_what_names_no_content_is_refused(reference: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError):
        pull(reference, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_pull_that_fails_leaves_the_directory_as_it_was(
    reference: str, registry: Registry, content: images.Content, tmp_path: Path
) -> None:
    (tmp_path / "before").write_text("x")
    with pytest.raises(NotFound):
        pull(reference.replace(content.digest, f"sha256:{'0' * 64}"), tmp_path)
    broken = images.image(images.layer(tar.archive(tar.file("a", "b"))), rootfs={"type": "layers", "diff_ids": []})
    images.push(registry, "library/broken", broken, "latest")
    with pytest.raises(ContentError):
        pull(f"{registry.host}/library/broken@{broken.digest}", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["before"]


def test_pulls_run_in_any_thread_and_leave_signals_alone(reference: str, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    results: list[Pulled] = []
    directories = [tmp_path / "one", tmp_path / "two"]
    for directory in directories:
        directory.mkdir()
    threads = [
        threading.Thread(target=lambda at=directory: results.append(pull(reference, at))) for directory in directories
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {pulled.rootfs for pulled in results} == {str(directory / "rootfs") for directory in directories}
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_pull_leaves_no_connection_open(reference: str, tmp_path: Path) -> None:
    def sockets() -> list[str]:
        names = (f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd"))
        return sorted(os.readlink(name) for name in names if os.path.lexists(name) and "socket" in os.readlink(name))

    before = sockets()
    gc.disable()  # which would close it some time later
    try:
        pull(reference, tmp_path)
        assert sockets() == before
    finally:
        gc.enable()


def test_a_directory_that_is_not_there_is_not_made(reference: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="is not a directory"):
        pull(reference, tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_the_package_exports_the_library_and_no_more() -> None:
    assert set(registry_image.__all__) == {"Pulled", "pull"}
    with pytest.raises(AttributeError):
        _ = registry_image.nothing


def test_what_a_registry_repeats_of_a_password_is_in_no_error_and_no_warning(tmp_path: Path) -> None:
    secret = "hunter2-never-shown"
    notes: list[str] = []
    with fake_registry() as server:
        server.script("GET", "/manifests/", status(503, secret), status(400, f"you said {secret}"))
        with pytest.raises(RegistryError) as caught:
            pull(f"{server.host}/a/b@sha256:{'0' * 64}", tmp_path, credentials=("robot", secret), log=notes.append)
    assert "you said ((redacted))" in caught.value.message
    assert any("((redacted))" in note for note in notes)
    assert secret not in f"{notes}{caught.value}{caught.value.hint}"
