"""Small plots as inline SVG: no library, no script, colours from the page's style."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import NamedTuple

Point = tuple[float, float]

_WIDTH, _HEIGHT = 360, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 12, 42


class Line(NamedTuple):
    """A line of a plot: its name, its points, and the number of its colour (0 to 5)."""

    name: str
    points: Sequence[Point]
    colour: int = 0


class Bar(NamedTuple):
    """A point with its interval."""

    x: float
    y: float
    low: float
    high: float


def plot(
    title: str,
    x_label: str,
    y_label: str,
    *,
    lines: Sequence[Line] = (),
    dots: Sequence[Point] = (),
    bars: Sequence[Bar] = (),
    band: Sequence[tuple[float, float, float]] = (),
    diagonal: bool = False,
    level: float | None = None,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
) -> str:
    """A plot with axes.

    Args:
        title: What it shows, for people who cannot see it and for the caption.
        x_label: The x axis.
        y_label: The y axis.
        lines: Lines, with a legend when there are several.
        dots: Points.
        bars: Points with intervals.
        band: A shaded band: x, low, high.
        diagonal: Whether to draw the line y = x.
        level: A horizontal line to compare with.
        x_range: Ends of the x axis; None takes what is drawn.
        y_range: Ends of the y axis.
    """
    xs = [x for line in lines for x, _ in line.points] + [x for x, _ in dots]
    ys = [y for line in lines for _, y in line.points] + [y for _, y in dots]
    xs += [bar.x for bar in bars] + [x for x, _, _ in band]
    ys += [y for bar in bars for y in (bar.low, bar.high)] + [y for _, a, b in band for y in (a, b)]
    if not xs or not all(map(math.isfinite, [*xs, *ys])):
        return ""
    if level is not None:
        ys.append(level)
    low_x, high_x = x_range or _range(xs)
    low_y, high_y = y_range or _range(ys)

    def at(x: float, y: float) -> tuple[float, float]:
        across = (x - low_x) / (high_x - low_x)
        up = (y - low_y) / (high_y - low_y)
        return (
            round(_LEFT + across * (_WIDTH - _LEFT - _RIGHT), 1),
            round(_HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM), 1),
        )

    parts = [_axes(at, (low_x, high_x), (low_y, high_y), x_label, y_label)]
    if band:
        outline = [at(x, y) for x, y, _ in band] + [at(x, y) for x, _, y in reversed(band)]
        parts.append(f'<polygon class="band" points="{_path(outline)}"/>')
    if diagonal:
        low, high = max(low_x, low_y), min(high_x, high_y)
        parts.append(_segment("reference", at(low, low), at(high, high)))
    if level is not None:
        parts.append(_segment("reference", at(low_x, level), at(high_x, level)))
    parts += [
        f'<circle class="dot" cx="{x}" cy="{y}" r="2"/>' for x, y in (at(*dot) for dot in dots)
    ]
    for line in lines:
        points = _path([at(*point) for point in line.points])
        parts.append(f'<polyline class="line c{line.colour}" points="{points}"/>')
    for bar in bars:
        parts.append(_segment("whisker", at(bar.x, bar.low), at(bar.x, bar.high)))
        x, y = at(bar.x, bar.y)
        parts.append(f'<circle class="point" cx="{x}" cy="{y}" r="4"/>')
    named = html.escape(title)
    drawn = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{named}">'
    return (
        f"<figure><figcaption>{named}</figcaption>{drawn}{''.join(parts)}</svg>"
        f"{_legend(lines)}</figure>"
    )


def whisker(
    low: float, value: float, high: float, ends: tuple[float, float], level: float | None = None
) -> str:
    """A point with its interval on a common scale, to stand in a table's cell.

    Args:
        low: Lower end of the interval.
        value: The point.
        high: Upper end.
        ends: Ends of the scale.
        level: A value to mark on the scale.
    """
    span = (ends[1] - ends[0]) or 1.0

    def at(x: float) -> float:
        return round(4 + 152 * min(1.0, max(0.0, (x - ends[0]) / span)), 1)

    mark = ""
    if level is not None:
        mark = _segment("reference", (at(level), 1.0), (at(level), 15.0))
    return (
        '<svg class="inline" viewBox="0 0 160 16" aria-hidden="true">'
        f"{mark}{_segment('whisker', (at(low), 8.0), (at(high), 8.0))}"
        f'<circle class="point" cx="{at(value)}" cy="8" r="4"/></svg>'
    )


def _axes(
    at: object, xs: tuple[float, float], ys: tuple[float, float], x_label: str, y_label: str
) -> str:
    place = at  # the mapping from values to the drawing
    assert callable(place)
    parts = []
    for value in ticks(*xs):
        x, y = place(value, ys[0])
        parts.append(_segment("grid", place(value, ys[0]), place(value, ys[1])))
        parts.append(f'<text x="{x}" y="{y + 15}" text-anchor="middle">{_short(value)}</text>')
    for value in ticks(*ys):
        x, y = place(xs[0], value)
        parts.append(_segment("grid", place(xs[0], value), place(xs[1], value)))
        parts.append(f'<text x="{x - 6}" y="{y + 4}" text-anchor="end">{_short(value)}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(
        f'<text class="label" x="{middle}" y="{_HEIGHT - 8}" text-anchor="middle">'
        f"{html.escape(x_label)}</text>"
    )
    height = (_TOP + _HEIGHT - _BOTTOM) / 2
    parts.append(
        f'<text class="label" transform="translate(11 {height}) rotate(-90)" '
        f'text-anchor="middle">{html.escape(y_label)}</text>'
    )
    return "".join(parts)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers within a range, about as many as wanted."""
    span = high - low
    if not span > 0 or not math.isfinite(span):
        return [low]
    raw = span / count
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * size for factor in (1, 2, 2.5, 5, 10) if factor * size >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    if low == high:
        return low - (abs(low) or 1.0) * 0.1, high + (abs(high) or 1.0) * 0.1
    room = (high - low) * 0.05
    return low - room, high + room


def _short(value: float) -> str:
    if value == 0 or abs(value) < 1e-12:
        return "0"
    if abs(value) >= 1e6 or abs(value) < 1e-3:
        return f"{value:.1e}"
    if abs(value) >= 1e4:
        return f"{value / 1e3:g}k"
    return f"{value:.4g}"


def _segment(kind: str, start: tuple[float, float], end: tuple[float, float]) -> str:
    (x1, y1), (x2, y2) = start, end
    return f'<line class="{kind}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>'


def _path(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in points)


def _legend(lines: Sequence[Line]) -> str:
    if len(lines) < 2:
        return ""
    keys = [
        f'<span><i class="key k{line.colour}"></i>{html.escape(line.name)}</span>' for line in lines
    ]
    return f'<p class="legend">{"".join(keys)}</p>'
