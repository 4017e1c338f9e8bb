"""The report: what was trained on what, how good it is, and for whom not."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from roadworthy.contract import Task
from roadworthy.errors import InputError
from roadworthy.evaluate.metrics import (
    Estimate,
    bootstrap,
    class_metrics,
    number_metrics,
    per_class,
)
from roadworthy.evaluate.slices import Slice, slice_report
from roadworthy.table import ColumnProfile, Table
from roadworthy.train import SearchRecord, TrainedModel

_COSTLY = 400_000
"""Rows x classes above which the area under the ROC curve gets no interval: it would take long."""


class ClassReport(msgspec.Struct, frozen=True, kw_only=True):
    """One class on the holdout."""

    name: str
    precision: float
    recall: float
    f1: float
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
        search: How the model was found.
        family: The chosen candidate's family.
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
    search: SearchRecord
    family: str

    @property
    def headline(self) -> tuple[str, Estimate]:
        """The metric the search went by, as measured on the holdout."""
        name = {"f1": "f1_macro"}.get(self.search.metric, self.search.metric)
        return name, self.metrics[name]


def test(model: TrainedModel, holdout: Table) -> Report:
    """Measure a model on rows it has not seen.

    Args:
        model: The model.
        holdout: Rows with their target, usually `table.holdout`.

    Returns:
        The report.

    Raises:
        InputError: The rows are of another table.
    """
    if holdout.contract.names != model.contract.names:
        raise InputError(
            "the rows have other columns than the model",
            where=f"model {model.name!r}",
            fix="test with the holdout of the table that the model was trained on",
        )
    scores = model.scores(holdout.frame)
    seed = model.search.seed
    classes: tuple[ClassReport, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    resampled = None
    if holdout.task == "regression":
        metrics = number_metrics(holdout.labels, scores)
    else:
        codes = holdout.labels.astype(np.int64)
        metrics = class_metrics(codes, scores)
        if scores.shape[1] > 2 and scores.size > _COSTLY:
            resampled = class_metrics(codes, scores, areas=False)
        classes, confusion = _class_reports(model.contract.target.class_names, codes, scores)
    return Report(
        task=holdout.task,
        rows=len(holdout),
        policy=model.search.policy,
        metrics=bootstrap(metrics, len(holdout), seed, resampled),
        baseline=_baseline(holdout),
        classes=classes,
        confusion=confusion,
        slices=slice_report(holdout, scores),
        columns=holdout.profiles,
        notes=holdout.notes,
        search=model.search,
        family=model.family,
    )


test.__test__ = False  # type: ignore[attr-defined]  # pytest: a verb of the product, not a test


def _class_reports(
    names: tuple[str, ...], codes: NDArray[np.int64], scores: NDArray[np.float64]
) -> tuple[tuple[ClassReport, ...], tuple[tuple[int, ...], ...]]:
    count = len(names)
    cells = np.bincount(codes * count + scores.argmax(axis=1), minlength=count * count)
    confusion = cells.reshape(count, count).astype(np.float64)
    precision, recall, f1 = per_class(confusion)
    reports = tuple(
        ClassReport(
            name=name,
            precision=float(precision[code]),
            recall=float(recall[code]),
            f1=float(f1[code]),
            rows=int(confusion[code].sum()),
        )
        for code, name in enumerate(names)
    )
    return reports, tuple(tuple(int(cell) for cell in row) for row in confusion)


def _baseline(holdout: Table) -> dict[str, float | None]:
    """The dummy's metrics: it knows the holdout's own shares or mean, so it is a strong one."""
    rows = len(holdout)
    if holdout.task == "regression":
        dummy = np.full(rows, holdout.labels.mean())
        values = number_metrics(holdout.labels, dummy)(np.ones(rows))
    else:
        codes = holdout.labels.astype(np.int64)
        shares = np.bincount(codes, minlength=len(holdout.classes)) / rows
        values = class_metrics(codes, np.tile(shares, (rows, 1)))(np.ones(rows))
    return {name: value if np.isfinite(value) else None for name, value in values.items()}
