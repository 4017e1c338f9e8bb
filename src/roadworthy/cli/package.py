"""`roadworthy package`: a bundle of a model that was fitted elsewhere."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from roadworthy.cli.options import Destination, Json, ModelName, Out, ProjectFile, Quiet, Target
from roadworthy.cli.output import print_json
from roadworthy.errors import InputError
from roadworthy.project import load_project


def package(
    model: Annotated[
        str | None,
        typer.Argument(help=".onnx, .joblib, .pkl or .skops file, or an MLflow model's folder."),
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", help="Sample rows with the target: CSV or Parquet.")
    ] = None,
    target: Target = None,
    allow_pickle: Annotated[
        bool,
        typer.Option(
            "--allow-pickle", help="Open a pickle or joblib file, which runs the code in it."
        ),
    ] = False,
    name: ModelName = None,
    out: Out = None,
    project: ProjectFile = None,
    destination: Destination = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Package a fitted scikit-learn model or pipeline, LightGBM, XGBoost, CatBoost or ONNX.

    Its answers are compared with the bundle's on the sample and on hostile rows; what differs is
    not packaged. `train` and `launch` package their own models.

    Example: `roadworthy package model.skops --data sample.csv --target income`
    """
    wanted = (
        load_project(project, destination)
        .override("project", name=name)
        .override("data", target=target)
        .override("package", directory=out)
    )
    if model is None:
        raise InputError(
            "no model is named; train and launch package what they train",
            fix="roadworthy package MODEL --data SAMPLE --target COLUMN",
        )
    data = data or wanted.data.path
    if data is None:
        raise InputError(
            "no sample is named: the contract is learned from it, and the model measured on it",
            fix="--data SAMPLE, rows as the model was fitted on, with the target",
        )
    from roadworthy.acceptance import gate_bundle
    from roadworthy.bundle.foreign import package_foreign
    from roadworthy.bundle.foreign.opening import open_model

    options = wanted.package
    opened = open_model(Path(model), allow_pickle=allow_pickle, trusted_types=options.trusted_types)
    bundle = package_foreign(
        opened,
        data,
        project=wanted,
        formats=options.formats,
        directory=options.directory,
        signing_key=wanted.registry.signing_key,
        trusted_types=options.trusted_types,
        gate=functools.partial(gate_bundle, project=wanted) if wanted.gates.any else None,
    )
    report, parity = bundle.report, bundle.parity
    if json:
        print_json({"path": str(bundle.path), "manifest": bundle.manifest, "parity": parity,
                    "metrics": report["metrics"]})  # fmt: skip
        return
    if quiet:
        typer.echo(bundle.path)
        return
    console = Console(highlight=False, soft_wrap=True)
    manifest = bundle.manifest
    console.print(f"[bold]{escape(manifest.name)}[/] {manifest.short_version}, {manifest.family}")
    worst = max(way["largest_difference"] for way in parity["ways"].values())
    console.print(
        f"  proven in {len(parity['ways'])} ways on {parity['holdout_rows']:,} sample and "
        f"{parity['generated_rows']:,} generated rows: largest difference {worst:.1g}"
    )
    for what, why in parity["refused"].items():
        console.print(f"  [yellow]without[/] {escape(what)}: {escape(why)}")
    for column in bundle.contract.columns:
        said = {"blanks": column.on_blank, "unseen levels": column.on_unseen}
        refused = " and ".join(what for what, done in said.items() if done == "error")
        if refused:
            console.print(f"  {escape(column.name)}: {refused} are refused, as by the model")
    console.print(f"  roadworthy serve {escape(str(bundle.path))}")
