"""`roadworthy deploy`: put a model on a host, look after it, take it away."""

from __future__ import annotations

import typer

from roadworthy.cli.deploy import changing, looking, orphans, verify

app = typer.Typer(
    help="Deploy to hosts: plan, apply, look, roll back, destroy.", no_args_is_help=True
)
app.command("plan")(looking.plan)
app.command("apply")(changing.apply)
app.command("status")(looking.status)
app.command("logs")(looking.logs)
app.command("rollback")(changing.rollback)
app.command("destroy")(changing.destroy)
app.command("orphans")(orphans.orphans)
app.command("verify")(verify.verify)
app.command("export")(looking.export)
