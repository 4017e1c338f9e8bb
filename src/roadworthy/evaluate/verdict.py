"""The verdict on a model: every gate, the tests behind them, and the report, as plain data."""

from __future__ import annotations

from typing import Literal

import msgspec

from roadworthy.evaluate.behaviour import Behaviour
from roadworthy.evaluate.gates import Check, Outcome, overall
from roadworthy.evaluate.incoming import Finding
from roadworthy.evaluate.metrics import Estimate
from roadworthy.evaluate.report import Report


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a release has earned its way, and why.

    Attributes:
        name: The model.
        version: Its version; empty while it is being packaged.
        outcome: `pass` or `fail`.
        undecided: What not enough evidence counts as.
        asked: How the model was asked: `in process`, or a server's address.
        data: What was measured on: `the holdout`, as kept in the bundle, or the new data's name.
        checks: Every gate.
        tests: Golden rows, expected predictions and behavioural tests.
        findings: Where new data departs from the contract, column by column.
        rows_read: Rows of the new data; 0 without.
        costs: What it costs to run: latency, size, age.
        report: The measurements; None where there was nothing to measure on.
    """

    name: str
    version: str
    outcome: Literal["pass", "fail"]
    undecided: Literal["pass", "fail"]
    asked: str
    data: str
    checks: tuple[Check, ...]
    tests: tuple[Behaviour, ...] = ()
    findings: tuple[Finding, ...] = ()
    rows_read: int = 0
    costs: dict[str, Estimate] = {}
    report: Report | None = None

    @property
    def passed(self) -> bool:
        """Whether no gate stops the release."""
        return self.outcome == "pass"

    def stopping(self) -> list[Check]:
        """The gates that stop it."""
        stops = {"fail", "undecided"} if self.undecided == "fail" else {"fail"}
        return [check for check in self.checks if check.outcome in stops]


def verdict_of(report: Report) -> Verdict:
    """The verdict as far as a report decides it: what a bundle carries of it."""
    outcome: Outcome = overall(report.checks, report.undecided)
    return Verdict(
        name=report.name,
        version="",
        outcome="pass" if outcome == "pass" else "fail",
        undecided=report.undecided,
        asked="in process",
        data="the holdout",
        checks=report.checks,
        tests=report.behaviour,
        report=report,
    )
