"""`roadworthy plan-capacity`: replicas, memory and price for a load."""

from __future__ import annotations

import re
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from roadworthy.cli.options import AnyModel, Destination, Json, ProjectFile
from roadworthy.cli.output import print_json
from roadworthy.errors import InputError
from roadworthy.project import load_project

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


def plan_capacity(
    model: AnyModel = None,
    *,
    rps: Annotated[float, typer.Option("--rps", help="Requests of one row a second, at the peak.")],
    p99: Annotated[str, typer.Option("--p99", help="Time in which 99 % are answered: 10ms.")],
    network: Annotated[
        str, typer.Option("--network", help="Of this time, the way there and back.")
    ] = "1ms",
    zones: Annotated[
        int, typer.Option("--zones", help="Zones; the promise holds when one is lost.")
    ] = 1,
    workers: Annotated[int, typer.Option("--workers", help="Workers, and cores, a replica.")] = 1,
    most_busy: Annotated[
        float, typer.Option("--most-busy", help="Share of its time that a worker may be busy.")
    ] = 0.7,
    core_hour: Annotated[
        float | None, typer.Option("--core-hour", help="Your price of a core for an hour.")
    ] = None,
    gb_hour: Annotated[
        float | None, typer.Option("--gb-hour", help="Your price of a gigabyte for an hour.")
    ] = None,
    microseconds: Annotated[
        float | None,
        typer.Option("--microseconds", help="Processor time a request, instead of measuring it."),
    ] = None,
    memory: Annotated[
        float | None, typer.Option("--memory", help="Megabytes a worker, beside --microseconds.")
    ] = None,
    project: ProjectFile = None,
    destination: Destination = None,
    json: Json = False,
) -> None:
    """Measure what a request costs one core here, and say what a load takes.

    Example: `roadworthy plan-capacity adult@production --rps 50000 --p99 10ms --zones 3`
    """
    from roadworthy.acceptance import resolve
    from roadworthy.deploy.capacity import Cost, Wish, measure, simulate
    from roadworthy.deploy.capacity import plan_capacity as plan

    wish = Wish(
        rps, _seconds(p99, "--p99"), _seconds(network, "--network"), zones, most_busy, workers,
        core_hour, gb_hour,
    )  # fmt: skip
    wish.check()
    wanted = load_project(project, destination)
    bundle = resolve(model, wanted)
    if microseconds is not None:
        cost = Cost(microseconds, memory or 128.0, 0, 0)
    else:
        cost = measure(bundle)
    capacity = plan(wish, cost)
    simulated = {
        kind: wish.network
        + simulate(rps, capacity.replicas * workers, cost.microseconds, service=kind)
        for kind in ("exponential", "constant")
    }
    found = {"cost": cost._asdict(), "plan": capacity._asdict(), "simulated_p99": simulated}
    if json:
        print_json(found)
        return
    table = Table(show_header=False, box=None, padding=(0, 2))
    rows = {
        "a request costs": f"{cost.microseconds:,.0f} µs of one core"
        + ("" if microseconds else ", measured here"),
        "replicas": f"{capacity.replicas:,} of {capacity.workers} worker(s) and "
        f"{capacity.memory_mb:,} MB; {capacity.survives:,} may be lost",
        "a worker": f"{capacity.rps_each:,.0f} requests/s, {capacity.busy:.0%} busy",
        "99 % within": f"{capacity.p99 * 1e3:.2f} ms by the formula; simulated "
        f"{simulated['exponential'] * 1e3:.2f} ms, {simulated['constant'] * 1e3:.2f} ms when all "
        "requests cost the same",
        "held down by": {"p99": "the time promised", "busy": "--most-busy"}[capacity.bound_by],
    }
    if cost.sent_bytes:
        rows["traffic a day"] = (
            f"{capacity.sent_gb_day:,.0f} GB in and {capacity.received_gb_day:,.0f} GB out, "
            "at this rate all day"
        )
    if capacity.monthly is not None:
        rows["price a month"] = f"{capacity.monthly:,.0f} by the prices given"
    for name, text in rows.items():
        table.add_row(f"[bold]{name}[/]", text)
    Console(highlight=False).print(table)


def _seconds(text: str, option: str) -> float:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(us|ms|s)\s*", text)
    if found is None:
        raise InputError(f"{text!r} is no time", where=option, fix="for example 10ms or 0.5s")
    return float(found[1]) * _UNITS[found[2]]
