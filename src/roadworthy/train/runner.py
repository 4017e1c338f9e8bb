"""Run rounds of fits on folds, against a clock, and keep what they came to."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from roadworthy.prepare.fit import fit_plan
from roadworthy.progress import Progress, Report
from roadworthy.project import Project
from roadworthy.table import Table
from roadworthy.train.candidates import Candidate, Problem
from roadworthy.train.cost import Price, most_rounds, price
from roadworthy.train.fits import Fit, FoldRows, encode_fold, fit_and_score
from roadworthy.train.folds import Fold, make_folds
from roadworthy.train.model import Trial
from roadworthy.train.portfolio import Entry
from roadworthy.train.scoring import GREATER_IS_BETTER
from roadworthy.train.study import Study

Floats = NDArray[np.float64]
_MEMBER_SHARE = 0.6
"""What one member of a blend may cost of what the whole may."""
_FIT_SHARE = 0.3
"""Share of the search's time that one fit may take."""


class Setup(NamedTuple):
    """What a search goes by.

    Attributes:
        metric: What is to be good.
        options: The project.
        n_jobs: Fits at a time, one thread each.
        deadline: `time.monotonic()` at which the search must be over.
        report: Called with each step.
        stop: Set when the user ends the search.
        study: Where fits are kept, if anywhere.
    """

    metric: str
    options: Project
    n_jobs: int
    deadline: float
    report: Report
    stop: threading.Event
    study: Study | None = None

    @property
    def limit(self) -> Price:
        """What serving may cost."""
        return Price(self.options.train.max_microseconds, self.options.train.max_mb)

    @property
    def member_limit(self) -> Price:
        """What one member may cost."""
        share = 1.0 if self.options.train.max_members == 1 else _MEMBER_SHARE
        return Price(*(share * part for part in self.limit))

    @property
    def seconds_left(self) -> float:
        """Seconds until the deadline; negative after it, and when the user ended the search."""
        return -1.0 if self.stop.is_set() else self.deadline - time.monotonic()


class Running:
    """One configuration on its way through the folds."""

    def __init__(self, entry: Entry, rate: float) -> None:
        self.entry = entry
        self.rate = rate
        self.fits: dict[int, Fit] = {}
        self.note: str | None = None

    @property
    def family(self) -> str:
        """The candidate's family."""
        return self.entry.candidate.family

    @property
    def complete(self) -> bool:
        """Whether no fit was cut short."""
        return all(fit.complete for fit in self.fits.values())

    @property
    def seconds(self) -> float | None:
        """Mean seconds of a fit."""
        taken = [fit.seconds for fit in self.fits.values()]
        return float(np.mean(taken)) if taken else None

    @property
    def rounds(self) -> int | None:
        """Mean rounds of a fit."""
        rounds = [fit.rounds for fit in self.fits.values() if fit.rounds is not None]
        return round(float(np.mean(rounds))) if rounds else None

    def scores(self, folds: list[int] | None = None) -> list[float]:
        """Scores by fold."""
        return [self.fits[fold].score for fold in (sorted(self.fits) if folds is None else folds)]


class Runner:
    """Fits configurations on the folds of one table.

    Args:
        table: The rows to search on.
        candidates: The families.
        setup: What the search goes by.
    """

    def __init__(self, table: Table, candidates: list[Candidate], setup: Setup) -> None:
        self.table = table
        self.candidates = candidates
        self.setup = setup
        self.rate = 1.0
        self.folds: list[Fold] = make_folds(table, setup.options.train.folds, self.seed)
        self.every: list[Running] = []
        self.done = self.total = 0
        self.data: dict[int, FoldRows] = {}
        self._began = time.monotonic()
        frame, labels = table.frame[:1], table.labels[:1]
        plan = fit_plan(frame, labels, table.contract, setup.options.prepare)
        self.sample = Problem(table.task, len(table.classes), plan, self.seed, 1, setup.deadline)

    @property
    def seed(self) -> int:
        """Seed of everything random."""
        return self.setup.options.train.seed

    def cut(self, count: int) -> None:
        """Make do with fewer folds."""
        self.folds = make_folds(self.table, count, self.seed)
        self.data.clear()

    def start(self, entries: list[Entry], rate: float | None = None) -> list[Running]:
        """Enter configurations; nothing is fitted yet."""
        entered = [Running(entry, rate or self.rate) for entry in entries]
        self.every += entered
        return entered

    def fold(self, number: int) -> FoldRows:
        """One fold, encoded."""
        if number not in self.data:
            options = self.setup.options.prepare
            self.data[number] = encode_fold(self.table, self.folds[number], options, self.seed)
        return self.data[number]

    def round(self, units: list[tuple[Running, int]]) -> None:
        """Fit configurations on folds; what is known before it begins decides what is in it."""
        self.total = self.done + len(units)
        for number in sorted({fold for _, fold in units}):
            if not self.data or self.setup.seconds_left > 0:
                self.fold(number)
        with ThreadPoolExecutor(self.setup.n_jobs) as pool:
            # merged here in the order of the units, whichever ends first
            for unit, fit in zip(units, pool.map(self._fit, units), strict=True):
                if fit is not None:
                    self._merge(*unit, fit)

    def problem(self, running: Running, data: FoldRows) -> Problem:
        """What one fit is to do."""
        width = data.plan.width
        classes = len(self.table.classes)
        outputs = 1 if classes <= 2 else classes
        config = running.entry.config
        limit = self.setup.member_limit
        rounds: int | None = most_rounds(running.family, config, limit, width, outputs)
        if self.setup.options.train.search == "grid":
            rounds = None  # what the user names is fitted as it is, or left out
        most = self._began + _FIT_SHARE * (self.setup.deadline - self._began)
        deadline = min(self.setup.deadline, time.monotonic() + most - self._began)
        return self.sample._replace(
            plan=data.plan,
            deadline=deadline,
            rate=running.rate,
            max_rounds=rounds,
            stop=self.setup.stop,
        )

    def _fit(self, unit: tuple[Running, int]) -> Fit | None:
        running, number = unit
        if number not in self.data or running.note is not None:
            return None
        expected = 0.6 * max((fit.seconds for fit in running.fits.values()), default=0.0)
        if self.done and self.setup.seconds_left < expected:
            return None
        data = self.data[number]
        if not len(data.valid.y):
            return None  # every row is of a class that the training part lacks
        problem = self.problem(running, data)
        study = self.setup.study
        key = (running.entry.key, running.rate, problem.max_rounds, number, len(self.folds))
        known = study.get(key) if study else None
        if known is not None:
            return known
        fit, _ = fit_and_score(running.entry, problem, data.train, data.valid, self.setup.metric)
        if study and not self.setup.stop.is_set():
            study.add(key, fit)
        return fit

    def _merge(self, running: Running, number: int, fit: Fit) -> None:
        self.done += 1
        if fit.note is not None:
            running.note = fit.note
            return
        if np.isfinite(fit.score):
            running.fits[number] = fit
        self.setup.report(
            Progress(
                "search",
                f"{running.family}, fold {number + 1} of {len(self.folds)}",
                self.done,
                self.total,
                self._best(),
                self.setup.metric,
            )
        )

    def loss(self, running: Running, folds: list[int] | None = None) -> float:
        """Mean over folds of what is to be small."""
        return self.to_loss(float(np.mean(running.scores(folds))))

    def to_loss(self, score: float) -> float:
        """What is to be small, from a score."""
        return 1.0 - score if GREATER_IS_BETTER[self.setup.metric] else score

    def rank(self, running: list[Running], folds: list[int]) -> list[Running]:
        """Those that were fitted on these folds, the best first."""
        known = [r for r in running if r.note is None and all(f in r.fits for f in folds)]
        return sorted(known, key=lambda r: self.loss(r, folds))

    def _best(self) -> float | None:
        tried = [r for r in self.every if r.fits]
        if not tried:
            return None
        best = min(tried, key=self.loss)
        return float(np.mean(best.scores()))

    def trial(self, running: Running) -> Trial:
        """The record of a configuration."""
        scores = running.scores()
        width = next(iter(self.data.values())).plan.width if self.data else self.sample.plan.width
        sizes = [fit.size for fit in running.fits.values()]
        prices = [price([size], width, max(1, len(self.table.classes))) for size in sizes]
        return Trial(
            family=running.family,
            config=running.entry.config,
            score=float(np.mean(scores)) if scores else None,
            spread=float(np.std(scores, ddof=1)) if len(scores) > 1 else None,
            folds=len(scores),
            rounds=running.rounds,
            microseconds=max((p.microseconds for p in prices), default=None),
            megabytes=max((p.megabytes for p in prices), default=None),
            note=running.note or (None if running.complete else "cut short by the budget"),
        )
