"""The options that verbs share."""

from __future__ import annotations

from typing import Annotated

import typer

ProjectFile = Annotated[
    str | None,
    typer.Option(
        "--project", help="Project file; without it roadworthy.toml of this folder, if any."
    ),
]
Destination = Annotated[
    str | None,
    typer.Option("-d", "--destination", help="Overlay roadworthy.NAME.toml on the project file."),
]
Model = Annotated[
    str, typer.Argument(help="A bundle's path, or name, name:version, name@alias in the registry.")
]
AnyModel = Annotated[
    str | None,
    typer.Argument(
        help="Path, name, name:version or name@alias; else the newest of \\[package] directory."
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document; logs go to standard error.")
]
Data = Annotated[
    str | None,
    typer.Argument(
        help="CSV (.gz too) or Parquet file; postgresql://HOST/DB#TABLE, sqlite:///FILE#TABLE; "
        "else \\[data] path."
    ),
]
Query = Annotated[
    str | None,
    typer.Option("--query", help="SELECT that is read, where the address names no table."),
]
Target = Annotated[
    str | None, typer.Option("--target", help="The column to predict; else \\[data] target.")
]
Budget = Annotated[
    str | None, typer.Option("--budget", help="Time for the whole job: 60s, 5m. Default 60s.")
]
ModelName = Annotated[str | None, typer.Option("--name", help="The model's name.")]
Out = Annotated[str | None, typer.Option("--out", help="Folder for bundles. Default bundles.")]
Group = Annotated[
    str | None, typer.Option("--group", help="Column whose groups must not be torn apart.")
]
TimeColumn = Annotated[
    str | None, typer.Option("--time", help="Column of time: the newest rows are held out.")
]
SplitPolicy = Annotated[
    str | None, typer.Option("--split", help="random, group or time; else as dates suggest.")
]
Seed = Annotated[int | None, typer.Option("--seed", help="Default 0.")]
Champion = Annotated[
    str | None,
    typer.Option("--champion", help="Bundle in production, to compare with on the holdout."),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress.")]
