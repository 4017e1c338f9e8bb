"""Curves to look at: ROC, precision-recall, calibration, lift; residuals of a regression."""

from __future__ import annotations

import msgspec
import numpy as np

from roadworthy.evaluate.metrics import Estimate, Ranking, calibration_bins, share_interval
from roadworthy.evaluate.resample import Floats
from roadworthy.evaluate.scored import Scored, positive_code, sample_rows

_POINTS = 120
_MAX_CLASSES = 6
_LIFT = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_CLOUD = 400

Point = tuple[float, float]


class CalibrationBin(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of like probability: the mean that was claimed, and the share that came true."""

    claimed: float
    true: Estimate
    rows: int


class ClassCurves(msgspec.Struct, frozen=True, kw_only=True):
    """The curves of one class against the rest.

    Attributes:
        name: The class.
        roc: False positive rate, true positive rate.
        pr: Recall, precision.
        lift: Share of rows taken, the most probable first; share of the class found among them
            over the share taken.
    """

    name: str
    roc: tuple[Point, ...]
    pr: tuple[Point, ...]
    lift: tuple[Point, ...]


class Residuals(msgspec.Struct, frozen=True, kw_only=True):
    """Prediction less truth over bins of equal rows by prediction.

    Attributes:
        predicted: Mean prediction of each bin.
        low: 5 % quantile of the residuals in each.
        middle: Median.
        high: 95 % quantile.
        points: Some rows: prediction, truth.
    """

    predicted: tuple[float, ...]
    low: tuple[float, ...]
    middle: tuple[float, ...]
    high: tuple[float, ...]
    points: tuple[Point, ...]


class Curves(msgspec.Struct, frozen=True, kw_only=True):
    """What a report draws; parts that a task does not have are empty."""

    classes: tuple[ClassCurves, ...] = ()
    calibration: tuple[CalibrationBin, ...] = ()
    residuals: Residuals | None = None


def curves(scored: Scored) -> Curves:
    """The curves of a model's answers; of many classes those with the most rows are drawn."""
    if scored.regression:
        return Curves(residuals=_residuals(scored))
    if scored.scores.shape[1] == 2:
        chosen = [positive_code(scored.target)]
    else:
        counts = np.bincount(scored.codes, minlength=scored.scores.shape[1])
        chosen = [int(code) for code in np.argsort(-counts, kind="stable")[:_MAX_CLASSES]]
    drawn = [_class_curves(scored, code) for code in chosen]
    return Curves(
        classes=tuple(entry for entry in drawn if entry is not None),
        calibration=_calibration(scored),
    )


def _class_curves(scored: Scored, code: int) -> ClassCurves | None:
    truth = scored.codes == code
    if truth.all() or not truth.any():
        return None
    ranking = Ranking(truth, scored.scores[:, code])
    weights = np.ones(len(scored)) if scored.weights is None else scored.weights
    hits, alarms = (side[0] for side in ranking.counts(weights[None, :]))
    if hits[-1] <= 0 or alarms[-1] <= 0:
        return None
    recall, false = hits / hits[-1], alarms / alarms[-1]
    taken = (hits + alarms) / (hits[-1] + alarms[-1])
    keep = _thin(len(hits))
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.nan_to_num(hits / (hits + alarms))
        found = np.interp(_LIFT, np.append(0.0, taken), np.append(0.0, recall)) / np.array(_LIFT)
    return ClassCurves(
        name=scored.target.class_names[code],
        roc=((0.0, 0.0), *_points(false[keep], recall[keep])),
        pr=_points(recall[keep], precision[keep]),
        lift=_points(np.array(_LIFT), found),
    )


def _thin(count: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(count, _POINTS)).round().astype(int))


def _points(xs: Floats, ys: Floats) -> tuple[Point, ...]:
    pairs = zip(xs.tolist(), ys.tolist(), strict=True)
    return tuple((round(x, 5), round(y, 5)) for x, y in pairs)


def _calibration(scored: Scored) -> tuple[CalibrationBin, ...]:
    bins, surplus = calibration_bins(scored.codes, scored.scores)
    two = scored.scores.shape[1] == 2
    claimed = scored.scores[:, 1] if two else scored.scores.max(axis=1)
    hits = np.round(claimed - surplus)
    found = []
    for code in np.unique(bins):
        rows = bins == code
        found.append(
            CalibrationBin(
                claimed=float(claimed[rows].mean()),
                true=share_interval(int(hits[rows].sum()), int(rows.sum())),
                rows=int(rows.sum()),
            )
        )
    return tuple(found)


def _residuals(scored: Scored) -> Residuals:
    order = np.argsort(scored.scores, kind="stable")
    parts = np.array_split(order, min(20, max(1, len(order) // 20)))
    residual = scored.scores - scored.table.labels
    quantiles = [np.quantile(residual[part], [0.05, 0.5, 0.95]) for part in parts]
    some = sample_rows(len(scored), _CLOUD, scored.seed)
    pairs = zip(scored.scores[some].tolist(), scored.table.labels[some].tolist(), strict=True)
    return Residuals(
        predicted=tuple(float(scored.scores[part].mean()) for part in parts),
        low=tuple(float(q[0]) for q in quantiles),
        middle=tuple(float(q[1]) for q in quantiles),
        high=tuple(float(q[2]) for q in quantiles),
        points=tuple((float(x), float(y)) for x, y in pairs),
    )
