"""`roadworthy pipeline github|gitlab|jenkins`: the files for CI, and whether they are current."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape

from roadworthy.cli.options import Destination, Json, ProjectFile
from roadworthy.cli.output import print_json
from roadworthy.errors import InputError
from roadworthy.project import load_project

if TYPE_CHECKING:
    from roadworthy.pipeline.writing import Change, Checked


def pipeline(
    system: Annotated[
        Literal["github", "gitlab", "jenkins"], typer.Argument(help="Whose files to write.")
    ],
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; say what differs and is unsafe.")
    ] = False,
    trust: Annotated[
        Literal["aws", "azure", "gcp"] | None,
        typer.Option("--trust", help="Print what a cloud must be told, to trust the pipeline."),
    ] = None,
    repository: Annotated[
        str | None,
        typer.Option("--repository", help="For --trust: OWNER/NAME; in Jenkins the job's address."),
    ] = None,
    environment: Annotated[
        str | None,
        typer.Option("--environment", help="For --trust: staging or production; else the branch."),
    ] = None,
    issuer: Annotated[
        str | None,
        typer.Option("--issuer", help="For --trust: the address of your own GitLab or Jenkins."),
    ] = None,
    account: Annotated[
        str | None,
        typer.Option("--account", help="For --trust: AWS account, or number of Google's project."),
    ] = None,
    project: ProjectFile = None,
    destination: Destination = None,
    json: Json = False,
) -> None:
    """Write the files for CI, from the project's stages; what you changed stays yours.

    With --check nothing is written: exit code 1 says that a file is not what the project asks for,
    or breaks a rule.

    Example: `roadworthy pipeline github`
    """
    from roadworthy.pipeline import SYSTEMS, write
    from roadworthy.pipeline import check as look
    from roadworthy.pipeline.repository import repository_warnings

    wanted = load_project(project, destination)
    folder = Path(project).parent if project else Path()
    if trust is not None:
        from roadworthy.deploy.cloud.trust import trust_document

        if repository is None:
            raise InputError("whom to trust is not said", fix="--repository OWNER/NAME")
        document = trust_document(
            trust, system, repository, wanted.pipeline.branch,
            environment=environment, issuer=issuer, account=account,
        )  # fmt: skip
        print_json(document)
        return
    for warning in repository_warnings(folder, wanted.pipeline.branch, system):
        typer.secho(f"warning: {warning}", fg=typer.colors.YELLOW, err=True)
    if check:
        checked = look(wanted, SYSTEMS[system], folder)
        _say_checked(checked, system, json)
        if not checked.passed:
            raise typer.Exit(1)
        return
    changes = write(wanted, SYSTEMS[system], folder)
    if json:
        print_json({"system": system, "changes": [_document(each) for each in changes]})
        return
    _say_written(changes, system)


def _document(change: Change) -> dict[str, object]:
    return {**change._asdict(), "written": change.is_written}


def _say_checked(checked: Checked, system: str, json: bool) -> None:
    if json:
        print_json(
            {
                "system": system,
                "passed": checked.passed,
                "changes": [each._asdict() for each in checked.changes],
                "findings": [each._asdict() for each in checked.findings],
            }
        )
        return
    console = Console(highlight=False, soft_wrap=True)
    for change in checked.changes:
        console.print(f"[yellow]drift:[/] {escape(change.path)}: {escape(change.what)}")
        console.print(f"  [bold]what to do:[/] {escape(change.fix)}")
    for finding in checked.findings:
        console.print(f"[red]rule:[/] {escape(str(finding))}")
        console.print(f"  [bold]what to do:[/] {escape(finding.fix)}")
    if checked.passed:
        console.print("the files are what the project asks for, and break no rule")


def _say_written(changes: tuple[Change, ...], system: str) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for path in dict.fromkeys(each.path for each in changes if each.is_written):
        parts = [each.part for each in changes if each.path == path and each.is_written]
        named = ", ".join(filter(None, parts))
        console.print(escape(f"{path} written" + (f": {named}" if named else "")))
    for change in changes:
        if not change.is_written:
            console.print(f"[yellow]left alone:[/] {escape(change.path)}: {escape(change.what)}")
            console.print(f"  [bold]what to do:[/] {escape(change.fix)}")
    if not changes:
        console.print(f"the files of {system} are what the project asks for")
