"""Drawings as inline SVG: drift over time, traffic, and shapes before and after."""

from __future__ import annotations

import datetime
import html
import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from roadworthy.cells import iso_date
from roadworthy.monitor.history import HOURS
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


def bars(values: Mapping[int, int], title: str) -> str:
    """A bar a day, gaps left open.

    Args:
        values: Day since 1970 -> rows.
        title: What is drawn.
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
            f"<title>{iso_day(day)}: {rows:,} rows</title></rect>"
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
