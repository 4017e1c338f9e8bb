"""Permutation feature importance: how much worse the model gets without a column's information.

Breiman 2001, on the holdout, a whole column at a time (all features made from it together); of
rows that neither training nor the search has seen (Strobl et al. 2008 on why not on training rows).
"""

from __future__ import annotations

import msgspec
import numpy as np
import polars as pl

from roadworthy.evaluate.metrics import Estimate, percentile_estimate
from roadworthy.evaluate.resample import Floats, Resamples
from roadworthy.evaluate.scored import Predict, Scored, is_better_greater, sample_rows

_CELLS = 60_000
"""Predicted scores that one report may spend, so that it stays a matter of seconds."""
_REPEATS = 2
_ENCODED = 12_000
"""Columns times columns that may be encoded anew: in a wide table only those that go with the
answers most are shuffled."""


class Importance(msgspec.Struct, frozen=True, kw_only=True):
    """How much a metric worsens when a column is shuffled.

    Attributes:
        column: The column.
        metric: The metric.
        drop: By how much it is worse (above 0), with the interval over rows and shuffles.
    """

    column: str
    metric: str
    drop: Estimate


def permutation_importance(
    scored: Scored, predict: Predict, metric: str, rows: int = 1500
) -> tuple[Importance, ...]:
    """Importance of the columns that the model takes, the most important first.

    Args:
        scored: Rows with answers.
        predict: The model.
        metric: What to measure by.
        rows: Rows to measure on, at most; fewer in a wide table.
    """
    names = scored.table.contract.names
    outputs = 1 if scored.regression else scored.scores.shape[1]
    most = int(np.clip(_CELLS // (len(names) * _REPEATS * outputs), 150, rows))
    part = scored.take(sample_rows(len(scored), most, scored.seed))
    if len(part) < 20:
        return ()
    random = np.random.default_rng(scored.seed)
    weights = list(Resamples(len(part), scored.seed, part.weights, part.groups, 100).blocks())
    many = np.vstack([Resamples(len(part), 0, part.weights, part.groups, 1).base[None], *weights])
    base = _values(part, part.scores, metric, many)
    sign = 1.0 if is_better_greater(metric) else -1.0
    found = []
    for name in _promising(part, max(5, _ENCODED // len(names))):
        orders = [random.permutation(len(part)) for _ in range(_REPEATS)]
        shuffled = pl.concat(
            [part.table.frame.with_columns(part.table.frame[name][order]) for order in orders]
        )
        answers = np.split(predict(shuffled), _REPEATS)
        drops = [sign * (base - _values(part, answer, metric, many)) for answer in answers]
        mean = np.mean([drop[0] for drop in drops])
        # replicates of each shuffle side by side: the interval holds the chance of both
        drop = percentile_estimate(float(mean), np.concatenate([drop[1:] for drop in drops]))
        found.append(Importance(column=name, metric=metric, drop=drop))
    return tuple(sorted(found, key=lambda entry: -(entry.drop.value or 0.0)))


def _promising(part: Scored, most: int) -> list[str]:
    """The columns whose ranks go with the answers most, in the table's order; all if few."""
    names = list(part.table.contract.names)
    if len(names) <= most:
        return names
    answers = part.scores if part.regression else part.scores.max(axis=1)
    strength = {}
    for name in names:
        ranks = part.table.frame[name].rank("dense").cast(pl.Float64).fill_null(0.0).to_numpy()
        moved = ranks.std() > 0 and answers.std() > 0
        strength[name] = abs(float(np.corrcoef(ranks, answers)[0, 1])) if moved else 0.0
    kept = set(sorted(names, key=lambda name: -strength[name])[:most])
    return [name for name in names if name in kept]


def _values(part: Scored, scores: Floats, metric: str, weights: Floats) -> Floats:
    shuffled = Scored(part.table, scores, part.seed)
    areas = metric in ("roc_auc", "pr_auc")
    values: Floats = shuffled.metrics(areas=areas)(weights)[metric]
    return values
