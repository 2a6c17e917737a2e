"""Whatever the work does, the rows fit, never shrink, and page and terminal show the same frame."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from registry_image.concourse.console.frame import WIDTH, frame, line, standing
from registry_image.concourse.console.live import Bars
from registry_image.concourse.console.tally import Tally
from tests.support import page, terminal

STEPS = ("download", "unpack", "verify", "upload")
NAMES = st.one_of(st.text("0123456789abcdef", min_size=12, max_size=12), st.text(max_size=20))
SIZES = st.one_of(st.integers(0, 10**7), st.integers(0, 10**18))
DOINGS = st.sampled_from(("expect", "begin", "advance", "finish", "wait"))


@st.composite
def works(draw: st.DrawFn) -> list[tuple[str, str, str, int]]:
    """Things that listeners are told, sensible or not: what, of which step, on which part, with how many bytes."""
    names = draw(st.lists(NAMES, min_size=1, max_size=30, unique=True))
    steps = draw(st.lists(st.sampled_from(STEPS), min_size=1, max_size=2, unique=True))
    step, name = st.sampled_from(steps), st.sampled_from(names)
    return draw(st.lists(st.tuples(DOINGS, step, name, SIZES), max_size=40))


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def do(tally: Tally, clock: Clock, doing: str, step: str, name: str, size: int) -> None:
    match doing:
        case "expect":
            tally.expect(step, {name: size})
        case "begin":
            tally.begin(step, name, size if size % 3 else None)
        case "advance":
            tally.advance(step, name, size)
        case "finish":
            tally.finish(step, name)
        case "wait":
            clock.now += size % 10_000 / 100
            tally.sample()


@given(work=works(), width=st.integers(40, WIDTH))
def test_no_row_and_no_line_is_wider_than_allowed(work: list[tuple[str, str, str, int]], width: int) -> None:
    clock = Clock()
    tally = Tally(clock)
    height = 0
    for each in work:
        do(tally, clock, *each)
        standing(tally)
        rows = frame(tally, width)
        for row in (*rows, *frame(tally, width, final=True), line(tally, width)):
            assert len(row) <= width
            assert row.isprintable()
        for row in rows:
            assert set(row[13:37]) <= set("█▓░"), row
        assert len(rows) >= height
        height = len(rows)


@given(work=works(), notes=st.lists(st.from_regex(r"\w.{0,200}", fullmatch=True), max_size=3))
def test_page_and_terminal_show_the_last_frame_whatever_was_drawn_before(
    work: list[tuple[str, str, str, int]], notes: list[str]
) -> None:
    clock, written = Clock(), bytearray()
    tally = Tally(clock)
    bars = Bars(lambda text: written.extend(text.encode()))
    for number, each in enumerate(work):
        do(tally, clock, *each)
        bars.show(tally)
        if number % 10 == 5 and notes:
            bars.note(notes.pop())
    expected = [row.rstrip() for row in frame(tally)]
    if expected:
        assert terminal.rows(bytes(written))[-len(expected) :] == expected
        assert [row.rstrip() for row in page.rows(bytes(written))[-len(expected) - 1 : -1]] == expected
        assert "" not in page.rows(bytes(written))[:-1]
