"""The report: what was trained on what, how good it is, for whom not, and what was tested."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from roadworthy.contract import Target, Task
from roadworthy.errors import InputError
from roadworthy.evaluate.behaviour import Behaviour, check_behaviour, check_rules
from roadworthy.evaluate.curves import Curves, curves
from roadworthy.evaluate.fairness import Fairness, fairness_report
from roadworthy.evaluate.gates import Check, check_gates, report_checks
from roadworthy.evaluate.importance import Importance, permutation_importance
from roadworthy.evaluate.metrics import Estimate
from roadworthy.evaluate.paired import Comparison, compare
from roadworthy.evaluate.resample import Floats
from roadworthy.evaluate.scored import Predict, Scored, sample_rows
from roadworthy.evaluate.shift import Shift, contract_shift
from roadworthy.evaluate.slices import Slice, slice_gains, slice_report
from roadworthy.evaluate.stability import (
    Gap,
    LearningPoint,
    Period,
    Robustness,
    compare_parts,
    periods,
    robustness,
)
from roadworthy.evaluate.worst import FoundSlice, worst_slices
from roadworthy.project import Project
from roadworthy.table import ColumnProfile, Table
from roadworthy.train.record import SearchRecord

if TYPE_CHECKING:
    from roadworthy.train import TrainedModel

_DEFAULT: dict[Task, str] = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "rmse"}
_TRAINING_ROWS = 2000


class ClassReport(msgspec.Struct, frozen=True, kw_only=True):
    """One class on the holdout."""

    name: str
    precision: Estimate
    recall: Estimate
    f1: Estimate
    rows: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything measured on rows that no choice looked at.

    Attributes:
        task: The task.
        rows: Rows of the holdout.
        policy: How the holdout was chosen.
        metrics: Metric -> estimate with its interval.
        baseline: The same metrics of always answering the training shares or mean.
        classes: Per class; empty for regression.
        confusion: Counts `[true][predicted]`; empty for regression.
        slices: Per subgroup.
        columns: What is known of the table's columns.
        notes: What was noticed while reading the table.
        search: How the model was found; None for a model that was found elsewhere.
        family: The chosen candidate's family.
        name: The model's name.
        target: The column it predicts.
        source: Where the rows came from.
        metric: What the model is judged by first.
        curves: What there is to draw.
        found: The worst subgroups that a search found.
        fairness: How evenly groups are treated, per column.
        importance: What the model loses without each column.
        gaps: Quality here against other rows.
        robustness: Quality on rows made worse on purpose.
        periods: Quality over time, where the table has times.
        learning: Quality by training rows, where it was asked for.
        shift: How these rows differ from the training rows.
        behaviour: Behavioural tests.
        checks: The gates that could be decided on these rows.
        undecided: What not enough evidence for a gate counts as.
        comparison: Against the champion, where one was named.
    """

    task: Task
    rows: int
    policy: str
    metrics: dict[str, Estimate]
    baseline: dict[str, float | None]
    classes: tuple[ClassReport, ...]
    confusion: tuple[tuple[int, ...], ...]
    slices: tuple[Slice, ...]
    columns: tuple[ColumnProfile, ...]
    notes: tuple[str, ...]
    search: SearchRecord | None
    family: str
    name: str = ""
    target: str = ""
    source: str = ""
    metric: str = ""
    curves: Curves = Curves()
    found: tuple[FoundSlice, ...] = ()
    fairness: tuple[Fairness, ...] = ()
    importance: tuple[Importance, ...] = ()
    gaps: tuple[Gap, ...] = ()
    robustness: tuple[Robustness, ...] = ()
    periods: tuple[Period, ...] = ()
    learning: tuple[LearningPoint, ...] = ()
    shift: Shift | None = None
    behaviour: tuple[Behaviour, ...] = ()
    checks: tuple[Check, ...] = ()
    undecided: Literal["pass", "fail"] = "fail"
    comparison: Comparison | None = None

    @property
    def headline(self) -> tuple[str, Estimate]:
        """The metric the search went by, as measured on the holdout."""
        return self.metric, self.metrics[self.metric]


class Rival(NamedTuple):
    """Another model to compare with: its name, what it predicts, and how it is asked."""

    name: str
    target: Target
    predict: Predict


def test(
    model: TrainedModel,
    holdout: Table,
    project: Project | None = None,
    *,
    rival: Rival | None = None,
) -> Report:
    """Measure a model on rows it has not seen.

    Args:
        model: The model.
        holdout: Rows with their target, usually `table.holdout`.
        project: The project, for `[gates]` and `[behaviour]`; None takes every default.
        rival: A champion to compare with on these rows.

    Returns:
        The report.

    Raises:
        InputError: The rows are of another table, or a gate names what the model has not.
    """
    if holdout.contract.names != model.contract.names:
        raise InputError(
            "the rows have other columns than the model",
            where=f"model {model.name!r}",
            fix="test with the holdout of the table that the model was trained on",
        )
    wanted = project or Project()
    check_rules(model.contract, wanted.behaviour)
    check_gates(wanted.gates, model.contract, sliceable(holdout))
    metric = headline_metric(model.search.metric, holdout.task)
    # the model's own contract: training has put its threshold and intervals into the target
    holdout = dataclasses.replace(holdout, contract=model.contract)
    scored = Scored(holdout, model.scores(holdout.frame), model.search.seed)
    report = measure(scored, model.scores, wanted, metric=metric)
    return with_checks(
        msgspec.structs.replace(
            report,
            name=model.name,
            family=model.family,
            search=model.search,
            policy=model.search.policy,
            gaps=_generalisation(model, report, metric),
            comparison=_against(scored, rival, wanted),
        ),
        wanted,
    )


test.__test__ = False  # type: ignore[attr-defined]  # pytest: a verb of the product, not a test


def measure(scored: Scored, predict: Predict, project: Project, *, metric: str) -> Report:
    """Measure answers, and the model that gave them on changed rows.

    Args:
        scored: Rows with their target and the model's answers.
        predict: The model.
        project: `[gates] slices` names the columns to slice by, `[behaviour]` its rules.
        metric: What the model is judged by first.
    """
    table, named = scored.table, project.gates.slices
    every = scored.estimates()
    return Report(
        task=table.task,
        rows=len(table),
        policy="",
        metrics={name: estimate for name, estimate in every.items() if "." not in name},
        baseline=_baseline(table),
        classes=_class_reports(scored, every),
        confusion=_confusion(scored),
        slices=slice_report(scored, gate_columns(project, table)),
        columns=table.profiles,
        notes=table.notes,
        search=None,
        family="",
        target=table.target,
        source=Path(table.source).name,  # a path would tell of the machine
        metric=metric,
        curves=curves(scored),
        found=worst_slices(scored),
        fairness=fairness_report(scored, gate_columns(project, table) if named else ()),
        importance=permutation_importance(scored, predict, metric),
        robustness=robustness(scored, predict, metric),
        periods=periods(scored, metric),
        shift=contract_shift(table.frame, table.contract),
        behaviour=check_behaviour(
            table.frame, table.contract, predict, project.behaviour, scored.seed
        ),
    )


def with_checks(report: Report, project: Project) -> Report:
    """The report with the gates that it has the evidence for."""
    return msgspec.structs.replace(
        report,
        checks=tuple(report_checks(project.gates, report)),
        undecided=project.gates.undecided,
    )


def gate_columns(project: Project, table: Table) -> tuple[str, ...]:
    """Columns to slice by: those the gates name, or none when any may be taken."""
    gates = project.gates
    if not gates.slices:
        return ()
    named = [*gates.slices, *gates.slice]
    named += [column for name in _fairness_columns(project) for column in name]
    return tuple(name for name in dict.fromkeys(named) if name in table.frame.columns)


def _fairness_columns(project: Project) -> Iterable[Iterable[str]]:
    gates = project.gates
    return (
        gates.demographic_parity_difference,
        gates.demographic_parity_ratio,
        gates.equalized_odds_difference,
        gates.equal_opportunity_difference,
    )


def sliceable(table: Table) -> list[str]:
    """Columns that slices can be cut by: of few levels, or numbers and dates."""
    kinds = {profile.name: profile for profile in table.profiles}
    return [
        name
        for name in table.frame.columns
        if name in kinds and kinds[name].kind not in ("text", "identifier")
    ]


def headline_metric(wanted: str, task: Task) -> str:
    """The report's name of the metric that a search went by; the task's default for others."""
    known = {"f1": "f1_macro", "roc_auc_weighted": "roc_auc"}.get(wanted, wanted)
    from roadworthy.project.gates import METRICS

    return known if known in METRICS else _DEFAULT[task]


def _generalisation(model: TrainedModel, report: Report, metric: str) -> tuple[Gap, ...]:
    """Training rows and validation folds against the holdout."""
    here, found = report.metrics[metric], []
    training = model.table.training
    if len(training) >= 20:
        rows = sample_rows(len(training), _TRAINING_ROWS, model.search.seed)
        part = dataclasses.replace(training.take(rows), contract=model.contract)
        seen = Scored(part, model.scores(part.frame), model.search.seed).estimates()[metric]
        found.append(compare_parts(metric, "training", "holdout", seen, here))
    best = model.search.best
    same = headline_metric(model.search.metric, report.task) == metric
    if best.score is not None and math.isfinite(best.score) and same:
        validation = Estimate(best.score)
        if best.spread is not None and best.folds > 1:
            half = 1.96 * best.spread / math.sqrt(best.folds)
            validation = Estimate(best.score, best.score - half, best.score + half)
        found.append(compare_parts(metric, "validation", "holdout", validation, here))
    return tuple(found)


def _against(scored: Scored, rival: Rival | None, project: Project) -> Comparison | None:
    """The comparison that `no_worse_than` asks for."""
    if rival is not None:
        return compare_with(scored, rival, gate_columns(project, scored.table))
    if project.gates.no_worse_than == "baseline":
        dummy = Scored(scored.table, dummy_scores(scored.table), scored.seed)
        return compare(scored, dummy, "baseline")
    return None


def compare_with(scored: Scored, rival: Rival, named: Sequence[str] = ()) -> Comparison:
    """Compare with another model on the same rows, overall and on each slice.

    Raises:
        InputError: It predicts other classes, or cannot be asked for these rows.
    """
    if rival.target.classes != scored.target.classes or rival.target.task != scored.target.task:
        raise InputError(
            "the champion predicts something else than the model",
            where=rival.name,
            fix="compare with a bundle of the same target and classes",
        )
    table = dataclasses.replace(
        scored.table, contract=msgspec.structs.replace(scored.table.contract, target=rival.target)
    )
    theirs = Scored(table, rival.predict(scored.table.frame), scored.seed)
    paired = compare(scored, theirs, rival.name)
    return msgspec.structs.replace(paired, slices=slice_gains(scored, theirs, named))


def _confusion(scored: Scored) -> tuple[tuple[int, ...], ...]:
    if scored.regression:
        return ()
    count = len(scored.target.classes)
    cells = np.bincount(scored.codes * count + scored.predicted, minlength=count * count)
    return tuple(tuple(row) for row in cells.reshape(count, count).tolist())


def _class_reports(scored: Scored, metrics: dict[str, Estimate]) -> tuple[ClassReport, ...]:
    if scored.regression:
        return ()
    names = scored.target.class_names
    rows = np.bincount(scored.codes, minlength=len(names))
    return tuple(
        ClassReport(
            name=name,
            precision=metrics[f"precision.{name}"],
            recall=metrics[f"recall.{name}"],
            f1=metrics[f"f1.{name}"],
            rows=int(rows[code]),
        )
        for code, name in enumerate(names)
    )


def dummy_scores(table: Table) -> Floats:
    """What a model answers that knows the rows' own shares or mean: a strong dummy."""
    rows = len(table)
    if table.task == "regression":
        return np.full(rows, np.average(table.labels, weights=table.weights))
    codes = table.labels.astype(np.int64)
    totals = np.bincount(codes, table.weights, minlength=len(table.classes))
    shares: NDArray[np.float64] = totals / totals.sum()
    return np.tile(shares, (rows, 1))


def _baseline(table: Table) -> dict[str, float | None]:
    dummy = Scored(table, dummy_scores(table))
    weights = np.ones(len(table)) if dummy.weights is None else dummy.weights
    values = dummy.metrics()(weights)
    return {
        name: value if np.isfinite(value) else None
        for name, value in values.items()
        if "." not in name
    }
