"""The report's sections on quality: metrics, curves, subgroups, importance, the champion."""

from __future__ import annotations

import html
from collections.abc import Sequence

from roadworthy.evaluate.metrics import Estimate
from roadworthy.evaluate.page.plots import Bar, Line, plot, whisker
from roadworthy.evaluate.page.words import (
    Cell,
    badge,
    interval,
    number,
    numeral,
    probability,
    table,
    title,
)
from roadworthy.evaluate.report import Report

_CLASSES = 30
_MATRIX = 12
_SLICES = 25
_COLUMNS = 30


def measured(report: Report) -> str:
    """Metrics, classes, confusion and curves."""
    rows = [
        [
            title(name),
            numeral(number(estimate.value)),
            numeral(interval(estimate)),
            numeral(number(report.baseline.get(name))),
        ]
        for name, estimate in report.metrics.items()
    ]
    caption = f"on {report.rows:,} rows" + (f" ({report.policy})" if report.policy else "")
    metrics = table(("metric", "value", "95 % interval", "guessing"), rows, caption=caption)
    return metrics + _classes(report) + _confusion(report) + _curves(report)


def _classes(report: Report) -> str:
    rows = [
        [
            entry.name,
            *(
                numeral(f"{number(e.value)}  ({interval(e)})")
                for e in (entry.precision, entry.recall, entry.f1)
            ),
            numeral(f"{entry.rows:,}"),
        ]
        for entry in report.classes[:_CLASSES]
    ]
    more = len(report.classes) - _CLASSES
    note = f'<p class="soft">and {more} more classes in report.json</p>' if more > 0 else ""
    heads = ("class", "precision", "recall", "F1", "rows")
    return (f"<h3>Classes</h3>{table(heads, rows)}{note}") if rows else ""


def _confusion(report: Report) -> str:
    if not report.confusion or len(report.confusion) > _MATRIX:
        return ""
    names = [html.escape(entry.name) for entry in report.classes]
    heads = "".join(f'<th scope="col">{name}</th>' for name in names)
    body = ""
    for name, row in zip(names, report.confusion, strict=True):
        total = max(1, sum(row))
        cells = "".join(
            f'<td style="background:color-mix(in srgb, var(--c0) {round(45 * cell / total)}%, '
            f'transparent)">{cell:,}</td>'
            for cell in row
        )
        body += f'<tr><th scope="row">{name}</th>{cells}</tr>'
    return (
        "<h3>Confusion</h3><p class='soft'>rows are the truth, columns the prediction; the shade "
        "is the share of the row</p>"
        f'<div class="wide"><table class="matrix"><thead><tr><th></th>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _curves(report: Report) -> str:
    drawn, curves = [], report.curves
    if curves.classes:
        names = [entry.name for entry in curves.classes]
        for heading, x, y, attribute in (
            ("ROC curve", "false positive rate", "true positive rate", "roc"),
            ("Precision and recall", "recall", "precision", "pr"),
        ):
            lines = [
                Line(name, getattr(entry, attribute), place % 6)
                for place, (name, entry) in enumerate(zip(names, curves.classes, strict=True))
            ]
            drawn.append(
                plot(
                    heading + (f" of {names[0]}" if len(names) == 1 else ""), x, y, lines=lines,
                    diagonal=attribute == "roc", x_range=(0, 1), y_range=(0, 1.0),
                )
            )  # fmt: skip
    if curves.calibration:
        bars = [
            Bar(
                entry.claimed,
                entry.true.value or 0.0,
                entry.true.low or 0.0,
                entry.true.high or 0.0,
            )
            for entry in curves.calibration
        ]
        drawn.append(
            plot("Calibration", "claimed probability", "share that came true", bars=bars,
                 diagonal=True, x_range=(0, 1), y_range=(0, 1))
        )  # fmt: skip
    if curves.classes:
        lines = [
            Line(entry.name, entry.lift, place % 6) for place, entry in enumerate(curves.classes)
        ]
        drawn.append(plot("Lift", "share of rows taken, most probable first", "lift", lines=lines,
                          level=1.0))  # fmt: skip
    residuals = curves.residuals
    if residuals is not None:
        band = list(zip(residuals.predicted, residuals.low, residuals.high, strict=True))
        middle = list(zip(residuals.predicted, residuals.middle, strict=True))
        drawn.append(
            plot("Residuals: median and 90 % band", "prediction", "prediction less truth",
                 lines=[Line("median", middle)], band=band, level=0.0)
        )  # fmt: skip
        drawn.append(
            plot("Prediction and truth", "prediction", "truth", dots=residuals.points,
                 diagonal=True)
        )  # fmt: skip
    return f'<h3>Curves</h3><div class="plots">{"".join(drawn)}</div>' if any(drawn) else ""


def slices(report: Report) -> str:
    """Subgroups: found by search, named ones, and fairness."""
    return _found(report) + _named(report) + _fairness(report)


def _found(report: Report) -> str:
    if not report.found:
        return "<p>A search for weak subgroups found none that stand out, or had too few rows.</p>"
    rows = [
        [
            badge("fail", "confirmed") if entry.confirmed else badge("told", "not confirmed"),
            " and ".join(entry.conditions),
            numeral(f"{entry.rows:,}"),
            numeral(f"{number(entry.estimate.value)}"),
            numeral(f"{number(entry.gap.value)}  ({interval(entry.gap)})"),
            numeral(probability(entry.p_value)),
        ]
        for entry in report.found
    ]
    metric = title(report.found[0].metric).lower()
    heads = ("", "found by search", "rows", metric, "worse by", "p")
    return (
        "<h3>Weakest subgroups</h3><p class='soft'>searched on one half of the rows, measured here "
        f"on the other</p>{table(heads, rows)}"
    )


def _named(report: Report) -> str:
    known = [entry for entry in report.slices if entry.gap is not None and not entry.few]
    if not known:
        return ""
    worse = -1.0 if known[0].metric == "mae" else 1.0
    known.sort(key=lambda entry: worse * (entry.gap or 0.0))
    shown = known[:_SLICES]
    whole = report.metrics[known[0].metric]
    ends = _ends([entry.estimate for entry in shown], whole)
    areas = any("roc_auc" in entry.metrics for entry in shown)
    rows = []
    for entry in shown:
        row: list[object] = [
            f"{entry.column} = {entry.value}",
            _drawn(entry.estimate, ends, whole.value),
            numeral(number(entry.estimate.value)),
            numeral(f"{entry.gap:+.3g}"),
        ]
        if areas:
            row.append(numeral(number(entry.metrics.get("roc_auc", Estimate(None)).value)))
        row.append(numeral(f"{entry.rows:,}"))
        rows.append(row)
    metric = title(known[0].metric)
    heads = ["subgroup", metric, "", "gap", *(["ROC AUC"] if areas else []), "rows"]
    few = sum(entry.few for entry in report.slices)
    note = f"{few} with fewer than 30 rows are left out; " if few else ""
    return (
        f"<h3>Named subgroups, weakest first</h3><p class='soft'>{note}the dashed line is the "
        "whole; "
        f"{len(known) - len(shown)} more in report.json</p>{table(heads, rows)}"
    )


def _fairness(report: Report) -> str:
    if not report.fairness:
        return ""
    rows = []
    for entry in report.fairness:
        row: list[object] = [f"{entry.column} ({len(entry.groups)} groups)"]
        row += [
            numeral(f"{number(estimate.value)}  ({interval(estimate)})")
            for estimate in entry.measures.values()
        ]
        rows.append(row)
    heads = (
        "column", "demographic parity difference", "demographic parity ratio",
        "equalized odds difference", "equal opportunity difference",
    )  # fmt: skip
    return (
        "<h3>Fairness between groups</h3><p class='soft'>Fairlearn's definitions; 0 is even, for "
        f"the ratio 1. Which columns matter is for people to say.</p>{table(heads, rows)}"
    )


def importance(report: Report) -> str:
    """Permutation importance as whiskers."""
    shown = report.importance[:_COLUMNS]
    if not shown:
        return ""
    ends = _ends([entry.drop for entry in shown], Estimate(0.0))
    rows = [
        [
            entry.column,
            _drawn(entry.drop, ends, 0.0),
            numeral(number(entry.drop.value)),
            numeral(interval(entry.drop)),
        ]
        for entry in shown
    ]
    metric = title(shown[0].metric)
    heads = ("column", f"loss of {metric} without it", "", "95 % interval")
    more = len(report.importance) - len(shown)
    note = f'<p class="soft">and {more} more in report.json</p>' if more else ""
    return table(heads, rows) + note


def champion(report: Report) -> str:
    """The paired comparison."""
    paired = report.comparison
    if paired is None:
        return ""
    rows = []
    for name, gain in paired.metrics.items():
        sure = gain.low is not None and gain.high is not None
        kind = "told"
        word = "no difference beyond chance"
        if sure and gain.low is not None and gain.low > 0:
            kind, word = "pass", "better"
        elif sure and gain.high is not None and gain.high < 0:
            kind, word = "fail", "worse"
        rows.append(
            [
                title(name),
                numeral(number(paired.challenger[name])),
                numeral(number(paired.baseline[name])),
                numeral(f"{number(gain.value)}  ({interval(gain)})"),
                badge(kind, word),
            ]
        )
    heads = ("metric", "this model", paired.champion, "better by", "")
    told = f"<p>Both answered the same {paired.rows:,} rows; intervals are paired.</p>"
    if paired.mcnemar is not None:
        told += (
            f"<p>{paired.only_champion_right:,} rows only the champion answers right, "
            f"{paired.only_challenger_right:,} only this model "
            f"(McNemar p {probability(paired.mcnemar)}"
            + (f"; DeLong p {probability(paired.delong)}" if paired.delong is not None else "")
            + ").</p>"
        )
    return told + table(heads, rows) + _drops(paired.slices)


def _drops(gains: dict[str, Estimate]) -> str:
    ordered = sorted(gains.items(), key=lambda item: item[1].value or 0.0)[:10]
    rows = [[name, numeral(number(gain.value)), numeral(interval(gain))] for name, gain in ordered]
    heads = ("subgroup", "better by", "95 % interval")
    return f"<h3>Where it gains least</h3>{table(heads, rows)}" if rows else ""


def _ends(estimates: Sequence[Estimate], whole: Estimate) -> tuple[float, float]:
    values = [
        value
        for estimate in (*estimates, whole)
        for value in (estimate.low, estimate.value, estimate.high)
        if value is not None
    ]
    return (min(values), max(values)) if values else (0.0, 1.0)


def _drawn(estimate: Estimate, ends: tuple[float, float], level: float | None) -> Cell:
    if estimate.value is None:
        return Cell("")
    low = estimate.value if estimate.low is None else estimate.low
    high = estimate.value if estimate.high is None else estimate.high
    return Cell(whisker(low, estimate.value, high, ends, level))
