"""The leaderboard: every configuration that a search tried, the chosen one first."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from roadworthy.train import TrainedModel
from roadworthy.train.record import Trial

_SHOWN = 12


def print_leaderboard(model: TrainedModel) -> None:
    """Print the best trials, and each that failed, with what fitting and serving them costs."""
    console = Console(highlight=False, emoji=False)
    search = model.search
    console.print(f"\n[bold]Leaderboard[/]  by {search.metric}, mean over folds")
    grid = Grid(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("", "family", "score", "±", "folds", "fit s", "µs a row", "MB", "settings"):
        left = title in ("family", "settings")
        grid.add_column(title, justify="left" if left else "right", overflow="fold")
    seconds = model.fit_seconds or (None,) * len(search.trials)
    for place, (trial, taken) in enumerate(zip(search.trials, seconds, strict=True)):
        if place >= _SHOWN and trial.note is None:
            continue
        grid.add_row(
            str(place),
            escape(trial.family),
            _number(trial.score, ".5g"),
            _number(trial.spread, ".2g"),
            str(trial.folds),
            _number(taken, ".2f"),
            _number(trial.microseconds, ".0f"),
            _number(trial.megabytes, ".2f"),
            escape(_settings(trial)),
        )
    console.print(grid)
    left_out = sum(trial.note is None for trial in search.trials[_SHOWN:])
    if left_out:
        console.print(f"  … {left_out} more in the bundle's report.json")


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _settings(trial: Trial) -> str:
    if trial.note:
        return trial.note
    if trial.members:
        return " + ".join(f"{weight:.2f} of {place}" for place, weight in trial.members.items())
    return ", ".join(f"{name} {value}" for name, value in trial.config.items())
