"""`roadworthy monitor watch`: say what changes, as it changes."""

from __future__ import annotations

import datetime
import sys
import time
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console

from roadworthy.cli.monitor.report import Against, Store, look, open_model, told
from roadworthy.cli.options import Destination, Json, Model, ProjectFile
from roadworthy.project import load_project, parse_duration

if TYPE_CHECKING:
    from roadworthy.monitor.findings import Finding


def watch(
    model: Model,
    store: Store = None,
    against: Against = None,
    every: Annotated[str, typer.Option("--every", help="How often to look.")] = "60s",
    times: Annotated[
        int | None, typer.Option("--times", help="Look so many times, then end.", min=1)
    ] = None,
    project: ProjectFile = None,
    destination: Destination = None,
    json: Json = False,
) -> None:
    """Look again and again; each finding is told once when it begins and once when it ends.

    Example: `roadworthy monitor watch churn@production --every 5m`
    """
    wanted = load_project(project, destination).override("monitor", counts=store, against=against)
    bundle, pause = open_model(model, wanted), parse_duration(every, "--every")
    console = Console(highlight=False, soft_wrap=True, emoji=False)
    open_before: dict[tuple[str, str], Finding] = {}
    looked = 0
    while True:
        inspection = look(bundle, wanted, None)
        found: dict[tuple[str, str], Finding] = {
            (one.kind, one.subject): one for one in inspection.findings
        }
        news = [("begins", found[key]) for key in found if key not in open_before]
        news += [("ends", open_before[key]) for key in open_before if key not in found]
        for state, finding in news:
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            if json:
                line = {"time": now, "state": state, **msgspec.to_builtins(finding)}
                sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
                sys.stdout.flush()
            else:
                console.print(f"{now} {state}: {told(finding)}")
        open_before = found
        looked += 1
        if looked == times:
            return
        time.sleep(pause)
