"""How the CPU time of work grows with its input."""

from __future__ import annotations

from collections.abc import Callable

#: Four times the input must not take this many times as long, and a moment. Quadratic work takes 16 times.
MAX_RATIO = 9.0
MOMENT = 0.001
ATTEMPTS = 5


def assert_linear(seconds: Callable[[int], float], few: int) -> None:
    """``seconds`` is the CPU time for an input of that many things, ``few`` and four times as many.

    The least of some runs counts: what else the machine does can only add to it.
    """
    least, most = seconds(few), seconds(4 * few)
    for _ in range(1, ATTEMPTS):
        least, most = min(least, seconds(few)), min(most, seconds(4 * few))
        if most < MAX_RATIO * least + MOMENT:
            return
    raise AssertionError(f"{least:.4f} s, then {most:.4f} s")
