"""`roadworthy models`: look at bundles, and keep them in the registry."""

from __future__ import annotations

import typer

from roadworthy.cli.models import exchange, look, versions

app = typer.Typer(
    help="Show and verify bundles; keep, name, promote and compare versions.",
    no_args_is_help=True,
)
app.command("list")(versions.list_versions)
app.command("show")(look.show)
app.command("verify")(look.verify)
app.command("sign")(look.sign)
app.command("diff")(look.diff)
app.command("register")(versions.register)
app.command("promote")(versions.promote)
app.command("rollback")(versions.rollback)
app.command("tag")(versions.tag)
app.command("history")(versions.history)
app.command("gc")(versions.gc)
app.command("export")(exchange.export)
app.command("import")(exchange.import_)
