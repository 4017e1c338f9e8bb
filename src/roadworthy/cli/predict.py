"""`roadworthy predict`: score a file."""

from __future__ import annotations

from typing import Annotated

import typer

from roadworthy.cli.files import check_frame_file, write_frame
from roadworthy.cli.options import Json
from roadworthy.cli.output import print_json


def predict(
    data: Annotated[str, typer.Argument(help="CSV or Parquet file of rows.")],
    model: Annotated[str, typer.Option("--model", help="Folder of a bundle.")],
    output: Annotated[
        str, typer.Option("-o", "--output", help="CSV or Parquet file to write.")
    ] = "predictions.csv",
    json: Json = False,
) -> None:
    """Predict every row of a file and write the answers beside their row numbers.

    Example: `roadworthy predict new.csv --model bundles/adult/3f2a9c017d55 -o scored.csv`
    """
    from roadworthy.bundle import Bundle

    check_frame_file(output)
    bundle = Bundle(model)
    answers = bundle.predict(data).with_row_index("row")
    write_frame(answers, output)
    if json:
        print_json({"rows": answers.height, "output": output, "version": bundle.version})
    else:
        typer.echo(f"{answers.height:,} rows predicted by {bundle} into {output}")
