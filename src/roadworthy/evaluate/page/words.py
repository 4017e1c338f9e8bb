"""Names and numbers as people read them."""

from __future__ import annotations

import dataclasses
import html
import math
from collections.abc import Iterable, Sequence
from typing import Any

from roadworthy.evaluate.metrics import Estimate

NAMES = {
    "accuracy": "Accuracy", "balanced_accuracy": "Balanced accuracy", "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC (average precision)", "mcc": "Matthews correlation",
    "log_loss": "Log-loss", "brier": "Brier score", "calibration_error": "Calibration error (ECE)",
    "precision_macro": "Precision, macro", "recall_macro": "Recall, macro", "f1_macro": "F1, macro",
    "precision_weighted": "Precision, weighted", "recall_weighted": "Recall, weighted",
    "f1_weighted": "F1, weighted", "mae": "Mean absolute error", "rmse": "RMSE", "r2": "R²",
    "mape": "Mean absolute percentage error", "median_ae": "Median absolute error", "bias": "Bias",
    "latency_p50_ms": "Latency, median (ms)", "latency_p99_ms": "Latency, p99 (ms)",
    "microseconds_per_row": "In process (µs a row)", "bundle_mb": "Bundle (MB)",
    "age_days": "Age (days)", "selection_rate": "Selection rate",
}  # fmt: skip

WORDS = {"pass": "pass", "fail": "fail", "undecided": "not enough evidence"}
MARKS = {"pass": "✓", "fail": "✗", "undecided": "?"}


@dataclasses.dataclass(frozen=True)
class Cell:
    """A table's cell that is HTML already."""

    markup: str
    number: bool = False


def title(metric: str) -> str:
    """A metric's name for people."""
    return NAMES.get(metric, metric.replace("_", " "))


def number(value: float | None) -> str:
    """A number in four digits."""
    if value is None or not math.isfinite(value):
        return "undefined"
    if abs(value) < 1e-12:
        return "0"
    if abs(value) < 1e-3:
        return f"{value:.2e}"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def interval(estimate: Estimate) -> str:
    """The 95 % interval, or nothing."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{number(estimate.low)} to {number(estimate.high)}"


def probability(p_value: float | None) -> str:
    """A p-value."""
    if p_value is None:
        return ""
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def badge(outcome: str, word: str | None = None) -> Cell:
    """An outcome as a coloured word with a mark: never colour alone."""
    shown = html.escape(word or WORDS.get(outcome, outcome))
    return Cell(f'<span class="badge {outcome}">{MARKS.get(outcome, "·")} {shown}</span>')


def numeral(text: str) -> Cell:
    """A text set as a number: to the right."""
    return Cell(html.escape(text), number=True)


def table(
    heads: Sequence[str], rows: Iterable[Sequence[object]], kind: str = "", caption: str = ""
) -> str:
    """A table; a column whose cells are numbers is set to the right, heading too."""
    listed = [list(row) for row in rows]
    if not listed:
        return ""
    right = [isinstance(cell, Cell) and cell.number for cell in listed[0]]
    top = "".join(
        f'<th scope="col"{_class(number)}>{html.escape(head)}</th>'
        for head, number in zip(heads, right, strict=True)
    )
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in listed)
    named = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="wide"><table class="{kind}">{named}<thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _class(number: bool) -> str:
    return ' class="number"' if number else ""


def _cell(cell: object) -> str:
    if isinstance(cell, Cell):
        return f"<td{_class(cell.number)}>{cell.markup}</td>"
    return f'<td class="name">{html.escape(str(cell))}</td>'


def plain(value: Any) -> str:
    """An answer or a cell for people."""
    if isinstance(value, float):
        return number(value)
    if isinstance(value, dict):
        return ", ".join(f"{key}: {plain(entry)}" for key, entry in value.items())
    return str(value)
