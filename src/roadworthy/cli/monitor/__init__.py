"""`roadworthy monitor`: what served models see and say."""

from __future__ import annotations

import typer

from roadworthy.cli.monitor import alarms, report, watch

app = typer.Typer(name="monitor", help="What served models see and say.", no_args_is_help=True)
app.command("report")(report.report)
app.command("watch")(watch.watch)
app.command("alarms")(alarms.alarms)
app.command("export")(alarms.export)
