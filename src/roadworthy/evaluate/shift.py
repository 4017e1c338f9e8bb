"""Whether rows differ from those that the model was trained on, and in which columns."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.contract import Column, Contract
from roadworthy.evaluate.metrics import Estimate
from roadworthy.evaluate.paired import delong
from roadworthy.evaluate.resample import Floats, Z
from roadworthy.evaluate.worst import holm

MEANINGFUL = 0.1
"""Population stability index below which a difference is called small (Siddiqi 2006)."""
_SHARES = np.array([0.05, 0.20, 0.25, 0.25, 0.20, 0.05])
_MAX_LEVELS = 100
_MAX_ROWS = 10_000
_CLEAR_AREA = 0.55
_FOLDS = 3
_ROUNDS = 60
_TREES = {
    "objective": "binary", "learning_rate": 0.1, "num_leaves": 16, "max_depth": 4,
    "min_data_in_leaf": 20, "verbosity": -1, "deterministic": True, "force_row_wise": True,
    "num_threads": 1,
}  # fmt: skip
"""So small that threads would wait for each other longer than they work."""


class ColumnShift(msgspec.Struct, frozen=True, kw_only=True):
    """How a column's cells differ from the training table's.

    Attributes:
        column: The column.
        psi: Population stability index over the training quantiles or levels, blanks and unseen
            levels being bins of their own; corrected for what chance alone gives.
        area: Area under the ROC curve of the best guess, from this column alone, whether a row is
            new: 0.5 is none, 1 is certainty.
        blank_share: Share of blanks now; `blank_before` in the training table.
        unseen_share: Share of levels that the training table did not have.
        outside_share: Share of numbers outside the training table's range.
        p_value: That the cells are of the training table's distribution, corrected for the number
            of columns.
    """

    column: str
    psi: float
    area: float
    blank_share: float
    blank_before: float
    unseen_share: float
    outside_share: float
    p_value: float


class Shift(msgspec.Struct, frozen=True, kw_only=True):
    """Whether new rows can be told from training rows.

    Attributes:
        rows: New rows.
        against: What they were compared with: `contract` (its quantiles and levels) or `rows`.
        drift: The largest index of any column, with its interval.
        columns: Every column, the most shifted first.
        adversarial: Area under the ROC curve, with its interval, of a classifier that was trained
            to tell new rows from reference rows, on rows it had not seen; only with reference
            rows.
        tellers: The columns it tells them by, with the share of its skill, the first ones.
    """

    rows: int
    against: str
    drift: Estimate
    columns: tuple[ColumnShift, ...]
    adversarial: Estimate | None = None
    tellers: dict[str, float] = {}


def contract_shift(frame: pl.DataFrame, contract: Contract) -> Shift:
    """Compare rows with what the contract holds of the training table.

    Args:
        frame: Typed rows.
        contract: Quantiles, levels and blank shares of the training rows.
    """
    found, errors = [], []
    for column in contract.columns:
        if frame.height:
            entry, error = _column_shift(frame[column.name], column, contract.rows)
            found.append(entry)
            errors.append(error)
    corrected = holm([entry.p_value for entry in found])
    found = [
        msgspec.structs.replace(entry, p_value=p) for entry, p in zip(found, corrected, strict=True)
    ]
    drift = Estimate(None)
    if found:
        worst = max(range(len(found)), key=lambda place: found[place].psi)
        psi, error = found[worst].psi, errors[worst]
        drift = Estimate(psi, max(0.0, psi - Z * error), psi + Z * error)
    return Shift(
        rows=frame.height,
        against="contract",
        drift=drift,
        columns=tuple(sorted(found, key=lambda entry: -entry.psi)),
    )


def _column_shift(series: pl.Series, column: Column, rows: int) -> tuple[ColumnShift, float]:
    expected, observed, unseen, outside = _bins(series, column)
    before, now = max(rows, 1), len(series)
    # half a row in each bin: an empty one does not make the index infinite
    p = (expected * before + 0.5) / (before + 0.5 * len(expected))
    q = (observed + 0.5) / (now + 0.5 * len(observed))
    chance = (len(expected) - 1) * (1 / before + 1 / now)
    logs = np.log(q / p)
    raw = float(((q - p) * logs).sum())
    # delta method over the multinomial counts of both tables
    slope_q, slope_p = logs + 1 - p / q, -logs + 1 - q / p
    variance = _spread(slope_q, q) / now + _spread(slope_p, p) / before
    entry = ColumnShift(
        column=column.name,
        psi=max(0.0, raw - chance),
        area=_area(p, q),
        blank_share=series.null_count() / max(1, now),
        blank_before=column.blank_share,
        unseen_share=unseen / max(1, now),
        outside_share=outside / max(1, now),
        p_value=homogeneity(expected * before, observed),
    )
    return entry, math.sqrt(max(variance, 0.0))


def _spread(slopes: Floats, shares: Floats) -> float:
    return float(shares @ slopes**2 - (shares @ slopes) ** 2)


def _bins(series: pl.Series, column: Column) -> tuple[Floats, Floats, int, int]:
    """Expected shares and observed counts of a column's bins, the last one being blanks."""
    blanks = series.null_count()
    known = series.drop_nulls()
    filled = 1.0 - column.blank_share
    if column.kind == "category":
        levels = column.levels()[:_MAX_LEVELS]
        total = max(1, sum(column.categories.values()))
        shares = [column.categories[level] / total for level in levels]
        counts = dict(known.alias("level").value_counts().iter_rows())
        listed = [counts.get(level, 0) for level in levels]
        unseen = sum(count for level, count in counts.items() if level not in column.categories)
        rest = len(known) - sum(listed)
        expected = [filled * share for share in shares]
        expected += [filled * (1.0 - sum(shares)), column.blank_share]
        return np.maximum(expected, 0.0), np.array([*listed, rest, blanks], float), unseen, 0
    if column.kind in ("boolean", "text") or len(column.quantiles) < 5:
        # the contract knows no more of a boolean or a text than how often it is blank
        return np.array([filled, column.blank_share]), np.array([len(known), blanks], float), 0, 0
    numbers = _numbers(known)
    return (
        np.append(filled * _SHARES, column.blank_share),
        np.append(_between_quantiles(numbers, column.quantiles), blanks),
        0,
        _outside(column, numbers),
    )


def _between_quantiles(numbers: Floats, quantiles: tuple[float, ...]) -> Floats:
    """Counts of numbers between the training quantiles `[6]`.

    Equal numbers may lie on a quantile, and then the training share up to it is only known to
    lie between that below and that up to and with it. They are counted to the side that is nearest
    to no difference: heaps of one value are no drift.
    """
    if not len(numbers):
        return np.zeros(len(_SHARES))
    ordered = np.sort(numbers)
    below = np.searchsorted(ordered, quantiles, side="left") / len(ordered)
    upto = np.searchsorted(ordered, quantiles, side="right") / len(ordered)
    reached = np.clip(np.cumsum(_SHARES)[:-1], below, upto)
    counts: Floats = np.diff(np.concatenate([[0.0], reached, [1.0]])) * len(ordered)
    return counts


def _outside(column: Column, numbers: Floats) -> int:
    if column.minimum is None or column.maximum is None:
        return 0
    return int(((numbers < column.minimum) | (numbers > column.maximum)).sum())


def _numbers(known: pl.Series) -> Floats:
    """Numbers, or seconds since 1970, as the contract's quantiles are."""
    if known.dtype.is_temporal():
        return known.cast(pl.Int64).to_numpy() / 1e6
    return known.cast(pl.Float64).to_numpy()


def _area(p: Floats, q: Floats) -> float:
    """Area under the ROC curve of the likelihood ratio between two sets of bins."""
    order = np.argsort(-(q / p), kind="stable")
    true = np.concatenate([[0.0], np.cumsum(q[order] / q.sum())])
    false = np.concatenate([[0.0], np.cumsum(p[order] / p.sum())])
    return float(np.trapezoid(true, false))


def homogeneity(expected: Floats, observed: Floats) -> float:
    """Pearson's chi-squared test that two counts are of one distribution; rare bins are joined."""
    from scipy.special import gammaincc  # the tail of chi-squared, without all of scipy.stats

    both = expected + observed
    share = observed.sum() / max(both.sum(), 1.0)
    rare = both * min(share, 1 - share) < 5
    first = np.append(expected[~rare], expected[rare].sum())
    second = np.append(observed[~rare], observed[rare].sum())
    kept = first + second > 0
    first, second = first[kept], second[kept]
    if len(first) < 2 or not second.sum():
        return 1.0
    total = first.sum() + second.sum()
    wanted = (first + second) * second.sum() / total
    other = (first + second) * first.sum() / total
    statistic = ((second - wanted) ** 2 / wanted + (first - other) ** 2 / other).sum()
    return float(gammaincc((len(first) - 1) / 2, statistic / 2))


def adversarial_validation(
    reference: pl.DataFrame, new: pl.DataFrame, contract: Contract, seed: int = 0
) -> Shift:
    """Train a classifier to tell new rows from reference rows; see `Shift`.

    Boosted trees, cross-fitted in three folds, so that every row is judged by a model that has
    not seen it. The interval is Hanley and McNeil's (1982).

    Args:
        reference: Typed rows as the training's.
        new: Typed rows to tell from them.
        contract: The columns to look at.
        seed: Seed of folds and trees.
    """
    shift = contract_shift(new, contract)
    random = np.random.default_rng(seed)
    parts = [
        frame[random.permutation(frame.height)[:_MAX_ROWS]] if frame.height > _MAX_ROWS else frame
        for frame in (reference, new)
    ]
    if min(part.height for part in parts) < 30:
        return shift
    both = pl.concat([row_matrix(part, contract) for part in parts]).to_numpy()
    which = np.repeat([0, 1], [part.height for part in parts])
    area = told_apart(both, which, seed)
    error = _hanley_mcneil(area, parts[1].height, parts[0].height)
    estimate = Estimate(area, max(0.0, area - Z * error), min(1.0, area + Z * error))
    tellers = {}
    if estimate.low is not None and estimate.low > 0.5 and area > _CLEAR_AREA:
        tellers = telling_columns(both, which, contract, random, seed)
    return msgspec.structs.replace(shift, against="rows", adversarial=estimate, tellers=tellers)


def told_apart(both: Floats, which: NDArray[np.int64], seed: int = 0) -> float:
    """How well trees tell rows apart that they have not seen: the area under the ROC curve.

    Args:
        both: Numbers of rows of both kinds `[N, width]`.
        which: The kind of each `[N]`, 0 or 1.
        seed: Seed of folds and trees.
    """
    random = np.random.default_rng(seed)
    part = np.empty(len(which), dtype=np.int64)
    for kind in (0, 1):
        rows = np.flatnonzero(which == kind)
        part[random.permutation(rows)] = np.arange(len(rows)) % _FOLDS
    guess = np.empty(len(which))
    for fold in range(_FOLDS):
        unseen = part == fold
        guess[unseen] = _judge(both[~unseen], which[~unseen], seed)(both[unseen])
    return _roc_area(which, guess)


def _judge(rows: Floats, which: NDArray[np.int64], seed: int) -> Callable[[Floats], Floats]:
    import lightgbm

    data = lightgbm.Dataset(rows, which, params=_TREES)
    trees = lightgbm.train(_TREES | {"seed": seed}, data, _ROUNDS)
    return lambda unseen: np.asarray(trees.predict(unseen, num_threads=1), dtype=np.float64)


def _roc_area(which: NDArray[np.int64], guess: Floats) -> float:
    return float(delong(which, guess[np.newaxis])[0][0])


def telling_columns(
    both: Floats,
    which: NDArray[np.int64],
    contract: Contract,
    random: np.random.Generator,
    seed: int = 0,
) -> dict[str, float]:
    """How much of the area each column carries, by shuffling it; the ten first ones.

    Args:
        both: Numbers of rows of both kinds `[N, width]`, as `row_matrix` makes them.
        which: The kind of each `[N]`, 0 or 1.
        contract: The columns.
        random: Shuffles.
        seed: Seed of the trees.
    """
    judge = _judge(both, which, seed)
    whole = _roc_area(which, judge(both))
    lost = {}
    for place, name in enumerate(contract.names):
        shuffled = both.copy()
        shuffled[:, place] = random.permutation(shuffled[:, place])
        lost[name] = max(0.0, whole - _roc_area(which, judge(shuffled)))
    total = sum(lost.values()) or 1.0
    first = sorted(lost, key=lambda name: -lost[name])[:10]
    return {name: lost[name] / total for name in first if lost[name] > 0}


def row_matrix(frame: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Numbers as they are, levels by their frequency in training, texts by their length."""
    columns = []
    for column in contract.columns:
        cells = frame[column.name]
        if column.kind == "category":
            levels = column.levels()
            cells = cells.replace_strict(
                pl.Series(levels, dtype=pl.String),
                pl.Series(range(len(levels)), dtype=pl.Float64),
                default=-1.0,
                return_dtype=pl.Float64,
            ).set(cells.is_null(), None)
        elif column.kind == "text":
            cells = cells.str.len_chars()
        elif cells.dtype.is_temporal():
            cells = cells.cast(pl.Int64)
        columns.append(cells.cast(pl.Float64).fill_null(float("nan")).alias(column.name))
    return pl.DataFrame(columns)


def _hanley_mcneil(area: float, positives: int, negatives: int) -> float:
    """Standard error of an area under the ROC curve."""
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (positives - 1) * (q1 - area**2)
    variance += (negatives - 1) * (q2 - area**2)
    return math.sqrt(max(variance, 0.0) / (positives * negatives))
