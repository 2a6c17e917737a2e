"""What is shown on stderr while a step works: lines, counts, frames; and that none of it can hurt."""

from __future__ import annotations

import json
import os
import re
import sys
import threading

import pytest

from registry_image.concourse.console import log
from registry_image.concourse.console.console import Console, Debug
from registry_image.concourse.console.frame import MAX_ROWS, frame, line, standing, time_text
from registry_image.concourse.console.live import DRAW_AFTER, FRAME_INTERVAL, PLAIN_INTERVAL, Bars, Live, Plain
from registry_image.concourse.console.log import size_text
from registry_image.concourse.console.tally import Tally
from registry_image.concourse.listeners import open_console, open_lines
from registry_image.concourse.request.check import parse_check
from registry_image.concourse.request.source import Source
from tests.support import page, terminal

FIRST, SECOND = "86a06361c17c", "07a418ad275d"
LAYERS = {FIRST: 10_000_000, SECOND: 30_000_000}


def source(**fields: object) -> Source:
    return parse_check(json.dumps({"source": {"repository": "alpine", **fields}}).encode()).source


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Get:
    """A get of two layers, each of which is downloaded and unpacked as the test says, a second at a time."""

    def __init__(self, *steps: str, layers: dict[str, int] = LAYERS) -> None:
        self.clock = Clock()
        self.tally = Tally(self.clock)
        self.layers = layers
        for step in steps or ("download", "unpack"):
            self.tally.expect(step, layers)

    def moves(self, step: str, name: str, *pieces: int) -> None:
        self.tally.begin(step, name, self.layers[name])
        for piece in pieces:
            self.clock.now += 1
            self.tally.advance(step, name, piece)
            self.tally.sample()

    def does(self, step: str, name: str) -> None:
        self.moves(step, name, self.layers[name])
        self.tally.finish(step, name)


def bar(row: str) -> str:
    return re.sub("[^█▓░]", "", row)


def said(row: str) -> str:
    """What stands beside the bar."""
    return re.sub("^.*[█▓░] +", "", row)


class Written:
    """Stands for stderr: every write as one piece."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def __call__(self, text: str) -> None:
        self.pieces.append(text.encode())

    @property
    def bytes(self) -> bytes:
        return b"".join(self.pieces)


# Numbers.


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (34_199_999, "34.1 MB"),
        (5 * 10**12, "5.0 TB"),
        (10**16, "10000.0 TB"),
    ],
)
def test_sizes_are_in_powers_of_ten_and_rounded_down(size: int, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.1, "1 s"), (59.4, "59 s"), (59.6, "1 min"), (3569, "59 min"), (3571, "1 h"), (10**9, "999 h")],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert time_text(seconds) == text


# The frame.


def test_nothing_is_drawn_of_nothing() -> None:
    assert frame(Tally()) == []
    assert line(Tally()) == ""
    assert standing(Tally()) == ("", "")


def test_a_row_says_what_is_downloaded_and_what_is_unpacked() -> None:
    get = Get()
    get.does("download", FIRST)
    get.moves("unpack", FIRST, 5_000_000)
    get.moves("download", SECOND, 7_500_000)
    first, second, total = frame(get.tally)
    assert first == f"{FIRST} {'█' * 12}{'▓' * 12}   5.0 of 10.0 MB unpacked"
    assert second == f"{SECOND} {'▓' * 6}{'░' * 18}   7.5 of 30.0 MB"
    assert total.startswith(f"total        {'█' * 3}{'▓' * 7}{'░' * 14}  17.5 of 40.0 MB, ")


def test_a_layer_that_was_downloaded_waits_to_be_unpacked() -> None:
    get = Get()
    get.does("download", SECOND)
    first, second, total = frame(get.tally)
    assert said(first) == "10.0 MB, to be downloaded"
    assert (bar(second), said(second)) == ("▓" * 24, "30.0 MB, to be unpacked")
    assert said(total).startswith("30.0 of 40.0 MB")


def test_a_whole_row_differs_from_an_empty_one_without_colour() -> None:
    get = Get()
    assert {bar(row) for row in frame(get.tally)} == {"░" * 24}
    for step in ("download", "unpack"):
        for name in LAYERS:
            get.does(step, name)
    rows = frame(get.tally, final=True)
    assert {bar(row) for row in rows} == {"█" * 24}
    assert [said(row) for row in rows] == ["10.0 MB", "30.0 MB", "40.0 MB, 20.0 MB/s"]


def test_a_bar_is_full_only_when_the_part_is_done_and_verified() -> None:
    get = Get("download")
    get.moves("download", FIRST, 9_999_999)
    assert bar(frame(get.tally)[0]) == "█" * 23 + "░"
    assert said(frame(get.tally)[0]) == "9.9 of 10.0 MB"
    get.tally.finish("download", FIRST)
    assert bar(frame(get.tally)[0]) == "█" * 24


def test_a_put_verifies_before_it_uploads_and_says_what_was_there() -> None:
    put = Get("verify", "upload")
    put.moves("verify", FIRST, 4_000_000)
    assert said(frame(put.tally)[0]) == "4.0 of 10.0 MB verified"
    for name in LAYERS:
        put.does("verify", name)
    assert said(frame(put.tally)[0]) == "10.0 MB, to be uploaded"
    assert "left" not in frame(put.tally)[-1]
    put.tally.finish("upload", FIRST)
    put.moves("upload", SECOND, 15_000_000)
    first, second, total = frame(put.tally)
    assert (bar(first), said(first)) == ("█" * 24, "10.0 MB, was there")
    assert said(second) == "15.0 of 30.0 MB"
    assert said(total) == "25.0 of 40.0 MB, 15.0 MB/s, 1 s left"


def test_an_upload_that_is_sent_waits_for_the_registry() -> None:
    put = Get("upload")
    put.moves("upload", FIRST, 10_000_000)
    assert (bar(frame(put.tally)[0]), said(frame(put.tally)[0])) == ("█" * 23 + "▓", "10.0 MB, to be confirmed")
    put.tally.finish("upload", FIRST)
    assert (bar(frame(put.tally)[0]), said(frame(put.tally)[0])) == ("█" * 24, "10.0 MB")


def test_a_part_that_breaks_off_begins_again() -> None:
    get = Get("download")
    get.moves("download", FIRST, 8_000_000)
    get.moves("download", FIRST, 1_000_000)
    assert said(frame(get.tally)[0]) == "1.0 of 10.0 MB"


def test_a_size_that_nobody_knows_is_no_obstacle() -> None:
    tally = Tally()
    tally.begin("download", FIRST, None)
    tally.advance("download", FIRST, 8_100_000)
    assert (bar(frame(tally)[0]), said(frame(tally)[0])) == ("░" * 24, "8.1 MB")
    tally.finish("download", FIRST)
    assert bar(frame(tally)[0]) == "█" * 24


def test_of_many_layers_the_busy_ones_are_drawn_and_a_sum_of_the_others() -> None:
    layers = {f"{number:012x}": 1_000_000 for number in range(200)}
    get = Get(layers=layers)
    busy = [f"{number:012x}" for number in (150, 151, 152)]
    for name in busy:
        get.moves("download", name, 500_000)
    rows = frame(get.tally)
    assert len(rows) == MAX_ROWS + 1
    assert [row[:12] for row in rows if "0.5 of 1.0 MB" in row] == busy
    assert rows[-2].startswith("191 more     ░")
    assert said(rows[-1]).startswith("1.5 of 200.0 MB")
    for step in ("download", "unpack"):
        for name in layers:
            get.does(step, name)
    rows = frame(get.tally, final=True)
    assert len(rows) == MAX_ROWS + 1
    assert {bar(row) for row in rows} == {"█" * 24}
    assert said(rows[-2]) == "191.0 MB"


# The estimate.


def test_the_estimate_is_of_the_whole_step() -> None:
    get = Get()
    get.does("download", FIRST)
    get.does("download", SECOND)
    get.moves("unpack", FIRST, 2_000_000, 2_000_000, 2_000_000)
    assert said(frame(get.tally)[-1]) == "6.0 of 40.0 MB unpacked, 17 s left"


def test_unpacking_that_only_waits_for_the_network_does_not_stretch_the_estimate() -> None:
    get = Get()
    get.tally.begin("unpack", FIRST, LAYERS[FIRST])
    get.tally.begin("download", FIRST, LAYERS[FIRST])
    get.tally.begin("download", SECOND, LAYERS[SECOND])
    for _ in range(9):
        get.clock.now += 1
        get.tally.advance("download", FIRST, 1_000_000)
        get.tally.advance("unpack", FIRST, 1_000_000)
        get.tally.advance("download", SECOND, 3_000_000)
        get.tally.sample()
    # 31 MB are left to unpack, at the 1 MB/s in which they came it would take half a minute.
    assert said(frame(get.tally)[-1]) == "36.0 of 40.0 MB, 4.0 MB/s, 1 s left"


def test_the_estimate_is_of_the_slower_step_once_its_own_speed_is_seen() -> None:
    get = Get()
    get.does("download", FIRST)
    get.tally.begin("unpack", FIRST, LAYERS[FIRST])
    get.moves("download", SECOND, 10_000_000)
    for _ in range(3):
        get.clock.now += 1
        get.tally.advance("unpack", FIRST, 1_000_000)
        get.tally.advance("download", SECOND, 5_000_000)
        get.tally.sample()
    assert said(frame(get.tally)[-1]).endswith(" 37 s left")


def test_a_step_that_stalled_and_was_stopped_has_the_average_of_all_its_time() -> None:
    get = Get("download")
    get.does("download", FIRST)
    get.moves("download", SECOND, 5_000_000)
    get.clock.now += 8
    assert said(frame(get.tally, final=True)[-1]) == "15.0 of 40.0 MB, 1.5 MB/s"
    get.moves("download", SECOND, 30_000_000)
    get.tally.finish("download", SECOND)
    get.clock.now += 60
    assert said(frame(get.tally, final=True)[-1]) == "40.0 MB, 3.6 MB/s"


def test_nothing_is_foretold_where_nothing_moves() -> None:
    get = Get("download")
    get.moves("download", FIRST, 0, 0)
    assert said(frame(get.tally)[-1]) == "0.0 of 40.0 MB"


# The line, and the sentence at an early end.


def test_a_line_has_all_of_it() -> None:
    get = Get()
    get.does("download", FIRST)
    get.moves("download", SECOND, 7_500_000)
    get.moves("unpack", FIRST, 1_000_000, 4_000_000)
    assert line(get.tally) == "17.5 of 40.0 MB downloaded, 5.0 MB unpacked, 3.8 MB/s, 9 s left"


def test_the_sentence_says_what_the_work_was_at() -> None:
    get = Get()
    get.does("download", FIRST)
    get.moves("unpack", FIRST, 5_000_000)
    get.moves("download", SECOND, 7_500_000)
    assert standing(get.tally) == (
        f"downloading {SECOND}; unpacking {FIRST}",
        "17.5 of 40.0 MB downloaded, 5.0 MB unpacked",
    )


def test_the_sentence_lists_few_names() -> None:
    get = Get("download", layers={f"{number:012x}": 1_000_000 for number in range(9)})
    for name in get.layers:
        get.moves("download", name, 1)
    assert standing(get.tally) == (
        "downloading 000000000000, 000000000001, 000000000002, 000000000003 and 5 more",
        "0.0 of 9.0 MB downloaded",
    )


# What is written.


def test_frames_are_drawn_over_and_the_last_one_stays() -> None:
    get, written = Get(), Written()
    bars = Bars(written)
    bars.note("getting alpine")
    bars.show(get.tally)
    for step in ("download", "unpack"):
        for name in LAYERS:
            get.does(step, name)
            bars.show(get.tally)
    bars.close(get.tally)
    bars.note("done")
    expected = ["getting alpine", *frame(get.tally, final=True), "done"]
    assert terminal.rows(written.bytes) == expected
    assert page.rows(written.bytes) == [*expected, ""]


def test_at_any_moment_page_and_terminal_show_the_lines_and_one_frame() -> None:
    get, written = Get(), Written()
    bars = Bars(written)
    bars.note("getting alpine")
    lines = ["getting alpine"]
    log = b""
    for number in range(40):
        get.moves("download", SECOND, 100_000)
        bars.show(get.tally)
        expected = frame(get.tally)
        if number % 7 == 3:
            # The terminal wraps what is longer than a row, the page does not.
            lines.append(f"warning {number}: " + "x" * (20 * number))
            bars.note(lines[-1])
        log += b"".join(written.pieces)
        written.pieces.clear()
        assert page.rows(log) == [*lines, *expected, ""]
        wrapped = [line[start : start + 80] for line in lines for start in range(0, len(line), 80)]
        assert terminal.rows(log) == [*wrapped, *expected]


def test_a_frame_is_one_write_and_only_of_the_rows_that_changed() -> None:
    get, written = Get(), Written()
    bars = Bars(written)
    bars.show(get.tally)
    bars.show(get.tally)
    assert len(written.pieces) == 1
    get.moves("download", SECOND, 100_000)
    bars.show(get.tally)
    assert len(written.pieces) == 2
    assert SECOND.encode() in written.pieces[1]
    assert FIRST.encode() not in written.pieces[1]


def test_only_what_the_page_knows_is_written() -> None:
    get, written = Get(), Written()
    bars = Bars(written)
    bars.show(get.tally)
    bars.note("a line")
    get.does("download", FIRST)
    bars.show(get.tally)
    bars.close(get.tally)
    assert set(re.findall(rb"\x1b(\[[0-9;]*.|.)", written.bytes)) <= {
        *(b"[%dA" % number for number in range(1, 9)), b"[K", b"[B", b"[32m", b"[36m", b"[90m", b"[0m"
    }  # fmt: skip


def test_a_line_above_the_frame_obeys_nothing() -> None:
    written = Written()
    Bars(written).note("a\x1b[2Jb\nc")
    assert written.bytes == rb"a\x1b[2Jb\nc" + b"\n"


# The consoles.


@pytest.mark.parametrize(
    ("fields", "kind", "display"),
    [
        ({}, Live, Bars),
        ({"progress": "bars"}, Live, Bars),
        ({"progress": "plain"}, Live, Plain),
        ({"progress": "none"}, Console, None),
        ({"progress": "none", "debug": True}, Debug, None),
    ],
)
def test_the_source_says_what_is_shown(fields: dict[str, object], kind: type[Console], display: type | None) -> None:
    console = open_console(source(**fields))
    assert type(console) is kind
    assert type(getattr(console, "_display", None)) is (display or type(None))


@pytest.mark.parametrize("opened", [open_console, open_lines])
def test_warnings_of_the_source_come_first(opened: object, capfd: pytest.CaptureFixture[str]) -> None:
    assert callable(opened)
    opened(source(username="u")).note("work")
    assert capfd.readouterr().err == "warning: source: username without password: continuing anonymously\nwork\n"


@pytest.mark.parametrize(
    ("progress", "announced"),
    [({"progress": "none"}, False), ({"progress": "plain"}, True), ({}, True), ({"debug": True}, True)],
)
def test_what_is_announced_is_shown_but_where_no_progress_is(
    progress: dict[str, object], announced: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    with open_console(source(**progress)) as console:
        console.announce("getting alpine")
        console.note("warning")
        console.done("all")
    *before, last = capfd.readouterr().err.splitlines()
    assert before == (["getting alpine"] if announced else []) + ["warning"]
    assert re.fullmatch(r"done in \d+\.\d s: all", last)


def test_debug_logs_each_step_instead(capfd: pytest.CaptureFixture[str]) -> None:
    with open_console(source(debug=True)) as console:
        console.expect("download", {FIRST: 30_000_000})
        console.begin("download", FIRST, 30_000_000)
        console.advance("download", FIRST, 30_000_000)
        console.finish("download", FIRST)
        console.begin("unpack", FIRST, None)
    assert capfd.readouterr().err.splitlines() == [
        f"download {FIRST}: 30.0 MB", f"download {FIRST}: done", f"unpack {FIRST}",
    ]  # fmt: skip


def live(get: Get, display: Bars | Plain) -> Live:
    """A live console whose thread never comes to show anything: the test ticks."""
    display.interval = threading.TIMEOUT_MAX
    return Live(get.tally, display)


def end_by(error: BaseException, console: Console) -> None:
    """Leaves ``console`` by ``error``."""
    with pytest.raises(type(error)), console:
        raise error


def test_only_work_that_takes_a_while_is_drawn() -> None:
    get, written = Get(), Written()
    with live(get, Bars(written)) as console:
        get.does("download", FIRST)
        get.clock.now = 100 + DRAW_AFTER - 0.001
        console.tick()
        console.note("early")
        assert written.bytes == b"early\n"
        get.clock.now = 100 + DRAW_AFTER
        console.tick()
        assert page.rows(written.bytes) == ["early", *frame(get.tally), ""]


def test_a_step_that_is_done_sooner_leaves_no_frame(capfd: pytest.CaptureFixture[str]) -> None:
    get, written = Get(), Written()
    with live(get, Bars(written)) as console:
        get.does("download", FIRST)
        console.tick()
        console.done("all")
    assert written.pieces == []
    assert capfd.readouterr().err == "done in 1.0 s: all\n"


def test_the_last_line_is_below_the_last_frame(capfd: pytest.CaptureFixture[str]) -> None:
    get = Get("download")
    with live(get, Bars()) as console:
        get.does("download", SECOND)
        get.clock.now += DRAW_AFTER
        console.tick()
        get.does("download", FIRST)
        console.done("all")
        console.tick()
    rows = page.rows(capfd.readouterr().err.encode())
    assert [bar(row) for row in rows[:-2]] == ["█" * 24] * 3
    assert rows[-2:] == ["done in 4.0 s: all", ""]


@pytest.mark.parametrize("display", [Bars, Plain])
def test_a_step_that_fails_says_how_far_it_was(display: type[Bars | Plain], capfd: pytest.CaptureFixture[str]) -> None:
    get = Get("download")
    console = live(get, display())
    get.moves("download", SECOND, 15_000_000, 5_000_000, 1_000_000, 1_000_000, 1_000_000)
    console.tick()
    end_by(RuntimeError(), console)
    rows = page.rows(capfd.readouterr().err.encode())
    assert rows[-2] == f"failed after 5.0 s, downloading {SECOND}: 23.0 of 40.0 MB downloaded"
    if display is Bars:
        assert said(rows[1]) == "23.0 of 30.0 MB"
        assert said(rows[2]) == "23.0 of 40.0 MB, 4.6 MB/s"


@pytest.mark.parametrize("fields", [{}, {"progress": "plain"}, {"progress": "none"}, {"debug": True}])
def test_a_step_that_is_stopped_says_what_it_was_at(
    fields: dict[str, object], capfd: pytest.CaptureFixture[str]
) -> None:
    console = open_console(source(**fields))
    end_by(KeyboardInterrupt(), console)
    assert re.fullmatch(r"stopped after \d+\.\d s, at the beginning\n", capfd.readouterr().err)
    console.at("pushing tags")
    end_by(KeyboardInterrupt(), console)
    assert re.fullmatch(r"stopped after \d+\.\d s, pushing tags\n", capfd.readouterr().err)


def test_what_failed_before_anything_was_begun_speaks_for_itself(capfd: pytest.CaptureFixture[str]) -> None:
    console = open_console(source())
    console.at("pushing tags")
    end_by(RuntimeError(), console)
    assert capfd.readouterr().err == ""


def test_plain_progress_is_a_line_every_few_seconds(capfd: pytest.CaptureFixture[str]) -> None:
    get = Get()
    assert Plain().interval == PLAIN_INTERVAL
    with live(get, Plain()) as console:
        console.tick()
        get.moves("download", SECOND, 1_000_000, 1_000_000)
        console.tick()
        assert capfd.readouterr().err == ""
        get.clock.now = 100 + PLAIN_INTERVAL
        console.tick()
    assert re.fullmatch(r"2\.0 of 40\.0 MB downloaded, .*\n", capfd.readouterr().err)


def test_at_most_two_frames_a_second_are_drawn() -> None:
    assert Bars().interval == FRAME_INTERVAL >= 0.5


# None of it can hurt.


def test_a_thread_shows_what_others_do(capfd: pytest.CaptureFixture[str]) -> None:
    get, drawn = Get(), threading.Event()

    class Told(Plain):
        interval = 0.001

        def show(self, tally: Tally) -> None:
            super().show(tally)
            drawn.set()

    with Live(get.tally, Told()) as console:
        get.moves("download", FIRST, 1_000_000, *[0] * 9)
        assert drawn.wait(30)
        console.done("all")
        written = capfd.readouterr().err
        console.tick()
    assert written.startswith("1.0 of 40.0 MB downloaded")
    assert written.endswith("done in 10.0 s: all\n")
    assert capfd.readouterr().err == ""


def test_a_frame_that_cannot_be_drawn_is_left_out(capfd: pytest.CaptureFixture[str]) -> None:
    class Broken(Bars):
        def show(self, tally: Tally) -> None:
            raise ZeroDivisionError

        def close(self, tally: Tally) -> None:
            raise ZeroDivisionError

    get = Get()
    with live(get, Broken()) as console:
        get.clock.now += DRAW_AFTER
        console.tick()
        console.note("still said")
        console.done("all")
    assert capfd.readouterr().err == "still said\ndone in 2.0 s: all\n"


def test_a_line_is_written_even_when_stderr_is_closed() -> None:
    child = os.fork()
    if child == 0:
        os.close(2)
        log.write_line("nobody hears")
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


@pytest.mark.parametrize(("layers", "most"), [(6, 2_000), (200, 30_000)])
def test_drawing_takes_a_hundredth_of_the_time(layers: int, most: int) -> None:
    """Counted in calls of functions: thirty thousand take some five of the 500 milliseconds between two frames."""
    get, written, calls = Get(layers={f"{number:012x}": 10_000_000 for number in range(layers)}), Written(), 0
    console = live(get, Bars(written))
    get.clock.now += DRAW_AFTER

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    for name in list(get.layers)[:6]:
        get.moves("download", name, 1_000_000)
        sys.setprofile(count)
        try:
            console.tick()
        finally:
            sys.setprofile(None)
    assert len(written.pieces) == 6
    assert 100 < calls / 6 < most
