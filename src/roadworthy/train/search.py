"""Find the best model within a time budget: the race, the classic grid, or Optuna."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

import numpy as np

from roadworthy.table import Table
from roadworthy.train.candidates import Candidate
from roadworthy.train.folds import Fold
from roadworthy.train.grid import search_grid
from roadworthy.train.large import is_large, search_large
from roadworthy.train.model import Trial
from roadworthy.train.outcome import SearchOutcome, choose, conclude
from roadworthy.train.race import race
from roadworthy.train.runner import Runner, Setup
from roadworthy.train.sampler import search_optuna
from roadworthy.train.scoring import score

_REFIT_SHARE = 0.9


def search(
    table: Table, candidates: list[Candidate], setup: Setup, refit_seconds: float
) -> tuple[SearchOutcome, Trial]:
    """Search one table.

    Args:
        table: The rows to search on.
        candidates: The families.
        setup: Metric, options, workers, deadline.
        refit_seconds: Wall time that is left for fitting the members once more.

    Returns:
        What was found, and the baseline's trial.

    Raises:
        InputError: Nothing could be fitted.
    """
    runner = Runner(table, candidates, setup)
    kind = setup.options.train.search
    if kind == "race" and is_large(runner):
        outcome = search_large(runner)
        return outcome, baseline(runner)
    if kind == "grid":
        complete = search_grid(runner)
    elif kind == "optuna":
        complete = search_optuna(runner)
    else:
        complete = race(runner)
    seconds = _REFIT_SHARE * refit_seconds * setup.n_jobs
    chosen = choose(runner, blend=kind != "grid", refit_seconds=seconds)
    cut = any(not r.complete for r in runner.every) or setup.stop.is_set()
    outcome = conclude(runner, chosen, complete=complete and not cut)
    if setup.stop.is_set():
        note = "the user ended the search; the best so far was refitted"
        outcome = outcome._replace(notes=(*outcome.notes, note))
    return outcome, baseline(runner)


def baseline(runner: Runner) -> Trial:
    """The dummy: always the training part's class shares or mean."""
    table, folds = runner.table, runner.folds
    values = [_dummy_score(table, fold, runner.setup.metric) for fold in folds]
    known = [value for value in values if np.isfinite(value)]
    return Trial(
        family="baseline",
        config={},
        score=float(np.mean(known)) if known else None,
        folds=len(known),
    )


def _dummy_score(table: Table, fold: Fold, metric: str) -> float:
    train, valid = table.labels[fold.train], table.labels[fold.valid]
    classes = len(table.classes)
    if not classes:
        return score(metric, valid, np.full(len(valid), train.mean()))
    shares = np.bincount(train.astype(int), minlength=classes) / len(train)
    return score(metric, valid, np.tile(shares, (len(valid), 1)))


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
