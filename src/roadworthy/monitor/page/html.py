"""The page: is it well, what is wrong, since when, and how it looks."""

from __future__ import annotations

import html
import importlib.resources

import numpy as np
from numpy.typing import NDArray

from roadworthy.evaluate.page.words import badge
from roadworthy.monitor.findings import Finding
from roadworthy.monitor.inspection import Inspection, health
from roadworthy.monitor.measures import PREDICTION
from roadworthy.monitor.overview import Overview
from roadworthy.monitor.page import drawings, sections
from roadworthy.observe.effect import effects, inside_bins, prediction_bins, stability_index
from roadworthy.observe.layout import LATENCY_BOUNDS
from roadworthy.observe.reference import Reference

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_BADGES = {"serious": "fail", "warning": "undecided", "info": "told"}
_MAX_COLUMNS, _MAX_DAYS, _MAX_SHAPES = 40, 91, 8
Cells = NDArray[np.int64]


def render_overview(overview: Overview) -> str:
    """The page of an overview, deterministic in it."""
    inspection = overview.inspection
    folder = importlib.resources.files("roadworthy.evaluate.page")
    style = folder.joinpath("report.css").read_text()
    own = importlib.resources.files("roadworthy.monitor.page").joinpath("monitor.css").read_text()
    name = html.escape(f"{inspection.model}:{inspection.version[:12]}")
    parts = [
        ("What to do", sections.advice(overview)),
        ("What was noticed", _findings(inspection)),
        ("Open alarms", sections.alarms(overview)),
        ("Quality", sections.quality(overview)),
        ("Drift over time", _drift(inspection)),
        ("Before and now", _shapes(inspection)),
        ("Traffic", _traffic(inspection)),
        ("Versions", sections.versions(overview)),
    ]
    bodies = "".join(f"<section><h2>{title}</h2>{body}</section>" for title, body in parts if body)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{name}: monitoring</title><style>{style}{own}</style></head><body><main>"
        f"{_head(inspection, name)}{_tiles(overview)}{bodies}</main></body></html>\n"
    )


def _head(inspection: Inspection, name: str) -> str:
    state, sentence = health(inspection)
    first = f"<p>{html.escape(inspection.findings[0].what)}.</p>" if inspection.findings else ""
    return (
        f'<div class="verdict {state}"><div class="word">{html.escape(sentence)}</div>'
        f"<h1>{name}</h1>{first}</div>"
    )


def _tiles(overview: Overview) -> str:
    inspection, coverage = overview.inspection, overview.coverage
    history, judged = inspection.history, inspection.judged
    by = ("rows", "tell what is usual until enough days are known")
    if judged is not None:
        by = (f"{judged.first} days", "tell what is usual")
    last = max(history.days, default=None)
    seen = "never" if last is None else drawings.iso_day(last)
    tiles = [
        (f"{history.rows:,}", "rows counted"),
        (f"{len(history.days):,}", "days of serving"),
        (seen, "last row"),
        by,
    ]
    if coverage is not None:
        share = f"{coverage.logged:,} of {coverage.counted:,}"
        tiles.insert(1, (share, f"rows logged since {drawings.when(coverage.since)}"))
    return (
        '<div class="tiles">'
        + "".join(
            f'<div class="tile"><b>{html.escape(value)}</b><span>{label}</span></div>'
            for value, label in tiles
        )
        + "</div>"
    )


def _findings(inspection: Inspection) -> str:
    told = "".join(f"<article>{_told(finding)}</article>" for finding in inspection.findings)
    return told or "<p>Nothing unusual was noticed.</p>"


def _told(finding: Finding) -> str:
    numbers = ", ".join(
        f"{name.replace('_', ' ')} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in finding.evidence.items()
    )
    mark = badge(_BADGES[finding.severity], finding.severity).markup
    kind = finding.kind.replace("_", " ")
    since = f" since {drawings.when(finding.since)}" if finding.since is not None else ""
    return (
        f'<p>{mark} <span class="soft">{kind}{since}</span></p><p><b>{html.escape(finding.what)}'
        f"</b></p><p>What to do: {html.escape(finding.fix)}.</p>"
        f'<p class="soft">{html.escape(numbers)}</p>'
    )


def _sizes(reference: Reference, cells: Cells) -> dict[str, float]:
    layout = reference.layout
    old, new = (prediction_bins(layout, its) for its in (reference.cells, cells))
    columns = {name: each.psi for name, each in effects(reference, cells).items() if each.rows}
    clocks = {column.name for column in reference.columns if column.clock}
    kept = {name: size for name, size in columns.items() if name not in clocks}
    return {PREDICTION: stability_index(old, new), **kept}


def _drift(inspection: Inspection) -> str:
    history = inspection.history
    days = sorted(history.days)[-_MAX_DAYS:]
    by_day = [_sizes(history.reference, history.days[day]) for day in days]
    names = {name for sizes in by_day for name in sizes}
    sizes = {name: [its.get(name, float("nan")) for its in by_day] for name in names}
    ordered = sorted(names, key=lambda name: (name != PREDICTION, -np.nanmax(sizes[name]), name))
    shown = ordered[:_MAX_COLUMNS]
    rest = len(ordered) - len(shown)
    note = f"<p>{rest} columns that moved less are not shown.</p>" if rest else ""
    drawn = drawings.heat_map(shown, days, sizes)
    if not drawn:
        return ""
    return (
        "<p>How far each day lies from the training table: population stability index, what chance "
        f"alone gives taken off.</p>{drawn}{note}"
    )


def _shapes(inspection: Inspection) -> str:
    history = inspection.history
    if not history.days:
        return ""
    reference, now = history.reference, history.days[max(history.days)]
    sizes = _sizes(reference, now)
    noticed = {finding.subject for finding in inspection.findings}
    worst = sorted(sizes, key=lambda name: (name not in noticed, -sizes[name], name))[:_MAX_SHAPES]
    figures = []
    for column, block in zip(reference.columns, reference.layout.blocks, strict=True):
        if column.name in worst:
            old, new = (
                np.append(inside_bins(column, block, cells), cells[block.blank])
                for cells in (reference.cells, now)
            )
            labels = [*drawings.bin_labels(column)[: len(old) - 1], "blank"]
            order = worst.index(column.name)
            title = f"{column.name} (PSI {sizes[column.name]:.3f})"
            figures.append((order, drawings.shapes(title, labels, old, new)))
    figures.append((-1, _prediction_shape(inspection, now)))
    drawn = "".join(figure for _, figure in sorted(figures))
    return (
        '<p>Training table <span class="key k5"></span> and the newest day '
        f'<span class="key k1"></span>.</p><div class="plots">{drawn}</div>'
    )


def _prediction_shape(inspection: Inspection, now: Cells) -> str:
    reference = inspection.history.reference
    layout = reference.layout
    if layout.classes and inspection.classes:
        old, new = (layout.class_counts(cells) for cells in (reference.cells, now))
        return drawings.shapes(
            "Answers", inspection.classes, old.astype(np.float64), new.astype(np.float64)
        )
    old_bins, new_bins = (prediction_bins(layout, cells) for cells in (reference.cells, now))
    used = np.flatnonzero(old_bins + new_bins)
    if not len(used):
        return ""
    kept = slice(used[0], used[-1] + 1)
    labels = ["low", *[""] * (kept.stop - kept.start - 2), "high"][: kept.stop - kept.start]
    return drawings.shapes("Predictions", labels, old_bins[kept], new_bins[kept])


def _traffic(inspection: Inspection) -> str:
    layout, days = inspection.history.reference.layout, inspection.history.days
    rows = {day: float(cells[0]) for day, cells in days.items()}
    answered = {day: cells[layout.latencies] for day, cells in days.items()}
    slow = {day: _percentile(buckets) for day, buckets in answered.items() if buckets.sum()}
    bad = {
        day: float(layout.service(cells, "refused") + layout.service(cells, "failed"))
        for day, cells in days.items()
    }
    drawn = drawings.bars(rows, "Rows a day")
    if slow:
        drawn += drawings.bars(
            slow, "Durations: 99 % of requests end within, milliseconds", "ms or less", ",.4g"
        )
    if any(bad.values()):
        drawn += drawings.bars(bad, "Requests a day that were refused or failed", "requests")
    return f'<div class="plots">{drawn}</div>' if drawn else ""


def _percentile(buckets: Cells) -> float:
    """Milliseconds within which 99 % of requests ended: the bound of their bucket."""
    place = int(np.searchsorted(np.cumsum(buckets), 0.99 * buckets.sum()))
    return 1000.0 * LATENCY_BOUNDS[min(place, len(LATENCY_BOUNDS) - 1)]
