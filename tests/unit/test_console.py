"""What is shown on stderr while a step works: lines, counts, bars; and that none of it can hurt."""

from __future__ import annotations

import io
import os
import re
import time

import pytest

from registry_image.concourse.connect import open_console
from registry_image.concourse.console import log as console
from registry_image.concourse.console.bars import Bars
from registry_image.concourse.console.counter import Counting, Plain, Tally
from registry_image.concourse.console.live import DRAW_AFTER, Drawn
from registry_image.concourse.console.log import Console, Debug, size_text
from registry_image.concourse.request.check import parse_check
from registry_image.concourse.request.source import Source


def source(**fields: object) -> Source:
    import json

    return parse_check(json.dumps({"source": {"repository": "alpine", **fields}}).encode()).source


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def plain_text(drawn: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", drawn)


def work(listener: Console, clock: Clock) -> None:
    """Two layers of 30 and 10 MB, the first half down."""
    listener.expect("download", {"aaaa": 30_000_000, "bbbb": 10_000_000})
    listener.begin("download", "aaaa", 30_000_000)
    clock.now += 3
    listener.advance("download", "aaaa", 15_000_000)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (34_100_000, "34.1 MB"), (5_000_000_000_000, "5000.0 GB")],
)
def test_sizes_are_in_powers_of_ten(size: int, text: str) -> None:
    assert size_text(size) == text


def test_the_total_counts_what_has_not_begun_and_foretells_the_end() -> None:
    clock = Clock()
    tally = Tally(clock=clock)
    listener = Counting(tally)
    assert tally.summary("download") == ""
    work(listener, clock)
    assert tally.summary("download") == "download 15.0 MB of 40.0 MB, 0 of 2 done, 5.0 MB/s, 5 s left"
    listener.advance("download", "aaaa", 15_000_000)
    listener.finish("download", "aaaa")
    listener.begin("unpack", "aaaa", None)
    listener.advance("unpack", "aaaa", 60_000_000)
    assert "1 of 2 done" in tally.summary("download")
    assert tally.summary("unpack") == "unpack 60.0 MB, 0 of 1 done, 20.0 MB/s"


def test_plain_progress_is_a_line_every_few_seconds(capfd: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    listener = Plain(Tally(clock=clock))
    work(listener, clock)
    assert capfd.readouterr().err == ""
    for _ in range(100):
        clock.now += 0.1
        listener.advance("download", "aaaa", 1000)
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("download 15.") for line in lines)


def test_debug_logs_each_step_instead(capfd: pytest.CaptureFixture[str]) -> None:
    with open_console(source(debug=True)) as listener:
        assert isinstance(listener, Debug)
        work(listener, Clock())
        listener.finish("download", "aaaa")
        listener.begin("unpack", "aaaa", None)
    assert capfd.readouterr().err.splitlines() == ["download aaaa: 30.0 MB", "download aaaa: done", "unpack aaaa"]


@pytest.mark.parametrize(
    ("fields", "draws", "kind"),
    [
        ({}, True, Drawn),
        ({"progress": "bars"}, True, Drawn),
        ({"progress": "plain"}, True, Plain),
        ({"progress": "none"}, True, Console),
        ({"progress": "none", "debug": True}, True, Debug),
        ({}, False, Console),
    ],
)
def test_the_source_says_what_is_drawn(fields: dict[str, object], draws: bool, kind: type[Console]) -> None:
    with open_console(source(**fields), draws=draws) as listener:
        assert type(listener) is kind


def test_warnings_of_the_source_come_first(capfd: pytest.CaptureFixture[str]) -> None:
    with open_console(source(username="u")) as listener:
        listener.note("work")
    lines = plain_text(capfd.readouterr().err).splitlines()
    assert lines[0] == "warning: source: username without password: going on anonymously"


def test_bars_show_each_part_and_the_total() -> None:
    stream, clock = io.StringIO(), Clock()
    counting = Counting(Tally(clock=clock))
    work(counting, clock)
    counting.begin("unpack", "aaaa", None)
    counting.advance("unpack", "aaaa", 2_000_000)
    bars = Bars(counting.tally, stream.write)
    bars.start()
    bars.print("a [line] of text")
    bars.stop()
    drawn = plain_text(stream.getvalue())
    assert "a [line] of text" in drawn
    assert re.search(r"aaaa +download [━╺╸]+ +15\.0 MB +unpack [━╺╸]+ +2\.0 MB", drawn)
    assert re.search(r"bbbb +download ━+", drawn)
    assert "download 15.0 MB of 40.0 MB, 0 of 2 done, 5.0 MB/s, 5 s left" in drawn


def test_an_image_of_many_layers_is_drawn_in_bounded_height() -> None:
    stream = io.StringIO()
    counting = Counting(Tally())
    counting.expect("download", {f"layer-{number:03}": 1 for number in range(200)})
    counting.begin("download", "layer-150", 1)
    bars = Bars(counting.tally, stream.write)
    bars.start()
    bars.print("now")
    drawn = plain_text(stream.getvalue())
    bars.stop()
    assert "layer-150" in drawn
    assert drawn.count("layer-") == 24


def test_at_most_two_frames_a_second_are_drawn() -> None:
    stream = io.StringIO()
    begun = time.monotonic()
    counting = Counting(Tally())
    counting.begin("download", "aaaa", 10**9)
    bars = Bars(counting.tally, stream.write)
    bars.start()
    while time.monotonic() - begun < 0.7:
        counting.advance("download", "aaaa", 1)
    bars.stop()
    assert 1 <= stream.getvalue().count("aaaa") <= 2 * (time.monotonic() - begun) + 2


def broken(text: str) -> None:
    """Fails as a closed pipe does."""
    raise BrokenPipeError


def test_a_stream_that_breaks_is_not_the_works_problem() -> None:
    counting = Counting(Tally())
    work(counting, Clock())
    bars = Bars(counting.tally, broken)
    bars.start()
    bars.print("lost")
    bars.stop()


def test_bars_that_cannot_be_drawn_are_left_out() -> None:
    stream = io.StringIO()
    tally = Tally()
    tally.steps["download"] = {"aaaa": None}  # type: ignore[dict-item]  # a bug, as far as drawing is concerned
    bars = Bars(tally, stream.write)
    bars.start()
    bars.print("still said")
    bars.stop()
    assert "still said" in stream.getvalue()


def test_only_work_that_takes_a_while_is_drawn(capfd: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with Drawn(Tally(clock=clock)) as drawn:
        drawn.expect("download", {"aaaa": 30_000_000})
        drawn.begin("download", "aaaa", 30_000_000)
        drawn.advance("download", "aaaa", 15_000_000)
        clock.now += DRAW_AFTER
        drawn.advance("download", "aaaa", 1)
        drawn.note("early")
        assert capfd.readouterr().err == "early\n"
        clock.now += 0.1
        drawn.advance("download", "aaaa", 1)
        drawn.note("late")
        said = capfd.readouterr().err
        assert "\x1b[" in said
        assert "late" in plain_text(said)
        assert "15.0 MB of 30.0 MB" in plain_text(said)
    drawn.note("over")
    assert plain_text(capfd.readouterr().err).endswith("over\n")


def test_a_line_is_written_even_when_stderr_is_closed() -> None:
    child = os.fork()
    if child == 0:
        os.close(2)
        console.write_line("nobody hears")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("progress", ["bars", "plain", "none"])
def test_whatever_a_line_repeats_it_stays_a_line(progress: str, capfd: pytest.CaptureFixture[str]) -> None:
    with open_console(source(progress=progress)) as listener:
        listener.note("the image is for \x1b[2J\x1b]0;owned\x07\nerror: \r\u202elinux/amd64 über\ud800" + "x" * 10_000)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(r"the image is for \x1b[2J\x1b]0;owned\x07\nerror: \r\u202elinux/amd64 über\ud800xxx")
    assert line.endswith("x…")
    assert len(line) < 5000


def test_a_line_above_the_bars_obeys_nothing_either() -> None:
    drawn = io.StringIO()
    bars = Bars(Tally(), drawn.write)
    bars.print("a\x1b[2Jb\nc")
    assert drawn.getvalue().rstrip("\n") == r"a\x1b[2Jb\nc"
