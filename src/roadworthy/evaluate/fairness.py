"""Fairness measures of a binary classification, with Fairlearn's definitions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from roadworthy.evaluate.metrics import Estimate, percentile_estimate
from roadworthy.evaluate.resample import Floats, Resamples
from roadworthy.evaluate.scored import Scored, positive_code
from roadworthy.evaluate.slices import MAX_LEVELS, MIN_ROWS, named_cuts

MEASURES = (
    "demographic_parity_difference",
    "demographic_parity_ratio",
    "equalized_odds_difference",
    "equal_opportunity_difference",
)
_MAX_COLUMNS = 20


class Fairness(msgspec.Struct, frozen=True, kw_only=True):
    """How evenly a column's groups are treated.

    Attributes:
        column: The column whose levels are the groups.
        groups: The groups compared: those with at least 30 rows.
        selection_rates: Group -> share of its rows that are answered with the positive class.
        measures: Each of MEASURES; undefined where a group has no row of the class it needs.
    """

    column: str
    groups: tuple[str, ...]
    selection_rates: dict[str, float]
    measures: dict[str, Estimate]


def fairness_report(scored: Scored, named: Sequence[str] = ()) -> tuple[Fairness, ...]:
    """Fairness over the groups of each column; empty where there are not two classes.

    Args:
        scored: Rows with answers.
        named: Columns; empty takes those of at most twelve levels.
    """
    if scored.table.task != "binary":
        return ()
    code = positive_code(scored.target)
    outcome = 2 * (scored.codes == code) + (scored.predicted == code)
    found = []
    for cut in named_cuts(scored, named):
        counts = np.bincount(cut.codes, minlength=len(cut.levels))
        kept = np.flatnonzero(counts >= MIN_ROWS)
        ranged = not named and _is_range(scored, cut.column)
        if len(kept) < 2 or len(kept) > MAX_LEVELS or ranged:
            continue
        place = np.full(len(cut.levels), -1)
        place[kept] = np.arange(len(kept))
        rows = place[cut.codes] >= 0
        part = scored if rows.all() else scored.take(np.flatnonzero(rows))
        cells = place[cut.codes[rows]] * 4 + outcome[rows]
        resamples = Resamples(len(part), scored.seed, part.weights, part.groups, 400)
        points = np.bincount(cells, resamples.base, 4 * len(kept)).astype(np.float64)
        here = _measure(points.reshape(1, -1, 2, 2))
        many = _measure(resamples.sums(cells, 4 * len(kept)).reshape(-1, len(kept), 2, 2))
        rates = _rates(points.reshape(1, -1, 2, 2))[0][0]
        names = tuple(cut.levels[level] for level in kept)
        found.append(
            Fairness(
                column=cut.column,
                groups=names,
                selection_rates=dict(zip(names, rates.tolist(), strict=True)),
                measures={
                    name: percentile_estimate(float(here[name][0]), many[name]) for name in MEASURES
                },
            )
        )
        if len(found) == _MAX_COLUMNS:
            break
    return tuple(found)


def _is_range(scored: Scored, column: str) -> bool:
    kinds = {entry.name: entry.kind for entry in scored.table.contract.columns}
    return kinds.get(column) in ("number", "date")


def _rates(counts: Floats) -> tuple[Floats, Floats, Floats]:
    """Selection, true positive and false positive rates `[B, groups]` of `[B, groups, 2, 2]`."""
    with np.errstate(invalid="ignore", divide="ignore"):
        selected = counts[:, :, :, 1].sum(axis=2) / counts.sum(axis=(2, 3))
        true = counts[:, :, 1, 1] / counts[:, :, 1].sum(axis=2)
        false = counts[:, :, 0, 1] / counts[:, :, 0].sum(axis=2)
    return selected, true, false


def _measure(counts: Floats) -> dict[str, Floats]:
    selected, true, false = _rates(counts)

    def spread(rates: Floats) -> Floats:
        difference: Floats = rates.max(axis=1) - rates.min(axis=1)
        return difference

    highest = selected.max(axis=1)
    ratio = np.divide(
        selected.min(axis=1), highest, out=np.full(len(highest), math.nan), where=highest > 0
    )
    return {
        "demographic_parity_difference": spread(selected),
        "demographic_parity_ratio": ratio,
        "equalized_odds_difference": np.maximum(spread(true), spread(false)),
        "equal_opportunity_difference": spread(true),
    }
