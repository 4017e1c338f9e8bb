"""Sections of the page beyond counts: advice, alarms, quality, versions."""

from __future__ import annotations

import html
import math
from datetime import UTC, datetime

from roadworthy.evaluate import Estimate
from roadworthy.monitor.estimate.base import BLIND
from roadworthy.monitor.overview import Overview
from roadworthy.monitor.page import drawings
from roadworthy.monitor.quality import Quality

_DAY = 86400.0
_MAX_SLICES = 12
_ERRORS = {
    "calibration_gap": "mean probability less what came true",
    "bias": "mean prediction less what came true",
}


def advice(overview: Overview) -> str:
    """What to do next, ranked."""
    told = []
    for place, action in enumerate(overview.actions, 1):
        gain = ""
        if action.gain is not None:
            gain = f"<p>Expected gain: {html.escape(f'{action.gain} {action.metric}')}</p>"
        lines = "".join(f"<li>{html.escape(line)}</li>" for line in action.evidence)
        command = f"<pre>{html.escape(action.command)}</pre>" if action.command else ""
        told.append(
            f"<article><p><b>{place}. {html.escape(action.what)}</b></p>{gain}"
            f'<ul class="soft">{lines}</ul>{command}</article>'
        )
    return "".join(told)


def alarms(overview: Overview) -> str:
    """Alarms that were told and are not over."""
    told = []
    for key, entry in overview.alarms:
        since = drawings.when(datetime.fromtimestamp(entry.since, UTC))
        told.append(
            f"<tr><td>{html.escape(key)}</td><td>{html.escape(entry.severity)}</td>"
            f'<td class="name">{html.escape(entry.what)}</td><td>{since}</td></tr>'
        )
    if not told:
        return ""
    return (
        '<div class="wide"><table><tr><th>Alarm</th><th>Severity</th><th>What</th><th>Since</th>'
        f"</tr>{''.join(told)}</table></div>"
    )


def quality(overview: Overview) -> str:
    """Realised quality over time, its estimate, and where labels stand."""
    situation = overview.situation
    if situation is None:
        return ""
    metric = "accuracy" if situation.target.classes else "mae"
    expected = situation.expected.get(metric)
    said = f"<p>{situation.labelled:,} of {situation.rows:,} recent predictions have a label."
    if expected is not None:
        said += (
            f" {metric} is estimated at {expected.value:.3g} ({expected.low:.3g} to "
            f"{expected.high:.3g}), {html.escape(BLIND)}."
        )
    said += "</p>"
    found = overview.quality
    if found is None:
        return said
    marks = [(release.at.timestamp() / _DAY, release.version[:12]) for release in overview.releases]
    band = None
    if expected is not None and overview.recent is not None:
        band = drawings.QualityLine(
            overview.recent, math.inf, expected.value, expected.low, expected.high
        )
    drawn = drawings.quality_over_time(
        metric,
        _lines(found, metric),
        marks,
        holdout=situation.reference.get(metric),
        estimated=band,
    )
    error = "calibration_gap" if situation.target.classes else "bias"
    drawn += drawings.quality_over_time(
        _ERRORS[error],
        _lines(found, error),
        marks,
        holdout=0.0,
        estimated=None,
        dashed="where they agree",
    )
    drawn += _parts(found, metric)
    return f'{said}<div class="plots">{drawn}</div>{_table(found)}'


def _lines(found: Quality, metric: str) -> list[drawings.QualityLine]:
    return [
        drawings.QualityLine(
            datetime.fromisoformat(period.start).timestamp() / _DAY,
            datetime.fromisoformat(period.end).timestamp() / _DAY,
            *_interval(period.metrics[metric]),
        )
        for period in found.periods
        if period.labelled and metric in period.metrics and period.metrics[metric].value is not None
    ]


def _parts(found: Quality, metric: str) -> str:
    """Quality by version, and by the slices that lie farthest from the whole."""
    whole = found.metrics[metric].value if metric in found.metrics else None
    versions = {
        entry.version[:12]: _interval(entry.metrics[metric])
        for entry in found.versions
        if metric in entry.metrics and entry.metrics[metric].value is not None
    }
    told = [each for each in found.slices if not each.few and each.estimate.value is not None]
    told.sort(key=lambda each: -abs(each.gap or 0.0))
    slices = {f"{each.column}: {each.value}": _interval(each.estimate)
              for each in told[:_MAX_SLICES]}  # fmt: skip
    return drawings.by_part(f"{metric} by version", versions, whole) + drawings.by_part(
        f"{metric} by slice, the newer half of labelled rows", slices, whole
    )


def _interval(estimate: Estimate) -> drawings.Interval:
    value = float(estimate.value or 0.0)
    return drawings.Interval(
        value,
        value if estimate.low is None else estimate.low,
        value if estimate.high is None else estimate.high,
    )


def _table(found: Quality) -> str:
    rows = []
    for name, estimate in found.metrics.items():
        if estimate.value is None:
            continue
        value, low, high = _interval(estimate)
        rows.append(
            f"<tr><td>{html.escape(name.replace('_', ' '))}</td>"
            f'<td class="number">{value:.4g}</td><td class="number">{low:.4g} to {high:.4g}</td>'
            "</tr>"
        )
    if not rows:
        return ""
    return (
        '<div class="wide"><table><tr><th>Realised</th><th class="number">Value</th>'
        f'<th class="number">95 % interval</th></tr>{"".join(rows)}</table></div>'
    )


def versions(overview: Overview) -> str:
    """Which version was served when, and when another became the champion."""
    marks = [(release.at.timestamp() / _DAY, release.version[:12]) for release in overview.releases]
    return drawings.version_strips(overview.spans, marks)
