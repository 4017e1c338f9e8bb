"""`roadworthy predict`: score a file."""

from __future__ import annotations

from typing import Annotated

import typer

from roadworthy.cli.files import check_frame_file, write_frame
from roadworthy.cli.options import Destination, Json, ProjectFile
from roadworthy.cli.output import print_json
from roadworthy.project import load_project


def predict(
    data: Annotated[str, typer.Argument(help="CSV or Parquet file of rows.")],
    model: Annotated[
        str, typer.Option("--model", help="A bundle's path, or name, name:version, name@alias.")
    ],
    output: Annotated[
        str, typer.Option("-o", "--output", help="CSV or Parquet file to write.")
    ] = "predictions.csv",
    project: ProjectFile = None,
    destination: Destination = None,
    json: Json = False,
) -> None:
    """Predict every row of a file and write the answers beside their row numbers.

    Example: `roadworthy predict new.csv --model bundles/adult/3f2a9c017d55 -o scored.csv`
    """
    from roadworthy.bundle import Bundle
    from roadworthy.registry import resolve

    check_frame_file(output)
    wanted = load_project(project, destination)
    bundle = Bundle(resolve(model, wanted), trusted_keys=wanted.registry.trusted_keys)
    answers = bundle.predict(data).with_row_index("row")
    write_frame(answers, output)
    if json:
        print_json({"rows": answers.height, "output": output, "version": bundle.version})
    else:
        typer.echo(f"{answers.height:,} rows predicted by {bundle} into {output}")
