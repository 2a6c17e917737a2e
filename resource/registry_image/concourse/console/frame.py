"""Formats a tally as rows, as one line or as a sentence. Pure: the same tally gives the same text."""

from __future__ import annotations

from collections.abc import Mapping

from registry_image.concourse.console.log import one_line, scaled, size_text
from registry_image.concourse.console.tally import Part, Steps, Tally, summed

#: Columns. `fly watch` shows a log in a terminal, often of 80; a row that reaches its edge wraps there.
WIDTH = 79
#: Parts that have their own row. A frame higher than the terminal could not be redrawn.
MAX_ROWS = 10
BAR_WIDTH = 24
NAME_WIDTH = 12
#: Shades that differ without colour: through all steps, through the first one, to come.
DONE, HALF_DONE, TO_COME = "█▓░"

#: Each step's participles.
_DONE = {"download": "downloaded", "unpack": "unpacked", "verify": "verified", "upload": "uploaded"}
_DOING = {"download": "downloading", "unpack": "unpacking", "verify": "verifying", "upload": "uploading"}
#: What was uploaded is stored only when the registry says so: until then it was sent.
_COUNTED = _DONE | {"upload": "sent"}
#: The steps that a log is about: their bytes need no word.
_TRANSFERS = ("download", "upload")
#: Names that a sentence lists.
_MAX_NAMES = 4

#: One part in all its steps.
Stages = Mapping[str, Part]


def frame(tally: Tally, width: int = WIDTH, *, final: bool = False) -> list[str]:
    """Rows of at most ``width`` columns, never fewer than before. The ``final`` frame has no estimate."""
    steps = tally.steps()
    names = list(dict.fromkeys(name for parts in steps.values() for name in parts))
    if not names:
        return []
    shown = names if len(names) <= MAX_ROWS else sorted(names, key=lambda name: _urgency(_stages(steps, name)))
    shown = shown[: MAX_ROWS if len(names) <= MAX_ROWS else MAX_ROWS - 1]
    rows = [_row(name, steps, [name], width) for name in names if name in shown]
    others = [name for name in names if name not in shown]
    if others:
        rows.append(_row(f"{len(others)} more", steps, others, width))
    rows.append(_row("total", steps, names, width, _pace(tally, steps, final=final)))
    return rows


def line(tally: Tally, width: int = WIDTH) -> str:
    """The whole progress in one line; "" before any work began."""
    steps = tally.steps()
    if not any(part.started for parts in steps.values() for part in parts.values()):
        return ""
    words = _sums(steps)
    return _fit(", ".join((*words, *_pace(tally, steps, final=False))), width)


def standing(tally: Tally) -> tuple[str, str]:
    """The current work, "" if there is none, and the progress so far, "" before any work began."""
    steps = tally.steps()
    begun = {step: parts for step, parts in steps.items() if any(part.started for part in parts.values())}
    doing = []
    for step, parts in begun.items():
        busy = [name for name, part in parts.items() if part.started and not part.finished]
        if busy:
            more = f" and {len(busy) - _MAX_NAMES} more" if len(busy) > _MAX_NAMES else ""
            doing.append(f"{_DOING[step]} {', '.join(busy[:_MAX_NAMES])}{more}")
    return "; ".join(doing), ", ".join(_sums(begun))


def time_text(seconds: float) -> str:
    """A duration for people, of at most six columns.

    >>> time_text(200)
    '3 min'
    """
    if seconds < 59.5:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 3570 else f"{min(round(seconds / 3600), 999)} h"


def _sums(steps: Steps) -> list[str]:
    words = []
    for number, (step, parts) in enumerate(steps.items()):
        whole = summed(parts.values())
        if number and not whole.finished and whole.total == summed(next(iter(steps.values())).values()).total:
            words.append(f"{size_text(whole.done)} {_COUNTED[step]}")
        else:
            words.append(f"{_progress(whole)} {_COUNTED[step]}")
    return words


def _pace(tally: Tally, steps: Steps, *, final: bool) -> list[str]:
    """The speed of the current step, and the time until the last step is done."""
    if final:
        step = next((step for step in _TRANSFERS if step in steps), "")
        return [f"{size_text(tally.average(step))}/s"] if tally.average(step) else []
    step = next((step for step, parts in steps.items() if not summed(parts.values()).finished), "")
    words = [f"{size_text(tally.speed(step))}/s"] if step in _TRANSFERS and tally.speed(step) else []
    left = tally.seconds_left()
    return words if left is None else [*words, f"{time_text(left)} left"]


def _stages(steps: Steps, name: str) -> Stages:
    return {step: parts[name] for step, parts in steps.items() if name in parts}


def _urgency(stages: Stages) -> int:
    """The sort key of rows: parts in work, then between two steps, then to come, then done."""
    if all(part.finished for part in stages.values()):
        return 3
    if any(part.started and not part.finished for part in stages.values()):
        return 0
    return 1 if any(part.finished for part in stages.values()) else 2


def _row(label: str, steps: Steps, names: list[str], width: int, more: list[str] | None = None) -> str:
    each = [_stages(steps, name) for name in names]
    stages = {step: summed(parts[name] for name in names if name in parts) for step, parts in steps.items()}
    stages = {step: whole for step, whole in stages.items() if any(step in one for one in each)}
    text = ", ".join((_state(stages), *(more or ())))
    # In ASCII each character is one column wide.
    label = one_line(label.encode("ascii", "backslashreplace").decode())[:NAME_WIDTH]
    return _fit(f"{label:<{NAME_WIDTH}} {_bar(each)} {text}", width)


def _bar(each: list[Stages]) -> str:
    whole = sum(max(part.total or 0 for part in stages.values()) for stages in each)
    through = sum(list(stages.values())[-1].reached for stages in each)
    first = sum(next(iter(stages.values())).reached for stages in each)
    if all(part.finished for stages in each for part in stages.values()):
        return DONE * BAR_WIDTH
    # A bar is full when its parts are finished, which means verified, not when their last bytes arrive.
    done = min(BAR_WIDTH * min(through, whole) // max(whole, 1), BAR_WIDTH - 1)
    reached = max(done, BAR_WIDTH * min(first, whole) // max(whole, 1))
    return DONE * done + HALF_DONE * (reached - done) + TO_COME * (BAR_WIDTH - reached)


def _state(stages: Stages) -> str:
    for step, part in stages.items():
        if not part.finished:
            if not part.started and not part.done:
                return f"{_whole(part)}, to be {_DONE[step]}"
            if step == "upload" and part.done == part.total:
                return f"{_whole(part)}, to be confirmed"
            return _progress(part, 5) + ("" if step in _TRANSFERS else f" {_DONE[step]}")
    step, last = list(stages.items())[-1]
    return _progress(last, 5) + (", was there" if step in _TRANSFERS and not last.started else "")


def _whole(part: Part) -> str:
    return _progress(Part(total=part.total, finished=True), 5)


def _progress(part: Part, width: int = 0) -> str:
    """Such as ``8.1 of 14.0 MB``, rounded down; the first number has at least ``width`` columns."""
    if part.total is None or part.finished:
        number, unit = scaled(part.done if part.total is None else part.total, of=part.total)
        return f"{number:>{width}} {unit}"
    number, _ = scaled(part.done, of=part.total)
    total, unit = scaled(part.total, of=part.total)
    return f"{number:>{width}} of {total} {unit}"


def _fit(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
