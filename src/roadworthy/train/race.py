"""The race: a portfolio over folds, then moves around the best, in rounds.

Each round is known before it begins and decisions fall between rounds, so that with enough
budget the outcome depends on the data and the seed and not on which fit happens to end first.
"""

from __future__ import annotations

import math
import time

import numpy as np

from roadworthy.train.portfolio import Entry, is_skewed, moves, portfolio
from roadworthy.train.runner import PERFECT, Runner, Running

SLOWEST = 0.3
"""The learning rate's factor when time is plenty."""
_SAME, _OTHER, _LEADER = 0.01, 0.03, 0.06
"""How much worse than the best a configuration may be to go on, divided by the root of the folds
that it was tried on: of the same family, of another, and the first of its family."""
_SURVIVORS = 8
_MOVES, _MOVE_ROUNDS, _MOVE_PATIENCE, _MOVE_SURVIVORS = 6, 6, 2, 3
_GAIN = 3e-4
_REFITS = 2.5
"""Wall time of the refit of a blend in that of a first fit at the same rate."""
_NEEDED = 2.2
"""Thread-seconds of a mean fit, in those of the first one."""


def race(runner: Runner) -> bool:
    """Find good configurations; they are left in the runner.

    Returns:
        Whether neither folds, nor rate, nor rounds were cut by the budget.
    """
    log = runner.table.task == "regression" and is_skewed(runner.table.labels)
    entries = portfolio(runner.candidates, runner.sample, log=log)
    probe = next((e for e in entries if e.candidate.family != "linear"), entries[0])
    # it stays in the race: when time is gone already it is what there is
    probed = runner.start([probe], rate=1.0)[0]
    runner.round([(probed, 0)])
    unhurried = _adapt(runner, probed, len(entries))
    leaders = _leaders(entries)
    same = [probed] if runner.rate == probed.rate else []
    first = same + runner.start([e for e in leaders if not same or e is not probe])
    runner.round([(running, 0) for running in first if 0 not in running.fits])
    first = runner.hurry(first)
    others = runner.start([entry for entry in entries if entry not in leaders])
    runner.round([(running, 0) for running in others])
    running = [*first, *runner.hurry(others)]
    for fold in range(1, len(runner.folds)):
        running = _survivors(runner, running, first, list(range(fold)))
        runner.round([(r, fold) for r in running])
    finished = _moves(runner)
    reached = all(len(r.fits) == len(runner.folds) or r.note for r in running)
    tried = all(r.fits or r.note for r in runner.every)
    return unhurried and finished and reached and tried


def _adapt(runner: Runner, probed: Running, count: int) -> bool:
    """Choose learning rate and folds from the time that the first fit takes.

    The most careful of these is taken that time surely suffices for; a table with so few rows
    that a fit takes no time gets the slowest rate on every machine.
    """
    if not probed.fits:
        return True
    taken = probed.fits[0].seconds
    encoding = runner.fold(0).seconds
    wanted = len(runner.folds)
    few = min(wanted, 3)
    careful = ((wanted, SLOWEST), (wanted, 0.5), (few, SLOWEST), (few, 0.5), (few, 1.0), (2, 1.0))
    for folds, rate in careful:
        fits = count + _SURVIVORS * (folds - 1) * 0.8 + 2.0 * _MOVES
        needed = _NEEDED * fits * taken * rate**-0.75
        left = (runner.setup.seconds_left - folds * encoding) * runner.setup.n_jobs
        if needed <= left:
            break
    else:
        folds, rate = 1, 1.0
    _lengthen(runner, encoding + _REFITS * taken * rate**-0.75)
    return _settle(runner, folds, rate)


def _lengthen(runner: Runner, refit_seconds: float) -> None:
    """Leave the refit only what it will take, and search the longer."""
    setup = runner.setup
    reserve = 0.05 * (setup.end - time.monotonic()) + refit_seconds
    runner.setup = setup._replace(deadline=max(setup.deadline, setup.end - reserve))


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
        if before <= PERFECT:
            return True
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
