"""One fit: a configuration on one fold, scored; the unit of every search."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from roadworthy.prepare.columns import encode_columns
from roadworthy.prepare.fit import fit_encode
from roadworthy.prepare.plan import FeaturePlan
from roadworthy.project import Project
from roadworthy.table import Table
from roadworthy.train.blend import LogTarget, log_target, margins, probabilities
from roadworthy.train.candidates import Candidate, Config, Fitted, Problem, Rows
from roadworthy.train.cost import Size, size_of
from roadworthy.train.folds import Fold
from roadworthy.train.portfolio import LOG, Entry
from roadworthy.train.scoring import Metric, score
from roadworthy.train.weights import row_weights

Floats = NDArray[np.float64]


class FoldRows(NamedTuple):
    """One fold, encoded by a plan that was learned from its training part alone.

    Attributes:
        plan: The plan.
        train: The rows to fit on.
        valid: The rows to score on.
        places: Positions of `valid` in the table.
        seconds: What encoding took.
    """

    plan: FeaturePlan
    train: Rows
    valid: Rows
    places: NDArray[np.int64]
    seconds: float


class Fit(NamedTuple):
    """What one fit came to; `note` says why when it came to nothing.

    Attributes:
        score: The metric on the validation part.
        margin: Margins or predictions of the validation part.
        seconds: Wall time.
        waited: Wall time over the processor's, where the fit ran in its own thread: above 1
            when others use the machine too.
        rounds: Boosting rounds or trees.
        size: What it costs to serve.
        complete: False when the clock cut it short.
        note: Why it failed.
    """

    score: float = np.nan
    margin: Floats = np.empty(0)
    seconds: float = 0.0
    rounds: int | None = None
    size: Size = Size()
    complete: bool = True
    note: str | None = None
    waited: float | None = None


def encode_fold(table: Table, fold: Fold, options: Project) -> FoldRows:
    """Learn a plan from a fold's training part and encode both parts.

    The training part weighs as fits do, the validation part as scores do.
    """
    start = time.monotonic()
    train = table.take(fold.train)
    places = fold.valid
    if table.classes:  # groups or time may keep a class out of a training part
        places = places[np.isin(table.labels[places], train.labels)]
    valid = table.take(places)
    plan, matrix = fit_encode(
        train.frame, train.labels, table.contract, options.prepare, options.train.seed
    )
    return FoldRows(
        plan,
        Rows(matrix, train.labels, row_weights(train, options.train)),
        Rows(encode_columns(valid.frame, plan), valid.labels, valid.weights),
        places,
        time.monotonic() - start,
    )


def fit_entry(
    entry: Entry, problem: Problem, train: Rows, valid: Rows | None, rounds: int | None = None
) -> Fitted:
    """Fit one configuration, on the target's logarithm when it says so."""
    candidate: Candidate = entry.candidate
    config: Config = {name: value for name, value in entry.config.items() if name != LOG}
    if not entry.config.get(LOG):
        return candidate.fit(config, problem, train, valid, rounds)
    centre = np.log(train.y).mean()
    logs = train._replace(y=log_target(train.y))
    watched = None if valid is None else valid._replace(y=np.log(valid.y) - centre)
    fitted = candidate.fit(config, problem, logs, watched, rounds)
    return fitted._replace(estimator=LogTarget(fitted.estimator).take(fitted.estimator, train.y))


def fit_and_score(
    entry: Entry, problem: Problem, train: Rows, valid: Rows, metric: Metric
) -> tuple[Fit, Fitted | None]:
    """Fit one configuration and score it; whatever a library raises becomes a note."""
    start, used = time.monotonic(), time.thread_time()
    try:
        fitted = fit_entry(entry, problem, train, valid)
        found = margins(fitted.estimator, valid.X, problem.n_classes or None)
        value = score(metric, valid.y, to_scores(found, problem.n_classes), valid.weights)
        size = size_of(fitted.estimator)
    except MemoryError:
        return Fit(note="set aside: it ran out of memory"), None
    except Exception as error:  # the search goes on without it
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        return Fit(note=f"set aside: {first_line[:200]}"), None
    seconds, used = time.monotonic() - start, time.thread_time() - used
    # libraries with threads of their own use next to nothing of this one
    waited = seconds / used if used > max(0.01, seconds / 10.0) else None
    return Fit(value, found, seconds, fitted.rounds, size, fitted.complete, None, waited), fitted


def to_scores(margin: Floats, n_classes: int) -> Floats:
    """Probabilities or predictions from margins."""
    return probabilities(margin) if n_classes else margin
