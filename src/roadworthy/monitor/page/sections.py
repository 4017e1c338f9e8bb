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
    lines = [
        drawings.QualityLine(
            datetime.fromisoformat(period.start).timestamp() / _DAY,
            datetime.fromisoformat(period.end).timestamp() / _DAY,
            *_interval(period.metrics[metric]),
        )
        for period in found.periods
        if period.labelled and metric in period.metrics and period.metrics[metric].value is not None
    ]
    marks = [(release.at.timestamp() / _DAY, release.version[:12]) for release in overview.releases]
    band = None
    if expected is not None and overview.recent is not None:
        band = drawings.QualityLine(
            overview.recent, math.inf, expected.value, expected.low, expected.high
        )
    drawn = drawings.quality_over_time(
        metric, lines, marks, holdout=situation.reference.get(metric), estimated=band
    )
    return f"{said}{drawn}{_table(found)}"


def _interval(estimate: Estimate) -> tuple[float, float, float]:
    value = float(estimate.value or 0.0)
    return (
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
