"""`roadworthy monitor watch`: say what changes, as it changes."""

from __future__ import annotations

import datetime
import os
import sys
import time
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console

from roadworthy.cli.advise import LogOption
from roadworthy.cli.files import write_file
from roadworthy.cli.monitor.report import Against, Store, look, open_model, told
from roadworthy.cli.options import AnyModel, Destination, Json, ProjectFile
from roadworthy.errors import RoadworthyError
from roadworthy.project import Project, load_project, parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from roadworthy.bundle import Bundle
    from roadworthy.monitor.findings import Finding
    from roadworthy.monitor.overview import Overview


def watch(
    model: AnyModel = None,
    store: Store = None,
    against: Against = None,
    log: LogOption = None,
    every: Annotated[str, typer.Option("--every", help="How often to look.")] = "60s",
    times: Annotated[
        int | None, typer.Option("--times", help="Look so many times, then end.", min=1)
    ] = None,
    project: ProjectFile = None,
    destination: Destination = None,
    json: Json = False,
) -> None:
    """Look again and again; each finding is told once when it begins and once when it ends.

    What is known lies in the folder of the counts as a page, that the server's dashboard shows.

    Example: `roadworthy monitor watch churn@production --every 5m`
    """
    wanted = load_project(project, destination).override("monitor", counts=store, against=against)
    from roadworthy.cli.monitor.looking import overview

    bundle, pause = open_model(model, wanted), parse_duration(every, "--every")
    send = sender(bundle, wanted, log)
    console = Console(highlight=False, soft_wrap=True, emoji=False)
    open_before: dict[tuple[str, str], Finding] = {}
    looked = 0
    while True:
        try:
            known = overview(bundle, wanted, look(bundle, wanted, None), log)
            leave_page(wanted, known)
            inspection = known.inspection
            send(known)
        except RoadworthyError as error:
            if not looked or times is not None:
                raise
            print(f"cannot look now: {error.what}", file=sys.stderr, flush=True)
            time.sleep(pause)
            continue
        found: dict[tuple[str, str], Finding] = {
            (one.kind, one.subject): one for one in inspection.findings
        }
        news = [("begins", found[key]) for key in found if key not in open_before]
        news += [("ends", open_before[key]) for key in open_before if key not in found]
        for state, finding in news:
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            if json:
                line = {"time": now, "state": state, **msgspec.to_builtins(finding, enc_hook=float)}
                sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
                sys.stdout.flush()
            else:
                console.print(f"{now} {state}: {told(finding)}")
        open_before = found
        looked += 1
        if looked == times:
            return
        time.sleep(pause)


def leave_page(wanted: Project, known: Overview) -> None:
    """Leave the page where the server's dashboard finds it; a full disk does not stop the watch."""
    from roadworthy.monitor.page import render_overview
    from roadworthy.observe.store import WindowStore

    place = WindowStore(wanted.monitor.counts or ".").page(known.inspection.model)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_file(place, render_overview(known))
    except (OSError, RoadworthyError) as error:
        print(f"the dashboard's page stays as it was: {error}", file=sys.stderr, flush=True)


def sender(bundle: Bundle, wanted: Project, log: str | None) -> Callable[[Overview], None]:
    """What sends metrics to the places of `[monitor] push`, and says so when one takes none."""
    from roadworthy.cli.monitor.looking import known_samples, push
    from roadworthy.monitor.service import ServiceMeter

    options = wanted.monitor
    meter = None
    if options.scrape is not None:
        key = os.environ.get("ROADWORTHY_API_KEY")
        meter = ServiceMeter(options.scrape, bundle.manifest.name, key)

    def send(known: Overview) -> None:
        if not options.push:
            return
        found = known_samples(bundle, wanted, known.situation, known.inspection.findings, log)
        service = [] if meter is None else meter.look()
        for to in options.push:
            try:  # collectors get the server's own counters from the server
                push(wanted, to, [*found, *(service if to in ("cloudwatch", "azure") else [])])
            except RoadworthyError as error:
                print(error.what, file=sys.stderr, flush=True)

    return send
