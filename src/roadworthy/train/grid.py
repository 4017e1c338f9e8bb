"""The classic grid: every combination of the named settings, cross-validated on every fold."""

from __future__ import annotations

import difflib
import itertools
from typing import Any

from roadworthy.errors import InputError
from roadworthy.train.candidates import Candidate, Config
from roadworthy.train.portfolio import Entry
from roadworthy.train.runner import Runner

_MOST = 10_000


def check_grid(grid: dict[str, dict[str, tuple[Any, ...]]], candidates: list[Candidate]) -> None:
    """Refuse what cannot be searched, before anything is.

    Raises:
        InputError: A family is not among the candidates, it has no such setting, or there are
            too many combinations.
    """
    families = {candidate.family: candidate for candidate in candidates}
    for family, settings in grid.items():
        where = f"[train.grid.{family}]"
        if family not in families:
            raise InputError(
                f"{family!r} is no candidate of this search",
                where=where,
                fix=f"name it in [train] candidates, or one of {', '.join(sorted(families))}",
            )
        candidate = families[family]
        known = sorted(candidate.settings)
        for name in settings:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(known)}"
                raise InputError(f"{family} has no setting {name!r}", where=where, fix=hint)
        count = 1
        for values in settings.values():
            count *= len(values)
        if count > _MOST:
            raise InputError(
                f"{count:,} combinations are too many", where=where, fix="name fewer values"
            )


def combinations(settings: dict[str, tuple[Any, ...]]) -> list[Config]:
    """Every combination, the last setting changing fastest."""
    return [
        dict(zip(settings, values, strict=True)) for values in itertools.product(*settings.values())
    ]


def search_grid(runner: Runner) -> bool:
    """Fit every combination on every fold; returns whether the budget sufficed."""
    grid = runner.setup.options.train.grid
    entries = [
        Entry(candidate, config)
        for candidate in runner.candidates
        if candidate.family in grid
        for config in combinations(grid[candidate.family])
    ]
    started = runner.start(entries)
    for fold in range(len(runner.folds)):
        runner.round([(running, fold) for running in started])
    return all(len(r.fits) == len(runner.folds) or r.note for r in started)
