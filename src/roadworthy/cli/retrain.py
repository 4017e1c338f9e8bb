"""`roadworthy retrain`: a challenger from old and newly labelled rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from roadworthy.cli.advise import LogOption, ModelOption, load_outcomes, look_at, parse_day
from roadworthy.cli.options import Budget, Destination, Json, ProjectFile, Quiet
from roadworthy.cli.output import Board, print_json
from roadworthy.errors import InputError
from roadworthy.project import load_project, parse_duration

if TYPE_CHECKING:
    from roadworthy.monitor.retrain import Retrained

_LEARNS = ("retrain", "recalibrate")
"""Kinds of advice that learn from labels; a moved threshold is left to people."""


def retrain(
    model: ModelOption = None,
    log: LogOption = None,
    since: Annotated[
        str | None,
        typer.Option("--since", help="Learn from labelled rows since this day, and nothing older."),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", help="Keep the model, and answer from this probability."),
    ] = None,
    recalibrate: Annotated[
        bool,
        typer.Option("--recalibrate", help="Keep the model, and fit a calibration behind it."),
    ] = False,
    if_advised: Annotated[
        bool,
        typer.Option("--if-advised", help="Do what `advise` says, and nothing if it is not this."),
    ] = False,
    budget: Budget = None,
    project: ProjectFile = None,
    destination: Destination = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a challenger, gate it against the champion on the newest labelled rows, register it.

    It learns from the old table and from labelled predictions; with --since only from the latter.
    With --recalibrate or --threshold the champion's model stays, and only what it answers changes.
    Exit code 1 when a gate stops it. It takes the champion's place only where the project says so.

    Example: `roadworthy retrain --model loans@champion --since 2026-02-10`
    """
    from roadworthy.monitor.recalibrate import recalibrate as recalibrated
    from roadworthy.monitor.retrain import TooFewLabelsError, move_threshold
    from roadworthy.monitor.retrain import retrain as make

    wanted = load_project(project, destination)
    if recalibrate and threshold is not None:
        raise InputError(
            "one changes the probabilities, the other what is answered from them",
            where="--recalibrate, --threshold",
            fix="recalibrate first; then look whether the threshold still has to move",
        )
    if if_advised:
        if since is not None or threshold is not None or recalibrate:
            raise InputError("the advice says what to do and since when", where="--if-advised")
        looked = look_at(wanted, model, log, None)
        bundle, outcomes = looked.bundle, looked.outcomes
        action = next((each for each in looked.actions if each.kind in _LEARNS), None)
        if action is None:
            _not_advised(looked.actions[0].what, json=json)
            return
        since, recalibrate = action.since or None, action.kind == "recalibrate"
    else:
        bundle, outcomes = load_outcomes(wanted, model, log)
    board = Board(parse_duration(budget or wanted.train.budget), quiet=quiet or json)
    day = None if since is None else parse_day(since)
    try:
        if threshold is not None:
            made = move_threshold(bundle, outcomes, threshold, wanted)
        elif recalibrate:
            made = recalibrated(bundle, outcomes, wanted, since=day)
        else:
            with board.live():
                made = make(
                    bundle, outcomes, wanted, since=day, old=day is None, budget=budget,
                    report=board,
                )  # fmt: skip
    except TooFewLabelsError as error:
        if not if_advised:
            raise
        when = f" since {since}" if since else ""
        _not_advised(f"wait for labels{when}: {error.what}", json=json)
        return
    _tell(made, bundle.version, json=json)
    if made.verdict.outcome != "pass":
        raise typer.Exit(1)


def _not_advised(first: str, *, json: bool) -> None:
    if json:
        print_json({"challenger": None, "advice": first})
    else:
        typer.echo(f"no challenger is advised; the first advice is: {first}")


def _tell(made: Retrained, champion: str, *, json: bool) -> None:
    if json:
        print_json(
            {
                "challenger": made.registered,
                "champion": champion,
                "outcome": made.verdict.outcome,
                "learned": made.learned,
                "new": made.new,
                "tested": made.tested,
                "promoted": made.promoted,
                "proposal": list(made.proposal),
                "left_out": list(made.left_out),
            }
        )
    else:
        typer.echo(
            f"{made.registered}: {made.verdict.outcome}; learned from {made.learned:,} rows "
            f"({made.new:,} from production), compared on the newest {made.tested:,}"
        )
        typer.echo("\n".join((*made.left_out, *made.proposal)))
