"""Lines over time as SVG: panels below each other with one axis of time, and the phases behind them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH, _LEFT, _RIGHT = 920, 64, 16
_TOP, _PANEL, _GAP, _BOTTOM = 44, 110, 34, 34
#: The labels of the bands are above the highest value.
_HIGH = _PANEL - 18
_FONT = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans', sans-serif"
_PAPER, _INK, _FAINT, _BAND = "#ffffff", "#24292f", "#d0d7de", "#f3f5f7"
#: Told apart by people who see colours differently, too: blue, orange, green, purple.
COLOURS = ("#0969da", "#d4600a", "#1a7f37", "#8250df")


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """``lines`` are the values at the times of the picture, by the line's name."""

    title: str
    lines: dict[str, Sequence[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """A phase, from ``start`` to ``end`` in seconds."""

    label: str
    start: float
    end: float


def svg(title: str, times: dict[str, Sequence[float]], panels: Sequence[Panel], bands: Sequence[Band]) -> str:
    """``times`` are the seconds of each line's values. The same bytes every time."""
    height = _TOP + len(panels) * (_PANEL + _GAP) + _BOTTOM - _GAP
    end = bands[-1].end
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
        f' role="img" font-family="{_FONT}" font-size="12" fill="{_INK}">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{height}" rx="8" fill="{_PAPER}"/>',
        *_legend(list(times)),
    ]
    for number, panel in enumerate(panels):
        top = _TOP + number * (_PANEL + _GAP)
        lines += _panel(panel, times, bands, top)
    axis = height - _BOTTOM + 16
    for minute in range(int(end / 60) + 1):
        lines.append(_text(_x(minute * 60, end), axis, str(minute), anchor="middle"))
    lines.append(_text(_LEFT - 6, axis, "minutes", anchor="end", size=10))
    return "\n".join([*lines, "</svg>", ""])


def _x(seconds: float, end: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * min(seconds, end) / end


def _legend(names: Sequence[str]) -> Iterable[str]:
    place = float(_LEFT)
    for name, colour in zip(names, COLOURS, strict=False):
        yield f'<rect x="{place:g}" y="13" width="18" height="4" fill="{colour}"/>'
        yield _text(place + 24, 19, name)
        place += 48 + 7 * len(name)


def _panel(panel: Panel, times: dict[str, Sequence[float]], bands: Sequence[Band], top: int) -> Iterable[str]:
    bottom, end = top + _PANEL, bands[-1].end
    highest = ceiling(max((max(values, default=0.0) for values in panel.lines.values()), default=0.0))
    for number, band in enumerate(bands):
        left, right = _x(band.start, end), _x(band.end, end)
        fill = _BAND if number % 2 == 0 else _PAPER
        yield f'<rect x="{left:.1f}" y="{top}" width="{right - left:.1f}" height="{_PANEL}" fill="{fill}"/>'
        yield _text((left + right) / 2, top + 12, band.label, anchor="middle", size=10)
    for share in (0.0, 0.5, 1.0):
        y = bottom - share * _HIGH
        yield f'<path d="M{_LEFT} {y:g}H{_WIDTH - _RIGHT}" stroke="{_FAINT}"/>'
        yield _text(_LEFT - 6, y + 4, f"{highest * share:g}", anchor="end")
    yield _text(_LEFT, top - 6, panel.title, bold=True)
    for (name, values), colour in zip(panel.lines.items(), COLOURS, strict=False):
        points = [
            f"{_x(at, end):.1f} {bottom - value / highest * _HIGH:.1f}"
            for at, value in zip(times[name], values, strict=True)
            if at <= end
        ]
        if points:
            yield f'<path d="M{"L".join(points)}" fill="none" stroke="{colour}" stroke-width="1.5"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:g}" text-anchor="{anchor}" font-size="{size}"{weight}>{escape(text)}</text>'


def ceiling(value: float) -> float:
    """The next of 1, 2, 4, 6, 8 and their tenfolds, so that half of it is a short number, too."""
    scale = 1e-3
    while True:
        for step in (1, 2, 4, 6, 8):
            if value <= step * scale:
                return round(step * scale, 3)
        scale *= 10
