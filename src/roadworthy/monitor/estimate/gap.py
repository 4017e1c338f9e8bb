"""Realised less estimated quality on the same rows: what finds concept drift.

Under an unchanged relation between inputs and outcome the difference is chance alone, whatever the
inputs do. Its size is known: the spread of labels given the inputs, and what is not known of the
reference. So a difference beyond it says that the relation itself has changed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec
import numpy as np

from roadworthy.evaluate import Estimate
from roadworthy.evaluate.paired import two_sided
from roadworthy.monitor.estimate.base import BLIND, Estimator, Expected
from roadworthy.monitor.estimate.direct import row_losses
from roadworthy.monitor.feedback import Outcomes
from roadworthy.monitor.findings import Finding

_ALPHA = 0.005
_MIN_ROWS = 50
_MATTERS = {"accuracy": 0.02, "brier": 0.05, "mae": 0.1, "rmse": 0.2}
"""Differences below which nobody acts: points of errors; shares of the expected loss."""


class ConceptGap(msgspec.Struct, frozen=True, kw_only=True):
    """A mean loss as labels say it against what was expected of the same rows.

    Attributes:
        metric: `accuracy` and `brier`, or `mae` and `rmse` (both as squares); of accuracy the loss
            is the share of errors.
        rows: Labelled rows.
        realised: Mean loss.
        estimated: Mean loss that was expected.
        gap: Realised less estimated; above 0 the model is worse than its inputs explain.
        error: Its standard error if nothing changed.
        p_value: Two-sided.
    """

    metric: str
    rows: int
    realised: float
    estimated: float
    gap: float
    error: float
    p_value: float


def concept_gap(outcomes: Outcomes, estimator: Estimator) -> tuple[ConceptGap, ...]:
    """Compare labels with what was expected of their rows.

    Args:
        outcomes: Predictions with labels, none of which the estimator's reference holds.
        estimator: Fitted on reference rows.
    """
    labelled = outcomes.take(outcomes.known)
    if not len(labelled):
        return ()
    realised = row_losses(labelled.scored())
    found = []
    for name, expected in estimator.expectations(labelled.predictions).items():
        rows = len(realised[name])
        here, there = float(realised[name].mean()), float(expected.mean.mean())
        error = math.hypot(math.sqrt(float(np.sum(expected.variance))) / rows, expected.shared)
        found.append(
            ConceptGap(
                metric=name,
                rows=rows,
                realised=here,
                estimated=there,
                gap=here - there,
                error=error,
                p_value=two_sided((here - there) / error) if error > 0 else 1.0,
            )
        )
    return tuple(found)


def drifted(gaps: tuple[ConceptGap, ...]) -> ConceptGap | None:
    """The gap that shows concept drift, if one does (Bonferroni over the metrics)."""
    beyond = [
        gap
        for gap in gaps
        if gap.rows >= _MIN_ROWS and gap.p_value * len(gaps) < _ALPHA and gap.gap > _least(gap)
    ]
    return min(beyond, key=lambda gap: gap.p_value) if beyond else None


def _least(gap: ConceptGap) -> float:
    share = _MATTERS[gap.metric]
    return share if gap.metric == "accuracy" else share * gap.estimated


def findings(
    gaps: tuple[ConceptGap, ...],
    expected: dict[str, Expected],
    reference: Mapping[str, Estimate],
) -> list[Finding]:
    """What is worth telling.

    Args:
        gaps: Of labelled rows.
        expected: Estimates of rows without labels.
        reference: The metrics of the reference, that estimates are compared with; an estimate is
            told when its interval lies beyond theirs.
    """
    told = []
    gap = drifted(gaps)
    if gap is not None:
        told.append(
            Finding(
                kind="concept_drift",
                severity="serious",
                subject="prediction",
                what=(
                    f"labels say {gap.realised:.3g} where the inputs explain {gap.estimated:.3g} "
                    f"({_named(gap.metric)}): the relation itself has changed"
                ),
                evidence=msgspec.structs.asdict(gap),
                fix="roadworthy advise",
            )
        )
    for name, worse in (("accuracy", -1.0), ("mae", 1.0)):
        if name not in expected or name not in reference:
            continue
        entry, known = expected[name], reference[name]
        before = known.value
        if before is None:
            continue
        near, end = (entry.high, known.low) if worse < 0 else (entry.low, known.high)
        least = 0.02 if name == "accuracy" else 0.1 * before
        if (
            worse * (near - (before if end is None else end)) > 0
            and worse * (entry.value - before) >= least
        ):
            told.append(
                Finding(
                    kind="estimated_drop",
                    severity="warning",
                    subject="prediction",
                    what=f"{name} is estimated at {entry.value:.3g}; it was {before:.3g}; {BLIND}",
                    evidence={
                        "metric": name,
                        "estimated": entry.value,
                        "low": entry.low,
                        "high": entry.high,
                        "reference": before,
                    },
                    fix="get labels for recent predictions, then roadworthy advise",
                )
            )
    return told


def _named(metric: str) -> str:
    names = {"accuracy": "share of errors", "rmse": "mean squared error", "brier": "Brier score"}
    return names.get(metric, "mean absolute error")
