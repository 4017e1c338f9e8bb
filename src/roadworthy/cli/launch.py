"""`roadworthy launch`: from a table to a live service."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
import time
from typing import Annotated

import typer

from roadworthy.cli.options import Destination, Json, ProjectFile, Quiet
from roadworthy.cli.output import Board, print_json
from roadworthy.errors import InputError
from roadworthy.project import load_project, parse_duration


def launch(
    data: Annotated[
        str | None, typer.Argument(help="CSV (.gz too) or Parquet file; else \\[data] path.")
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", help="The column to predict; else \\[data] target.")
    ] = None,
    budget: Annotated[
        str | None, typer.Option("--budget", help="Time for the whole job: 60s, 5m. Default 60s.")
    ] = None,
    port: Annotated[int | None, typer.Option("--port", help="Default 8080.")] = None,
    host: Annotated[str | None, typer.Option("--host", help="Default 127.0.0.1.")] = None,
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
    no_serve: Annotated[bool, typer.Option("--no-serve", help="End after packaging.")] = False,
    project: ProjectFile = None,
    destination: Destination = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Read, train, test, package and serve a table, here and now.

    Example: `roadworthy launch adult.csv --target income --budget 60s`
    """
    started = time.monotonic()
    wanted = (
        load_project(project, destination)
        .override("project", name=name)
        .override("data", target=target, group=group, time=time_column, split=split)
        .override("train", budget=budget, seed=seed)
        .override("package", directory=out)
        .override("serve", port=port, host=host)
    )
    source = data or wanted.data.path
    if source is None:
        raise InputError("no table is named", fix="roadworthy launch DATA --target COLUMN")
    seconds = parse_duration(wanted.train.budget)
    if wanted.registry.signing_key:
        from roadworthy.bundle.keys import open_signer

        open_signer(wanted.registry.signing_key)  # a wrong key is said before the work, not after
    with Board(seconds, quiet=quiet or json).live() as board:
        board.begin("read", source)
        loading = threading.Thread(
            target=_load_training, daemon=True
        )  # seconds of imports, while we read
        loading.start()
        from roadworthy.table import read_table

        table = read_table(source, project=wanted, name=wanted.project.name)
        loading.join()
        from roadworthy.bundle.write import package
        from roadworthy.evaluate import test
        from roadworthy.train import train

        model = train(table, seconds, project=wanted, report=board, started=started)
        board.begin("test", f"{len(table.holdout):,} rows held out")
        report = test(model, table.holdout)
        board.begin("package", "export, parity, write")
        bundle = package(
            model,
            report,
            formats=wanted.package.formats,
            directory=wanted.package.directory,
            signing_key=wanted.registry.signing_key,
        )
        if wanted.registry.register:
            board.begin("register", str(bundle))
            from roadworthy.registry.opening import open_registry
            from roadworthy.registry.registering import register

            with open_registry(wanted) as registry:
                register(registry, bundle.path)
    taken = time.monotonic() - started
    from roadworthy.cli.summary import launch_document, print_summary

    if json:
        print_json(launch_document(table, report, bundle, taken))
    else:
        print_summary(table, report, bundle, taken)
    if no_serve:
        return
    command = [sys.executable, "-m", "roadworthy", "serve", str(bundle.path)]
    command += ["--port", str(wanted.serve.port), "--host", wanted.serve.host]
    command += ["--project", project] if project else []
    command += ["-d", destination] if destination else []
    command += ["--quiet"] if json or quiet else []
    sys.stdout.flush()
    # A fresh process: the server holds nothing of training, neither its code nor its memory.
    os.execv(sys.executable, command)


def _load_training() -> None:
    with contextlib.suppress(Exception):  # what is missing is told where the import stands
        importlib.import_module("roadworthy.bundle.write")
