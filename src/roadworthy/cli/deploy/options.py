"""What the verbs of `deploy` share: their options, and how a plan is shown."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from roadworthy.deploy.plan import Plan, Step
from roadworthy.errors import InputError
from roadworthy.project import Project

To = Annotated[
    str | None,
    typer.Option("--to", help="Name of \\[deploy.NAME]; may be left out when there is one."),
]
What = Annotated[
    str | None,
    typer.Argument(help="A bundle's path, or name, name:version, name@alias; else its `model`."),
]
_MARKS = {"create": "[green]+[/]", "keep": "[dim]=[/]", "delete": "[red]-[/]"}


def deployment_of(project: Project, to: str | None) -> str:
    """The deployment that is meant; InputError when that is not clear."""
    if to is not None:
        return to
    if len(project.deploy) == 1:
        return next(iter(project.deploy))
    known = ", ".join(sorted(project.deploy))
    raise InputError(
        "it is not said where to deploy",
        fix=f"--to NAME, one of {known}" if known else "write a section [deploy.NAME]",
    )


def print_plan(plan: Plan, *, commands: bool = False) -> None:
    """Show a plan: what is done, what is there already."""
    console = Console(highlight=False, soft_wrap=True)
    for step in plan.steps:
        if step.change == "keep":
            continue
        console.print(
            f"{_MARKS[step.change]} [bold]{escape(step.id)}[/]  {escape(step.what)}{_price(step)}"
        )
        if commands:
            console.print(f"    {step.command}", markup=False, style="dim")
    kept = len(plan.steps) - len(plan.changes)
    what = f"{plan.deployment} on {plan.place}"
    if not plan.changes:
        console.print(f"{escape(what)}: nothing to do, {kept} steps are as wanted")
    else:
        console.print(f"{escape(what)}: {len(plan.changes)} steps to do, {kept} as wanted")
    for currency, sum_ in plan.monthly.items():
        console.print(f"about {sum_:.2f} {currency} a month, besides traffic and other use")
    if plan.uncovered:
        console.print(f"the price table does not cover {', '.join(plan.uncovered)}", style="yellow")


def _price(step: Step) -> str:
    """What a step's resource costs, in words; that nobody knows is said, too."""
    if step.change == "delete" or not (step.paid or step.price):
        return ""
    if step.price is None:
        return "  price not covered"
    if step.price.monthly is None:
        return f"  {step.price.by_use}"
    return f"  {step.price.monthly:.2f} {step.price.currency} a month"


def watch(step: Step, state: str) -> None:
    """Say on standard error what is being done."""
    if state == "begun":
        Console(stderr=True, highlight=False, soft_wrap=True).print(
            f"[bold]{escape(step.id)}[/]  {escape(step.what)}"
        )
