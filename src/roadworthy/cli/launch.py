"""`roadworthy launch`: from a table to a live service."""

from __future__ import annotations

import os
import sys
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


def launch(
    data: Data = None,
    target: Target = None,
    query: Query = None,
    budget: Budget = None,
    port: Annotated[int | None, typer.Option("--port", help="Default 8080.")] = None,
    host: Annotated[str | None, typer.Option("--host", help="Default 127.0.0.1.")] = None,
    name: ModelName = None,
    out: Out = None,
    group: Group = None,
    time_column: TimeColumn = None,
    split: SplitPolicy = None,
    seed: Seed = None,
    champion: Champion = None,
    no_serve: Annotated[bool, typer.Option("--no-serve", help="End after packaging.")] = False,
    project: ProjectFile = None,
    destination: Destination = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Read, train, test, package and serve a table, here and now.

    Example: `roadworthy launch adult.csv --target income --budget 60s`
    """
    wanted = (
        load_project(project, destination)
        .override("project", name=name)
        .override("data", path=data if query else None, target=target, query=query)
        .override("data", group=group, time=time_column, split=split)
        .override("train", budget=budget, seed=seed)
        .override("package", directory=out)
        .override("serve", port=port, host=host)
    )
    made = make(data, wanted, verb="launch", champion=champion, quiet=quiet or json)
    if wanted.registry.register:
        from roadworthy.registry.opening import open_registry
        from roadworthy.registry.registering import register

        with open_registry(wanted) as registry:
            register(registry, made.bundle.path)
    from roadworthy.cli.summary import launch_document, print_summary

    if json:
        print_json(launch_document(made))
    else:
        print_summary(made)
    if no_serve:
        return
    command = [sys.executable, "-m", "roadworthy", "serve", str(made.bundle.path)]
    command += ["--port", str(wanted.serve.port), "--host", wanted.serve.host]
    command += ["--project", project] if project else []
    command += ["-d", destination] if destination else []
    command += ["--quiet"] if json or quiet else []
    sys.stdout.flush()
    # A fresh process: the server holds nothing of training, neither its code nor its memory.
    os.execv(sys.executable, command)
