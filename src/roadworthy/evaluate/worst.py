"""Find the subgroups that a model serves worst, without being told where to look.

Every level and range, and every pair of them, is looked at on one half of the rows; the worst are
then measured on the other half, where the search has chosen nothing, and their p-values are
corrected for how many were taken over (Holm 1979). What is reported is therefore unbiased by the
search, which a plain "minimum over all slices" is not.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from roadworthy.evaluate.metrics import Estimate
from roadworthy.evaluate.resample import Z, mean_and_error
from roadworthy.evaluate.scored import Scored
from roadworthy.evaluate.slices import cut_column

_MAX_CONDITIONS = 160
_MAX_ROWS = 60_000
_LEVELS = 12
_CANDIDATES = 8
_ALIKE = 0.8
_CLEAR = 2.0
"""Standard errors that a slice's gap must have in the searched half to be taken over."""


class FoundSlice(msgspec.Struct, frozen=True, kw_only=True):
    """A subgroup found by search, as measured on rows that the search did not see.

    Attributes:
        conditions: What cuts it out: one or two `COLUMN = LEVEL`.
        rows: Its rows in the confirming half.
        metric: `accuracy`, or `mae` for a regression.
        estimate: The metric on it.
        gap: By how much it is worse than on all other rows of that half.
        p_value: One-sided, that the gap is not above 0, corrected for the search.
        confirmed: Whether the p-value is below 0.05.
    """

    conditions: tuple[str, ...]
    rows: int
    metric: str
    estimate: Estimate
    gap: Estimate
    p_value: float
    confirmed: bool


def worst_slices(scored: Scored, minimum: int | None = None) -> tuple[FoundSlice, ...]:
    """The worst subgroups, the surest first.

    Args:
        scored: Rows with answers.
        minimum: Fewest rows of a subgroup in each half; None takes 25, or a fiftieth of them.

    Returns:
        At most eight; empty when there are too few rows to search and confirm.
    """
    searched, confirming = _halves(scored)
    least = minimum or max(25, len(searched) // 50)
    if min(len(searched), len(confirming)) < 2 * least:
        return ()
    names, inside = _conditions(scored, np.concatenate([searched, confirming]), least)
    if not names:
        return ()
    loss = scored.outcome if scored.regression else 1.0 - scored.outcome
    pairs = _search(inside[:, : len(searched)], loss[searched], least)
    chosen = _diverse(pairs, inside[:, : len(searched)])
    second = inside[:, len(searched) :]
    found = []
    for one, other in chosen:
        rows = second[one] & second[other]
        if rows.sum() >= least // 2:
            conditions = tuple(dict.fromkeys((names[one], names[other])))
            found.append((conditions, confirming[rows], confirming[~rows]))
    return _confirm(scored, found)


def _halves(scored: Scored) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Two random halves of the rows; a group lies in one of them."""
    random = np.random.default_rng(scored.seed)
    if scored.groups is None:
        order = random.permutation(len(scored))[:_MAX_ROWS]
        return order[: len(order) // 2], order[len(order) // 2 :]
    codes = np.unique(scored.groups, return_inverse=True)[1]
    first = random.random(int(codes.max()) + 1) < 0.5
    rows = np.arange(len(scored))
    return rows[first[codes]][:_MAX_ROWS], rows[~first[codes]][:_MAX_ROWS]


def _conditions(
    scored: Scored, rows: NDArray[np.int64], least: int
) -> tuple[list[str], NDArray[np.bool_]]:
    """Names of simple conditions and whether each row meets them `[conditions, rows]`."""
    columns = {column.name: column for column in scored.table.contract.columns}
    frame = scored.table.frame[rows]
    names: list[str] = []
    masks: list[NDArray[np.bool_]] = []
    for profile in scored.table.profiles:
        if profile.kind in ("identifier", "text", "constant") or profile.name not in frame.columns:
            continue
        cut = cut_column(frame[profile.name], columns.get(profile.name))
        counts = np.bincount(cut.codes, minlength=len(cut.levels))
        for code in np.argsort(-counts, kind="stable")[:_LEVELS]:
            if 2 * least <= counts[code] < len(rows):
                names.append(f"{cut.column} = {cut.levels[code]}")
                masks.append(cut.codes == code)
        if len(names) >= _MAX_CONDITIONS:
            break
    return names, np.array(masks[:_MAX_CONDITIONS], dtype=bool).reshape(-1, len(rows))


def _search(
    inside: NDArray[np.bool_], loss: NDArray[np.float64], least: int
) -> list[tuple[float, int, int]]:
    """Each pair of conditions (or one with itself) with the standard errors of its gap."""
    masks = inside.astype(np.float32)
    centred = loss - loss.mean()
    rows = masks @ masks.T
    sums = (masks * centred.astype(np.float32)) @ masks.T
    squares = (masks * (centred**2).astype(np.float32)) @ masks.T
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = sums / rows
        deviation = np.sqrt(np.maximum(squares / rows - mean**2, 1e-12) / rows)
        # a share of 0 or 1 has no spread in few rows: it gets that of the whole as a floor
        floor = float(centred.std()) / np.sqrt(rows) / 2
        clear = mean / np.maximum(deviation, floor)
    clear = np.where((rows >= least) & np.isfinite(clear), clear, -math.inf)
    ones, others = np.triu_indices(len(inside))
    order = np.argsort(-clear[ones, others], kind="stable")[:400]
    found = [(float(clear[ones[k], others[k]]), int(ones[k]), int(others[k])) for k in order]
    return [entry for entry in found if entry[0] >= _CLEAR]


def _diverse(
    pairs: list[tuple[float, int, int]], inside: NDArray[np.bool_]
) -> list[tuple[int, int]]:
    """The clearest pairs that are not nearly the same rows as one taken before."""
    taken: list[tuple[tuple[int, int], NDArray[np.bool_]]] = []
    for _, one, other in pairs:
        rows = inside[one] & inside[other]
        alike = [(rows & old).sum() / (rows | old).sum() for _, old in taken]
        if max(alike, default=0.0) < _ALIKE:
            taken.append(((one, other), rows))
        if len(taken) == _CANDIDATES:
            break
    return [pair for pair, _ in taken]


def _confirm(
    scored: Scored,
    found: list[tuple[tuple[str, ...], NDArray[np.int64], NDArray[np.int64]]],
) -> tuple[FoundSlice, ...]:
    measured = []
    sign = 1.0 if scored.regression else -1.0
    for conditions, rows, rest in found:
        here, error = _mean(scored, rows)
        there, error2 = _mean(scored, rest)
        gap, spread = sign * (here - there), math.hypot(error, error2)
        if math.isfinite(spread) and spread > 0:
            p = 0.5 * math.erfc(gap / spread / math.sqrt(2.0))
            estimate = Estimate(here, here - Z * error, here + Z * error)
            if not scored.regression:
                estimate = Estimate(here, max(0.0, here - Z * error), min(1.0, here + Z * error))
            wide = Estimate(gap, gap - Z * spread, gap + Z * spread)
            measured.append((p, conditions, len(rows), estimate, wide))
    corrected = holm([entry[0] for entry in measured])
    slices = [
        FoundSlice(
            conditions=conditions,
            rows=count,
            metric="mae" if scored.regression else "accuracy",
            estimate=estimate,
            gap=gap,
            p_value=p,
            confirmed=p < 0.05,
        )
        for p, (_, conditions, count, estimate, gap) in zip(corrected, measured, strict=True)
    ]
    return tuple(sorted(slices, key=lambda entry: (entry.p_value, -(entry.gap.value or 0.0))))


def _mean(scored: Scored, rows: NDArray[np.int64]) -> tuple[float, float]:
    return mean_and_error(
        scored.outcome[rows],
        None if scored.weights is None else scored.weights[rows],
        None if scored.groups is None else scored.groups[rows],
    )


def holm(p_values: list[float]) -> list[float]:
    """Holm's (1979) correction of p-values for their number, in their order."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected, largest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, p_values[index] * (len(p_values) - place)))
        corrected[index] = largest
    return corrected
