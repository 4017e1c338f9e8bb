"""Confidence-based estimation for classes: calibrated probabilities say how often they err.

The method is NannyML's CBPE (its documentation, 2022; the idea of expected confusion matrices is
Guillory et al. 2021, "Predicting with confidence on unseen distributions"), with beta calibration
(Kull et al. 2017) on reference rows. The interval takes in both what chance does to the labels of
the window and what is not known of the calibration: labels are drawn from the probabilities, and
the calibration from its own distribution.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from roadworthy.contract import Target
from roadworthy.evaluate import Scored
from roadworthy.evaluate.metrics import class_metrics
from roadworthy.evaluate.resample import Codes, Floats
from roadworthy.evaluate.scored import class_metric_name
from roadworthy.monitor.estimate.base import LEVEL, Expected, RowExpectation, mean_expected
from roadworthy.monitor.predictions import Predictions

_TINY = 1e-9
_RIDGE = 1e-3
_START = np.array([1.0, 1.0, 0.0])
_STEPS = 50
_DRAWS = 200
_MOST = 10_000
_WANTED = (
    "accuracy", "balanced_accuracy", "precision_macro", "recall_macro", "f1_macro", "log_loss",
    "brier", "roc_auc", "precision", "recall", "f1",
)  # fmt: skip


class BetaCalibration:
    """`logit q = c + a ln p - b ln(1 - p)`, fitted by penalised maximum likelihood.

    Neither `a` nor `b` falls below 0, as Kull et al. have it: the order of probabilities is kept.

    Args:
        claimed: Probabilities `[N]`.
        hits: Whether, or in which share, they came true `[N]`.
        weights: Rows that each stands for `[N]`.

    Attributes:
        parameters: `a, b, c`; `1, 1, 0` leaves probabilities as they are.
        covariance: Of the parameters.
    """

    def __init__(self, claimed: Floats, hits: Floats, weights: Floats | None = None) -> None:
        features = _features(claimed)
        rows = np.ones(len(claimed)) if weights is None else weights
        free = [0, 1, 2]
        self.parameters, self.covariance = np.zeros(3), np.zeros((3, 3))
        while True:
            found, covariance = _fit(features[:, free], hits, rows, _START[free])
            below = [place for place, value in zip(free, found, strict=True)
                     if place < 2 and value < 0]  # fmt: skip
            if not below:
                break
            free.remove(min(below, key=lambda place: float(found[free.index(place)])))
        self.parameters[free] = found
        self.covariance[np.ix_(free, free)] = covariance

    def __call__(self, claimed: Floats, parameters: Floats | None = None) -> Floats:
        """Calibrated probabilities `[N]`."""
        chosen = self.parameters if parameters is None else parameters
        return _sigmoid(_features(claimed) @ chosen)

    def slopes(self, claimed: Floats) -> Floats:
        """Derivatives of the calibrated probabilities by the parameters `[N, 3]`."""
        q = self(claimed)
        slopes: Floats = _features(claimed) * (q * (1 - q))[:, None]
        return slopes


def _fit(features: Floats, hits: Floats, rows: Floats, start: Floats) -> tuple[Floats, Floats]:
    """Penalised maximum likelihood by Newton's steps: the parameters and their covariance."""
    found = np.asarray(start)
    penalty = _RIDGE * np.eye(len(start))
    for _ in range(_STEPS):
        q = _sigmoid(features @ found)
        slope = features.T @ (rows * (hits - q)) - penalty @ (found - start)
        curve = (features * (rows * q * (1 - q))[:, None]).T @ features + penalty
        step = np.linalg.solve(curve, slope)
        length = min(1.0, 2.0 / max(1e-12, float(np.abs(step).max())))
        found = found + length * step
        if np.abs(step).max() < 1e-10:
            break
    return np.asarray(found), np.asarray(np.linalg.inv(curve), dtype=np.float64)


class ConfidenceEstimator:
    """Estimates the metrics of a classification from its probabilities.

    Args:
        reference: Labelled rows of which the inputs and the outcome were what they should be.
        seed: Seed of the draws.
    """

    def __init__(self, reference: Scored, seed: int = 0) -> None:
        self.target, self.seed = reference.target, seed
        claimed, hits = _claims(reference.scores, reference.codes, self.target)
        self.calibration = BetaCalibration(claimed, hits)

    @classmethod
    def from_bins(
        cls, target: Target, claimed: Floats, true: Floats, rows: Floats, seed: int = 0
    ) -> ConfidenceEstimator:
        """From the calibration curve that a bundle's report keeps.

        Args:
            target: What is predicted.
            claimed: Mean probability of each bin (of the second of two classes, else of the most
                probable one).
            true: Share that came true.
            rows: Rows of each bin.
            seed: Seed of the draws.
        """
        made = cls.__new__(cls)
        made.target, made.seed = target, seed
        made.calibration = BetaCalibration(claimed, true, rows)
        return made

    def probabilities(self, scores: Floats, parameters: Floats | None = None) -> Floats:
        """Calibrated probabilities `[N, K]`.

        Of more than two classes the most probable one's is calibrated, and the others share the
        rest as before.
        """
        if scores.shape[1] == 2:
            second = self.calibration(scores[:, 1], parameters)
            return np.column_stack([1.0 - second, second])
        rows, best = np.arange(len(scores)), scores.argmax(axis=1)
        old = scores[rows, best]
        new = self.calibration(old, parameters)
        found: Floats = scores * ((1.0 - new) / np.maximum(1.0 - old, _TINY))[:, None]
        found[rows, best] = new
        shares: Floats = found / found.sum(axis=1, keepdims=True)
        return shares

    def estimate(self, predictions: Predictions) -> dict[str, Expected]:
        """See `Estimator`."""
        rows = len(predictions)
        if not rows:
            return {}
        random = np.random.default_rng(self.seed)
        chosen = np.arange(rows) if rows <= _MOST else np.sort(random.choice(rows, _MOST, False))
        scores = predictions.scores[chosen]
        draws = self._draws(scores, random)
        shrink = math.sqrt(len(chosen) / rows)
        names = self.target.class_names
        found = {
            class_metric_name(name, names): _expected(np.array(values), shrink)
            for name, values in draws.items()
            if np.isfinite(values).any()
        }
        for name, loss in self.expectations(predictions).items():  # exact for any number of rows
            expected = mean_expected(loss)
            found[name] = expected if name == "brier" else expected.complement()
        return found

    def _draws(self, scores: Floats, random: np.random.Generator) -> dict[str, list[float]]:
        """Each metric on labels drawn from the probabilities, `_DRAWS` times."""
        predicted = self.target.predicted_codes(scores)
        areas = len(scores) * scores.shape[1] <= 4 * _MOST
        found: dict[str, list[float]] = {}
        ones = np.ones(len(scores))
        made = random.multivariate_normal(
            self.calibration.parameters, self.calibration.covariance, _DRAWS
        )
        for parameters in made:
            codes = _draw(self.probabilities(scores, parameters), random)
            values: dict[str, Any] = class_metrics(codes, scores, predicted=predicted, areas=areas)(
                ones
            )
            for name, value in values.items():
                if name.split(".")[0] in _WANTED:
                    found.setdefault(name, []).append(float(value))
        return found

    def expectations(self, predictions: Predictions) -> dict[str, RowExpectation]:
        """See `Estimator`: of `accuracy` (as the share of errors) and of `brier`."""
        scores = predictions.scores
        q = self.probabilities(scores)
        answered = self.target.predicted_codes(scores)
        rows = np.arange(len(scores))
        right = q[rows, answered]
        losses = _brier_by_class(scores)
        mean = (q * losses).sum(axis=1)
        found = {
            "accuracy": RowExpectation(1.0 - right, right * (1.0 - right), 0.0),
            "brier": RowExpectation(mean, (q * losses**2).sum(axis=1) - mean**2, 0.0),
        }
        return {
            name: entry._replace(shared=self._shared(scores, answered, name))
            for name, entry in found.items()
        }

    def _shared(self, scores: Floats, answered: Codes, name: str) -> float:
        """Standard error of the mean expected loss that comes of the calibration (delta method)."""
        if not len(scores):
            return 0.0
        base, steps = self.calibration.parameters, np.eye(3) * 1e-4
        slopes = []
        for step in steps:
            up, down = (self.probabilities(scores, base + sign * step) for sign in (1.0, -1.0))
            if name == "accuracy":
                rows = np.arange(len(scores))
                change = down[rows, answered] - up[rows, answered]
            else:
                change = ((up - down) * _brier_by_class(scores)).sum(axis=1)
            slopes.append(change.mean() / 2e-4)
        slope = np.array(slopes)
        return float(np.sqrt(slope @ self.calibration.covariance @ slope))


def brier_rows(scores: Floats, codes: Codes) -> Floats:
    """The Brier score of each row `[N]`, halved for two classes as the metric is."""
    rows: Floats = _brier_by_class(scores)[np.arange(len(scores)), codes]
    return rows


def _brier_by_class(scores: Floats) -> Floats:
    """The Brier score of each row if each class were true `[N, K]`."""
    squares = (scores**2).sum(axis=1, keepdims=True)
    losses: Floats = squares - 2 * scores + 1.0
    return losses / 2 if scores.shape[1] == 2 else losses


def _claims(scores: Floats, codes: Codes, target: Target) -> tuple[Floats, Floats]:
    if scores.shape[1] == 2:
        return scores[:, 1], (codes == 1).astype(np.float64)
    best = scores.argmax(axis=1)
    return scores.max(axis=1), (best == codes).astype(np.float64)


def _draw(probabilities: Floats, random: np.random.Generator) -> Codes:
    sums = np.cumsum(probabilities, axis=1)
    codes: Codes = (random.random(len(sums))[:, None] > sums[:, :-1]).sum(axis=1)
    return codes


def _expected(values: Floats, shrink: float) -> Expected:
    known = values[np.isfinite(values)]
    middle = float(known.mean())
    tail = (1.0 - LEVEL) / 2
    low, high = (float(end) for end in np.quantile(known, [tail, 1.0 - tail]))
    return Expected(middle, middle + (low - middle) * shrink, middle + (high - middle) * shrink)


def _features(claimed: Floats) -> Floats:
    p = np.clip(claimed, _TINY, 1.0 - _TINY)
    return np.column_stack([np.log(p), -np.log1p(-p), np.ones(len(p))])


def _sigmoid(x: Floats) -> Floats:
    q: Floats = 1.0 / (1.0 + np.exp(-np.clip(x, -500, 500)))
    return q
