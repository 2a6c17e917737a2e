"""The pictures of build logs are drawings of recorded bytes, and steps still write such bytes."""

from __future__ import annotations

import os
import re
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import pictures
from tests.support import page, runner, terminal
from tests.support.fakehttp import Ask, Reply
from tests.support.fakeregistry import Answer

#: Bytes a second: so slow that a step is drawn, and not slower.
RATE = 5_000_000
LOGS = sorted(pictures.PICTURES.glob("*.ansi"))


def shape(rows: list[str]) -> list[str]:
    """``rows`` without what is another in each run: times, speeds and how many numbers a sum has."""
    return [re.sub(r"\d+(\.\d+)? (B|kB|MB|s|requests)\b", r"N \2", row) for row in rows]


def frames(log: bytes) -> list[bytes]:
    """``log`` up to the end of each of its frames, and to its own."""
    return [log[: found.start()] for found in re.finditer(rb"\x1b\[\d+A", log)] + [log]


@pytest.mark.parametrize("name", sorted(pictures.TITLES))
def test_a_picture_is_the_drawing_of_its_bytes(name: str) -> None:
    assert (pictures.PICTURES / f"{name}.svg").read_text() == pictures.drawn()[f"{name}.svg"], "make pictures"


def test_nothing_else_is_among_the_pictures() -> None:
    names = {path.name for path in pictures.PICTURES.iterdir()}
    assert names == {f"{name}.svg" for name in pictures.TITLES} | {f"{name}.ansi" for name in pictures.STEPS}


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_page_and_terminal_show_the_same_rows_of_a_recorded_log_at_any_moment(path: Path) -> None:
    for log in frames(path.read_bytes()):
        on_page = page.rows(log)
        wrapped = [row[start : start + 80].rstrip() for row in on_page for start in range(0, max(len(row), 1), 80)]
        assert terminal.rows(log) == wrapped[:-1]
        assert "" not in on_page[:-1]


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_rows_that_are_drawn_over_fit_a_terminal(path: Path) -> None:
    for log in frames(path.read_bytes()):
        assert [row for row in page.rows(log) if set(row) & set("█▓░") and len(row) > 79] == []


@pytest.mark.parametrize("name", sorted(pictures.STEPS))
def test_a_step_still_writes_lines_of_the_recorded_shape(name: str) -> None:
    log = pictures.log_of(name, rate=RATE)
    assert shape(page.rows(log)) == shape(page.rows((pictures.PICTURES / f"{name}.ansi").read_bytes()))


def test_a_get_that_is_stopped_leaves_its_frame_and_says_what_it_was_at() -> None:
    second = pictures.layer(1, pictures.LAYERS[1]).blob.digest

    def hold(_ask: Ask, answer: Answer) -> Reply:
        return replace(answer(), stall_after=7_000_000)

    with pictures.stage(rate=RATE) as place:
        place.registry.script("GET", second, hold)
        source = {**place.source, "platform": "linux/amd64"}
        request = {"source": source, "version": {"tag": "1.1", "digest": pictures.image().digest}}
        (place.directory / "get").mkdir()
        process = runner.start("in", request, place.directory / "get", environment=place.environment)
        assert process.stderr is not None
        written = b""
        while b"7.0 of 14.0 MB" not in written:
            piece = os.read(process.stderr.fileno(), 1 << 16)
            assert piece, written
            written += piece
        process.send_signal(signal.SIGTERM)
        outcome = runner.finish(process)
        assert outcome.status == 128 + signal.SIGTERM
        written += outcome.stderr.encode()
    *_, row, total, standing, stopped, empty = page.rows(written)
    assert re.fullmatch(r"total +█+▓+░+ +\d\d\.\d of 26\.2 MB, \d+\.\d MB/s", total)
    assert row.endswith("kB, to be unpacked")
    assert re.fullmatch(
        rf"stopped after \d+\.\d s, downloading {second[7:19]}; unpacking {second[7:19]}: "
        r"19\.2 of 26\.2 MB downloaded, \d+\.\d MB unpacked",
        standing,
    )
    assert (stopped, empty) == ("stopped by SIGTERM", "")
