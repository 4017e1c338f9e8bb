"""`roadworthy train`: from a table to a bundle, with the leaderboard."""

from __future__ import annotations

from typing import Annotated

import typer

from roadworthy.cli.making import make
from roadworthy.cli.options import (
    Budget,
    Champion,
    Data,
    Destination,
    Group,
    Json,
    ModelName,
    Out,
    ProjectFile,
    Quiet,
    Seed,
    SplitPolicy,
    Target,
    TimeColumn,
)
from roadworthy.cli.output import print_json
from roadworthy.project import load_project


def train(
    data: Data = None,
    target: Target = None,
    budget: Budget = None,
    metric: Annotated[
        str | None, typer.Option("--metric", help="What the search goes by; else as the task.")
    ] = None,
    search: Annotated[
        str | None, typer.Option("--search", help="race, grid or optuna. Default race.")
    ] = None,
    candidates: Annotated[
        list[str] | None,
        typer.Option("--candidate", help="A family to try; may be given several times."),
    ] = None,
    name: ModelName = None,
    out: Out = None,
    group: Group = None,
    time_column: TimeColumn = None,
    split: SplitPolicy = None,
    seed: Seed = None,
    champion: Champion = None,
    project: ProjectFile = None,
    destination: Destination = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Guard, search, test and package; show every configuration that was tried.

    Example: `roadworthy train adult.csv --target income --budget 5m`
    """
    wanted = (
        load_project(project, destination)
        .override("project", name=name)
        .override("data", target=target, group=group, time=time_column, split=split)
        .override("train", budget=budget, seed=seed, metric=metric, search=search)
        .override("train", candidates=tuple(candidates) if candidates else None)
        .override("package", directory=out)
    )
    made = make(data, wanted, verb="train", champion=champion, quiet=quiet or json)
    from roadworthy.cli.leaderboard import print_leaderboard
    from roadworthy.cli.summary import launch_document, print_summary

    if json:
        print_json(launch_document(made))
        return
    print_summary(made)
    print_leaderboard(made.model)
