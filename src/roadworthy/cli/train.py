"""`roadworthy train`: from a table to a bundle, with the leaderboard."""

from __future__ import annotations

from typing import Annotated

import typer

from roadworthy.cli.making import make
from roadworthy.cli.options import Destination, Json, ProjectFile, Quiet
from roadworthy.cli.output import print_json
from roadworthy.project import load_project


def train(
    data: Annotated[
        str | None, typer.Argument(help="CSV (.gz too) or Parquet file; else \\[data] path.")
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", help="The column to predict; else \\[data] target.")
    ] = None,
    budget: Annotated[
        str | None, typer.Option("--budget", help="Time for the whole job: 60s, 5m. Default 60s.")
    ] = None,
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
    name: Annotated[str | None, typer.Option("--name", help="The model's name.")] = None,
    out: Annotated[
        str | None, typer.Option("--out", help="Folder for bundles. Default bundles.")
    ] = None,
    group: Annotated[
        str | None, typer.Option("--group", help="Column whose groups must not be torn apart.")
    ] = None,
    time_column: Annotated[
        str | None, typer.Option("--time", help="Column of time: the newest rows are held out.")
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", help="random, group or time; else as dates suggest.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Default 0.")] = None,
    champion: Annotated[
        str | None,
        typer.Option("--champion", help="Bundle in production, to compare with on the holdout."),
    ] = None,
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
