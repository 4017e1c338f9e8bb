"""Many rows for the budget: one validation part, a portfolio on a sample, the best on the rest."""

from __future__ import annotations

import math
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
_STRETCH = 3.0
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
    started = runner.hurry(started)
    runner.setup = whole
    finalists = _finalists(runner, started)
    if not finalists:
        choose(runner, blend=False, refit_seconds=0.0)  # tells what went wrong
    rows, stretch = _affordable_rows(runner, finalists, len(sample), len(train))
    data = runner.data[0]
    if rows > len(sample):
        chosen_rows = _newest(runner, train, rows)
        data = encode_fold(runner.table, Fold(chosen_rows, valid), options, seed)
    hurried = [Running(r.entry, min(FASTEST, stretch * r.rate)) for r in finalists]
    outcome = _last_stage(runner, hurried, data)
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


def _last_stage(runner: Runner, finalists: list[Running], data: FoldRows) -> SearchOutcome:
    """Fit the finalists, then moves around the best while time is left; blend what is best."""
    stage = _Stage(runner, data)
    stage.fit(finalists)
    random = np.random.default_rng(runner.seed)
    while stage.running and runner.setup.seconds_left > _SLACK * stage.slowest:
        best = runner.rank(stage.running, [0])[:_FINALISTS]
        entries = moves([r.entry for r in best], runner.sample, random, runner.setup.n_jobs)
        if not entries:
            break
        stage.fit([Running(entry, entry.rate or runner.rate) for entry in entries])
    if not stage.running:
        return conclude(runner, choose(runner, blend=False, refit_seconds=0.0), complete=False)
    tried = {running.entry.key for running in stage.running}
    earlier = [running for running in runner.every if running.entry.key not in tried]
    runner.data, runner.every = {0: data}, stage.running
    chosen = choose(runner, blend=True, refit_seconds=np.inf)
    runner.every = [*stage.running, *earlier]
    outcome = conclude(runner, chosen, complete=False)
    estimators = [stage.models[id(running)] for running in chosen.running]
    model = estimators[0]
    if len(estimators) > 1:
        model = Blend(estimators, chosen.weights).take(estimators)
    return outcome._replace(fitted=model)


class _Stage:
    """Fits whose models are kept, on one validation part."""

    def __init__(self, runner: Runner, data: FoldRows) -> None:
        self.runner = runner
        self.data = data
        self.running: list[Running] = []
        self.models: dict[int, Any] = {}

    @property
    def slowest(self) -> float:
        """Seconds of the slowest fit."""
        return max(running.seconds or 0.0 for running in self.running)

    def fit(self, wanted: list[Running]) -> None:
        """Fit configurations; those that fail keep their reason."""
        runner = self.runner
        with ThreadPoolExecutor(runner.setup.n_jobs) as pool:
            found = list(pool.map(self._one, wanted))
        for running, (result, fitted) in zip(wanted, found, strict=True):
            if fitted is None or not np.isfinite(result.score):
                running.note = running.note or result.note
                continue
            again = Running(running.entry, running.rate)
            again.fits[0] = result
            self.models[id(again)] = fitted.estimator
            self.running.append(again)
            runner.tell(again, runner.done)

    def _one(self, running: Running) -> tuple[Fit, Fitted | None]:
        setup = self.runner.setup
        problem = self.runner.problem(running, self.data)._replace(deadline=setup.deadline)
        train, valid = self.data.train, self.data.valid
        return fit_and_score(running.entry, problem, train, valid, setup.metric)
