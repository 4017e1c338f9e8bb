"""Train: search on folds, then refit what was chosen on every training row."""

from __future__ import annotations

import dataclasses
import os
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from roadworthy.errors import InputError
from roadworthy.prepare.fit import fit_encode
from roadworthy.prepare.plan import FeaturePlan
from roadworthy.progress import Progress, Report
from roadworthy.project import Project, parse_duration
from roadworthy.table import Table
from roadworthy.train.blend import Blend
from roadworthy.train.candidates import Candidate, Fitted, Problem, Rows, find_candidates
from roadworthy.train.decisions import check_options, decide
from roadworthy.train.digest import data_digest, library_versions
from roadworthy.train.executors import Executor, Threads, ray_tasks
from roadworthy.train.fits import fit_entry
from roadworthy.train.folds import nested_estimate
from roadworthy.train.grid import check_grid
from roadworthy.train.model import TrainedModel
from roadworthy.train.outcome import Member, SearchOutcome
from roadworthy.train.record import SearchRecord, Trial
from roadworthy.train.runner import Setup
from roadworthy.train.sampler import check_optuna
from roadworthy.train.scoring import find_metric
from roadworthy.train.search import interruptible, search
from roadworthy.train.study import Heading, Study
from roadworthy.train.weights import row_weights

_SEARCH_SHARE = 0.75
"""Share of what is left after reading that the search may take; the refit has the rest."""
_CELLS_PER_SECOND = 1_500_000
"""Training rows x features that a second of budget buys on two cores, at the very most."""
_MORE_ROUNDS = 1.08
"""A model that sees more rows than its folds did can take a little more rounds."""
_CUT = (
    "the budget cut the last fit short: what was decided on the folds (calibration, threshold, "
    "intervals) may not hold for it; give a larger budget"
)
_STUDY_OPTIONS = (
    "candidates",
    "search",
    "grid",
    "folds",
    "max_members",
    "max_microseconds",
    "max_mb",
    "validation",
    "repeats",
    "gap",
    "quantile",
    "class_weight",
)


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
        OutsideError: The study cannot be kept.
    """
    options = project or Project()
    report = report or (lambda _: None)
    seconds = parse_duration(options.train.budget if budget is None else budget)
    start = time.monotonic() if started is None else started
    if options.train.engine == "ray":
        with ray_tasks(options.train.address, options.train.n_jobs) as executor:
            return _train(table, start, seconds, options, report, executor)
    return _train(table, start, seconds, options, report, Threads())


def _train(
    table: Table,
    start: float,
    seconds: float,
    options: Project,
    report: Report,
    executor: Executor,
) -> TrainedModel:
    if options.train.nested:
        return _nested(table, start + seconds, options, report)
    check_options(table, options.train)
    metric = find_metric(options.train, table)
    candidates = _candidates(options)
    cores = os.cpu_count() or 1
    n_jobs = options.train.n_jobs or executor.workers or cores
    training = table.training
    digest = data_digest(training)
    rows = _affordable(training, seconds, n_jobs, options.train.seed)
    sample = training if rows is None else training.take(rows)
    packaging = _packaging_seconds(table, seconds)
    end = start + seconds - packaging
    began = time.monotonic()
    deadline = began + max(0.1 * seconds, _SEARCH_SHARE * (end - began))
    # One thread a fit: the libraries' own would stand in each other's way.
    with interruptible() as stop, warnings.catch_warnings(), threadpool_limits(1, "blas"):
        # Libraries warn of overflows and slow convergence; scores and the parity check judge.
        warnings.simplefilter("ignore")
        study = _study(options, metric.name, digest)
        setup = Setup(
            metric, options, n_jobs, deadline, end, packaging, report, stop, study, executor
        )
        outcome, dummy = search(sample, candidates, setup)
        searched = time.monotonic()
        if study:
            study.close()
        # A budget that reading has eaten still ends in a model: a tenth of it is always left.
        until = max(outcome.end, searched + 0.1 * seconds)
        # the refit runs here, also where the search ran elsewhere
        threads = n_jobs if executor.workers is None else min(n_jobs, cores)
        fitted = _refit(outcome, training, options, threads, until, report)
    oof_rows = outcome.oof_rows if rows is None else rows[outcome.oof_rows]
    decisions = decide(training, oof_rows, outcome.oof_scores, options.train)
    return TrainedModel(
        name=options.project.name or table.name,
        table=table,
        contract=msgspec.structs.replace(table.contract, target=decisions.target),
        plan=fitted.plan,
        estimator=decisions.calibrated(fitted.estimator),
        family=outcome.trials[0].family,
        search=msgspec.structs.replace(
            _record(outcome, dummy, fitted, table, options, metric.name, digest),
            decisions=decisions.record,
        ),
        seconds={"search": searched - start, "refit": time.monotonic() - searched},
        fit_seconds=(*outcome.seconds, None),
        oof_rows=oof_rows,
        oof_scores=outcome.oof_scores,
    )


def _nested(table: Table, end: float, options: Project, report: Report) -> TrainedModel:
    """Train, and estimate the whole procedure by an outer loop; each run has its share of time."""
    metric = find_metric(options.train, table)
    check_options(table, options.train)
    share = (end - time.monotonic()) / (options.train.folds + 1)
    plain = options.override("train", nested=False)

    def fit(part: Table) -> Callable[[pl.DataFrame], NDArray[np.float64]]:
        return train(part, share, project=plain, report=report).scores

    estimate = nested_estimate(table.training, fit, metric, plain.train)
    left = max(share, end - time.monotonic())
    model = train(table, left, project=plain, report=report)
    record = msgspec.structs.replace(model.search, nested=estimate)
    return dataclasses.replace(model, search=record)


class _Refitted(NamedTuple):
    estimator: Any
    plan: FeaturePlan
    complete: bool
    rows: int


def _record(
    outcome: SearchOutcome,
    dummy: Trial,
    fitted: _Refitted,
    table: Table,
    options: Project,
    metric: str,
    digest: str,
) -> SearchRecord:
    sections = {"prepare": options.prepare, "train": options.train}
    return SearchRecord(
        metric=metric,
        trials=(*outcome.trials, dummy),
        chosen=0,
        folds=outcome.folds,
        search_rows=outcome.rows,
        training_rows=fitted.rows,
        policy=table.split.policy if table.split else "no holdout",
        seed=options.train.seed,
        complete=outcome.complete and fitted.complete,
        kind=options.train.search,
        rate=outcome.rate,
        notes=outcome.notes if fitted.complete else (*outcome.notes, _CUT),
        random_split_score=outcome.random_split_score,
        digest=digest,
        versions=library_versions(),
        options={name: msgspec.to_builtins(section) for name, section in sections.items()},
    )


def _packaging_seconds(table: Table, seconds: float) -> float:
    """What test, parity check and bundle take of any budget, from what they were seen to take."""
    held = len(table) - len(table.training)
    # larger budgets find larger models: slower to export, and to compare row by row
    larger = min(3.0, 1.0 + seconds / 30.0)
    scored = larger * held * max(1, len(table.classes)) / 30_000
    return 2.0 + len(table.contract.columns) / 300 + scored + min(4.0, 0.06 * seconds)


def _candidates(options: Project) -> list[Candidate]:
    """The families to try; what cannot be searched is refused before anything is."""
    candidates = find_candidates(options.train.candidates)
    if options.train.search == "grid":
        check_grid(options.train.grid, candidates)
    if options.train.search == "optuna":
        check_optuna()
    return candidates


def _study(options: Project, metric: str, digest: str) -> Study | None:
    path = options.train.study
    if path is None or options.train.search == "optuna":
        return None
    if not Path(path).parent.is_dir():
        raise InputError(
            "the folder of the study does not exist", where=f"[train] study = {path!r}"
        )
    values = {name: getattr(options.train, name) for name in _STUDY_OPTIONS}
    content = msgspec.json.encode([options.prepare, values, library_versions()], order="sorted")
    heading = Heading(1, digest, metric, options.train.seed, content.decode())
    return Study(path, heading)


def _affordable(
    training: Table, seconds: float, n_jobs: int, seed: int
) -> NDArray[np.int64] | None:
    """None for all rows, or as many as fit into the time, at random."""
    width = len(training.contract.columns) + 2
    limit = max(20_000, int(seconds * _CELLS_PER_SECOND * n_jobs / 2 / width))
    if len(training) <= limit:
        return None
    rows = np.random.default_rng(seed).permutation(len(training))[:limit]
    if training.task != "regression":  # at least ten rows of every class
        codes = training.labels
        rare = [np.flatnonzero(codes == code)[:10] for code in np.unique(codes)]
        rows = np.union1d(rows, np.concatenate(rare))
    return np.sort(rows)


def _refit(
    outcome: SearchOutcome,
    training: Table,
    options: Project,
    n_jobs: int,
    deadline: float,
    report: Report,
) -> _Refitted:
    """Fit every member on all training rows, side by side; one that fails is left out.

    Raises:
        InputError: Every member failed.
    """
    if outcome.fitted is not None and outcome.plan is not None:
        return _Refitted(outcome.fitted, outcome.plan, True, outcome.fitted_rows)
    names = " + ".join(member.entry.candidate.family for member in outcome.members)
    report(Progress("refit", f"{names} on {len(training):,} rows"))
    seed = options.train.seed
    plan, matrix = fit_encode(
        training.frame, training.labels, training.contract, options.prepare, seed
    )
    rows = Rows(matrix, training.labels, row_weights(training, options.train))
    count = len(outcome.members)
    threads = max(1, n_jobs // count)
    base = Problem(training.task, len(training.classes), plan, seed, threads, deadline)

    def fit(member: Member) -> Fitted | Exception:
        rounds = member.rounds and max(1, round(member.rounds * _MORE_ROUNDS))
        problem = base._replace(rate=member.rate)
        try:
            return fit_entry(member.entry, problem, rows, None, rounds)
        except Exception as error:  # whatever a library raises: the others go on without it
            return error

    with ThreadPoolExecutor(min(n_jobs, count)) as pool:
        found = list(pool.map(fit, outcome.members))
    fitted = [
        (one, member.weight)
        for one, member in zip(found, outcome.members, strict=True)
        if isinstance(one, Fitted)
    ]
    if not fitted:
        raise InputError(
            f"{names} could be fitted on folds but not on all rows: {found[0]!r:.200}",
            where="[train] candidates",
            fix="leave this family out",
        )
    complete = len(fitted) == count and all(one.complete for one, _ in fitted)
    estimators = [one.estimator for one, _ in fitted]
    if len(estimators) == 1:
        return _Refitted(estimators[0], plan, complete, len(training))
    total = sum(weight for _, weight in fitted)
    weights = [weight / total for _, weight in fitted]
    return _Refitted(Blend(estimators, weights).take(estimators), plan, complete, len(training))
