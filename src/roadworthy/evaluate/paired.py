"""Two models on the same rows: is one worse beyond chance?"""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np

from roadworthy.errors import InputError
from roadworthy.evaluate.metrics import Estimate, percentile_estimate
from roadworthy.evaluate.resample import Codes, Floats, Resamples
from roadworthy.evaluate.scored import (
    Scored,
    is_better_greater,
    positive_code,
)


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A challenger against a champion on the same rows.

    Attributes:
        champion: What it is compared with.
        rows: Rows that both answered.
        metrics: Metric -> by how much the challenger is better (above 0) or worse (below 0),
            with the paired bootstrap's interval.
        challenger: The challenger's metrics on these rows.
        baseline: The champion's.
        only_champion_right: Rows that only the champion answers right; None for a regression.
        only_challenger_right: Rows that only the challenger answers right.
        mcnemar: McNemar's (1947) exact two-sided p-value of those two counts.
        delong: DeLong's (1988) two-sided p-value of the difference of the areas under the ROC
            curves; None where there are not two classes.
        slices: `COLUMN = LEVEL` -> by how much the challenger's share of right answers (or mean
            absolute error) is better there.
    """

    champion: str
    rows: int
    metrics: dict[str, Estimate]
    challenger: dict[str, float | None]
    baseline: dict[str, float | None]
    only_champion_right: int | None = None
    only_challenger_right: int | None = None
    mcnemar: float | None = None
    delong: float | None = None
    slices: dict[str, Estimate] = {}


def compare(challenger: Scored, champion: Scored, name: str) -> Comparison:
    """Compare two models' answers to the same rows.

    The replicates weigh the rows the same for both, so that what makes rows hard for both
    cancels out (paired bootstrap; Efron and Tibshirani 1993, ch. 16).

    Args:
        challenger: The new model's answers.
        champion: The other's.
        name: What to call the champion.

    Raises:
        InputError: The rows or the classes are not the same.
    """
    if len(challenger) != len(champion) or challenger.target.classes != champion.target.classes:
        raise InputError(
            "the champion predicts other classes or rows than the model",
            where=name,
            fix="compare with a bundle of the same target",
        )
    areas = challenger.regression or challenger.scores.size <= 400_000
    ours, theirs = challenger.metrics(areas=areas), champion.metrics(areas=areas)
    resamples = Resamples(len(challenger), challenger.seed, challenger.weights, challenger.groups)
    here, there = ours(resamples.base), theirs(resamples.base)
    replicates: dict[str, list[Floats]] = {name: [] for name in here if "." not in name}
    for block in resamples.blocks():
        new, old = ours(block), theirs(block)
        for metric, found in replicates.items():
            found.append(new[metric] - old[metric])
    gains = {}
    for metric, found in replicates.items():
        sign = 1.0 if is_better_greater(metric) else -1.0
        gain = percentile_estimate(here[metric] - there[metric], np.concatenate(found))
        gains[metric] = gain if sign > 0 else _negated(gain)
    return Comparison(
        champion=name,
        rows=len(challenger),
        metrics=gains,
        challenger={name: _known(here[name]) for name in gains},
        baseline={name: _known(there[name]) for name in gains},
        **_tests(challenger, champion),
    )


def _tests(challenger: Scored, champion: Scored) -> dict[str, Any]:
    if challenger.regression:
        return {}
    ours, theirs = challenger.outcome > 0, champion.outcome > 0
    lost, won = int((theirs & ~ours).sum()), int((ours & ~theirs).sum())
    found: dict[str, Any] = {
        "only_champion_right": lost,
        "only_challenger_right": won,
        "mcnemar": mcnemar(lost, won),
    }
    if challenger.scores.shape[1] == 2:
        code = positive_code(challenger.target)
        pair = np.array([challenger.scores[:, code], champion.scores[:, code]])
        areas, covariance = delong(challenger.codes == code, pair)
        variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
        if variance > 0:
            found["delong"] = two_sided(float((areas[0] - areas[1]) / math.sqrt(variance)))
    return found


def mcnemar(one: int, other: int) -> float:
    """McNemar's exact two-sided p-value of two counts of discordant pairs."""
    from scipy.special import bdtr  # the binomial distribution

    return min(1.0, 2 * float(bdtr(min(one, other), one + other, 0.5)))


def delong(hits: Codes | np.ndarray, scores: Floats) -> tuple[Floats, Floats]:
    """Areas under ROC curves of the same rows and their covariance.

    DeLong et al. 1988 in the O(N log N) form of Sun and Xu 2014.

    Args:
        hits: Whether a row is of the positive class `[N]`.
        scores: One row of scores a model, `[M, N]`.

    Returns:
        Areas `[M]` and covariance `[M, M]`; NaN where a class has fewer than two rows.
    """
    from scipy.stats import rankdata

    positive = np.asarray(hits, dtype=bool)
    m, n = int(positive.sum()), int((~positive).sum())
    models = len(scores)
    if m < 2 or n < 2:
        return np.full(models, math.nan), np.full((models, models), math.nan)
    ranks = rankdata(scores, axis=1)
    inside = rankdata(scores[:, positive], axis=1)
    outside = rankdata(scores[:, ~positive], axis=1)
    of_hits = (ranks[:, positive] - inside) / n
    of_others = 1.0 - (ranks[:, ~positive] - outside) / m
    covariance = np.atleast_2d(np.cov(of_hits)) / m + np.atleast_2d(np.cov(of_others)) / n
    return of_hits.mean(axis=1), covariance


def two_sided(z: float) -> float:
    """The two-sided p-value of a normal deviate."""
    return math.erfc(abs(z) / math.sqrt(2.0))


def _negated(estimate: Estimate) -> Estimate:
    if estimate.value is None:
        return estimate
    if estimate.low is None or estimate.high is None:
        return Estimate(-estimate.value)
    return Estimate(-estimate.value, -estimate.high, -estimate.low)


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
