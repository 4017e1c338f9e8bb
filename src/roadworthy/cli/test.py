"""`roadworthy test`: whether a bundle has earned its way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from roadworthy.cli.files import write_file
from roadworthy.cli.measures import print_measures
from roadworthy.cli.options import AnyModel, Destination, Json, ProjectFile, Quiet
from roadworthy.cli.output import print_json
from roadworthy.project import load_project

if TYPE_CHECKING:
    from roadworthy.evaluate.verdict import Verdict

_MARKS = {
    "pass": "[green]✓ pass[/]",
    "fail": "[red]✗ fail[/]",
    "undecided": "[yellow]? not enough evidence[/]",
}
_SHOWN = 12


def test(
    bundle: AnyModel = None,
    data: Annotated[
        str | None, typer.Option("--data", help="New labelled data: CSV or Parquet file.")
    ] = None,
    url: Annotated[
        str | None,
        typer.Option("--url", help="Ask the server at this address in place of this process."),
    ] = None,
    champion: Annotated[
        str | None,
        typer.Option("--champion", help="Bundle in production, to compare with on --data."),
    ] = None,
    expected: Annotated[
        str | None,
        typer.Option(
            "--expected", help="Rows with expected predictions; else tests/expected.csv if there."
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option("--reference", help="Training rows: can --data be told from them?"),
    ] = None,
    junit: Annotated[str | None, typer.Option("--junit", help="Write JUnit XML.")] = None,
    markdown: Annotated[
        str | None, typer.Option("--markdown", help="Write a summary for a pull request.")
    ] = None,
    html: Annotated[str | None, typer.Option("--html", help="Write the report as a page.")] = None,
    project: ProjectFile = None,
    destination: Destination = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Test a bundle: golden rows, expected predictions, behaviour, costs and the gates.

    Exit code 1 when a gate stops it. With --data on new labelled rows, else on what it holds.

    Example: `roadworthy test bundles/adult/3f2a9c017d55 --data june.csv --html report.html`
    """
    from roadworthy.acceptance import accept, resolve
    from roadworthy.evaluate.page import render_junit, render_markdown, render_page

    wanted = load_project(project, destination)
    verdict = accept(
        resolve(bundle, wanted),
        data,
        wanted,
        champion=champion,
        url=url,
        expected=expected,
        reference=reference,
    )
    writers: list[tuple[str | None, Callable[[Verdict], str]]] = [
        (junit, render_junit),
        (markdown, render_markdown),
        (html, render_page),
    ]
    for path, render in writers:
        if path is not None:
            write_file(Path(path), render(verdict))
    if json:
        print_json(verdict)
    elif not quiet:
        print_verdict(verdict)
    if not verdict.passed:
        raise typer.Exit(1)


def print_verdict(verdict: Verdict) -> None:
    """Show a verdict to people."""
    console = Console(highlight=False)
    word = "[green]passes[/]" if verdict.passed else "[red]is stopped[/]"
    name = f"{verdict.name}:{verdict.version[:12]}"
    console.print(f"\n[bold]{escape(name)}[/] {word}")
    console.print(f"  asked {escape(verdict.asked)}, measured on {escape(verdict.data)}")
    _print_findings(console, verdict)
    report = verdict.report
    if report is not None:
        print_measures(console, report, f"on {report.rows:,} rows")
        for found in report.found[:3]:
            if found.confirmed:
                where = escape(" and ".join(found.conditions))
                console.print(
                    f"  [yellow]weak:[/] {where}: {found.metric} {escape(str(found.estimate))}"
                )
    failed = [entry for entry in verdict.tests if not entry.passed]
    console.print(f"  {len(verdict.tests) - len(failed)} of {len(verdict.tests)} tests hold")
    for entry in failed:
        console.print(
            f"  [red]fails:[/] {escape(entry.name)}: {entry.failures} of {entry.rows} rows "
            f"{escape(f'({entry.note or entry.expectation})')}"
        )
        for example in entry.examples[:1]:
            shown = f"row {example.row}, changed {example.change}: {example.before} -> "
            console.print(f"    {escape(shown)}{escape(str(example.after))}")
    grid = Grid(box=None, padding=(0, 2), header_style="bold")
    for column in ("", "gate", "asked", "why"):
        grid.add_column(column, overflow="fold")
    for check in verdict.checks:
        grid.add_row(
            _MARKS[check.outcome], escape(check.name), escape(check.rule), escape(check.reason)
        )
    console.print(grid)
    undecided = sum(check.outcome == "undecided" for check in verdict.checks)
    if undecided:
        console.print(
            f"  not enough evidence counts as {verdict.undecided} "
            f"{escape('([gates] undecided)')}: {undecided} gates"
        )


def _print_findings(console: Console, verdict: Verdict) -> None:
    shown = [entry for entry in verdict.findings if entry.kind != "extra"]
    for entry in shown[:_SHOWN]:
        first = f", first row {entry.first[0]}" if entry.first else ""
        console.print(
            f"  [yellow]{entry.kind}:[/] {escape(entry.column)}: {escape(entry.what)} "
            f"({entry.rows:,} of {verdict.rows_read:,} rows{first})"
        )
    if len(shown) > _SHOWN:
        console.print(f"  … {len(shown) - _SHOWN} more departures from the contract")
