"""Find the best model within a time budget: the race, the classic grid, or Optuna."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator

import numpy as np

from roadworthy.table import Table
from roadworthy.train.candidates import Candidate
from roadworthy.train.grid import search_grid
from roadworthy.train.large import is_large, search_large
from roadworthy.train.outcome import SearchOutcome, choose, conclude
from roadworthy.train.policy import random_split_score
from roadworthy.train.race import race
from roadworthy.train.record import Trial
from roadworthy.train.runner import Runner, Setup, dummy_score
from roadworthy.train.sampler import search_optuna

_REFIT_SHARE = 0.9


def search(table: Table, candidates: list[Candidate], setup: Setup) -> tuple[SearchOutcome, Trial]:
    """Search one table.

    Args:
        table: The rows to search on.
        candidates: The families.
        setup: Metric, options, workers, deadlines.

    Returns:
        What was found, and the baseline's trial.

    Raises:
        InputError: Nothing could be fitted.
    """
    runner = Runner(table, candidates, setup)
    kind = setup.options.train.search
    if kind == "race" and is_large(runner):
        outcome = search_large(runner)
    else:
        searches = {"race": race, "grid": search_grid, "optuna": search_optuna}
        whole = searches[kind](runner)
        left = max(0.0, runner.setup.end - time.monotonic())
        seconds = _REFIT_SHARE * left * setup.n_jobs
        chosen = choose(runner, blend=kind != "grid", refit_seconds=seconds)
        cut = any(not running.complete for running in runner.every)
        outcome = conclude(runner, chosen, complete=whole and not cut)
    if table.times is not None:
        by_chance = random_split_score(runner, outcome.members[0]) if outcome.members else None
        outcome = outcome._replace(random_split_score=by_chance)
    if setup.stop.is_set():
        note = "the user ended the search; the best so far was taken"
        outcome = outcome._replace(complete=False, notes=(*outcome.notes, note))
    return outcome, baseline(runner)


def baseline(runner: Runner) -> Trial:
    """The dummy: always the training part's class shares or mean."""
    table, folds = runner.table, runner.folds
    values = [dummy_score(table, fold, runner.setup.metric) for fold in folds]
    known = [value for value in values if np.isfinite(value)]
    return Trial(
        family="baseline",
        config={},
        score=float(np.mean(known)) if known else None,
        folds=len(known),
    )


@contextlib.contextmanager
def interruptible() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; the second one ends the program as usual."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may handle signals
        return
    before = signal.getsignal(signal.SIGINT)

    def handle(number: int, frame: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, handle)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
