"""What a random split would have shown of a model that is validated in the order of time."""

from __future__ import annotations

import dataclasses
import time

import msgspec
import numpy as np

from roadworthy.train.fits import encode_fold, fit_and_score
from roadworthy.train.folds import make_folds
from roadworthy.train.outcome import Member
from roadworthy.train.runner import Runner

_MOST_ROWS = 20_000
_SHARE = 0.1
"""Share of the time left that the comparison may take."""
_WORK = 1.5


def random_split_score(runner: Runner, member: Member) -> float | None:
    """Score a configuration on a random fold of the rows that the search split by time.

    Where this is much better than the score in the order of time, a random holdout would have
    flattered the model: it would have been asked about days that it had seen.

    Args:
        runner: The search, on a table with times.
        member: The chosen configuration.

    Returns:
        The metric on one random fold; None where the time left does not allow the fit.
    """
    table, setup = runner.table, runner.setup
    taken = [running.seconds for running in runner.every if running.entry == member.entry]
    expected = _WORK * max((seconds or 0.0 for seconds in taken), default=0.0)
    if expected > _SHARE * (setup.end - time.monotonic()) or setup.stop.is_set():
        return None
    rows = np.random.default_rng(runner.seed).permutation(len(table))[:_MOST_ROWS]
    by_chance = dataclasses.replace(table.take(np.sort(rows)), times=None)
    plain = msgspec.structs.replace(setup.options.train, validation="auto", gap=0)
    options = msgspec.structs.replace(setup.options, train=plain)
    fold = make_folds(by_chance, max(2, plain.folds), runner.seed)[0]
    data = encode_fold(by_chance, fold, options)
    if not len(data.valid.y):
        return None
    problem = runner.sample._replace(
        plan=data.plan, deadline=setup.end, rate=member.rate, stop=setup.stop
    )
    fit, _ = fit_and_score(member.entry, problem, data.train, data.valid, setup.metric)
    return fit.score if fit.note is None and np.isfinite(fit.score) else None
