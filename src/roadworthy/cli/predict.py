"""`roadworthy predict`: score a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from roadworthy.cli.options import Json
from roadworthy.cli.output import print_json
from roadworthy.errors import InputError, OutsideError


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

    target = Path(output)
    if target.suffix not in (".csv", ".parquet"):
        raise InputError("the output must be a .csv or .parquet file", where=output)
    bundle = Bundle(model)
    answers = bundle.predict(data).with_row_index("row")
    draft = target.with_name(f".{target.name}.draft")
    try:
        if target.suffix == ".csv":
            answers.write_csv(draft)
        else:
            answers.write_parquet(draft)
        draft.replace(target)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise OutsideError(
            f"the answers cannot be written: {error.strerror or error}", where=output
        ) from None
    if json:
        print_json({"rows": answers.height, "output": output, "version": bundle.version})
    else:
        typer.echo(f"{answers.height:,} rows predicted by {bundle} into {output}")
