"""What was measured, as tables for people: metrics, classes, subgroups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

if TYPE_CHECKING:
    from roadworthy.evaluate import Estimate, Report

_SHOWN_SLICES = 10
_SHOWN_CLASSES = 12
_METRICS = {
    "regression": ("rmse", "mae", "r2"),
    "binary": ("roc_auc", "accuracy", "f1_macro", "log_loss", "brier"),
    "multiclass": ("accuracy", "f1_macro", "roc_auc", "log_loss", "brier"),
}


def print_measures(console: Console, report: Report, title: str) -> None:
    """Print the task's metrics with their intervals, the classes and the weakest subgroups."""
    _print_metrics(console, report, title)
    if report.classes:
        _print_classes(console, report)
    _print_slices(console, report)


def _print_metrics(console: Console, report: Report, title: str) -> None:
    grid = _grid(title, "value", "95 % interval", "baseline")
    for name in _METRICS[report.task]:
        estimate, base = report.metrics[name], report.baseline.get(name)
        grid.add_row(
            name.replace("_", " "),
            _number(estimate.value),
            _interval(estimate),
            _number(base),
        )
    console.print(grid)


def _print_classes(console: Console, report: Report) -> None:
    grid = _grid("class", "precision", "recall", "f1", "rows")
    for entry in report.classes[:_SHOWN_CLASSES]:
        grid.add_row(
            escape(entry.name),
            _number(entry.precision.value),
            _number(entry.recall.value),
            _number(entry.f1.value),
            f"{entry.rows:,}",
        )
    console.print(grid)
    if len(report.classes) > _SHOWN_CLASSES:
        console.print(f"  … {len(report.classes) - _SHOWN_CLASSES} more classes in report.json")


def _print_slices(console: Console, report: Report) -> None:
    worse = -1.0 if report.task == "regression" else 1.0
    known = [s for s in report.slices if s.gap is not None and not s.few]
    if not known:
        return
    known.sort(key=lambda s: worse * (s.gap or 0.0))
    grid = _grid("subgroup (weakest first)", known[0].metric, "95 % interval", "gap", "rows")
    for entry in known[:_SHOWN_SLICES]:
        grid.add_row(
            escape(f"{entry.column} = {entry.value}"),
            _number(entry.estimate.value),
            _interval(entry.estimate),
            f"{entry.gap:+.3g}",
            f"{entry.rows:,}",
        )
    console.print(grid)


def _grid(*columns: str) -> Grid:
    grid = Grid(box=None, padding=(0, 2), header_style="bold", pad_edge=True)
    for place, column in enumerate(columns):
        grid.add_column(column, justify="left" if place == 0 else "right", overflow="fold")
    return grid


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4g}"


def _interval(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{estimate.low:.4g} to {estimate.high:.4g}"
