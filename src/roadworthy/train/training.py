"""Train: search on folds, then refit the best configuration on every training row."""

from __future__ import annotations

import os
import time
import warnings
from typing import Any

import numpy as np

from roadworthy.errors import InputError
from roadworthy.prepare.fit import fit_encode
from roadworthy.prepare.plan import FeaturePlan
from roadworthy.progress import Progress, Report
from roadworthy.project import Project, parse_duration
from roadworthy.table import Table
from roadworthy.train.candidates import CANDIDATES, Problem, Rows
from roadworthy.train.folds import make_folds
from roadworthy.train.model import SearchRecord, TrainedModel
from roadworthy.train.scoring import metrics_for
from roadworthy.train.search import Running, Search, dummy_trial

_SEARCH_SHARE = 0.75
"""Share of what is left after reading that the search may take; the refit has the rest."""
_CELLS_PER_SECOND = 25_000
"""Search rows x features that a second of budget buys on two cores."""


def train(
    table: Table,
    budget: str | float | None = None,
    *,
    project: Project | None = None,
    report: Report | None = None,
    started: float | None = None,
) -> TrainedModel:
    """Train a model on a table's training rows.

    Args:
        table: The table; its holdout is not looked at.
        budget: Wall time for the whole job, `"60s"` or seconds; None takes `[train] budget`.
            Training ends before it does, so that test and package have the rest.
        project: The project; None takes every default.
        report: Called with the progress.
        started: `time.monotonic()` at which the job began; None is now.

    Returns:
        The refitted model with the record of the search.

    Raises:
        InputError: An option does not fit the table, or nothing could be fitted in the budget.
    """
    options = project or Project()
    report = report or (lambda _: None)
    seconds = parse_duration(options.train.budget if budget is None else budget)
    start = time.monotonic() if started is None else started
    metric = _metric(options.train.metric, table)
    families = _families(options.train.candidates)
    n_jobs = options.train.n_jobs or os.cpu_count() or 1
    training = table.training
    sample = _search_sample(training, seconds, n_jobs, options.train.seed)
    end = start + seconds - _packaging_seconds(table)
    began = time.monotonic()
    search = Search(
        sample,
        make_folds(sample, _fold_count(options.train.folds, sample, seconds), options.train.seed),
        families,
        metric,
        options.prepare,
        options.train.seed,
        n_jobs,
        began + max(0.1 * seconds, _SEARCH_SHARE * (end - began)),
        report,
    )
    with warnings.catch_warnings():
        # Libraries warn of overflows and slow convergence; scores and the parity check judge.
        warnings.simplefilter("ignore")
        outcome = search.run()
    searched = time.monotonic()
    best = outcome.ranking[0]
    report(Progress("refit", f"{best.candidate.family} on {len(training):,} rows"))
    del search.data
    # A budget that reading has eaten still ends in a model: a tenth of it is always left.
    until = max(end, searched + 0.1 * seconds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, plan, complete = _refit(best, training, options, n_jobs, until)
    trials = tuple(running.trial() for running in outcome.ranking)
    failed = tuple(r.trial() for f in search.running for r in f if r.note and not r.scores)
    return TrainedModel(
        name=options.project.name or table.name,
        table=table,
        contract=table.contract,
        plan=plan,
        estimator=model,
        family=best.candidate.family,
        search=SearchRecord(
            metric=metric,
            trials=(*trials, *failed, dummy_trial(search)),
            chosen=0,
            folds=len(search.folds),
            search_rows=len(sample),
            training_rows=len(training),
            policy=table.split.policy if table.split else "no holdout",
            seed=options.train.seed,
            complete=outcome.complete and complete,
        ),
        seconds={"search": searched - start, "refit": time.monotonic() - searched},
    )


_RARE = 10
"""Rows of a class below which some validation part may have none of it."""


def _packaging_seconds(table: Table) -> float:
    """What test, parity check and bundle take of any budget, from what they were seen to take."""
    held = len(table) - len(table.training)
    return 1.3 + len(table.contract.columns) / 800 + held * max(1, len(table.classes)) / 60_000


def _metric(wanted: str, table: Table) -> str:
    fitting = metrics_for(table.task)
    if wanted == "auto":
        rarest = np.bincount(table.training.labels.astype(int)).min() if table.classes else 0
        few = table.task == "binary" and rarest < _RARE
        # an area needs both classes in every validation part
        return "log_loss" if few else fitting[0]
    if wanted not in fitting:
        raise InputError(
            f"metric {wanted!r} does not fit a {table.task} task",
            where="[train] metric",
            fix=f"choose one of {', '.join(fitting)}",
        )
    return wanted


def _families(wanted: tuple[str, ...]) -> tuple[str, ...]:
    unknown = [family for family in wanted if family not in CANDIDATES]
    if unknown or not wanted:
        raise InputError(
            f"unknown candidate {unknown[0]!r}" if unknown else "no candidate is named",
            where="[train] candidates",
            fix=f"choose from {', '.join(CANDIDATES)}",
        )
    return tuple(dict.fromkeys(wanted))


def _search_sample(training: Table, seconds: float, n_jobs: int, seed: int) -> Table:
    """The rows to search on: all, or as many as the budget buys, the newest where time counts."""
    classes = max(1, len(training.classes) - 1)
    width = len(training.contract.columns) + 5
    limit = int(seconds * _CELLS_PER_SECOND * n_jobs / 2 / width / classes**0.5)
    limit = max(2000, limit)
    if len(training) <= limit:
        return training
    if training.times is not None:
        rows = np.argsort(training.times, kind="stable")[-limit:]
    else:
        rows = np.random.default_rng(seed).permutation(len(training))[:limit]
    if training.task != "regression":  # at least ten rows of every class
        codes = training.labels
        rare = [np.flatnonzero(codes == code)[:10] for code in np.unique(codes)]
        rows = np.union1d(rows, np.concatenate(rare))
    return training.take(np.sort(rows))


def _fold_count(wanted: int, sample: Table, seconds: float) -> int:
    """Fewer folds where rows are plenty for the time: their scores scatter less."""
    many = len(sample) * (len(sample.contract.columns) + 5) > seconds * _CELLS_PER_SECOND / 4
    return min(wanted, 3) if many else wanted


def _refit(
    best: Running,
    training: Table,
    options: Project,
    n_jobs: int,
    deadline: float,
) -> tuple[Any, FeaturePlan, bool]:
    plan, matrix = fit_encode(
        training.frame, training.labels, training.contract, options.prepare, options.train.seed
    )
    rows = Rows(matrix, training.labels)
    problem = Problem(
        training.task, len(training.classes), plan, options.train.seed, n_jobs, deadline
    )
    # A model that sees more rows than its folds did can take a little more rounds.
    rounds = max(1, round(float(np.mean(best.rounds)) * 1.08)) if best.rounds else None
    fitted = best.candidate.fit(best.config, problem, rows, None, rounds)
    return fitted.estimator, plan, fitted.complete
