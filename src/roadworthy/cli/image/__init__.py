"""`roadworthy image`: the container image of a model."""

from __future__ import annotations

import typer

from roadworthy.cli.image import building, compose, pushing, scanning, testing

app = typer.Typer(
    help="Build, test, push and scan a container image that serves a model.",
    no_args_is_help=True,
)
app.command("build")(building.build)
app.command("test")(testing.test)
app.command("push")(pushing.push)
app.command("scan")(scanning.scan)
app.command("compose")(compose.compose)
