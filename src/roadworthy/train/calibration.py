"""Calibrate probabilities, where out-of-fold scores show that it helps."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.isotonic import IsotonicRegression

from roadworthy.contract import Task
from roadworthy.errors import InputError
from roadworthy.train.evidence import paired_gain
from roadworthy.train.record import CalibrationEvidence, Method
from roadworthy.train.scoring import Floats, Index, model_scores, row_losses

EDGE = 1e-12
"""Probabilities closer to 0 or 1 than this count as this close: their logarithm must exist."""
BETA_EDGE = 1e-9
"""The same of beta calibration: what is closer says nothing, and its fit does not look there."""
_ISOTONIC_ROWS = 1000
_ISOTONIC_RARE = 100
"""Rows, and rows of the rarer class, below which steps follow the noise."""
_STEEPEST = 20.0
"""Steepest slope of a calibration: libraries that sum in float32 are off by 1e-7."""
_FOLDS = 5
_MOST_CELLS = 100_000
_ENOUGH_ROWS = 2000
"""Rows x classes that are looked at, but never fewer rows than these: a handful of numbers is
not told better from more."""
_WHERE = "[train] calibrate"


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """A way from scores to better ones; plain data.

    Attributes:
        method: `none`; `sigmoid`: the softmax of `slope * log(p) + shifts`, for two classes
            Platt's sigmoid on the logit; `isotonic`: straight lines between knots, two classes;
            `beta`: the sigmoid of `slope * log(p) - rest * log(1 - p) + shifts`, two classes (Kull
            et al., 2017); `line`: `slope * y + shifts` of predicted numbers.
        slope: Above 0; 1 / temperature. Of `beta` 0 or more.
        rest: Of `beta`, 0 or more.
        shifts: One a class, the first 0; of `line` one.
        knots: Probabilities of the second class, growing.
        levels: What they become, never falling.
    """

    method: Method | Literal["beta", "line"] = "none"
    slope: float = 1.0
    rest: float = 1.0
    shifts: tuple[float, ...] = ()
    knots: tuple[float, ...] = ()
    levels: tuple[float, ...] = ()

    def apply(self, scores: Floats) -> Floats:
        """Calibrated probabilities `[N, K]` of probabilities `[N, K]`; `line`: numbers `[N]`."""
        if self.method == "none":
            return scores
        if self.method == "line":
            moved: Floats = self.slope * scores + self.shifts[0]
            return moved
        if self.method == "beta":
            second = np.clip(scores[:, 1], BETA_EDGE, 1.0 - BETA_EDGE)
            odds = self.slope * np.log(second) - self.rest * np.log(1.0 - second)
            second = expit(odds + self.shifts[1])
            return np.column_stack([1.0 - second, second])
        if self.method == "isotonic":
            second = np.interp(scores[:, 1], self.knots, self.levels)
            return np.column_stack([1.0 - second, second])
        if scores.shape[1] == 2:
            margin = self.slope * _logit(scores[:, 1]) + self.shifts[1]
            second = expit(margin)
            return np.column_stack([1.0 - second, second])
        logs = np.log(np.clip(scores, EDGE, 1.0))
        calibrated: Floats = softmax(self.slope * logs + np.array(self.shifts), axis=1)
        return calibrated


class _Calibrated(BaseEstimator):  # type: ignore[misc]
    """What both kinds have in common."""

    def __init__(self, estimator: Any, calibration: Calibration) -> None:
        self.estimator = estimator
        self.calibration = calibration

    def __getstate__(self) -> dict[str, Any]:
        """Plain data, which every format of files can hold."""
        plain = msgspec.to_builtins(self.calibration)
        return {**super().__getstate__(), "calibration": plain}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.calibration = msgspec.convert(state["calibration"], Calibration)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def fit(self, X: Floats, y: Floats) -> Any:
        """Refuse: the parts are fitted one by one.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError("a calibrated estimator is made of fitted parts")


class CalibratedNumbers(RegressorMixin, _Calibrated):  # type: ignore[misc]
    """An estimator whose predictions go through a straight line.

    Args:
        estimator: A fitted regressor.
        calibration: The line.
    """

    def predict(self, X: Floats) -> Floats:
        """Predicted numbers `[N]`."""
        return self.calibration.apply(model_scores(self.estimator, X, 0))


class Calibrated(ClassifierMixin, _Calibrated):  # type: ignore[misc]
    """An estimator whose probabilities are calibrated.

    Args:
        estimator: A fitted classifier whose classes are class positions.
        calibration: What its probabilities go through.
    """

    @property
    def classes_(self) -> Index:
        """Class positions, in the order of the probabilities."""
        return np.arange(max(2, len(self.calibration.shifts), len(self.estimator.classes_)))

    def predict_proba(self, X: Floats) -> Floats:
        """Calibrated probabilities `[N, K]`."""
        return self.calibration.apply(model_scores(self.estimator, X, len(self.classes_)))

    def predict(self, X: Floats) -> Index:
        """The most probable class's position `[N]`."""
        codes: Index = self.predict_proba(X).argmax(axis=1)
        return codes


def check_calibration(task: Task, wanted: str) -> None:
    """Refuse a method that cannot be for the task.

    Raises:
        InputError: Names the key and what else to say.
    """
    if wanted in ("auto", "none"):
        return
    if task == "regression":
        raise InputError(
            "a regression has no probabilities to calibrate", where=_WHERE, fix="leave it out"
        )
    if wanted == "isotonic" and task == "multiclass":
        raise InputError(
            "calibrate = 'isotonic' is for two classes", where=_WHERE, fix="say 'sigmoid' or 'auto'"
        )


def choose_calibration(
    scores: Floats,
    y: Floats,
    wanted: Literal["auto", "none", "sigmoid", "isotonic"] = "auto",
    *,
    weights: Floats | None = None,
    groups: Index | None = None,
    seed: int = 0,
) -> tuple[Calibration, tuple[CalibrationEvidence, ...]]:
    """Choose and fit a calibration on out-of-fold scores.

    Sigmoid (Platt, 1999; for more classes a temperature and a shift a class, after Guo et al.,
    2017) and isotonic regression (Zadrozny and Elkan, 2002) are compared with none by their
    cross-validated log-loss. One is taken only when its gain is beyond chance in a paired test
    over rows, and isotonic only when it also beats sigmoid that surely.

    Args:
        scores: Out-of-fold probabilities `[N, K]`.
        y: Class positions `[N]`.
        wanted: `auto` chooses by the evidence; a method is fitted whatever the evidence.
        weights: Row weights.
        groups: Group of each row: whole groups are left out together.
        seed: Seed of the cross-validation.

    Returns:
        The calibration, and the evidence for each method that was tried.

    Raises:
        InputError: `isotonic` is asked for and there are too few rows.
    """
    if wanted == "none" or len(y) < 2 * _FOLDS:
        return Calibration(), ()
    few = _too_few_for_isotonic(scores, y)
    if wanted == "isotonic" and few:
        raise InputError(
            f"calibrate = 'isotonic' needs {few}", where=_WHERE, fix="say 'sigmoid' or 'auto'"
        )
    most = max(_ENOUGH_ROWS, _MOST_CELLS // scores.shape[1])
    if len(y) > most:
        rows = np.sort(np.random.default_rng(seed).permutation(len(y))[:most])
        scores, y = scores[rows], y[rows]
        weights = None if weights is None else weights[rows]
        groups = None if groups is None else groups[rows]
    weights = np.ones(len(y)) if weights is None else weights
    methods: tuple[Method, ...] = ("sigmoid",) if few else ("sigmoid", "isotonic")
    losses: dict[Method, Floats] = {"none": row_losses(y, scores)}
    losses |= {m: _left_out_losses(m, scores, y, weights, groups, seed) for m in methods}
    chosen: Method = "none"
    if wanted == "auto":
        for method in methods:
            if paired_gain(losses[chosen], losses[method], weights, groups).significant:
                chosen = method
    else:
        chosen = wanted
    return fit_calibration(chosen, scores, y, weights), _evidence(losses, weights, groups)


def fit_calibration(method: Method, scores: Floats, y: Floats, weights: Floats) -> Calibration:
    """Fit one method.

    Args:
        method: The method.
        scores: Probabilities `[N, K]`.
        y: Class positions `[N]`.
        weights: Row weights `[N]`.
    """
    if method == "none":
        return Calibration()
    return (_isotonic if method == "isotonic" else _sigmoid)(scores, y, weights)


def _too_few_for_isotonic(scores: Floats, y: Floats) -> str:
    """What is missing, in words; empty when nothing is."""
    if scores.shape[1] != 2:
        return "two classes"
    if len(y) < _ISOTONIC_ROWS:
        return f"{_ISOTONIC_ROWS} out-of-fold rows, and there are {len(y)}"
    rarer = int(min(y.sum(), len(y) - y.sum()))
    if rarer < _ISOTONIC_RARE:
        return f"{_ISOTONIC_RARE} rows of the rarer class, and there are {rarer}"
    return ""


def _left_out_losses(
    method: Method,
    scores: Floats,
    y: Floats,
    weights: Floats,
    groups: Index | None,
    seed: int,
) -> Floats:
    """The log-loss of each row under a calibration fitted without its part."""
    units = np.arange(len(y)) if groups is None else np.unique(groups, return_inverse=True)[1]
    places = np.random.default_rng(seed).permutation(units.max() + 1) % _FOLDS
    part = places[units]
    losses = np.zeros(len(y))
    for number in np.unique(part):
        out = part == number
        if out.all():
            return row_losses(y, scores)
        fitted = fit_calibration(method, scores[~out], y[~out], weights[~out])
        losses[out] = row_losses(y[out], fitted.apply(scores[out]))
    return losses


def _evidence(
    losses: dict[Method, Floats], weights: Floats, groups: Index | None
) -> tuple[CalibrationEvidence, ...]:
    found = []
    for method, values in losses.items():
        gain = paired_gain(losses["none"], values, weights, groups)
        loss = float(np.average(values, weights=weights))
        error = gain.standard_error if np.isfinite(gain.standard_error) else 0.0
        found.append(
            CalibrationEvidence(method=method, log_loss=loss, gain=gain.mean, standard_error=error)
        )
    return tuple(found)


def _sigmoid(scores: Floats, y: Floats, weights: Floats) -> Calibration:
    """The slope and shifts of the least log-loss; a convex problem."""
    count = scores.shape[1]
    if count == 2:
        logs = np.column_stack([np.zeros(len(y)), _logit(scores[:, 1])])
    else:
        logs = np.log(np.clip(scores, EDGE, 1.0))
    rows, codes = np.arange(len(y)), y.astype(np.int64)
    share = weights / weights.sum()
    strength = 1.0 / len(y)  # a class that is not there must not be shifted without end

    def loss(values: Floats) -> tuple[float, Floats]:
        slope, shifts = values[0], np.append(0.0, values[1:])
        margins = slope * logs + shifts
        margins -= margins.max(axis=1, keepdims=True)
        masses = np.exp(margins)
        totals = masses.sum(axis=1)
        # a sum and no dot product: threads of BLAS would wait for each other on busy cores
        value = float((share * (np.log(totals) - margins[rows, codes])).sum())
        missed = masses * (share / totals)[:, None]
        missed[rows, codes] -= share
        slopes = np.append((missed * logs).sum(), missed.sum(axis=0)[1:] + strength * values[1:])
        return value + strength * float(values[1:] @ values[1:]) / 2, slopes

    start = np.append(1.0, np.zeros(count - 1))
    bounds = [(0.02, _STEEPEST), *[(-30.0, 30.0)] * (count - 1)]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return Calibration(
        method="sigmoid",
        slope=float(found[0]),
        shifts=(0.0, *(float(value) for value in found[1:])),
    )


def _isotonic(scores: Floats, y: Floats, weights: Floats) -> Calibration:
    """Isotonic regression, each pool at its centre (Oron and Flournoy, 2017).

    Straight lines between the centres keep the order of rows, where steps would tie them. No
    level is nearer to 0 or 1 than the rows can tell, and no line is so steep that the last bits
    of a probability decide.
    """
    edge = 1.0 / (len(y) + 2)
    kept = weights > 0
    second, weights = scores[kept, 1], weights[kept]
    model = IsotonicRegression(y_min=edge, y_max=1.0 - edge).fit(second, y[kept], weights)
    levels = model.predict(second)
    pools, place = np.unique(levels, return_inverse=True)
    masses = np.bincount(place, weights=weights)
    centres = np.bincount(place, weights=weights * second) / masses
    knots: list[tuple[float, float, float]] = []
    for knot in zip(centres.tolist(), pools.tolist(), masses.tolist(), strict=True):
        joined = knot
        while knots and joined[1] - knots[-1][1] > _STEEPEST * (joined[0] - knots[-1][0]):
            joined = _join(knots.pop(), joined)
        knots.append(joined)
    return Calibration(
        method="isotonic",
        knots=tuple(knot[0] for knot in knots),
        levels=tuple(knot[1] for knot in knots),
    )


def _join(
    one: tuple[float, float, float], other: tuple[float, float, float]
) -> tuple[float, float, float]:
    """The common centre, level and mass of two pools."""
    mass = one[2] + other[2]
    return (
        (one[0] * one[2] + other[0] * other[2]) / mass,
        (one[1] * one[2] + other[1] * other[2]) / mass,
        mass,
    )


def _logit(p: Floats) -> NDArray[np.float64]:
    bounded = np.clip(p, EDGE, 1.0 - EDGE)
    logits: Floats = np.log(bounded) - np.log(1.0 - bounded)
    return logits
