"""What an action would gain, measured on labelled rows that it has not seen.

Three models are compared on the same rows, cross-fitted over five folds: the champion as it is; the
champion recalibrated (`BetaCalibration`; for more classes `ScaledProbabilities`, for numbers a
straight line); and the latter corrected by
boosted trees that start from its scores. What only trees can learn is what retraining is for; what
recalibration learns needs no new model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from roadworthy.evaluate import Estimate, Scored
from roadworthy.evaluate.metrics import mean_interval
from roadworthy.evaluate.resample import Codes, Floats
from roadworthy.monitor.estimate import ConfidenceEstimator
from roadworthy.monitor.estimate.confidence import BetaCalibration
from roadworthy.monitor.estimate.scaling import ScaledProbabilities
from roadworthy.prepare.columns import encode_columns
from roadworthy.prepare.plan import FeaturePlan

_FOLDS = 5
_MIN_ROWS = 200
_MOST = 20_000
_TINY = 1e-9
_TREES = {
    "learning_rate": 0.05, "num_leaves": 8, "min_data_in_leaf": 30, "lambda_l2": 10.0,
    "verbosity": -1, "deterministic": True, "force_row_wise": True, "num_threads": 1,
}  # fmt: skip
_ROUNDS = 60


class Gain(msgspec.Struct, frozen=True, kw_only=True):
    """What an action is expected to gain.

    Attributes:
        metric: What it is told in: `accuracy`, `cost` or `mae`.
        value: By how much that gets better (above 0), with its 95 % interval.
        loss: By how much the loss that decides gets better: log-loss, or squared error.
        rows: Rows that it was measured on.
        setting: The threshold, of a threshold.
    """

    metric: str
    value: Estimate
    loss: Estimate
    rows: int
    setting: float | None = None

    @property
    def sure(self) -> bool:
        """Whether the loss gets better beyond chance (three standard errors)."""
        error = self.loss.error
        return self.loss.value is not None and error is not None and self.loss.value > 3 * error

    @property
    def worthwhile(self) -> bool:
        """Whether what it is told in gets better beyond chance."""
        return self.value.low is not None and self.value.low > 0


class Gains(msgspec.Struct, frozen=True, kw_only=True):
    """What each action would gain; None where it could not be measured.

    Attributes:
        threshold: Another threshold against the present one.
        recalibrate: Recalibrated against the champion.
        retrain: Corrected by trees against the champion.
        beyond: Corrected by trees against recalibrated: what only retraining gains.
        roll_back: The version before against the champion.
    """

    threshold: Gain | None = None
    recalibrate: Gain | None = None
    retrain: Gain | None = None
    beyond: Gain | None = None
    roll_back: Gain | None = None


def measure_gains(
    scored: Scored, plan: FeaturePlan, before: Floats | None = None, seed: int = 0
) -> Gains:
    """Measure what actions would gain.

    Args:
        scored: Recent labelled rows with the champion's answers.
        plan: How a row becomes a vector.
        before: The version before's scores of the same rows.
        seed: Seed of folds and trees.
    """
    if len(scored) < _MIN_ROWS:
        return Gains()
    start = max(0, len(scored) - _MOST)
    rows = scored.take(np.arange(start, len(scored)))
    folds = np.random.default_rng(seed).permutation(len(rows)) % _FOLDS
    calibrated, corrected = _cross_fit(rows, plan, folds, seed)
    gains = Gains(
        recalibrate=_gain(rows, rows.scores, calibrated),
        retrain=_gain(rows, rows.scores, corrected),
        beyond=_gain(rows, calibrated, corrected),
        roll_back=None if before is None else _gain(rows, rows.scores, before[start:]),
    )
    if rows.table.task == "binary":
        gains = msgspec.structs.replace(gains, threshold=_threshold_gain(rows, folds))
    return gains


def _cross_fit(rows: Scored, plan: FeaturePlan, folds: Codes, seed: int) -> tuple[Floats, Floats]:
    """Scores of the recalibrated and of the corrected champion, each row by a fit without it."""
    features = encode_columns(rows.table.frame, plan)
    calibrated, corrected = rows.scores.copy(), rows.scores.copy()
    for fold in range(_FOLDS):
        inside, outside = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        part = rows.take(inside)
        if rows.regression:
            line = _line(part.scores, part.table.labels)
            bases = line(part.scores), line(rows.scores[outside])
        else:
            recalibrated = _recalibration(part)
            bases = recalibrated(part.scores), recalibrated(rows.scores[outside])
        calibrated[outside] = bases[1]
        corrected[outside] = _correct(part, features[inside], features[outside], bases, seed)
    return calibrated, corrected


def _recalibration(part: Scored) -> Callable[[Floats], Floats]:
    if part.scores.shape[1] == 2:
        return ConfidenceEstimator(part).probabilities
    return ScaledProbabilities(part.scores, part.codes)


def _line(scores: Floats, labels: Floats) -> Any:
    slope, constant = np.polyfit(scores, labels, 1) if np.ptp(scores) > 0 else (1.0, 0.0)
    return lambda values: constant + slope * values


def _correct(
    part: Scored, seen: Floats, unseen: Floats, bases: tuple[Floats, Floats], seed: int
) -> Floats:
    """Base scores of unseen rows, corrected by trees that were fitted on seen ones."""
    import lightgbm

    inside, outside = bases
    count = 1 if part.regression else inside.shape[1]
    options: dict[str, Any] = {**_TREES, "seed": seed}
    labels: Any = part.table.labels
    if part.regression:
        options["objective"] = "regression"
        starts = inside, outside
    elif count == 2:
        options["objective"] = "binary"
        starts = _logit(inside[:, 1]), _logit(outside[:, 1])
    else:
        options |= {"objective": "multiclass", "num_class": count}
        starts = _log(inside), _log(outside)
    first = starts[0].ravel(order="F")
    data = lightgbm.Dataset(seen, labels, init_score=first, free_raw_data=True)
    model = lightgbm.train(options, data, _ROUNDS)
    raw: Floats = starts[1] + np.asarray(model.predict(unseen, raw_score=True, num_threads=1))
    if part.regression:
        return raw
    if count == 2:
        second = 1.0 / (1.0 + np.exp(-np.clip(raw, -500, 500)))
        return np.column_stack([1.0 - second, second])
    shares = np.exp(raw - raw.max(axis=1, keepdims=True))
    found: Floats = shares / shares.sum(axis=1, keepdims=True)
    return found


def _gain(rows: Scored, old: Floats, new: Floats) -> Gain:
    one, other = Scored(rows.table, old, rows.seed), Scored(rows.table, new, rows.seed)
    loss = mean_interval(one.loss - other.loss)
    if rows.regression:
        better = one.outcome - other.outcome
        return Gain(metric="mae", value=mean_interval(better), loss=loss, rows=len(rows))
    better = other.outcome - one.outcome
    return Gain(metric="accuracy", value=mean_interval(better), loss=loss, rows=len(rows))


def _threshold_gain(rows: Scored, folds: Codes) -> Gain:
    """The threshold that stands for the same true probability as the present one was meant to.

    A threshold t of the positive class is right for costs of t to 1 - t of a false alarm and a
    miss (Elkan 2001); those costs are what the gain is told in, doubled so that at 0.5 it is the
    share of errors.
    """
    target = rows.target
    meant = 0.5 if target.threshold is None else target.threshold
    positive = rows.codes == target.positive_code
    claimed = rows.scores[:, target.positive_code]
    cost = np.where(positive, 2 * (1 - meant), 2 * meant)
    saved = np.zeros(len(rows))
    before = rows.predicted != rows.codes
    for fold in range(_FOLDS):
        inside, outside = folds != fold, folds == fold
        cut = _cut(claimed[inside], positive[inside], meant)
        after = (claimed[outside] >= cut) != positive[outside]
        saved[outside] = cost[outside] * (before[outside].astype(float) - after)
    value = mean_interval(saved)
    metric = "accuracy" if meant == 0.5 else "cost"
    setting = _cut(claimed, positive, meant)
    return Gain(metric=metric, value=value, loss=value, rows=len(rows), setting=setting)


def _cut(claimed: Floats, positive: Any, meant: float) -> float:
    """The claimed probability that truly is `meant`."""
    grid = np.linspace(0.005, 0.995, 199)
    true = BetaCalibration(claimed, positive.astype(np.float64))(grid)
    above = np.flatnonzero(true >= meant)
    return round(float(grid[above[0]]), 3) if len(above) else 0.995


def _logit(p: Floats) -> Floats:
    clipped = np.clip(p, _TINY, 1.0 - _TINY)
    found: Floats = np.log(clipped) - np.log1p(-clipped)
    return found


def _log(p: Floats) -> Floats:
    found: Floats = np.log(np.clip(p, _TINY, 1.0))
    return found
