"""Time: a random split where time counts, features that are time, dates from the future, drift."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from roadworthy.guard.checks._base import Case, Finding, drop_line, time_line
from roadworthy.guard.codes import rank_correlation, tame
from roadworthy.table import Table

_BIRTH = re.compile(r"birth|dob|born", re.I)
_BACKWARD = 0.002
"""Share of steps that may go back in a column that still counts as a clock."""
_ALONG = 0.9
_LATE_SHARE = 0.01
_LATE_ROWS = 5
_DAY = 86_400e6  # microseconds
_BLOCKS = 10
_DRIFT = {True: 0.05, False: 0.25}
"""Share of the target's variance that stretches explain from which it drifts: of time, of rows."""
_SURE = 30.0  # chi-square with nine degrees of freedom: about 4e-4; times the columns, 1e-3
_MIN_ROWS = 200

Floats = NDArray[np.float64]


class Time:
    """Findings about time and the order of rows."""

    name = "time"

    def find(self, case: Case) -> Iterator[Finding]:
        """See `Check.find`."""
        if case.table.times is None:
            yield from self._random_split(case)
        else:
            yield from self._clocks(case)
            yield from self._future(case)
        yield from self._drift(case)

    def _random_split(self, case: Case) -> Iterator[Finding]:
        dates = [
            profile.name
            for profile in case.table.profiles
            if profile.kind == "date"
            and not _BIRTH.search(profile.name)
            and profile.why_not != "dropped by the project file"
        ]
        if not dates or case.table.split is None:
            return
        policy = case.table.split.policy
        yield Finding(
            check=self.name,
            severity="warning",
            columns=tuple(dates),
            what=f"column {dates[0]!r} is a date and the split is not by time ({policy}): a model "
            "that must predict the future may score far worse than the report says",
            evidence={"dates": dates, "policy": policy},
            fix=f"{time_line(dates[0])} holds out the newest rows",
        )

    def _clocks(self, case: Case) -> Iterator[Finding]:
        """Features that never go back in time: at prediction they are beyond all training rows."""
        training = case.training
        times = training.times
        assert times is not None
        names = [p.name for p in case.used if p.kind in ("number", "date")]
        matrix = case.numbers(case.training_rows, names)
        for name, values in zip(names, matrix.T, strict=True):
            direction = _clock(times, values)
            if direction is None:
                continue
            own = _is_time(values, times)
            yield Finding(
                check=self.name,
                severity="note" if own else "warning",
                columns=(name,),
                what=f"feature {name!r} {'is the time itself' if own else direction}: future rows "
                "lie beyond every value that the model was trained on",
                evidence={"direction": direction, "is_time": own, **case.sample},
                fix=f"{drop_line(name)}, or use what repeats (month, weekday) in its place",
            )

    def _future(self, case: Case) -> Iterator[Finding]:
        """Date columns that are later than the row's own time."""
        training = case.training
        times = training.times
        assert times is not None
        dates = [p.name for p in case.table.profiles if p.kind == "date"]
        matrix = case.numbers(case.training_rows, dates)
        moments = dict(zip(dates, matrix.T, strict=True))
        if not any(_is_time(values, times) for values in moments.values()):
            return  # time is counted in something else
        for profile in case.used:
            values = moments.get(profile.name)
            if values is None:
                continue
            known = ~np.isnan(values)
            late = known & (values > times + _DAY)
            share = late.sum() / max(1, known.sum())
            if late.sum() < _LATE_ROWS or share < _LATE_SHARE:
                continue
            days = float(np.median((values - times)[late]) / _DAY)
            yield Finding(
                check=self.name,
                severity="warning",
                columns=(profile.name,),
                what=f"date {profile.name!r} is later than the row's own time in {share:.0%} of "
                f"the rows, by {days:,.0f} days in the middle: it may be known only afterwards",
                evidence={
                    "late_rows": int(late.sum()),
                    "share": round(float(share), 4),
                    "median_days": round(days, 2),
                    **case.sample,
                },
                fix=f"if it is not known at prediction time: {drop_line(profile.name)}",
            )

    def _drift(self, case: Case) -> Iterator[Finding]:
        """The target's mean over stretches of time, or of the table."""
        training = case.training
        if len(training) < _MIN_ROWS:
            return
        timed = training.times is not None
        keys = (
            np.arange(len(training), dtype=np.float64) if training.times is None else training.times
        )
        means, share, surely = _explained(training, keys)
        if share < _DRIFT[timed] or not surely:
            return
        by = "time" if timed else "the order of rows"
        yield Finding(
            check=self.name,
            severity="warning" if timed else "note",
            columns=(case.table.target,),
            what=f"the target drifts with {by}: stretches of it explain {share:.0%} of the "
            "target's variance",
            evidence={
                "by": "time" if timed else "rows",
                "explained": round(share, 4),
                "block_means": means,
                **case.sample,
            },
            fix="train on recent rows only, or retrain often; let the report judge by the newest "
            "rows"
            if timed
            else "if rows are in the order of time, name or add a time column: "
            '[data] time = "COLUMN"; if they are sorted by outcome, nothing is wrong',
        )


def _clock(times: Floats, values: Floats) -> str | None:
    """How a feature follows time, when its steps all but never go the other way."""
    known = ~np.isnan(values)
    if known.sum() < 20 or len(np.unique(values[known])) < 3:
        return None
    for word, sign in (("grows", 1.0), ("falls", -1.0)):
        order = np.lexsort((sign * values[known], times[known]))
        steps = np.diff(sign * values[known][order])
        along = sign * rank_correlation(times[known], values[known])
        if (steps < 0).mean() <= _BACKWARD and along > _ALONG:
            return f"{word} with time all the way"
    return None


def _is_time(values: Floats, times: Floats) -> bool:
    known = ~np.isnan(values)
    return bool(known.all() and (values == times).all())


def _explained(table: Table, keys: Floats) -> tuple[list[float], float, bool]:
    """Mean target a block, share of its variance between blocks, and whether that is no chance.

    For more than two classes the share is that of the class which it is largest for.
    """
    blocks = np.empty(len(table), dtype=np.int64)
    blocks[np.argsort(keys, kind="stable")] = np.arange(len(table)) * _BLOCKS // len(table)
    sizes = np.bincount(blocks, minlength=_BLOCKS)
    best: tuple[list[float], float, bool] = ([], 0.0, False)
    if len(table.classes) > 2:
        goals = [(table.labels == code).astype(np.float64) for code in np.unique(table.labels)]
    else:
        goals = [table.labels if table.classes else tame(table.labels)]
    for goal in goals:
        if goal.std() == 0:
            continue
        means = np.bincount(blocks, goal, minlength=_BLOCKS) / sizes
        between = float((sizes * (means - goal.mean()) ** 2).sum())
        share = between / float(((goal - goal.mean()) ** 2).sum())
        if share > best[1]:
            surely = share * len(table) > _SURE * (1 + np.log(len(goals)))
            best = ([round(float(mean), 4) for mean in means], share, surely)
    return best
