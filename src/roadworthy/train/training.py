"""Train: search on folds, then refit what was chosen on every training row."""

from __future__ import annotations

import os
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from roadworthy.errors import InputError
from roadworthy.prepare.fit import fit_encode
from roadworthy.prepare.plan import FeaturePlan
from roadworthy.progress import Progress, Report
from roadworthy.project import Project, parse_duration
from roadworthy.table import Table
from roadworthy.train.blend import Blend
from roadworthy.train.candidates import Candidate, Problem, Rows, find_candidates
from roadworthy.train.digest import data_digest, library_versions
from roadworthy.train.fits import fit_entry
from roadworthy.train.grid import check_grid
from roadworthy.train.model import SearchRecord, TrainedModel, Trial
from roadworthy.train.outcome import Member, SearchOutcome
from roadworthy.train.runner import Setup
from roadworthy.train.sampler import check_optuna
from roadworthy.train.scoring import metrics_for
from roadworthy.train.search import interruptible, search
from roadworthy.train.study import Heading, Study

_SEARCH_SHARE = 0.75
"""Share of what is left after reading that the search may take; the refit has the rest."""
_CELLS_PER_SECOND = 1_500_000
"""Training rows x features that a second of budget buys on two cores, at the very most."""
_MORE_ROUNDS = 1.08
"""A model that sees more rows than its folds did can take a little more rounds."""
_RARE = 10
"""Rows of a class below which some validation part may have none of it."""
_STUDY_OPTIONS = ("candidates", "search", "grid", "folds", "max_members", "max_microseconds", "max_mb")


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
    metric = _metric(options.train.metric, table)
    candidates = _candidates(options)
    n_jobs = options.train.n_jobs or os.cpu_count() or 1
    training = table.training
    digest = data_digest(training)
    rows = _affordable(training, seconds, n_jobs, options.train.seed)
    sample = training if rows is None else training.take(rows)
    end = start + seconds - _packaging_seconds(table, seconds)
    began = time.monotonic()
    deadline = began + max(0.1 * seconds, _SEARCH_SHARE * (end - began))
    with interruptible() as stop, warnings.catch_warnings():
        # Libraries warn of overflows and slow convergence; scores and the parity check judge.
        warnings.simplefilter("ignore")
        study = _study(options, metric, digest)
        setup = Setup(metric, options, n_jobs, deadline, report, stop, study)
        outcome, dummy = search(sample, candidates, setup, end - deadline)
        searched = time.monotonic()
        if study:
            study.close()
        # A budget that reading has eaten still ends in a model: a tenth of it is always left.
        until = max(end, searched + 0.1 * seconds)
        fitted = _refit(outcome, training, options, n_jobs, until, report)
    return TrainedModel(
        name=options.project.name or table.name,
        table=table,
        contract=table.contract,
        plan=fitted.plan,
        estimator=fitted.estimator,
        family=outcome.trials[0].family,
        search=_record(outcome, dummy, fitted, table, options, metric, digest),
        seconds={"search": searched - start, "refit": time.monotonic() - searched},
        fit_seconds=(*outcome.seconds, None),
        oof_rows=outcome.oof_rows if rows is None else rows[outcome.oof_rows],
        oof_scores=outcome.oof_scores,
    )


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
        notes=outcome.notes,
        digest=digest,
        versions=library_versions(),
        options={name: msgspec.to_builtins(section) for name, section in sections.items()},
    )


def _packaging_seconds(table: Table, seconds: float) -> float:
    """What test, parity check and bundle take of any budget, from what they were seen to take."""
    held = len(table) - len(table.training)
    fixed = 1.3 + len(table.contract.columns) / 800 + held * max(1, len(table.classes)) / 60_000
    return fixed + min(2.0, 0.05 * seconds)  # larger models, which only larger budgets find


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
    """None for all rows, or as many as fit into the time, the newest where time counts."""
    width = len(training.contract.columns) + 2
    limit = max(20_000, int(seconds * _CELLS_PER_SECOND * n_jobs / 2 / width))
    if len(training) <= limit:
        return None
    if training.times is not None:
        rows = np.argsort(training.times, kind="stable")[-limit:]
    else:
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
    """Fit every member on all training rows, side by side."""
    if outcome.fitted is not None and outcome.plan is not None:
        return _Refitted(outcome.fitted, outcome.plan, True, outcome.fitted_rows)
    names = " + ".join(member.entry.candidate.family for member in outcome.members)
    report(Progress("refit", f"{names} on {len(training):,} rows"))
    seed = options.train.seed
    plan, matrix = fit_encode(
        training.frame, training.labels, training.contract, options.prepare, seed
    )
    rows = Rows(matrix, training.labels)
    count = len(outcome.members)
    threads = max(1, n_jobs // count)
    base = Problem(training.task, len(training.classes), plan, seed, threads, deadline)

    def fit(member: Member) -> Any:
        rounds = member.rounds and max(1, round(member.rounds * _MORE_ROUNDS))
        problem = base._replace(rate=member.rate)
        return fit_entry(member.entry, problem, rows, None, rounds)

    with ThreadPoolExecutor(min(n_jobs, count)) as pool:
        found = list(pool.map(fit, outcome.members))
    complete = all(fitted.complete for fitted in found)
    estimators = [fitted.estimator for fitted in found]
    if count == 1:
        return _Refitted(estimators[0], plan, complete, len(training))
    weights = [member.weight for member in outcome.members]
    return _Refitted(Blend(estimators, weights).take(estimators), plan, complete, len(training))
