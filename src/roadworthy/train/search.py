"""Find the best candidate within a time budget, by cross-validation.

The search goes in rounds of fits that are known before the round begins: first the leading
configuration of every family, on one fold, then on all; then every other configuration on one
fold; then those that keep up, on all. Decisions fall between rounds, so that the outcome depends
on the seed and not on which fit happens to end first.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from roadworthy.errors import InputError
from roadworthy.prepare.columns import encode_columns
from roadworthy.prepare.fit import fit_encode, fit_plan
from roadworthy.prepare.plan import FeaturePlan
from roadworthy.progress import Progress, Report
from roadworthy.project import PrepareSection
from roadworthy.table import Table
from roadworthy.train.candidates import CANDIDATES, Candidate, Config, Problem, Rows
from roadworthy.train.folds import Fold
from roadworthy.train.model import Trial
from roadworthy.train.scoring import GREATER_IS_BETTER, model_scores, score

KEEP = 4
"""Configurations that go on from one fold to all."""


class FoldRows(NamedTuple):
    """One fold, encoded by a plan that was learned from its training part alone."""

    plan: FeaturePlan
    train: Rows
    valid: Rows


class Running:
    """One configuration on its way through the folds."""

    def __init__(self, candidate: Candidate, config: Config) -> None:
        self.candidate = candidate
        self.config = config
        self.scores: dict[int, float] = {}
        self.rounds: list[int] = []
        self.seconds: list[float] = []
        self.complete = True
        self.note: str | None = None

    def trial(self) -> Trial:
        """The record of it."""
        scores = [self.scores[fold] for fold in sorted(self.scores)]
        return Trial(
            family=self.candidate.family,
            config=self.config,
            score=float(np.mean(scores)) if scores else None,
            spread=float(np.std(scores, ddof=1)) if len(scores) > 1 else None,
            folds=len(scores),
            rounds=round(float(np.mean(self.rounds))) if self.rounds else None,
            note=self.note or (None if self.complete else "cut short by the budget"),
        )


class Fit(NamedTuple):
    """What one fit came to; `note` says why when it came to nothing."""

    score: float = np.nan
    seconds: float = 0.0
    rounds: int | None = None
    complete: bool = True
    note: str | None = None


class Outcome(NamedTuple):
    """What a search found: every configuration, the best first, and whether time sufficed."""

    ranking: list[Running]
    complete: bool


class Search:
    """A search over one table.

    Args:
        table: The rows to search on.
        folds: Its folds.
        families: Names of the candidates.
        metric: What to go by.
        options: `[prepare]`.
        seed: Seed of everything random.
        n_jobs: Fits at a time, one thread each.
        deadline: `time.monotonic()` at which the search must be over.
        report: Called with each step.
    """

    def __init__(
        self,
        table: Table,
        folds: list[Fold],
        families: tuple[str, ...],
        metric: str,
        options: PrepareSection,
        seed: int,
        n_jobs: int,
        deadline: float,
        report: Report,
    ) -> None:
        self.table = table
        self.folds = folds
        self.metric = metric
        self.options = options
        self.seed = seed
        self.n_jobs = n_jobs
        self.deadline = deadline
        self.report = report
        self.done = 0
        self.total = 0
        self.data: dict[int, FoldRows] = {}
        sample = self._problem(fit_plan(table.frame[:1], table.labels[:1], table.contract, options))
        self.running = [
            [
                Running(CANDIDATES[family], config)
                for config in CANDIDATES[family].configurations(sample)
            ]
            for family in families
        ]

    def run(self) -> Outcome:
        """Search until everything was tried or time is over."""
        leaders = [family[0] for family in self.running]
        others = [running for family in self.running for running in family[1:]]
        every = range(len(self.folds))
        self._round([(running, 0) for running in leaders])
        self._round([(running, fold) for fold in every[1:] for running in leaders])
        self._round([(running, 0) for running in others])
        contenders = self._rank([r for r in [*leaders, *others] if 0 in r.scores], [0])[:KEEP]
        self._round([(r, fold) for fold in every[1:] for r in contenders if fold not in r.scores])
        tried = [running for running in [*leaders, *others] if running.scores]
        if not tried:
            reasons = "; ".join(r.note for r in leaders if r.note)
            undefined = f"no validation part has a finite {self.metric}"
            raise InputError(
                f"no candidate could be fitted: {reasons or undefined}",
                fix="" if reasons else "choose another [train] metric, or look at the target",
            )
        ranking = self._final(tried)
        late = [r for r in [*leaders, *others] if not r.scores and r.note is None]
        whole = all(len(r.scores) == len(self.folds) for r in contenders)
        return Outcome(ranking, not late and whole and all(r.complete for r in tried))

    def _problem(self, plan: FeaturePlan) -> Problem:
        classes = len(self.table.classes)
        return Problem(self.table.task, classes, plan, self.seed, 1, self.deadline)

    def _fold(self, number: int) -> FoldRows:
        if number not in self.data:
            fold = self.folds[number]
            train, valid = self.table.take(fold.train), self.table.take(fold.valid)
            if self.table.classes:  # groups or time may keep a class out of a training part
                known = np.isin(valid.labels, train.labels)
                valid = valid if known.all() else valid.take(np.flatnonzero(known))
            plan, matrix = fit_encode(
                train.frame, train.labels, self.table.contract, self.options, self.seed
            )
            self.data[number] = FoldRows(
                plan,
                Rows(matrix, train.labels),
                Rows(encode_columns(valid.frame, plan), valid.labels),
            )
        return self.data[number]

    def _round(self, units: list[tuple[Running, int]]) -> None:
        self.total = self.done + len(units)
        for number in sorted({fold for _, fold in units}):
            if number == 0 or time.monotonic() < self.deadline:
                self._fold(number)
        with ThreadPoolExecutor(self.n_jobs) as pool:
            # merged here in the order of the units, whichever ends first
            for unit, fit in zip(units, pool.map(self._fit, units), strict=True):
                if fit is not None:
                    self._merge(*unit, fit)

    def _fit(self, unit: tuple[Running, int]) -> Fit | None:
        running, number = unit
        expected = 0.6 * max(running.seconds, default=0.0)
        if number not in self.data or running.note is not None:
            return None
        if self.done and time.monotonic() + expected > self.deadline:
            return None
        data = self.data[number]
        if not len(data.valid.y):
            return None  # every row is of a class that the training part lacks
        start = time.monotonic()
        try:
            fitted = running.candidate.fit(
                running.config, self._problem(data.plan), data.train, data.valid
            )
            scores = model_scores(fitted.estimator, data.valid.X, len(self.table.classes))
            value = score(self.metric, data.valid.y, scores)
        except Exception as error:  # whatever a library raises: the search goes on without it
            first_line = (str(error).splitlines() or [type(error).__name__])[0]
            return Fit(note=f"set aside: {first_line[:200]}")
        return Fit(value, time.monotonic() - start, fitted.rounds, fitted.complete)

    def _merge(self, running: Running, number: int, fit: Fit) -> None:
        self.done += 1
        if fit.note is not None:
            running.note = fit.note
            return
        running.seconds.append(fit.seconds)
        running.complete &= fit.complete
        if np.isfinite(fit.score):
            running.scores[number] = fit.score
        if fit.rounds is not None:
            running.rounds.append(fit.rounds)
        self.report(
            Progress(
                "search",
                f"{running.candidate.family}, fold {number + 1} of {len(self.folds)}",
                self.done,
                self.total,
                self._best(),
                self.metric,
            )
        )

    def _best(self) -> float | None:
        tried = [r for family in self.running for r in family if r.scores]
        if not tried:
            return None
        means = [float(np.mean([r.scores[fold] for fold in sorted(r.scores)])) for r in tried]
        return max(means) if GREATER_IS_BETTER[self.metric] else min(means)

    def _rank(self, running: list[Running], folds: list[int]) -> list[Running]:
        sign = -1.0 if GREATER_IS_BETTER[self.metric] else 1.0
        return sorted(running, key=lambda r: sign * float(np.mean([r.scores[f] for f in folds])))

    def _final(self, tried: list[Running]) -> list[Running]:
        """Rank those with most folds on the folds that they share, then the rest."""
        count = max(
            n
            for n in range(1, len(self.folds) + 1)
            if sum(len(r.scores) >= n for r in tried) >= min(len(self.running), len(tried))
        )
        full = [r for r in tried if len(r.scores) >= count]
        shared = sorted(set.intersection(*(set(r.scores) for r in full)))
        rest = [r for r in tried if r not in full]
        ranked = self._rank(full, shared) if shared else full
        return ranked + sorted(rest, key=lambda r: -len(r.scores))


def dummy_trial(search: Search) -> Trial:
    """The baseline: always the training part's class shares or mean."""
    values: list[float] = []
    classes = len(search.table.classes)
    for fold in search.folds:
        train, valid = search.table.labels[fold.train], search.table.labels[fold.valid]
        if classes:
            shares = np.bincount(train.astype(int), minlength=classes) / len(train)
            scores: Any = np.tile(shares, (len(valid), 1))
        else:
            scores = np.full(len(valid), train.mean())
        value = score(search.metric, valid, scores)
        if np.isfinite(value):
            values.append(value)
    return Trial(
        family="baseline",
        config={},
        score=float(np.mean(values)) if values else None,
        folds=len(values),
    )
