"""The race: a portfolio over folds, then moves around the best, in rounds.

Each round is known before it begins and decisions fall between rounds, so that with enough
budget the outcome depends on the data and the seed and not on which fit happens to end first.
"""

from __future__ import annotations

import math

import numpy as np

from roadworthy.train.portfolio import Entry, is_skewed, moves, portfolio
from roadworthy.train.runner import Runner, Running

SLOWEST = 0.3
"""The learning rate's factor when time is plenty."""
_RATES = (SLOWEST, 0.5, 1.0)
_SAME, _OTHER, _LEADER = 0.006, 0.025, 0.06
"""How much worse than the best a configuration may be to go on, divided by the root of the folds
that it was tried on: of the same family, of another, and the first of its family."""
_SURVIVORS = 7
_MOVES, _MOVE_ROUNDS, _MOVE_PATIENCE, _MOVE_SURVIVORS = 6, 6, 2, 3
_GAIN = 3e-4
_NEEDED = 1.5
"""Thread-seconds of a mean fit, in those of the first one."""


def race(runner: Runner) -> bool:
    """Find good configurations; they are left in the runner.

    Returns:
        Whether neither folds, nor rate, nor rounds were cut by the budget.
    """
    log = runner.table.task == "regression" and is_skewed(runner.table.labels)
    entries = portfolio(runner.candidates, runner.sample, log=log)
    unhurried = _adapt(runner, entries)
    leaders = _leaders(entries)
    first = runner.start(leaders)
    runner.round([(running, 0) for running in first])
    first = _hurry_capped(runner, first)
    others = runner.start([entry for entry in entries if entry not in leaders])
    runner.round([(running, 0) for running in others])
    running = [*first, *others]
    for fold in range(1, len(runner.folds)):
        running = _survivors(runner, running, first, list(range(fold)))
        runner.round([(r, fold) for r in running])
    finished = _moves(runner)
    reached = all(len(r.fits) == len(runner.folds) or r.note for r in running)
    tried = all(r.fits or r.note for r in runner.every)
    return unhurried and finished and reached and tried


def _adapt(runner: Runner, entries: list[Entry]) -> bool:
    """Choose learning rate and folds from the time that the first fit takes.

    The most careful of these is taken that time surely suffices for; a table with so few rows
    that a fit takes no time gets the slowest rate on every machine.
    """
    probe = next((e for e in entries if e.candidate.family != "linear"), entries[0])
    running = runner.start([probe], rate=1.0)[0]
    runner.round([(running, 0)])
    runner.every.remove(running)
    if not running.fits:
        return True
    taken = running.fits[0].seconds
    encoding = runner.fold(0).seconds
    wanted = len(runner.folds)
    for folds in sorted({wanted, min(wanted, 3), 2}, reverse=True):
        for rate in _RATES:
            fits = len(entries) + _SURVIVORS * (folds - 1) * 0.8 + 2.0 * _MOVES
            needed = _NEEDED * fits * taken * rate**-0.75
            left = (runner.setup.seconds_left - folds * encoding) * runner.setup.n_jobs
            if needed <= left:
                return _settle(runner, folds, rate)
    return _settle(runner, min(wanted, 2), 1.0)


def _settle(runner: Runner, folds: int, rate: float) -> bool:
    wanted = len(runner.folds)
    if folds < wanted:
        runner.cut(folds)
    runner.rate = rate
    return folds == wanted and rate == SLOWEST


def _leaders(entries: list[Entry]) -> list[Entry]:
    found: dict[str, Entry] = {}
    for entry in entries:
        found.setdefault(entry.candidate.family, entry)
    return list(found.values())


def _hurry_capped(runner: Runner, leaders: list[Running]) -> list[Running]:
    """Let families learn faster whose rounds end where serving them would cost too much."""
    slow: list[Running] = []
    for running in leaders:
        fit = running.fits.get(0)
        if fit is None or fit.rounds is None or running.family == "forest":
            continue
        most = runner.problem(running, runner.fold(0)).max_rounds or 0
        if fit.complete and fit.rounds >= 0.95 * most and runner.rate < 1.0:
            slow.append(running)
    if not slow:
        return leaders
    runner.rate = 1.0
    faster = runner.start([running.entry for running in leaders])
    for running in leaders:
        runner.every.remove(running)
    runner.round([(running, 0) for running in faster])
    return faster


def _survivors(
    runner: Runner, running: list[Running], leaders: list[Running], folds: list[int]
) -> list[Running]:
    ranked = runner.rank(running, folds)
    if not ranked:
        return []
    best = ranked[0]
    kept = []
    for rank, one in enumerate(ranked):
        share = _LEADER if one in leaders else _OTHER
        share = _SAME if one.family == best.family and one not in leaders else share
        worse = runner.loss(one, folds) - runner.loss(best, folds)
        if rank < 2 or worse <= share / math.sqrt(len(folds)) * abs(runner.loss(best, folds)):
            kept.append(one)
    return kept[:_SURVIVORS]


def _moves(runner: Runner) -> bool:
    """Try configurations around the best, until rounds of them bring nothing or time is over."""
    random = np.random.default_rng(runner.seed)
    every = list(range(len(runner.folds)))
    idle = 0
    for _ in range(_MOVE_ROUNDS):
        ranked = runner.rank(runner.every, every)
        if not ranked or runner.setup.seconds_left <= 0:
            return False
        before = runner.loss(ranked[0], every)
        known = {r.entry.key for r in runner.every}
        fresh = moves([r.entry for r in ranked[:4]], runner.sample, random, _MOVES)
        started = runner.start([entry for entry in fresh if entry.key not in known])
        if not started:
            return True
        runner.round([(running, 0) for running in started])
        limit = (1.0 + _OTHER) * runner.loss(ranked[0], [0])
        good = [r for r in runner.rank(started, [0]) if runner.loss(r, [0]) <= limit]
        units = [(r, fold) for fold in every[1:] for r in good[:_MOVE_SURVIVORS]]
        runner.round(units)
        after = min(runner.loss(r, every) for r in runner.rank(runner.every, every))
        idle = 0 if after < before - _GAIN * abs(before) else idle + 1
        if idle == _MOVE_PATIENCE:
            break
    return runner.setup.seconds_left > 0
