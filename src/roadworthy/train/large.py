"""Many rows for the budget: one validation part, a portfolio on a sample, the best on the rest."""

from __future__ import annotations

import math
import time

import numpy as np
from numpy.typing import NDArray

from roadworthy.train.blend import Blend
from roadworthy.train.fits import FoldRows, encode_fold
from roadworthy.train.folds import Fold, make_folds
from roadworthy.train.outcome import SearchOutcome, choose, conclude
from roadworthy.train.portfolio import is_skewed, moves, portfolio
from roadworthy.train.runner import FASTEST, Runner, Running

_CELL_SECONDS = 1e-6
"""Thread-seconds of a first fit for each row x feature x class."""
_FITS = 52
"""Such fits that a race over two folds at the fastest rate comes to."""
_VALID_ROWS = 15_000
_SAMPLE_SHARE = 0.25
_LEAST_SAMPLE = 2_000
_FIRST_SHARE = 0.4
"""Share of the search's time that the portfolio has."""
_FINALISTS, _OF_A_FAMILY = 4, 2
_CHOOSING_SHARE, _LAST_SHARE = 0.05, 0.3
"""Shares of the search's time that choosing the blend takes, and that the last stage has at
least."""
_STRETCH = 3.0
"""How many times more rows than the time suffices for the last stage takes at most."""
_SLACK = 1.3
"""A further fit is begun when so many times the slowest one's seconds are left."""


def is_large(runner: Runner) -> bool:
    """Whether the table has too many rows to be cut into folds within the budget."""
    left = runner.setup.seconds_left * runner.setup.n_jobs
    return _FITS * _first_fit(runner, len(runner.table)) > left


def _first_fit(runner: Runner, rows: int) -> float:
    # serving allows fewer rounds of more classes
    classes = math.sqrt(max(1, len(runner.table.classes) - 1))
    return 0.02 + _CELL_SECONDS * rows * (len(runner.table.contract.columns) + 2) * classes


def search_large(runner: Runner) -> SearchOutcome:
    """Search and fit in one: the models of the last stage are the result.

    The portfolio is fitted on a sample of the rows, the best four, at most two of a family, on
    as many rows as time is left for; their blend is chosen on the one validation part. There is
    no second fit: the validation rows are not trained on.
    """
    train, valid = _parts(runner)
    runner.folds = [Fold(train, valid)]
    runner.models = {}
    whole = runner.setup._replace(study=None)  # its fits come without their models
    began, time_for_all = time.monotonic(), whole.deadline - time.monotonic()
    runner.setup = whole._replace(deadline=began + _FIRST_SHARE * time_for_all)
    sample = _some(runner, train, _sample_rows(runner, len(train)))
    first = encode_fold(runner.table, Fold(sample, valid), whole.options)
    runner.data = {0: first}
    log = runner.table.task == "regression" and is_skewed(runner.table.labels[train])
    started = runner.start(portfolio(runner.candidates, runner.sample, log=log))
    runner.round([(running, 0) for running in started])
    started = runner.hurry(started)
    # nothing is refitted: the last stage has all the time that packaging leaves
    last = max(
        runner.setup.end - _CHOOSING_SHARE * time_for_all,
        time.monotonic() + _LAST_SHARE * time_for_all,
    )
    runner.setup = whole._replace(end=runner.setup.end, deadline=last)
    data = first
    finalists = _finalists(runner, started)
    if finalists:
        rows, stretch = _affordable_rows(runner, finalists, len(sample), len(train))
        if rows > len(sample):
            chosen = _some(runner, train, rows)
            data = encode_fold(runner.table, Fold(chosen, valid), whole.options)
            data = _last_stage(runner, finalists, stretch, data)
    outcome = _conclude(runner)
    return outcome._replace(rows=len(sample), fitted_rows=len(data.train.y), plan=data.plan)


def _parts(runner: Runner) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """One fold in ten, the newest where time counts, of at most 15,000 validation rows."""
    folds = make_folds(runner.table, 10, runner.seed)
    train, valid = folds[-1] if runner.table.times is not None else folds[0]
    if len(valid) > _VALID_ROWS:
        random = np.random.default_rng(runner.seed)
        valid = np.sort(random.permutation(valid)[:_VALID_ROWS])
    return train, valid


def _some(runner: Runner, rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """So many of the rows, at random also where time counts: of a whole past, every season.

    At least ten of every class.
    """
    if count >= len(rows):
        return rows
    table = runner.table
    taken = np.random.default_rng(runner.seed).permutation(rows)[:count]
    if table.classes:
        codes = table.labels[rows]
        rare = [rows[np.flatnonzero(codes == code)[:10]] for code in np.unique(codes)]
        taken = np.union1d(taken, np.concatenate(rare))
    return np.sort(taken)


def _sample_rows(runner: Runner, rows: int) -> int:
    seconds = _FIRST_SHARE * max(0.1, runner.setup.seconds_left) * runner.setup.n_jobs
    bought = rows * seconds / (_FITS / 2 * _first_fit(runner, rows))
    return int(np.clip(bought, min(_LEAST_SAMPLE, rows), max(_LEAST_SAMPLE, _SAMPLE_SHARE * rows)))


def _finalists(runner: Runner, started: list[Running]) -> list[Running]:
    found: list[Running] = []
    for running in runner.rank(started, [0]):
        if len(found) == _FINALISTS:
            break
        if sum(other.family == running.family for other in found) < _OF_A_FAMILY:
            found.append(running)
    left = 0.8 * runner.setup.seconds_left * runner.setup.n_jobs
    while len(found) > runner.setup.n_jobs and sum(r.seconds or 0.0 for r in found) > left / 4.0:
        found.pop()  # few rows were already dear: rather few on all rows than many on few
    return found


def _affordable_rows(
    runner: Runner, finalists: list[Running], sample: int, rows: int
) -> tuple[int, float]:
    """Rows for the last stage, and how much faster boosting has to learn to be done with them.

    Up to three times as many as the time suffices for: more rows at a faster rate, and rounds
    that the clock cuts, are worth more than fewer rows (measured on flights).
    """
    taken = sum(running.seconds or 0.0 for running in finalists)
    left = 0.8 * runner.setup.seconds_left * runner.setup.n_jobs
    bought = sample * left / max(1e-3, taken)
    wanted = int(np.clip(_STRETCH * bought, sample, rows))
    return wanted, float(np.clip(wanted / max(1.0, bought), 1.0, _STRETCH))


def _last_stage(
    runner: Runner, finalists: list[Running], stretch: float, data: FoldRows
) -> FoldRows:
    """Fit the finalists on more rows, then moves around the best while time is left.

    Returns:
        The rows whose fits are to be blended: these, unless the sample's fits were better.
    """
    first, before = runner.data[0], list(runner.every)
    runner.data, runner.fit_share = {0: data}, 1.0
    hurried = [r.entry._replace(rate=min(FASTEST, stretch * r.rate)) for r in finalists]
    fitted = runner.start(hurried)
    runner.round([(running, 0) for running in fitted])
    random = np.random.default_rng(runner.seed)
    while runner.setup.seconds_left > _SLACK * max((r.seconds or 0.0 for r in fitted), default=0.0):
        best = runner.rank(fitted, [0])[:_FINALISTS]
        entries = moves([r.entry for r in best], runner.sample, random, runner.setup.n_jobs)
        if not entries:
            break
        started = runner.start(entries)
        runner.round([(running, 0) for running in started])
        fitted += started
    after, known = runner.rank(fitted, [0]), runner.rank(before, [0])
    better = bool(after) and runner.loss(after[0], [0]) <= runner.loss(known[0], [0])
    runner.data = {0: data if better else first}
    # those that are not blended stay in the record, by the score of the rows they were fitted on
    runner.every = [*fitted, *before] if better else [*before, *fitted]
    runner.models = {r: m for r, m in (runner.models or {}).items() if (r in fitted) == better}
    return data if better else first


def _conclude(runner: Runner) -> SearchOutcome:
    """Blend those whose models are there."""
    models = runner.models or {}
    every = runner.every
    runner.every = [running for running in every if running in models]
    if not runner.every:
        runner.every = every  # all failed: the choice tells why
    chosen = choose(runner, blend=True, refit_seconds=np.inf)
    others = {running.entry.key for running in runner.every}
    runner.every += [running for running in every if running.entry.key not in others]
    outcome = conclude(runner, chosen, complete=False)
    estimators = [models[running] for running in chosen.running]
    model = estimators[0]
    if len(estimators) > 1:
        model = Blend(estimators, chosen.weights).take(estimators)
    return outcome._replace(fitted=model)
