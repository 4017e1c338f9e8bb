"""`roadworthy image test`: whether an image may be released, asked while it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from roadworthy.cli.files import write_file
from roadworthy.cli.image.options import Engine, Tag
from roadworthy.cli.options import Destination, Json, Model, ProjectFile, Quiet
from roadworthy.cli.output import print_json
from roadworthy.cli.test import print_verdict
from roadworthy.errors import InputError
from roadworthy.project import load_project

if TYPE_CHECKING:
    from roadworthy.evaluate.verdict import Verdict


def test(
    model: Model,
    tag: Tag,
    engine: Engine = None,
    junit: Annotated[str | None, typer.Option("--junit", help="Write JUnit XML.")] = None,
    markdown: Annotated[
        str | None, typer.Option("--markdown", help="Write a summary for a pull request.")
    ] = None,
    project: ProjectFile = None,
    destination: Destination = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Start the container with every restriction, and test it: exit code 1 when it fails.

    Readiness, restrictions, golden rows, gates, dialects, latency, memory, SIGTERM, a restart.

    Example: `roadworthy image test adult@champion --tag registry.example/team/adult:1`
    """
    from roadworthy.acceptance import resolve
    from roadworthy.evaluate.page import render_junit, render_markdown
    from roadworthy.image import find_engine
    from roadworthy.image.testing import test_image

    wanted = load_project(project, destination).override("image", engine=engine)
    if wanted.image.engine in ("buildah", "none"):
        raise InputError(
            f"{wanted.image.engine} builds and cannot run",
            where="image.engine",
            fix="--engine docker or --engine podman",
        )
    runner = find_engine(wanted.image.engine)
    verdict = test_image(tag, resolve(model, wanted), wanted, engine=runner.name)
    writers: list[tuple[str | None, Callable[[Verdict], str]]] = [
        (junit, render_junit),
        (markdown, render_markdown),
    ]
    for path, render in writers:
        if path is not None:
            write_file(Path(path), render(verdict))
    if json:
        print_json(verdict)
    elif not quiet:
        print_verdict(verdict)
    if not verdict.passed:
        raise typer.Exit(1)
