"""`roadworthy predict`: score a file, or many, or those that are larger than memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from roadworthy.cli.files import check_frame_file, write_frame
from roadworthy.cli.options import Destination, Json, ProjectFile, Query, Quiet
from roadworthy.cli.output import counted, print_json
from roadworthy.errors import InputError
from roadworthy.project import load_project
from roadworthy.project.data import is_database

if TYPE_CHECKING:
    from roadworthy.bundle import Bundle


def predict(
    data: Annotated[
        list[str],
        typer.Argument(
            help="CSV or Parquet files: paths, globs, folders, s3://, gs:// and az:// addresses; "
            "postgresql://HOST/DB#TABLE, sqlite:///FILE#TABLE."
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="Path, name, name:version, name@alias; else the newest of \\[package] directory.",
        ),
    ] = None,
    output: Annotated[
        str,
        typer.Option(
            "-o", "--output", help="CSV or Parquet file to write; or a folder or address, by parts."
        ),
    ] = "predictions.csv",
    engine: Annotated[
        Literal["local", "ray"], typer.Option("--engine", help="What runs the parts.")
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            "--address", help="Ray cluster. Default RAY_ADDRESS, else one on this machine."
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes. Default: one a core.")
    ] = None,
    format: Annotated[  # noqa: A002 (the option's name)
        Literal["parquet", "csv"], typer.Option("--format", help="Of the parts in a folder.")
    ] = "parquet",
    bad_rows: Annotated[
        Literal["stop", "reject"],
        typer.Option("--bad-rows", help="Stop at a row that breaks the contract, or list it."),
    ] = "stop",
    keep: Annotated[
        list[str] | None, typer.Option("--keep", help="Column to write beside the predictions.")
    ] = None,
    partition_mb: Annotated[
        float, typer.Option("--partition-mb", min=0.001, help="Megabytes of input in a part.")
    ] = 16.0,
    query: Query = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin anew in a folder that holds another run.")
    ] = False,
    project: ProjectFile = None,
    destination: Destination = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Predict every row of files and write the answers beside their row numbers.

    A file as output takes one file as input. A folder or an address takes any number of any
    size: they are scored part by part, and the same command goes on where a killed one was.

    Example: `roadworthy predict new.csv --model bundles/adult/3f2a9c017d55 -o scored.csv`

    Example: `roadworthy predict postgresql://db/shop#orders --keep id -o scored.csv`

    Example: `roadworthy predict 's3://lake/2026/*.parquet' --model adult@production -o s3://lake/scored`
    """
    from roadworthy.acceptance import resolve

    _refuse_models(data, model)
    in_parts = _in_parts(data, output, engine)
    if not in_parts:
        check_frame_file(output)
    wanted = load_project(project, destination)
    bundle = resolve(model, wanted)
    if not in_parts:
        _predict_file(data[0], bundle, output, keep or (), query, json=json)
        return
    from roadworthy.batch import predict_files

    with counted(quiet=quiet or json) as report:
        result = predict_files(
            data, bundle, output, engine=engine, format=format, bad_rows=bad_rows,
            keep=keep or (), workers=workers, address=address, partition_mb=partition_mb,
            overwrite=overwrite, query=query, report=report,
        )  # fmt: skip
    if json:
        print_json(result._asdict())
        return
    more = f", {result.rejected:,} of them rejected" if result.rejected else ""
    typer.echo(f"{result.rows:,} rows{more}, by {bundle}, in {result.parts:,} parts of {output}")


def _refuse_models(data: list[str], model: str | None) -> None:
    """Tell who names the model first, as with other verbs, what goes where.

    Raises:
        InputError: One of the tables is a bundle, or a name of one (`name@alias`).
    """
    for path in data:
        manifests = ("manifest.json", "*/manifest.json")  # a version, a folder of versions
        bundle = path.endswith(".rwb") or any(
            next(Path(path).glob(wild), None) for wild in manifests if Path(path).is_dir()
        )
        alias = "@" in path and "://" not in path and not Path(path).exists()
        if (bundle or alias) and model is None:
            tables = " ".join(other for other in data if other != path) or "DATA"
            raise InputError(
                "a model stands where the table is expected",
                where=path,
                fix=f"roadworthy predict {tables} --model {path}",
            )


def _in_parts(data: list[str], output: str, engine: str) -> bool:
    """Whether the output is a folder or an address and not a file.

    Raises:
        InputError: The output is a file and there are many inputs, or a cluster is to write it.
    """
    suffix = Path(output).suffix
    if "://" in output or output.endswith("/") or not suffix or Path(output).is_dir():
        return True
    if suffix not in (".csv", ".parquet"):
        return False  # refused as a file's name
    wild = any(letter in path for path in data for letter in "*?[") and not Path(data[0]).exists()
    address = "://" in data[0] and not is_database(data[0])
    if len(data) > 1 or wild or address or Path(data[0]).is_dir() or engine == "ray":
        raise InputError(
            "many files, addresses and clusters write to a folder, not to one file",
            where=output,
            fix="name a folder or an address: -o scored/",
        )
    return False


def _predict_file(
    data: str, bundle: Bundle, output: str, keep: Sequence[str], query: str | None, *, json: bool
) -> None:
    from roadworthy.batch.predicting import check_keep
    from roadworthy.bundle.frames import predict_frame
    from roadworthy.table.file_names import shown_name

    check_keep(bundle, keep)
    answers = predict_frame(bundle, data, keep=keep, query=query).with_row_index("row")
    write_frame(answers, output)
    if json:
        file = shown_name(output)
        print_json({"rows": answers.height, "output": file, "version": bundle.version})
    else:
        typer.echo(f"{answers.height:,} rows predicted by {bundle} into {output}")
