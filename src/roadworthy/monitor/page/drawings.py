"""Drawings as inline SVG: drift over time, traffic, and shapes before and after."""

from __future__ import annotations

import datetime
import html
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from roadworthy.cells import iso_date
from roadworthy.monitor.history import HOURS, VersionSpan
from roadworthy.observe.layout import ColumnBins
from roadworthy.observe.store import HOUR

Floats = NDArray[np.float64]
LEVELS = (0.02, 0.1, 0.25, 1.0)
"""Population stability indices between the colours of the heat map."""
_CELL, _LABEL, _HEAD = 13, 170, 16
_WIDTH, _HEIGHT = 420, 120


def iso_day(day: int) -> str:
    """A day since 1970 in ISO 8601."""
    return iso_date(day * HOURS * HOUR)


def heat_map(
    names: Sequence[str], days: Sequence[int], sizes: Mapping[str, Sequence[float]]
) -> str:
    """Columns by days, coloured by effect; every cell says its day and size.

    Args:
        names: The columns, from top to bottom.
        days: Days since 1970, from left to right.
        sizes: Column -> index of each day, NaN where there is none.
    """
    if not days or not names:
        return ""
    width, height = _LABEL + _CELL * len(days), _HEAD + _CELL * len(names)
    parts = [
        f'<text x="{_LABEL + _CELL * place}" y="11">{iso_day(day)[5:]}</text>'
        for place, day in enumerate(days)
        if place % 7 == 0
    ]
    for row, name in enumerate(names):
        y = _HEAD + _CELL * row
        shown = name if len(name) <= 24 else name[:23] + "…"
        parts.append(f'<text class="label" x="0" y="{y + 10}">{html.escape(shown)}</text>')
        for place, (day, size) in enumerate(zip(days, sizes[name], strict=True)):
            if size == size:
                level = int(np.searchsorted(LEVELS, size, side="right"))
                parts.append(
                    f'<rect class="h{level}" x="{_LABEL + _CELL * place}" y="{y}" '
                    f'width="{_CELL - 1}" height="{_CELL - 1}"><title>{html.escape(name)}, '
                    f"{iso_day(day)}: PSI {size:.3f}</title></rect>"
                )
    return (
        f'<div class="wide"><svg class="heat" style="width:{width}px;max-width:none" role="img" '
        f'aria-label="Drift of columns by day" viewBox="0 0 {width} {height}">'
        f"{''.join(parts)}</svg></div>{_legend()}"
    )


def _legend() -> str:
    words = ("none", "small", "moderate", "large", "very large")
    keys = "".join(
        f'<span><svg class="inline swatch" viewBox="0 0 12 12"><rect class="h{level}" '
        f'width="12" height="12"/></svg>{word}</span>'
        for level, word in enumerate(words)
    )
    return f'<div class="legend">{keys}</div>'


def bars(values: Mapping[int, float], title: str, unit: str = "rows", form: str = ",.0f") -> str:
    """A bar a day, gaps left open.

    Args:
        values: Day since 1970 -> number.
        title: What is drawn.
        unit: What is counted.
        form: How a number is written.
    """
    if not values:
        return ""
    first, last = min(values), max(values)
    step = _WIDTH / (last - first + 1)
    largest = max(values.values()) or 1
    parts = []
    for day, rows in sorted(values.items()):
        tall = 100 * rows / largest
        parts.append(
            f'<rect class="bar" x="{(day - first) * step:.2f}" y="{104 - tall:.2f}" '
            f'width="{max(1.0, step - 1):.2f}" height="{tall:.2f}">'
            f"<title>{iso_day(day)}: {rows:{form}} {unit}</title></rect>"
        )
    return (
        f'<figure><figcaption>{html.escape(title)}</figcaption><svg role="img" '
        f'aria-label="{html.escape(title)}" viewBox="0 0 {_WIDTH} {_HEIGHT}">{"".join(parts)}'
        f'<text x="0" y="118">{iso_day(first)}</text>'
        f'<text x="{_WIDTH}" y="118" text-anchor="end">{iso_day(last)}</text></svg></figure>'
    )


def shapes(title: str, labels: Sequence[str], before: Floats, now: Floats) -> str:
    """Shares of bins before and after, side by side; the largest first where there are many.

    Args:
        title: The column.
        labels: Names of the bins.
        before: Counts of the reference `[B]`.
        now: Counts now `[B]`.
    """
    if not before.sum() or not now.sum():
        return ""
    old, new = before / before.sum(), now / now.sum()
    step = _WIDTH / len(labels)
    largest = max(float(old.max()), float(new.max()))
    parts = []
    for place, label in enumerate(labels):
        said = f"{label}: {old[place]:.1%} before, {new[place]:.1%} now"
        for side, (share, kind) in enumerate(((old[place], "old"), (new[place], "new"))):
            tall = 100 * float(share) / largest
            x = place * step + side * step * 0.45
            parts.append(
                f'<rect class="{kind}" x="{x:.2f}" y="{104 - tall:.2f}" width="{step * 0.42:.2f}" '
                f'height="{tall:.2f}"><title>{html.escape(said)}</title></rect>'
            )
    parts.append(f'<text x="0" y="118">{html.escape(labels[0][:26])}</text>')
    parts.append(
        f'<text x="{_WIDTH}" y="118" text-anchor="end">{html.escape(labels[-1][:26])}</text>'
    )
    return (
        f'<figure><figcaption>{html.escape(title)}</figcaption><svg role="img" '
        f'aria-label="{html.escape(title)} before and now" viewBox="0 0 {_WIDTH} {_HEIGHT}">'
        f"{''.join(parts)}</svg></figure>"
    )


class Interval(NamedTuple):
    """A metric.

    Attributes:
        value: Its value.
        low: Lower end of its interval.
        high: Upper end.
    """

    value: float
    low: float
    high: float


class QualityLine(NamedTuple):
    """Quality of one period.

    Attributes:
        start: Days since 1970;
        end: and where it ends.
        value: The metric.
        low: Lower end of its interval.
        high: Upper end.
    """

    start: float
    end: float
    value: float
    low: float
    high: float


Marks = Sequence[tuple[float, str]]
"""Days since 1970 on which a version became the champion, and which."""


def quality_over_time(
    title: str,
    periods: Sequence[QualityLine],
    marks: Marks,
    *,
    holdout: float | None,
    estimated: QualityLine | None,
    dashed: str = "on the holdout, shaded as estimated",
) -> str:
    """A metric by period with its interval, the holdout's as a line, the estimate as a band.

    Args:
        title: The metric.
        periods: From old to new.
        marks: Releases, drawn as lines.
        holdout: The metric on the holdout.
        estimated: What is estimated without labels since a day.
        dashed: What the dashed line is, in words.
    """
    if not periods:
        return ""
    first, last = periods[0].start, periods[-1].end
    shown = [*periods] if estimated is None else [*periods, estimated]
    if estimated is not None:
        last = max(last, estimated.start + (last - first) / 8)
    values = [each for line in shown for each in (line.low, line.high)]
    values += [] if holdout is None else [holdout]
    low, high = min(values), max(values)
    margin = 0.08 * (high - low) or 0.01
    low, high = low - margin, high + margin

    def x(day: float) -> float:
        return 40 + (_WIDTH - 44) * (day - first) / max(last - first, 1e-9)

    def y(value: float) -> float:
        return 104 - 100 * (value - low) / (high - low)

    parts = [
        f'<text x="0" y="{y(at) + 4:.1f}">{at:.3g}</text>' for at in (low + margin, high - margin)
    ]
    if estimated is not None:
        at = max(40.0, x(estimated.start))
        said = f"estimated without labels: {estimated.value:.3g} ({estimated.low:.3g} to "
        said += f"{estimated.high:.3g})"
        parts.append(
            f'<rect class="band" x="{at:.2f}" y="{y(estimated.high):.2f}" '
            f'width="{max(2.0, _WIDTH - 4 - at):.2f}" '
            f'height="{max(2.0, y(estimated.low) - y(estimated.high)):.2f}"><title>{said}</title>'
            "</rect>"
        )
    if holdout is not None:
        parts.append(
            f'<line class="reference" x1="40" x2="{_WIDTH - 4}" y1="{y(holdout):.2f}" '
            f'y2="{y(holdout):.2f}"><title>dashed: {holdout:.3g}</title></line>'
        )
    for line in periods:
        at = x((line.start + line.end) / 2)
        said = f"{iso_day(int(line.start))}: {line.value:.3g} ({line.low:.3g} to {line.high:.3g})"
        parts.append(
            f'<line class="whisker" x1="{at:.2f}" x2="{at:.2f}" y1="{y(line.low):.2f}" '
            f'y2="{y(line.high):.2f}"/><circle class="point" cx="{at:.2f}" '
            f'cy="{y(line.value):.2f}" r="4"><title>{said}</title></circle>'
        )
    parts += _marks([mark for mark in marks if first <= mark[0] <= last], x)
    parts.append(f'<text x="40" y="118">{iso_day(int(first))}</text>')
    parts.append(f'<text x="{_WIDTH}" y="118" text-anchor="end">{iso_day(int(last - 1e-9))}</text>')
    name = html.escape(title)
    return (
        f"<figure><figcaption>{name} by labels; dashed {html.escape(dashed)}"
        f'</figcaption><svg role="img" aria-label="{name} over time" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}">{"".join(parts)}</svg></figure>'
    )


def by_part(title: str, parts: Mapping[str, Interval], whole: float | None) -> str:
    """A metric of parts of the rows, one under the other, each with its interval.

    Args:
        title: The metric, and what the parts are.
        parts: Part -> its value and interval, from top to bottom.
        whole: The metric over all rows, drawn as a line.
    """
    if not parts:
        return ""
    values = [each for line in parts.values() for each in line]
    values += [] if whole is None else [whole]
    low, high = min(values), max(values)
    wide, height = (high - low) or 0.01, 16 * len(parts) + 16

    def x(value: float) -> float:
        return _LABEL + (_WIDTH - _LABEL - 8) * (value - low) / wide

    drawn = [
        f'<line class="reference" x1="{x(at):.2f}" x2="{x(at):.2f}" y1="0" y2="{height - 14}">'
        f"<title>all rows: {at:.3g}</title></line>"
        for at in ([] if whole is None else [whole])
    ]
    for row, (name, line) in enumerate(parts.items()):
        y, said = 16 * row + 8, f"{name}: {line.value:.3g} ({line.low:.3g} to {line.high:.3g})"
        shown = name if len(name) <= 24 else name[:23] + "…"
        drawn.append(
            f'<text class="label" x="0" y="{y + 4}">{html.escape(shown)}</text>'
            f'<line class="whisker" x1="{x(line.low):.2f}" x2="{x(line.high):.2f}" y1="{y}" '
            f'y2="{y}"/><circle class="point" cx="{x(line.value):.2f}" cy="{y}" r="4">'
            f"<title>{html.escape(said)}</title></circle>"
        )
    drawn.append(f'<text x="{_LABEL}" y="{height - 2}">{low:.3g}</text>')
    drawn.append(f'<text x="{_WIDTH}" y="{height - 2}" text-anchor="end">{high:.3g}</text>')
    name = html.escape(title)
    return (
        f'<figure><figcaption>{name}; dashed over all rows</figcaption><svg role="img" '
        f'aria-label="{name}" viewBox="0 0 {_WIDTH} {height}">{"".join(drawn)}</svg></figure>'
    )


def version_strips(spans: Sequence[VersionSpan], marks: Marks) -> str:
    """A strip for each version over the days on which it answered, and releases as lines."""
    if not spans:
        return ""
    shown = spans[-12:]
    first, last = min(span.first for span in shown), max(span.last for span in shown) + 1
    height = 16 * len(shown) + 16

    def x(day: float) -> float:
        return 100 + (_WIDTH - 100) * (day - first) / (last - first)

    parts = []
    for row, span in enumerate(shown):
        said = f"{span.version}: {iso_day(span.first)} to {iso_day(span.last)}"
        wide = max(2.0, x(span.last + 1) - x(span.first))
        parts.append(
            f'<text class="label" x="0" y="{16 * row + 12}">{html.escape(span.version)}</text>'
            f'<rect class="bar" x="{x(span.first):.2f}" y="{16 * row + 2}" width="{wide:.2f}" '
            f'height="11"><title>{html.escape(said)}</title></rect>'
        )
    parts += _marks([mark for mark in marks if first <= mark[0] <= last], x, height - 14)
    parts.append(f'<text x="100" y="{height - 2}">{iso_day(first)}</text>')
    end = iso_day(last - 1)
    parts.append(f'<text x="{_WIDTH}" y="{height - 2}" text-anchor="end">{end}</text>')
    return (
        "<figure><figcaption>Days on which each version answered; lines are releases</figcaption>"
        f'<svg role="img" aria-label="Versions over time" viewBox="0 0 {_WIDTH} {height}">'
        f"{''.join(parts)}</svg></figure>"
    )


def _marks(marks: Marks, x: Callable[[float], float], tall: float = 104) -> list[str]:
    return [
        f'<line class="swap" x1="{x(day):.2f}" x2="{x(day):.2f}" y1="0" y2="{tall:.0f}">'
        f"<title>{iso_day(int(day))}: {html.escape(version)} became the champion</title></line>"
        for day, version in marks
    ]


def bin_labels(column: ColumnBins) -> list[str]:
    """Names of a column's bins inside the range, of what lies below and above, and of blanks."""
    if column.shape == "level":
        return [*column.levels, "other", "blank"]
    if column.shape == "none":
        return ["filled", "blank"]
    first, last = column.inner
    if not first:
        return ["below", "no", "yes", "above", "blank"]  # a boolean, with its empty ends
    edges = column.edges[first - 1 : last]
    inside = [f"{low:.4g} to {high:.4g}" for low, high in itertools.pairwise(edges)]
    return [f"below {edges[0]:.4g}", *inside, f"above {edges[-1]:.4g}", "blank"]


def when(moment: datetime.datetime | None) -> str:
    """A moment for people."""
    return "" if moment is None else moment.strftime("%Y-%m-%d %H:%M UTC")
