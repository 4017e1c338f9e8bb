"""`roadworthy models`: look at bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.markup import escape

from roadworthy.cli.options import Json
from roadworthy.cli.output import print_json
from roadworthy.contract import Contract, Target, describe

app = typer.Typer(help="Show and verify bundles.", no_args_is_help=True)
Folder = Annotated[str, typer.Argument(help="Folder of a bundle.")]


@app.command()
def verify(model: Folder, json: Json = False) -> None:
    """Recompute every digest of a bundle; exit code 1 when anything was changed.

    Example: `roadworthy models verify bundles/adult/3f2a9c017d55`
    """
    from roadworthy.bundle.manifest import verify as verify_bundle

    manifest, contents = verify_bundle(Path(model))
    if json:
        print_json({"verified": True, "version": manifest.version, "files": len(contents)})
    else:
        typer.echo(f"verified: {len(contents)} files of {manifest.name}:{manifest.version}")


@app.command()
def show(model: Folder, json: Json = False) -> None:
    """Show what a bundle is: task, columns, metrics, parity, files.

    Example: `roadworthy models show bundles/adult/3f2a9c017d55`
    """
    from roadworthy.bundle.manifest import verify as verify_bundle

    manifest, contents = verify_bundle(Path(model))
    report = msgspec.json.decode(contents["report.json"])
    if json:
        print_json({"manifest": manifest, "metrics": report["metrics"]})
        return
    console = Console(highlight=False)
    console.print(f"[bold]{escape(manifest.name)}[/] {manifest.version}")
    console.print(f"  {manifest.task}, {manifest.family}, made {manifest.created}")
    console.print(f"  measured on {report['rows']:,} held-out rows:")
    for name, estimate in report["metrics"].items():
        if estimate["value"] is not None:
            low, high = estimate.get("low"), estimate.get("high")
            interval = f"  [{low:.4g}, {high:.4g}]" if low is not None and high is not None else ""
            console.print(f"    {name}: {estimate['value']:.4g}{escape(interval)}")
    contract = msgspec.json.decode(contents["contract.json"], type=Contract)
    _print_decision(console, contract.target)
    console.print(f"  predicts {escape(contract.target.name)} from:")
    for column in contract.columns:
        console.print(f"    {escape(column.name)}: {describe(column)}")
    parity = msgspec.json.decode(contents["parity.json"])
    console.print("  parity with scikit-learn:")
    for way, found in parity["ways"].items():
        worst = f"{found['largest_difference']:.1g}"
        console.print(f"    {way}: {found['rows']:,} rows, largest difference {worst}")
    for name, entry in sorted(manifest.files.items()):
        console.print(f"  {entry.sha256[:12]}  {entry.size:>10,}  {name}")


def _print_decision(console: Console, target: Target) -> None:
    if target.threshold is not None:
        positive = escape(target.class_names[target.positive_code])
        console.print(
            f"  answers {positive} where its probability is {target.threshold:.4g} or more"
        )
    if target.interval is not None:
        console.print(f"  answers intervals that hold {target.interval.level:.4g} of true values")
