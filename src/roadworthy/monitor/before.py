"""Recent logged rows against those before them: breaks that the contract alone does not show.

Every cell may be a possible one and the data broken all the same: rows that come several times, a
column of another row or in another column's place, decimals that were cut, a move of a whole
column that no answer of the world follows.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import combinations, islice

import numpy as np
import polars as pl

from roadworthy.bundle import Bundle
from roadworthy.contract import Column
from roadworthy.evaluate import Scored
from roadworthy.evaluate.metrics import mean_interval
from roadworthy.evaluate.resample import Floats
from roadworthy.monitor.feedback import Outcomes
from roadworthy.monitor.findings import Finding, Kind
from roadworthy.prepare.columns import encode_columns

_MIN_ROWS, _MOST = 200, 5_000
_COPIES = 0.3
_USUAL_COPIES = 0.05
_WHOLE, _NOT_WHOLE = 0.999, 0.5
_RELATED, _LEFT = 0.2, 0.5
_SAME, _OTHER = 0.2, 0.4
_MOVED, _ALIKE = 0.2, 0.08
_PAIRS = 20
"""Pairs of columns that are put back in each other's place, at most: each asks the model."""
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_ERRORS = 3.0
_HELP = "look at how this column is filled at its source, and put it right there"
_ROWS_HELP = "look for a join that finds several partners, or a caller that sends rows again"


def findings_against_older(
    bundle: Bundle, recent: Outcomes, older: Outcomes, since: datetime | None = None
) -> list[Finding]:
    """What recent rows show to be broken, beside the rows before them.

    Args:
        bundle: The model in production.
        recent: Recent rows.
        older: Those before.
        since: From when the recent ones are, for messages.
    """
    if min(len(recent), len(older)) < _MIN_ROWS:
        return []
    whole = recent.predictions.inputs, older.predictions.inputs
    here, there = map(_thinned, whole)
    numbers = [each.name for each in bundle.contract.columns if each.kind == "number"]
    told = [
        *_copies(*whole),
        *_swapped(here, there, numbers),
        *_unrelated(here, there, numbers),
        *(found for name in numbers for found in _cut(here[name], there[name])),
        *_undone(bundle, recent, older),
    ]
    found = []
    for kind, subject, what in told:
        fix = _ROWS_HELP if kind == "duplicates" else _HELP
        found.append(Finding(kind, "serious", subject, what, {"rows": len(recent)}, since, fix))
    return found


_Told = Iterator[tuple[Kind, str, str]]


def _copies(here: pl.DataFrame, there: pl.DataFrame) -> _Told:
    """Whole rows that come more than once, which as many older rows did not."""
    rows = min(here.height, there.height)  # among more rows more are alike
    share, usual = (1.0 - each.tail(rows).n_unique() / rows for each in (here, there))
    if share > _COPIES and usual < _USUAL_COPIES:
        yield "duplicates", "rows", f"{share:.0%} of the rows are copies; before it was {usual:.0%}"


def _cut(here: pl.Series, there: pl.Series) -> _Told:
    """Only whole numbers come where most had decimals."""
    now, then = _known(here), _known(there)
    if min(len(now), len(then)) < _MIN_ROWS:
        return
    whole, was = (float((each == np.trunc(each)).mean()) for each in (now, then))
    if whole > _WHOLE and was < _NOT_WHOLE:
        what = f"{here.name!r}: only whole numbers come, where {1 - was:.0%} had decimals"
        yield "type_change", here.name, what


def _swapped(here: pl.DataFrame, there: pl.DataFrame, numbers: list[str]) -> _Told:
    """Two columns that each look as the other did, and no longer as themselves."""
    cells = {name: (_known(here[name]), _known(there[name])) for name in numbers}
    moved = [
        name
        for name, (now, then) in cells.items()
        if min(len(now), len(then)) >= _MIN_ROWS and distance(now, then) > _OTHER
    ]
    for one, other in combinations(moved, 2):
        (now, then), (now_other, then_other) = cells[one], cells[other]
        if max(distance(now, then_other), distance(now_other, then)) < _ALIKE:
            yield "misplaced", one, f"{one!r} looks as {other!r} did, and {other!r} as {one!r} did"


def _unrelated(here: pl.DataFrame, there: pl.DataFrame, numbers: list[str]) -> _Told:
    """Two columns that went together and do not, each by itself as it was: cells of other rows."""
    for one, other in _fewer_related(here, there, numbers):
        now, then = (frame.select(one, other).drop_nulls() for frame in (here, there))
        if min(now.height, then.height) < _MIN_ROWS:
            continue
        if any(distance(_known(now[name]), _known(then[name])) > _SAME for name in (one, other)):
            continue
        was, left = (_rank_correlation(each[one], each[other]) for each in (then, now))
        chance = _ERRORS / float(np.sqrt(now.height))
        if abs(was) > _RELATED and abs(left) + chance < _LEFT * abs(was):
            rows = min(now.height, then.height)
            fewer = [frame[other].tail(rows).n_unique() for frame in (now, then)]
            subject = other if fewer[0] < _LEFT * fewer[1] else one
            what = (
                f"{one!r} and {other!r} went together ({was:.2f}) and no longer do ({left:.2f}), "
                "though each is distributed as before: cells of other rows or days"
            )
            yield "misplaced", subject, what


def _fewer_related(
    here: pl.DataFrame, there: pl.DataFrame, numbers: list[str]
) -> Iterator[tuple[str, str]]:
    """Pairs worth a closer look: all pairs of a wide table are many, and blanks blur little."""
    if len(numbers) < 2:
        return
    ranks = [
        frame.select(pl.col(numbers).rank()).fill_null(strategy="mean") for frame in (here, there)
    ]
    with np.errstate(invalid="ignore"):
        left, was = (np.nan_to_num(np.abs(np.corrcoef(each.to_numpy().T))) for each in ranks)
    for one, other in np.argwhere(np.triu((was > _RELATED / 2) & (left < 0.75 * was), 1)):
        yield numbers[one], numbers[other]


def _undone(bundle: Bundle, recent: Outcomes, older: Outcomes) -> _Told:
    """A column moved as a whole, and without the move answers are as good as they were.

    A world that moves takes its outcomes along, and the model follows where it knows the way; what
    is only measured or coded otherwise leaves outcomes where they were.
    """
    now, then = (_every(part.take(part.known)) for part in (recent, older))
    if min(len(now), len(then)) < _MIN_ROWS or not bundle.has_core:
        return  # a model that only its own library runs is not opened for this
    scored, before = now.scored(), then.scored()
    for kind, name, cells, how in _ways_back(
        bundle, now.predictions.inputs, then.predictions.inputs
    ):
        matrix = encode_columns(now.predictions.inputs.with_columns(cells), bundle.plan)
        mended = Scored(scored.table, bundle.engine.run_many(matrix), scored.seed)
        won = mean_interval(scored.loss - mended.loss)
        left = float(mended.loss.mean() - before.loss.mean())
        noise = float(np.hypot(_error(mended.loss), _error(before.loss)))
        sure = won.value is not None and won.error is not None and won.value > _ERRORS * won.error
        if sure and left < _ERRORS * noise:
            yield kind, name, f"{name!r} {how}; with that undone answers are as good as before"


def _ways_back(
    bundle: Bundle, here: pl.DataFrame, there: pl.DataFrame
) -> Iterator[tuple[Kind, str, list[pl.Series], str]]:
    """Moves that may have been made, with the columns as they were without them."""
    for column in bundle.contract.columns:
        made = _put_back(column, here[column.name], there[column.name])
        if made is not None:
            kind: Kind = "unit_change" if column.kind == "number" else "renamed_category"
            yield kind, column.name, [made[0]], made[1]
    numbers = [each.name for each in bundle.contract.columns if each.kind == "number"]
    for one, other in islice(_lookalikes(here, there, numbers), _PAIRS):
        cells = [here[one].alias(other), here[other].alias(one)]
        yield "misplaced", one, cells, f"looks as {other!r} did, and {other!r} as it did"


def _lookalikes(
    here: pl.DataFrame, there: pl.DataFrame, numbers: list[str]
) -> Iterator[tuple[str, str]]:
    """Pairs of columns that may have changed places and hardly show it by themselves."""
    here, there = _thinned(here), _thinned(there)
    cells = {name: (_known(here[name]), _known(there[name])) for name in numbers}
    enough = [name for name, each in cells.items() if min(map(len, each)) >= _MIN_ROWS]
    medians = {name: float(np.median(cells[name][1])) for name in enough}
    spreads = {name: float(np.ptp(np.quantile(cells[name][1], (0.05, 0.95)))) for name in enough}
    for one, other in combinations(enough, 2):
        if abs(medians[one] - medians[other]) > min(spreads[one], spreads[other]):
            continue  # most pairs, without a look at all of their cells
        (now, then), (now_other, then_other) = cells[one], cells[other]
        if max(distance(now, then_other), distance(now_other, then)) < _ALIKE:
            yield one, other


def _put_back(column: Column, now: pl.Series, then: pl.Series) -> tuple[pl.Series, str] | None:
    """A column without its move, and what the move was; None where it did not move as a whole."""
    if column.kind == "number":
        return _number_put_back(now, then)
    if column.kind == "category":
        return _levels_put_back(now, then)
    return None


def _number_put_back(now: pl.Series, then: pl.Series) -> tuple[pl.Series, str] | None:
    here, there = _known(now), _known(then)
    if min(len(here), len(there)) < _MIN_ROWS:
        return None
    present, past = np.quantile(here, _QUANTILES), np.quantile(there, _QUANTILES)
    spread, moved = float(past[4] - past[0]), float(present[2] - past[2])
    if spread <= 0 or abs(moved) < _MOVED * spread:
        return None
    if float(np.abs(present - moved - past).max()) > _ALIKE * spread:
        return None
    return now - moved, f"moved by {moved:.4g} in all its shape"


def _levels_put_back(now: pl.Series, then: pl.Series) -> tuple[pl.Series, str] | None:
    """Levels of the same known set whose shares changed places."""
    here, there = (dict(each.drop_nulls().value_counts().iter_rows()) for each in (now, then))
    total, before = sum(here.values()), sum(there.values())
    if min(total, before) < _MIN_ROWS or set(here) != set(there):
        return None
    present, past = (sorted(each, key=lambda k: (-each[k], str(k))) for each in (here, there))
    back = dict(zip(present, past, strict=True))
    moved = sum(abs(here[name] / total - there[name] / before) for name in here) / 2
    apart = sum(abs(here[name] / total - there[back[name]] / before) for name in here) / 2
    if moved < _ALIKE or apart > _LEFT * moved:
        return None
    names = ", ".join(f"{new!r} for {old!r}" for new, old in back.items() if new != old)
    return now.replace(back), f"has its levels in other places ({names[:120]})"


def _thinned(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.gather_every(max(1, frame.height // _MOST))


def _every(outcomes: Outcomes) -> Outcomes:
    return outcomes.take(np.arange(len(outcomes)) % max(1, len(outcomes) // _MOST) == 0)


def _known(cells: pl.Series) -> Floats:
    found: Floats = cells.drop_nulls().cast(pl.Float64).to_numpy()
    return found


def distance(one: Floats, other: Floats) -> float:
    """The largest difference of two distributions' shares (Kolmogorov and Smirnov's statistic).

    Args:
        one: Numbers of one `[N]`.
        other: Numbers of the other `[M]`.
    """
    values = np.concatenate([one, other])
    shares = [
        np.searchsorted(np.sort(each), values, side="right") / len(each) for each in (one, other)
    ]
    return float(np.abs(shares[0] - shares[1]).max())


def _rank_correlation(one: pl.Series, other: pl.Series) -> float:
    """Spearman's; 0 where a column stands still."""
    ranks = [each.rank().to_numpy() for each in (one, other)]
    if any(np.ptp(each) == 0 for each in ranks):
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _error(loss: Floats) -> float:
    return float(loss.std() / np.sqrt(len(loss)))
