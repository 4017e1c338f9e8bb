"""Days against days: what a usual day is, and whether the newest ones still are.

Rows of one day are not independent, so a day is one observation, whatever its number of rows. Each
measure of a day is predicted from the days before it of the same weekday; its recursive residual
(Brown, Durbin, Evans 1975) is brought to a standard normal score by Student's t, which accounts for
how few days are known. A day that is far out is told at once (Bonferroni over all measures, by
weights: a column mostly drifts in where its numbers lie), a smaller shift that stays by a
cumulative sum (self-starting CUSUM, Hawkins 1987). Days that alarm do not become the usual.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from roadworthy.monitor.history import weekdays
from roadworthy.monitor.measures import Measured

Floats = NDArray[np.float64]
LEARN_DAYS = 14
"""Days without which nothing is told."""
_WEEKS = 4
"""Weeks from which days are compared with the same weekday."""
SLACK = 0.75
"""Of the cumulative sum: shifts of more than twice this many standard deviations add up."""
_AT_ONCE = 0.9
"""Share of the false alarms that goes to days that are far out; the rest to shifts that stay."""
_WEIGHTS = {"shift": 0.65, "spread": 0.05, "blank": 0.05}
"""Shares of that for measures by name; the rest goes to the shares of levels and classes."""
_ALIKE = ("shift", "spread")
"""Measures of one scale, whose variances tell of each other."""
_MIN_ALIKE = 5
_MOST_PRIOR = 200.0
_LARGEST_STEP = 4.0
"""One day alone does not fill the sum."""


class DayVerdict(NamedTuple):
    """What is told of each day and measure.

    Attributes:
        scores: Standard normal scores `[D, S]`; NaN where nothing could be told.
        p_values: Two-sided, corrected for the measures and for looking twice `[D, S]`.
        alarms: Whether the measure alarms `[D, S]`.
        since: Position of the day on which the alarm's shift began `[D, S]`, -1 without alarm.
    """

    scores: Floats
    p_values: Floats
    alarms: NDArray[np.bool_]
    since: NDArray[np.int64]


def judge_days(
    days: NDArray[np.int64],
    measured: Measured,
    *,
    learn: int,
    false_alarms: float,
) -> DayVerdict:
    """Judge days.

    Args:
        days: Days since 1970 `[D]`, ascending.
        measured: Their measures.
        learn: The first days, that are the usual; at least 14.
        false_alarms: How likely a usual day alarms at all.
    """
    shape = measured.values.shape
    verdict = DayVerdict(
        np.full(shape, np.nan), np.ones(shape), np.zeros(shape, bool), np.full(shape, -1)
    )
    usual = _Usual([measure.name for measure in measured.measures])
    sums = _Sums(shape[1], _limit(shape[1], false_alarms * (1 - _AT_ONCE)))
    factors = 1.0 / (_weights(measured) * _AT_ONCE)
    for place, weekday in enumerate(weekdays(days)):
        values, variances = measured.values[place], measured.variances[place]
        if place >= max(learn, LEARN_DAYS):
            scores = usual.score(values, variances, int(weekday))
            verdict.scores[place] = scores
            verdict.p_values[place] = np.minimum(1.0, _two_sided(scores) * factors)
            far = verdict.p_values[place] < false_alarms
            stays, since = sums.add(scores, place)
            verdict.alarms[place] = far | stays
            verdict.since[place] = np.where(stays, since, np.where(far, place, -1))
        usual.learn(values, variances, int(weekday), ~verdict.alarms[place])
    return verdict


def _weights(measured: Measured) -> Floats:
    """What part of the false alarms each measure may make; one in all."""
    kinds = [measure.name if measure.name in _WEIGHTS else "share" for measure in measured.measures]
    shares = {**_WEIGHTS, "share": 1.0 - sum(_WEIGHTS.values())}
    total = sum(shares[kind] for kind in set(kinds))
    return np.array([shares[kind] / total / kinds.count(kind) for kind in kinds])


def moderated(variances: Floats, freedom: Floats) -> tuple[Floats, Floats]:
    """Variances that borrow strength from each other, with their degrees of freedom (Smyth 2004).

    As much is borrowed as they are alike: of columns that vary very differently, almost nothing.

    Args:
        variances: Of several measures.
        freedom: Their degrees of freedom.
    """
    from scipy.special import digamma, polygamma

    known = variances > 0
    if known.sum() < _MIN_ALIKE:
        return variances, freedom
    half = freedom[known] / 2
    logs = np.log(variances[known]) - digamma(half) + np.log(half)
    excess = float(np.var(logs, ddof=1) - polygamma(1, half).mean())
    prior = _MOST_PRIOR
    if excess > 0:
        low, high = 0.1, _MOST_PRIOR
        for _ in range(50):  # the prior's freedom whose trigamma is the excess
            prior = (low + high) / 2
            low, high = (prior, high) if float(polygamma(1, prior / 2)) > excess else (low, prior)
    centre = np.exp(logs.mean() + digamma(prior / 2) - np.log(prior / 2))
    pooled, grown = variances.copy(), freedom.astype(np.float64)
    pooled[known] = (prior * centre + freedom[known] * variances[known]) / (prior + freedom[known])
    grown[known] += prior
    return pooled, grown


class _Usual:
    """The usual value of each measure, by weekday once there are enough weeks."""

    def __init__(self, names: list[str]) -> None:
        measures = len(names)
        self.alike = [np.flatnonzero([each == name for each in names]) for name in _ALIKE]
        self.sums = np.zeros((7, measures))
        self.counts = np.zeros((7, measures))
        self.squares = np.zeros(measures)
        self.sampling = np.zeros(measures)
        self.origin = np.full(measures, np.nan)

    def learn(
        self, values: Floats, variances: Floats, weekday: int, wanted: NDArray[np.bool_]
    ) -> None:
        """Take a day for usual, in the measures that are wanted."""
        known = wanted & np.isfinite(values)
        self.origin = np.where(np.isnan(self.origin) & known, values, self.origin)
        off = np.where(known, values - self.origin, 0.0)
        self.sums[weekday] += off
        self.counts[weekday] += known
        self.squares += off**2
        self.sampling += np.where(known, variances, 0.0)

    def score(self, values: Floats, variances: Floats, weekday: int) -> Floats:
        """Standard normal scores of a day."""
        from scipy.special import ndtri, stdtr

        total = self.counts.sum(axis=0)
        by_weekday = (total >= 7 * _WEEKS) & (self.counts[weekday] >= 2)
        pooled_mean = self.sums.sum(axis=0) / np.maximum(total, 1)
        counts = np.where(by_weekday, self.counts[weekday], total)
        mean = np.where(
            by_weekday, self.sums[weekday] / np.maximum(self.counts[weekday], 1), pooled_mean
        )
        between = (self.sums**2 / np.maximum(self.counts, 1)).sum(axis=0)
        explained = np.where(by_weekday, between, total * pooled_mean**2)
        freedom = total - np.where(by_weekday, (self.counts > 0).sum(axis=0), 1)
        variance = np.maximum(self.squares - explained, 0.0) / np.maximum(freedom, 1)
        freedom = np.maximum(freedom, 1)
        for alike in self.alike:
            variance[alike], freedom[alike] = moderated(variance[alike], freedom[alike])
        usual_sampling = self.sampling / np.maximum(total, 1)
        # a day of few rows is less exact than the usual ones, and no day is more exact than chance
        noise = np.maximum(variance - usual_sampling, 0.0) + np.maximum(variances, 1e-12)
        noise = np.maximum(noise, np.where(variances <= usual_sampling, variance, 0.0))
        spread = np.sqrt(noise + np.maximum(variance, usual_sampling) / np.maximum(counts, 1))
        ratio = (values - self.origin - mean) / spread
        tail = stdtr(freedom, -np.abs(ratio))
        scores: Floats = -np.sign(ratio) * ndtri(np.maximum(tail, 1e-300))
        return np.where(total >= LEARN_DAYS, scores, np.nan)


class _Sums:
    """Cumulative sums upward and downward; an alarm ends when its sum has halved."""

    def __init__(self, measures: int, limit: float) -> None:
        self.limit = limit
        self.sums = np.zeros((2, measures))
        self.began = np.zeros((2, measures), dtype=np.int64)
        self.on = np.zeros((2, measures), dtype=bool)

    def add(self, scores: Floats, place: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Add a day; which measures alarm, and since which day they shift."""
        step = np.clip(np.nan_to_num(scores), -_LARGEST_STEP, _LARGEST_STEP)
        before = self.sums
        self.sums = np.maximum(0.0, before + np.stack([step, -step]) - SLACK)
        self.sums = np.minimum(self.sums, 2 * self.limit)
        self.began = np.where((before == 0) & (self.sums > 0), place, self.began)
        self.on = (self.sums > self.limit) | (self.on & (self.sums > self.limit / 2))
        side = self.on.argmax(axis=0)
        since = np.take_along_axis(self.began, side[None, :], axis=0)[0]
        any_side: NDArray[np.bool_] = self.on[0] | self.on[1]
        return any_side, since


def _limit(measures: int, false_alarms: float) -> float:
    """The sum's limit for so many false alarms a day in all (Siegmund 1985, two-sided)."""
    wanted = 2.0 * max(measures, 1) / false_alarms
    low, high = 0.5, 60.0
    for _ in range(60):
        middle = (low + high) / 2
        grown = 2 * SLACK * (middle + 1.166)
        length = (math.exp(grown) - grown - 1) / (2 * SLACK**2)
        low, high = (middle, high) if length < wanted else (low, middle)
    return high


def _two_sided(scores: Floats) -> Floats:
    from scipy.special import ndtr

    found: Floats = np.where(np.isnan(scores), 1.0, 2 * ndtr(-np.abs(np.nan_to_num(scores))))
    return found
