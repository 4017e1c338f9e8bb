"""The summary of a launch: what a person wants to know before trusting a model."""

from __future__ import annotations

from typing import Any

import msgspec
from rich.console import Console
from rich.markup import escape

from roadworthy.bundle import Bundle
from roadworthy.cli.making import Made
from roadworthy.cli.measures import print_measures
from roadworthy.evaluate import Report
from roadworthy.guard import Finding
from roadworthy.table import Table
from roadworthy.train.record import SearchRecord

_SHOWN_COLUMNS = 15
_SHOWN_FINDINGS = 12


def launch_document(made: Made) -> dict[str, Any]:
    """Everything of a launch as plain data."""
    table, bundle = made.table, made.bundle
    content: dict[str, Any] = msgspec.to_builtins(made.report)
    return {
        "name": bundle.manifest.name,
        "version": bundle.version,
        "bundle": str(bundle.path),
        "bundle_bytes": bundle_bytes(bundle),
        "source": table.source,
        "rows": len(table),
        "target": table.target,
        "classes": list(table.classes),
        "seconds": round(made.taken, 3),
        "fit_seconds": list(made.model.fit_seconds),
        "microseconds_per_row": bundle.manifest.measured["microseconds_per_row"],
        "parity": bundle.parity,
        "findings": msgspec.to_builtins(made.findings),
        "report": content,
    }


def bundle_bytes(bundle: Bundle) -> int:
    """Size of a bundle's files."""
    return sum(entry.size for entry in bundle.manifest.files.values())


def print_summary(made: Made) -> None:
    """Print the summary for people."""
    report = made.report
    console = Console(highlight=False, emoji=False)
    _print_table(console, made.table)
    _print_findings(console, made.findings)
    _print_model(console, report)
    _print_decisions(console, made.model.search)
    print_measures(console, report, f"on {report.rows:,} held-out rows ({report.policy})")
    _print_bundle(console, made.bundle, made.taken)


def _print_table(console: Console, table: Table) -> None:
    cells = len(table) * len(table.profiles)
    blanks = sum(profile.blanks for profile in table.profiles)
    console.print(f"\n[bold]Table[/]  {escape(table.source)}")
    console.print(
        f"  {len(table):,} rows, {len(table.profiles)} columns, "
        f"{blanks / max(1, cells):.1%} of the cells blank; predicts "
        f"[bold]{escape(table.target)}[/] ({table.task})"
    )
    for note in table.notes:
        console.print(f"  · {escape(note)}")
    kinds: dict[str, list[str]] = {}
    for profile in table.profiles:
        if profile.used:
            kinds.setdefault(profile.kind, []).append(profile.name)
    for kind, names in kinds.items():
        more = f" … {len(names) - _SHOWN_COLUMNS} more" if len(names) > _SHOWN_COLUMNS else ""
        console.print(f"  {kind}: {escape(', '.join(names[:_SHOWN_COLUMNS]))}{more}")
    dropped = [profile for profile in table.profiles if not profile.used]
    for profile in dropped[:_SHOWN_COLUMNS]:
        console.print(f"  [yellow]left out:[/] {escape(profile.name)} ({profile.why_not})")
    if len(dropped) > _SHOWN_COLUMNS:
        console.print(f"  [yellow]left out:[/] … {len(dropped) - _SHOWN_COLUMNS} more")


def _print_findings(console: Console, findings: tuple[Finding, ...]) -> None:
    if not findings:
        return
    console.print("\n[bold]Findings[/]  before training")
    colours = {"serious": "red", "warning": "yellow", "note": "dim"}
    for finding in findings[:_SHOWN_FINDINGS]:
        known = ", acknowledged" if finding.acknowledged else ""
        console.print(
            f"  [{colours[finding.severity]}]{finding.severity}{known}:[/] "
            f"{escape(finding.what)} ({escape(finding.names[0])})"
        )
        if finding.severity != "note" and not finding.acknowledged:
            console.print(f"    what to do: {escape(finding.fix)}")
    if len(findings) > _SHOWN_FINDINGS:
        console.print(f"  … {len(findings) - _SHOWN_FINDINGS} more with --json")


def _print_model(console: Console, report: Report) -> None:
    search = report.search
    assert search is not None  # a launch has just searched
    console.print(
        f"\n[bold]Model[/]  {report.family}, best of {len(search.trials) - 1} configurations by "
        f"{search.metric} over {search.folds} folds of {search.search_rows:,} rows; refitted on "
        f"{search.training_rows:,}"
    )
    best: dict[str, float] = {}
    for trial in search.trials:  # the best first
        if trial.score is not None:
            best.setdefault(trial.family, trial.score)
    scores = ", ".join(f"{family} {score:.4g}" for family, score in best.items())
    console.print(f"  {search.metric}: {scores}")
    if not search.complete:
        console.print(
            "  [yellow]the budget ended the search before every configuration was tried; "
            "a larger --budget may find better[/]"
        )
    for note in search.notes:
        console.print(f"  [yellow]{escape(note)}[/]")
    if search.random_split_score is not None and search.best.score is not None:
        console.print(
            f"  in the order of time {search.metric} is {search.best.score:.4g}; folds at random "
            f"would have shown {search.random_split_score:.4g}"
        )
    if search.nested is not None:
        spread = "" if search.nested.spread is None else f" ± {search.nested.spread:.2g}"
        console.print(
            f"  the whole procedure, by an outer loop: {search.metric} "
            f"{search.nested.score:.4g}{spread}"
        )


def _print_decisions(console: Console, search: SearchRecord) -> None:
    """What was decided on out-of-fold scores, where it differs from the plain answer."""
    decided = search.decisions
    if decided is None:
        return
    if decided.calibration != "none":
        console.print(f"  probabilities are calibrated ({decided.calibration})")
    choice = decided.threshold
    if choice is not None:
        gain = ""
        if choice.gain is not None and choice.measure is not None:
            verb = "less" if choice.measure == "cost" else "more"
            gain = f": {choice.gain:.3g} {verb} {choice.measure} than at 0.5"
        console.print(
            f"  {escape(choice.positive)} is answered from a probability of "
            f"{choice.threshold:.4g}{gain}"
        )
    if decided.interval is not None:
        console.print(
            f"  each answer has an interval, {decided.interval.width:.4g} wide in the middle: "
            f"it held {decided.interval.coverage:.1%} of out-of-fold values"
        )


def _print_bundle(console: Console, bundle: Bundle, taken: float) -> None:
    parity = bundle.parity
    worst = max(way["largest_difference"] for way in parity["ways"].values())
    console.print(
        f"\n[bold]Parity[/]  [green]holds[/]: scikit-learn, batch and one row of JSON agree on "
        f"{parity['holdout_rows']:,} held-out and {parity['generated_rows']:,} generated rows "
        f"(blank, extreme, unseen); no class differs, largest difference {worst:.1g}"
    )
    for what, why in parity["refused"].items():
        console.print(f"  [yellow]without[/] {escape(what)}: {escape(why)}")
    console.print(
        f"[bold]Bundle[/]  {escape(str(bundle.path))}  "
        f"{bundle_bytes(bundle) / 1e6:.2f} MB, "
        f"{bundle.manifest.measured['microseconds_per_row']:.0f} µs a row, made in {taken:.0f} s"
    )
