"""`roadworthy feedback`: what turned out to be true."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from roadworthy.cli.options import Destination, Json, ProjectFile
from roadworthy.cli.output import print_json
from roadworthy.errors import InputError
from roadworthy.project import Project, load_project

if TYPE_CHECKING:
    from roadworthy.monitor.feedback import LabelStore


def feedback(
    file: Annotated[
        str | None, typer.Argument(help="CSV, Parquet or .jsonl file of request_id and label.")
    ] = None,
    label: Annotated[
        str, typer.Option("--label", help="The label's column; the target's name, for example.")
    ] = "label",
    store: Annotated[
        str | None, typer.Option("--store", help="sqlite:///FILE or postgresql://…")
    ] = None,
    project: ProjectFile = None,
    destination: Destination = None,
    json: Json = False,
) -> None:
    """Keep labels, from a file and from what servers were sent by POST /feedback.

    A label belongs to a predicted row by request_id and row (0 when there is none). The same file
    may be given again; of several labels for a row the latest by time counts.

    Example: `roadworthy feedback outcomes.csv --label churned`
    """
    from roadworthy.monitor.feedback import open_labels, read_labels

    wanted = load_project(project, destination).override("monitor", labels=store)
    folder = wanted.serve.feedback_folder
    if file is None and folder is None:
        raise InputError("no labels are named", fix="roadworthy feedback FILE")
    labels = [] if file is None else list(read_labels(file, label=label))
    with open_labels(wanted) as opened:  # a bad file changes nothing
        kept = opened.add(labels)
        if folder is not None:
            kept += opened.collect(Path(folder))
        found: dict[str, Any] = {**kept._asdict(), "labels": len(opened), "store": opened.shown}
        found |= _unknown(opened, wanted)
    if json:
        print_json(found)
        return
    typer.echo(
        f"{kept.new:,} new labels, {kept.corrected:,} corrected, {kept.known:,} known already; "
        f"{found['labels']:,} in {found['store']}"
    )
    if found.get("unknown_ids"):
        typer.echo(
            f"{found['unknown_ids']:,} labels belong to no logged prediction; they are kept, and "
            "joined when the log has it"
        )


def _unknown(store: LabelStore, project: Project) -> dict[str, int]:
    """How many labels have a logged prediction, where there is a log."""
    folder = project.serve.log_folder
    if folder is None or not Path(folder).is_dir():
        return {}
    from roadworthy.serve.prediction_log import read

    logged = {(entry.request_id, entry.row) for entry in read(folder)}
    keys = store.frame().select("request_id", "row").iter_rows()
    joined = sum(key in logged for key in keys)
    return {"joined": joined, "unknown_ids": len(store) - joined}
