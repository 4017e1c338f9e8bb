"""Run rounds of fits on folds, against a clock, and keep what they came to."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from roadworthy.prepare.fit import fit_plan
from roadworthy.progress import Progress, Report
from roadworthy.project import Project
from roadworthy.table import Table
from roadworthy.train.candidates import Candidate, Problem
from roadworthy.train.cost import Price, most_rounds, price
from roadworthy.train.executors import Executor, Threads
from roadworthy.train.fits import Fit, FoldRows, encode_fold
from roadworthy.train.folds import Fold, make_folds
from roadworthy.train.portfolio import Entry
from roadworthy.train.record import Trial
from roadworthy.train.scoring import Metric, score
from roadworthy.train.study import Study

Floats = NDArray[np.float64]
_MEMBER_SHARE = 0.45
"""What one member of a blend may cost of what the whole may."""
_FASTER, FASTEST, _HURRIES = 2.0, 3.0, 3
"""Factor, limit and number of the steps by which a family learns faster whose rounds end where
serving more of them would cost too much."""
PERFECT = 1e-9
"""A loss that cannot be bettered."""
_REFIT = 2.5
"""Wall time of refitting a blend on every row, in that of its slowest member's fit."""
_MOST_WAITED = 4.0
_LEAST_SHARE = 0.7
"""Share of the time planned for search and refit that a busy machine leaves them at least."""
_FIT_SHARE = 0.3
"""Share of the search's time that one fit may take."""


class Setup(NamedTuple):
    """What a search goes by.

    Attributes:
        metric: What is to be good.
        options: The project.
        n_jobs: Fits at a time, one thread each.
        deadline: `time.monotonic()` at which the search must be over.
        end: `time.monotonic()` at which the refit must be over.
        packaging: Seconds that come after `end` on an idle machine.
        report: Called with each step.
        stop: Set when the user ends the search.
        study: Where fits are kept, if anywhere.
        executor: Where fits run.
    """

    metric: Metric
    options: Project
    n_jobs: int
    deadline: float
    end: float
    packaging: float
    report: Report
    stop: threading.Event
    study: Study | None = None
    executor: Executor = Threads()

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
        said = setup.options.train
        cut = make_folds(
            table,
            said.folds,
            self.seed,
            validation=said.validation,
            repeats=said.repeats,
            gap=said.gap,
        )
        self.folds = self._usable(cut)
        self.every: list[Running] = []
        self.done = self.total = 0
        self.data: dict[int, FoldRows] = {}
        self.fit_share = _FIT_SHARE
        self.models: dict[Running, Any] | None = None
        """Where the fits' estimators are kept, if they are to be."""
        self._began = time.monotonic()
        self._end = setup.end
        frame, labels = table.frame[:1], table.labels[:1]
        plan = fit_plan(frame, labels, table.contract, setup.options.prepare)
        self.sample = Problem(table.task, len(table.classes), plan, self.seed, 1, setup.deadline)

    @property
    def seed(self) -> int:
        """Seed of everything random."""
        return self.setup.options.train.seed

    def _usable(self, folds: list[Fold]) -> list[Fold]:
        """The folds on which the metric is defined; all when there are none.

        Where time counts the newest comes first, which has the most rows to train on.
        """
        table, metric = self.table, self.setup.metric
        scored = [fold for fold in folds if np.isfinite(dummy_score(table, fold, metric))]
        found = scored or folds
        return found[::-1] if table.times is not None else found

    def cut(self, count: int) -> None:
        """Validate on some of the folds only: each still trains on as many rows."""
        self.folds = self.folds[:count]

    def start(self, entries: list[Entry], rate: float | None = None) -> list[Running]:
        """Enter configurations; nothing is fitted yet."""
        entered = [Running(entry, rate or entry.rate or self.rate) for entry in entries]
        self.every += entered
        return entered

    def fold(self, number: int) -> FoldRows:
        """One fold, encoded."""
        if number not in self.data:
            self.data[number] = encode_fold(self.table, self.folds[number], self.setup.options)
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
        self._pace()

    def _pace(self) -> None:
        """Leave what comes after the search the time that it will take as things go.

        The refit takes as long as the best configurations' fits did, on more rows; where others
        use the machine too, packaging waits for it as the fits did.
        """
        fits = [fit for running in self.every for fit in running.fits.values()]
        waits = [fit.waited for fit in fits if fit.waited is not None]
        factor = min(_MOST_WAITED, max(1.0, float(np.median(waits)))) if waits else 1.0
        end = self._end - (factor - 1.0) * self.setup.packaging
        end = max(end, self._began + _LEAST_SHARE * (self._end - self._began))
        best = sorted((r for r in self.every if 0 in r.fits), key=lambda r: self.loss(r, [0]))[:3]
        needed = _REFIT * max((r.seconds or 0.0 for r in best), default=0.0)
        self.setup = self.setup._replace(end=end, deadline=min(self.setup.deadline, end - needed))

    def hurry(self, tried: list[Running]) -> list[Running]:
        """Replace those that ran into the rounds that serving allows by faster learners."""
        found = list(tried)
        for _ in range(_HURRIES):
            capped = [r for r in found if self._is_capped(r)]
            if not capped or self.setup.seconds_left <= 0:
                break
            faster = self.start(
                [r.entry._replace(rate=min(FASTEST, _FASTER * r.rate)) for r in capped]
            )
            self.round([(running, 0) for running in faster])
            for slow, fast in zip(capped, faster, strict=True):
                if 0 in fast.fits:
                    found[found.index(slow)] = fast
        return found

    def _is_capped(self, running: Running) -> bool:
        fit = running.fits.get(0)
        if fit is None or fit.rounds is None or not fit.complete or running.family == "forest":
            return False
        if self.to_loss(fit.score) <= PERFECT:
            return False
        most = self.problem(running, self.fold(0)).max_rounds
        return most is not None and fit.rounds >= 0.95 * most and running.rate < FASTEST

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
        most = self.fit_share * (self.setup.deadline - self._began)
        deadline = min(self.setup.deadline, time.monotonic() + most)
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
        fit, fitted = self.setup.executor.fit(
            running.entry, problem, data, self.setup.metric, keep=self.models is not None
        )
        if self.models is not None and fitted is not None:
            self.models[running] = fitted.estimator
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
                self.setup.metric.name,
            )
        )

    def loss(self, running: Running, folds: list[int] | None = None) -> float:
        """Mean over folds of what is to be small."""
        return self.to_loss(float(np.mean(running.scores(folds))))

    def to_loss(self, score: float) -> float:
        """What is to be small, from a score."""
        return 1.0 - score if self.setup.metric.greater_is_better else score

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


def dummy_score(table: Table, fold: Fold, metric: Metric) -> float:
    """The score of always answering the training part's class shares or mean."""
    train = table.labels[fold.train]
    classes = len(table.classes)
    places = fold.valid[np.isin(table.labels[fold.valid], train)] if classes else fold.valid
    valid = table.labels[places]
    weights = None if table.weights is None else table.weights[places]
    if not len(valid):
        return float("nan")
    if not classes:
        return score(metric, valid, np.full(len(valid), train.mean()), weights)
    shares = np.bincount(train.astype(int), minlength=classes) / len(train)
    return score(metric, valid, np.tile(shares, (len(valid), 1)), weights)
