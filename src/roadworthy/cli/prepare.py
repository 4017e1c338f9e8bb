"""`roadworthy prepare`: what is done with each column, and the numbers that come of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from roadworthy.cli.files import check_frame_file, write_frame
from roadworthy.cli.options import Data, Destination, Json, ProjectFile, Query, Target
from roadworthy.cli.output import print_json
from roadworthy.errors import InputError
from roadworthy.project import load_project

if TYPE_CHECKING:
    from roadworthy.prepare.explain import ColumnExplanation
    from roadworthy.project import PrepareSection
    from roadworthy.table import Table


def prepare(
    data: Data = None,
    target: Target = None,
    query: Query = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Also say why, column by column.")
    ] = False,
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", help="CSV or Parquet file for the training matrix."),
    ] = None,
    project: ProjectFile = None,
    destination: Destination = None,
    json: Json = False,
) -> None:
    """Show how each column of a table becomes numbers; nothing is trained.

    Example: `roadworthy prepare adult.csv --target income --explain`
    """
    wanted = load_project(project, destination).override(
        "data", path=data if query else None, target=target, query=query
    )
    source = data or wanted.data.path
    if source is None:
        raise InputError("no table is named", fix="roadworthy prepare DATA --target COLUMN")
    if output is not None:
        check_frame_file(output)
    from roadworthy.prepare.explain import explain as explain_table
    from roadworthy.table import read_table

    table = read_table(source, project=wanted)
    columns = explain_table(table, wanted.prepare)
    if output is not None:
        _write_matrix(table, wanted.prepare, wanted.train.seed, output)
    if json:
        print_json({"source": table.source, "columns": msgspec.to_builtins(columns)})
        return
    _print(columns, explain)
    if output is not None:
        typer.echo(f"{len(table.training):,} training rows written to {output}")


def _write_matrix(table: Table, options: PrepareSection, seed: int, output: str) -> None:
    import polars as pl

    from roadworthy.prepare.fit import fit_encode

    training = table.training
    plan, matrix = fit_encode(training.frame, training.labels, table.contract, options, seed)
    names: list[str] = []
    for feature in plan.features:  # a column may be called as another one's feature is
        name = feature.name
        while name in names or name == table.target:
            name += " "
        names.append(name)
    frame = pl.DataFrame(matrix, schema=names)
    labels = pl.Series(training.labels)
    if table.classes:
        labels = pl.Series(list(table.classes)).gather(labels.cast(pl.Int64))
    write_frame(frame.with_columns(labels.alias(table.target)), output)


def _print(columns: tuple[ColumnExplanation, ...], explain: bool) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table as Grid

    console = Console(highlight=False)
    grid = Grid(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("column", "kind", "becomes", "a blank", "scale", "features"):
        grid.add_column(title, justify="right" if title == "features" else "left")
    for column in columns:
        becomes = escape(column.encoding) if column.used else "[yellow]left out[/]"
        count = str(len(column.features)) if column.used else ""
        blank = escape(column.blank)
        grid.add_row(escape(column.column), column.kind, becomes, blank, column.scale, count)
    console.print(grid)
    for column in columns:
        if explain or not column.used:
            console.print(f"\n[bold]{escape(column.column)}[/]", soft_wrap=True)
            for reason in column.reasons:
                console.print(f"  {escape(reason)}", soft_wrap=True)
    width = sum(len(column.features) for column in columns)
    used = sum(column.used for column in columns)
    console.print(f"\n{used} of {len(columns)} columns become {width} numbers a row.")
