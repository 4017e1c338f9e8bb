"""The report's sections on data: does quality hold, is the data the same, what was learned from."""

from __future__ import annotations

import html

from roadworthy.evaluate.page.plots import Bar, plot
from roadworthy.evaluate.page.words import (
    badge,
    interval,
    number,
    numeral,
    probability,
    table,
    title,
)
from roadworthy.evaluate.report import Report
from roadworthy.evaluate.shift import Shift
from roadworthy.evaluate.verdict import Verdict

_COLUMNS = 40
_TRIALS = 10
_KINDS = {
    "absent": ("fail", "absent"),
    "refused": ("fail", "refused"),
    "unseen": ("undecided", "unseen levels"),
    "outside": ("undecided", "out of range"),
    "blank": ("undecided", "more blanks"),
    "target": ("undecided", "label"),
    "extra": ("told", "unused"),
}


def stability(report: Report) -> str:
    """Other rows, later rows, worse rows."""
    return _gaps(report) + _robustness(report) + _periods(report) + _learning(report)


def _gaps(report: Report) -> str:
    rows = []
    for gap in report.gaps:
        sure = gap.p_value is not None and gap.p_value < 0.05
        worse = (gap.drop.value or 0.0) > 0
        word = "no difference beyond chance"
        if sure:
            word = "worse beyond chance" if worse else "better beyond chance"
        rows.append(
            [
                f"{gap.first}, then {gap.second}",
                title(gap.metric),
                numeral(number(gap.on_first.value)),
                numeral(number(gap.on_second.value)),
                numeral(f"{number(gap.drop.value)}  ({interval(gap.drop)})"),
                numeral(probability(gap.p_value)),
                badge("undecided" if sure and worse else "told", word),
            ]
        )
    heads = ("rows", "metric", "first", "then", "worse by", "p", "")
    told = "a drop from training rows to new ones is usual; its size is what matters"
    return f"<h3>On other rows</h3><p class='soft'>{told}</p>{table(heads, rows)}" if rows else ""


def _robustness(report: Report) -> str:
    rows = [
        [
            entry.change,
            numeral(number(entry.before)),
            numeral(number(entry.after)),
            numeral(f"{entry.changed:.1%}"),
        ]
        for entry in report.robustness
    ]
    if not rows:
        return ""
    metric = title(report.robustness[0].metric)
    heads = ("rows made worse on purpose", f"{metric} before", "after", "answers changed")
    return f"<h3>On worse data</h3>{table(heads, rows)}"


def _periods(report: Report) -> str:
    bars = [
        Bar(
            place + 1.0,
            entry.estimate.value,
            entry.estimate.value if entry.estimate.low is None else entry.estimate.low,
            entry.estimate.value if entry.estimate.high is None else entry.estimate.high,
        )
        for place, entry in enumerate(report.periods)
        if entry.estimate.value is not None
    ]
    if not bars:
        return ""
    metric = title(report.periods[0].metric)
    drawn = plot(f"{metric} over time", "part, oldest first", metric, bars=bars)
    return f'<h3>Over time</h3><div class="plots">{drawn}</div>'


def _learning(report: Report) -> str:
    bars = [
        Bar(
            float(entry.training_rows),
            entry.estimate.value,
            entry.estimate.low or entry.estimate.value,
            entry.estimate.high or entry.estimate.value,
        )
        for entry in report.learning
        if entry.estimate.value is not None
    ]
    if not bars:
        return ""
    metric = title(report.learning[0].metric)
    drawn = plot("Learning curve", "training rows", metric, bars=bars)
    return f'<h3>With more rows</h3><div class="plots">{drawn}</div>'


def incoming(verdict: Verdict, shift: Shift | None) -> str:
    """Departures from the contract, and drift, column by column."""
    rows = [
        [
            badge(*_KINDS[entry.kind]),
            entry.column,
            entry.what,
            numeral(f"{entry.rows:,}"),
            ", ".join(map(str, entry.first)),
        ]
        for entry in verdict.findings[: 2 * _COLUMNS]
    ]
    found = ""
    if verdict.rows_read:
        read = f"<p>{verdict.rows_read:,} rows were read; rows are counted from 0.</p>"
        heads = ("", "column", "what", "rows", "first rows")
        departs = table(heads, rows) if rows else "<p>All of them keep the contract.</p>"
        found = f"<h3>The contract</h3>{read}{departs}"
    return found + (_shift(shift) if shift is not None and shift.rows else "")


def _shift(shift: Shift) -> str:
    told = f"<p>Largest drift of a column: <b>{number(shift.drift.value)}</b> "
    told += f"({interval(shift.drift)}).</p>"
    if shift.adversarial is not None:
        told += (
            "<p>A classifier that was trained to tell these rows from reference rows does so with "
            f"an area under the ROC curve of <b>{shift.adversarial}</b> (0.5 is chance).</p>"
        )
        if shift.tellers:
            named = ", ".join(f"{name} ({share:.0%})" for name, share in shift.tellers.items())
            told += f"<p>It tells them by: {html.escape(named)}.</p>"
    rows = [
        [
            entry.column,
            numeral(number(entry.psi)),
            numeral(number(entry.area)),
            numeral(f"{entry.blank_share:.1%}"),
            numeral(f"{entry.blank_before:.1%}"),
            numeral(f"{entry.unseen_share:.1%}"),
            numeral(f"{entry.outside_share:.1%}"),
            numeral(probability(entry.p_value)),
        ]
        for entry in shift.columns[:_COLUMNS]
    ]
    heads = (
        "column",
        "drift",
        "told by it (AUC)",
        "blank",
        "in training",
        "unseen",
        "out of range",
        "p",
    )
    return f"<h3>Drift from the training rows</h3>{told}{table(heads, rows)}"


def training(report: Report) -> str:
    """The table, its columns, and the search."""
    told = []
    search = report.search
    if search is not None:
        told.append(
            f"{report.family}, chosen by {search.metric} from {len(search.trials) - 1} "
            f"configurations over {search.folds} folds of {search.search_rows:,} rows, refitted on "
            f"{search.training_rows:,}; seed {search.seed}; holdout: {search.policy}"
        )
        if not search.complete:
            told.append("the budget ended the search before every configuration was tried")
    told += report.notes
    listed = "".join(f"<li>{html.escape(note)}</li>" for note in told)
    rows = [
        [
            entry.name,
            entry.kind,
            entry.reason,
            numeral(f"{entry.blanks:,}"),
            numeral(f"{entry.distinct:,}"),
            "used" if entry.used else f"left out: {entry.why_not}",
        ]
        for entry in report.columns[: 2 * _COLUMNS]
    ]
    heads = ("column", "kind", "why", "blanks", "distinct", "")
    columns = f"<h3>Columns</h3>{table(heads, rows)}" if rows else ""
    return f"<ul>{listed}</ul>{columns}{_trials(report)}"


def _trials(report: Report) -> str:
    if report.search is None:
        return ""
    rows = [
        [
            trial.family,
            ", ".join(f"{key} {value}" for key, value in trial.config.items()) or "defaults",
            numeral(number(trial.score)),
            numeral("" if trial.spread is None else number(trial.spread)),
            trial.note or "",
        ]
        for trial in report.search.trials[:_TRIALS]
    ]
    heads = ("family", "configuration", report.search.metric, "spread over folds", "")
    return f"<h3>The first of the search</h3>{table(heads, rows)}"
