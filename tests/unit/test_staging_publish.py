"""Several names are published together: a failure between two of them takes all of them back."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry_image.errors import StorageError
from registry_image.progress import Listener
from registry_image.rootfs.staging import Staging


def make(staging: Staging, *names: str) -> None:
    for name in names:
        (Path(staging.path) / name).mkdir()


def test_what_was_published_stays(tmp_path: Path) -> None:
    with Staging(tmp_path, Listener()) as staging:
        make(staging, "a", "b")
        staging.publish("a")
        staging.publish("b")
    assert {each.name for each in tmp_path.iterdir()} == {"a", "b"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, StorageError])
def test_a_failure_takes_back_what_was_published(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), Staging(tmp_path, Listener()) as staging:  # noqa: PT012 - the order is what matters
        make(staging, "a")
        staging.publish("a")
        raise error("between two names")
    assert list(tmp_path.iterdir()) == []


def test_what_somebody_else_put_there_is_not_ours_to_take(tmp_path: Path) -> None:
    with pytest.raises(StorageError), Staging(tmp_path, Listener()) as staging:  # noqa: PT012
        make(staging, "a", "b")
        staging.publish("a")
        (tmp_path / "b").write_text("theirs")
        staging.publish("b")
    assert {each.name for each in tmp_path.iterdir()} == {"b"}
    assert (tmp_path / "b").read_text() == "theirs"
