"""Many rows for the budget: one validation part, a portfolio on a sample, the best on the rest."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadworthy.train.blend import Blend
from roadworthy.train.candidates import Fitted
from roadworthy.train.fits import Fit, FoldRows, encode_fold, fit_and_score
from roadworthy.train.folds import Fold, make_folds
from roadworthy.train.outcome import SearchOutcome, choose, conclude
from roadworthy.train.portfolio import is_skewed, portfolio
from roadworthy.train.runner import Runner, Running

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


def is_large(runner: Runner) -> bool:
    """Whether the table has too many rows to be cut into folds within the budget."""
    left = runner.setup.seconds_left * runner.setup.n_jobs
    return _FITS * _first_fit(runner, len(runner.table)) > left


def _first_fit(runner: Runner, rows: int) -> float:
    classes = max(1, len(runner.table.classes) - 1)
    return 0.02 + _CELL_SECONDS * rows * (len(runner.table.contract.columns) + 2) * classes


def search_large(runner: Runner) -> SearchOutcome:
    """Search and fit in one: the models of the last stage are the result.

    The portfolio is fitted on a sample of the rows, the best four, at most two of a family, on
    as many rows as time is left for; their blend is chosen on the one validation part. There is
    no second fit: the validation rows are not trained on.
    """
    train, valid = _parts(runner)
    runner.folds = [Fold(train, valid)]
    began, end = time.monotonic(), runner.setup.deadline
    first = runner.setup._replace(deadline=began + _FIRST_SHARE * (end - began))
    sample = _newest(runner, train, _sample_rows(runner, len(train)))
    whole = runner.setup
    runner.setup = first
    options, seed = whole.options.prepare, runner.seed
    runner.data = {0: encode_fold(runner.table, Fold(sample, valid), options, seed)}
    log = runner.table.task == "regression" and is_skewed(runner.table.labels[train])
    started = runner.start(portfolio(runner.candidates, runner.sample, log=log))
    runner.round([(running, 0) for running in started])
    runner.setup = whole
    finalists = _finalists(runner, started)
    if not finalists:
        choose(runner, blend=False, refit_seconds=0.0)  # tells what went wrong
    rows = _affordable_rows(runner, finalists, len(sample), len(train))
    data = runner.data[0]
    if rows > len(sample):
        chosen_rows = _newest(runner, train, rows)
        data = encode_fold(runner.table, Fold(chosen_rows, valid), options, seed)
    outcome = _last_stage(runner, finalists, data)
    return outcome._replace(rows=len(sample), fitted_rows=len(data.train.y), plan=data.plan)


def _parts(runner: Runner) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """One fold in ten, the newest where time counts, of at most 15,000 validation rows."""
    folds = make_folds(runner.table, 10, runner.seed)
    train, valid = folds[-1] if runner.table.times is not None else folds[0]
    if len(valid) > _VALID_ROWS:
        random = np.random.default_rng(runner.seed)
        valid = np.sort(random.permutation(valid)[:_VALID_ROWS])
    return train, valid


def _newest(runner: Runner, rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """So many of the rows: at random, or the newest where time counts; ten of every class."""
    if count >= len(rows):
        return rows
    table = runner.table
    if table.times is not None:
        taken = rows[np.argsort(table.times[rows], kind="stable")[-count:]]
    else:
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
        if sum(other.family == running.family for other in found) < _OF_A_FAMILY:
            found.append(running)
    return found[:_FINALISTS]


def _affordable_rows(runner: Runner, finalists: list[Running], sample: int, rows: int) -> int:
    """As many rows as the time that is left surely suffices for."""
    taken = sum(running.seconds or 0.0 for running in finalists)
    left = 0.8 * runner.setup.seconds_left * runner.setup.n_jobs
    return int(np.clip(sample * left / max(1e-3, 1.5 * taken), sample, rows))


def _last_stage(runner: Runner, finalists: list[Running], data: FoldRows) -> SearchOutcome:
    """Fit the finalists, blend them, and take the better of each configuration's two fits."""
    setup = runner.setup

    def fit(running: Running) -> tuple[Fit, Fitted | None]:
        problem = runner.problem(running, data)._replace(deadline=setup.deadline)
        return fit_and_score(running.entry, problem, data.train, data.valid, setup.metric)

    with ThreadPoolExecutor(setup.n_jobs) as pool:
        found = list(pool.map(fit, finalists))
    models: dict[int, Any] = {}
    last: list[Running] = []
    for running, (result, fitted) in zip(finalists, found, strict=True):
        if fitted is None or not np.isfinite(result.score):
            continue
        again = Running(running.entry, running.rate)
        again.fits[0] = result
        models[id(again)] = fitted.estimator
        last.append(again)
    tried = runner.every
    if not last:  # should every one have failed on more rows: their reason
        for running, (result, _) in zip(finalists, found, strict=True):
            running.note = result.note
    else:
        runner.every = last
    runner.data = {0: data}
    chosen = choose(runner, blend=True, refit_seconds=np.inf)
    runner.every = [*last, *(r for r in tried if r.entry not in [x.entry for x in last])]
    outcome = conclude(runner, chosen, complete=False)
    estimators = [models[id(running)] for running in chosen.running]
    model = estimators[0]
    if len(estimators) > 1:
        model = Blend(estimators, chosen.weights).take(estimators)
    return outcome._replace(fitted=model)
