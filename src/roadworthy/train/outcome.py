"""From what a search has tried to what is fitted: one configuration, or a blend of few."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from roadworthy.errors import InputError
from roadworthy.prepare.plan import FeaturePlan
from roadworthy.train.candidates import Rows
from roadworthy.train.cost import Price, price
from roadworthy.train.fits import to_scores
from roadworthy.train.greedy import Choice, choose_blend
from roadworthy.train.portfolio import Entry
from roadworthy.train.record import Trial
from roadworthy.train.runner import Runner, Running
from roadworthy.train.scoring import score

Floats = NDArray[np.float64]
_CHOICES = 16
"""Configurations that a blend is chosen from."""
_MORE_ROWS = 1.5
"""What a refit on every row takes of the time of a fold's fit, with some slack."""
_GROWTH = 1.15
"""What a refit costs more to serve than its folds' fits: more rounds of fuller trees."""


class Member(NamedTuple):
    """One member of what is to be fitted."""

    entry: Entry
    weight: float
    rate: float
    rounds: int | None


class SearchOutcome(NamedTuple):
    """What a search found.

    Attributes:
        members: What is to be refitted; one, or a blend.
        trials: Every configuration tried and the blend, the chosen one first.
        seconds: Mean seconds of a fit of each trial, in the same order; None where none ended.
        complete: Whether the budget cut nothing.
        folds: Folds of the validation.
        rate: The learning rate's factor.
        rows: Rows that the search used.
        oof_rows: Positions in the searched table of the rows that were predicted by models that
            had not seen them.
        oof_scores: The chosen model's probabilities `[M, K]` or predictions `[M]` of these rows.
        end: `time.monotonic()` at which the refit must be over.
        notes: What was noticed, for people.
        fitted: The model, where the search needs no refit.
        plan: The plan of `fitted`.
        fitted_rows: Rows that `fitted` has seen.
        random_split_score: What one random fold would have shown of rows that are split by time.
    """

    members: tuple[Member, ...]
    trials: tuple[Trial, ...]
    seconds: tuple[float | None, ...]
    complete: bool
    folds: int
    rate: float
    rows: int
    oof_rows: NDArray[np.int64]
    oof_scores: Floats
    end: float
    notes: tuple[str, ...] = ()
    fitted: Any = None
    plan: FeaturePlan | None = None
    fitted_rows: int = 0
    random_split_score: float | None = None


class Chosen(NamedTuple):
    """The members that were chosen from a ranking, and their margins on the shared folds."""

    running: tuple[Running, ...]
    weights: tuple[float, ...]
    folds: list[int]
    scores: list[float]
    margin: Floats
    price: Price
    notes: tuple[str, ...]


def choose(runner: Runner, *, blend: bool, refit_seconds: float) -> Chosen:
    """Choose what to fit from everything that was tried.

    Args:
        runner: The search.
        blend: Whether several members may be mixed.
        refit_seconds: Thread-seconds that fitting the members once more may take.

    Raises:
        InputError: Nothing could be fitted.
    """
    ranked, folds = ranking(runner)
    limit = runner.setup.limit
    prices = {r: _price(runner, [r], folds) for r in ranked}
    cheap = [r for r in ranked if prices[r].within(limit)]
    pool = cheap[:_CHOICES] or [min(ranked, key=prices.__getitem__)]
    parts = [np.concatenate([r.fits[f].margin for f in folds]) for r in pool]

    def affordable(members: tuple[int, ...]) -> bool:
        chosen = [pool[m] for m in members]
        if not _price(runner, chosen, folds).within(limit):
            return False
        if len(members) == 1:
            return True
        return _MORE_ROWS * sum(r.seconds or 0.0 for r in chosen) <= refit_seconds

    most = runner.setup.options.train.max_members if blend else 1
    choice = choose_blend(parts, _pooled_loss(runner, folds), affordable, most)
    notes: list[str] = []
    if cheap and len(cheap) < len(ranked):
        over = len(ranked) - len(cheap)
        notes.append(f"{over} of {len(ranked)} configurations are too slow or large to serve")
    if choice is None:  # nothing is cheap enough: take the cheapest and say so
        choice = Choice((0,), (1.0,), np.nan, parts[0])
        notes.append("no configuration can be served within max_microseconds and max_mb")
    running = tuple(pool[m] for m in choice.members)
    scores = _fold_scores(runner, folds, choice.margin)
    whole = _price(runner, list(running), folds)
    return Chosen(running, choice.weights, folds, scores, choice.margin, whole, tuple(notes))


def ranking(runner: Runner) -> tuple[list[Running], list[int]]:
    """Those with most folds, ranked on the folds that they share, and these folds.

    Raises:
        InputError: Nothing could be fitted.
    """
    tried = [r for r in runner.every if r.fits and r.note is None]
    if not tried:
        reasons = "; ".join(dict.fromkeys(r.note for r in runner.every if r.note))
        undefined = f"no validation part has a finite {runner.setup.metric.name}"
        raise InputError(
            f"no candidate could be fitted: {reasons or undefined}",
            fix="" if reasons else "choose another [train] metric, or look at the target",
        )
    enough = min(3, len(tried))
    counts = range(1, len(runner.folds) + 1)
    count = max(n for n in counts if n == 1 or sum(len(r.fits) >= n for r in tried) >= enough)
    full = [r for r in tried if len(r.fits) >= count]
    shared = sorted(set.intersection(*(set(r.fits) for r in full)))
    if not shared:  # different folds failed for different ones
        shared = sorted(full[0].fits)
        full = [r for r in full if set(shared) <= set(r.fits)]
    return runner.rank(full, shared), shared


def conclude(runner: Runner, chosen: Chosen, *, complete: bool) -> SearchOutcome:
    """The outcome of a search whose members are to be refitted on every row."""
    ranked, _ = ranking(runner)
    rest = [r for r in runner.every if r.fits and r not in ranked and r.note is None]
    failed = [r for r in runner.every if r.note is not None]
    ordered = [*ranked, *sorted(rest, key=lambda r: -len(r.fits)), *failed]
    single = len(chosen.running) == 1
    if single:
        ordered.remove(chosen.running[0])
        ordered.insert(0, chosen.running[0])
    trials = [runner.trial(r) for r in ordered]
    seconds = [r.seconds for r in ordered]
    if not single:
        trials.insert(0, _blend_trial(runner, chosen, ordered))
        seconds.insert(0, sum(r.seconds or 0.0 for r in chosen.running))
    else:
        trials[0] = msgspec.structs.replace(
            trials[0], microseconds=chosen.price.microseconds, megabytes=chosen.price.megabytes
        )
    members = tuple(
        Member(r.entry, weight, r.rate, r.rounds)
        for r, weight in zip(chosen.running, chosen.weights, strict=True)
    )
    places = np.concatenate([runner.fold(f).places for f in chosen.folds])
    order = np.argsort(places, kind="stable")
    scores = to_scores(chosen.margin, len(runner.table.classes))
    return SearchOutcome(
        members,
        tuple(trials),
        tuple(seconds),
        complete,
        len(runner.folds),
        runner.rate,
        len(runner.table),
        places[order],
        scores[order],
        runner.setup.end,
        chosen.notes,
    )


def _blend_trial(runner: Runner, chosen: Chosen, ordered: list[Running]) -> Trial:
    return Trial(
        family="blend",
        config={},
        score=float(np.mean(chosen.scores)),
        spread=float(np.std(chosen.scores, ddof=1)) if len(chosen.scores) > 1 else None,
        folds=len(chosen.scores),
        microseconds=chosen.price.microseconds,
        megabytes=chosen.price.megabytes,
        members={
            str(1 + ordered.index(r)): w
            for r, w in zip(chosen.running, chosen.weights, strict=True)
        },
    )


def _price(runner: Runner, running: list[Running], folds: list[int]) -> Price:
    sizes = []
    for one in running:
        largest = max((one.fits[f].size for f in folds), key=lambda s: (s.leaves, s.trees))
        grown = largest.leaves, largest.trees
        sizes.append(
            largest._replace(leaves=round(_GROWTH * grown[0]), trees=round(1.08 * grown[1]))
        )
    width = runner.fold(folds[0]).plan.width
    return price(sizes, width, max(1, len(runner.table.classes)))


def _slices(runner: Runner, folds: list[int]) -> list[tuple[slice, Rows]]:
    parts = []
    start = 0
    for fold in folds:
        rows = runner.fold(fold).valid
        parts.append((slice(start, start + len(rows.y)), rows))
        start += len(rows.y)
    return parts


def _fold_scores(runner: Runner, folds: list[int], margin: Floats) -> list[float]:
    classes = len(runner.table.classes)
    metric = runner.setup.metric
    return [
        score(metric, rows.y, to_scores(margin[part], classes), rows.weights)
        for part, rows in _slices(runner, folds)
    ]


def _pooled_loss(runner: Runner, folds: list[int]) -> Callable[[Floats], float]:
    """Mean over the folds of what is to be small, fast where it is asked for often."""
    parts = _slices(runner, folds)
    fast = runner.setup.metric.name == "roc_auc" and runner.table.task == "binary"
    fast &= runner.table.weights is None

    def loss(margin: Floats) -> float:
        if not fast:
            return runner.to_loss(float(np.mean(_fold_scores(runner, folds, margin))))
        return 1.0 - float(np.mean([_area(rows.y, margin[part]) for part, rows in parts]))

    return loss


def _area(y: Floats, margin: Floats) -> float:
    """Area under the ROC curve by ranks (Mann and Whitney, 1947)."""
    ones = y == 1.0
    count = int(ones.sum())
    ranks = rankdata(margin)[ones].sum()
    return float((ranks - count * (count + 1) / 2) / (count * (len(y) - count)))
