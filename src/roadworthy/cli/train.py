"""`roadworthy train`: from a table to a bundle, with the leaderboard."""

from __future__ import annotations

from pathlib import Path
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
    Query,
    Quiet,
    Seed,
    SplitPolicy,
    Target,
    TimeColumn,
)
from roadworthy.cli.output import print_json
from roadworthy.project import load_project
from roadworthy.project.data import is_database


def train(
    data: Data = None,
    target: Target = None,
    query: Query = None,
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
    reuse: Annotated[
        bool, typer.Option("--reuse", help="Keep the last bundle if data and code are as before.")
    ] = False,
    no_gates: Annotated[
        bool, typer.Option("--no-gates", help="Leave the gates to `roadworthy test`.")
    ] = False,
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
        .override("data", path=data if query else None, target=target, query=query)
        .override("data", group=group, time=time_column, split=split)
        .override("train", budget=budget, seed=seed, metric=metric, search=search)
        .override("train", candidates=tuple(candidates) if candidates else None)
        .override("package", directory=out)
    )
    key = None
    if reuse:
        from roadworthy.pipeline.reuse import find_trained, keep_trained, training_key

        source = data or wanted.data.path
        # nothing tells of a database whether it is as it was
        lasting = source is not None and not is_database(source)
        key = training_key(Path(str(source)), wanted) if lasting else None
        kept = None if key is None else find_trained(key, wanted)
        if kept is not None:
            _say_reused(kept, json=json)
            return
    made = make(
        data,
        wanted,
        verb="train",
        champion=champion,
        quiet=quiet or json,
        gated=not no_gates,
    )
    if key is not None:
        keep_trained(key, made.bundle.path, wanted)
    from roadworthy.cli.leaderboard import print_leaderboard
    from roadworthy.cli.summary import launch_document, print_summary

    if json:
        print_json(launch_document(made))
        return
    print_summary(made)
    print_leaderboard(made.model)


def _say_reused(bundle: Path, *, json: bool) -> None:
    if json:
        print_json({"bundle": str(bundle), "reused": True})
    else:
        typer.echo(f"data and code are as they were: {bundle} is kept")
