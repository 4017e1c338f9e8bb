"""Optuna's samplers over the families' settings (Akiba et al., 2019), by asking and telling."""

from __future__ import annotations

import importlib.util
import math
from typing import Any

from roadworthy.errors import InputError, OutsideError
from roadworthy.train.candidates import Between, Space
from roadworthy.train.digest import data_digest
from roadworthy.train.portfolio import LOG, Entry, is_skewed, portfolio
from roadworthy.train.runner import Runner, Running

_BATCH = 4
_LEADERS = 6
_TRIALS = 300
_NAME = "roadworthy"
_MARGIN = 0.05
"""How much worse than the best a first fold may be for the others to be tried."""


def check_optuna() -> None:
    """Refuse the search before it begins.

    Raises:
        InputError: Optuna is not installed.
    """
    if importlib.util.find_spec("optuna") is None:
        raise InputError(
            "Optuna is not installed",
            where="[train] search",
            fix="pip install 'roadworthy[optuna]', or search = \"race\"",
        )


def search_optuna(runner: Runner) -> bool:
    """Ask for batches of configurations and tell their losses, until the budget is over.

    The portfolio's first configurations are told too. Batches are of four whatever the workers
    are, so that the outcome depends on the seed and on how many batches the budget buys.

    Raises:
        OutsideError: The study's storage cannot be used.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    log = runner.table.task == "regression" and is_skewed(runner.table.labels)
    started = runner.start(portfolio(runner.candidates, runner.sample, log=log)[:_LEADERS])
    _run(runner, started)
    study = _open(runner, optuna)
    families = [c for c in runner.candidates if c.space(runner.sample)]
    if not families:
        return True
    for _ in range(_TRIALS // _BATCH):
        if runner.setup.seconds_left <= 0:
            return False
        asked = [study.ask() for _ in range(_BATCH)]
        entries = [_entry(runner, trial, log) for trial in asked]
        batch = runner.start(entries)
        _run(runner, batch)
        for trial, running in zip(asked, batch, strict=True):
            if running.fits and running.note is None:
                study.tell(trial, runner.loss(running))
            else:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
    return True


def _run(runner: Runner, batch: list[Running]) -> None:
    runner.round([(running, 0) for running in batch])
    ranked = runner.rank(runner.every, [0])
    if not ranked:
        return
    limit = runner.loss(ranked[0], [0])
    limit += _MARGIN * abs(limit)
    good = [r for r in batch if 0 in r.fits and runner.loss(r, [0]) <= limit]
    runner.round([(r, fold) for fold in range(1, len(runner.folds)) for r in good])


def _entry(runner: Runner, trial: Any, log: bool) -> Entry:
    families = {c.family: c for c in runner.candidates if c.space(runner.sample)}
    family = trial.suggest_categorical("family", sorted(families))
    candidate = families[family]
    config = _suggest(trial, family, candidate.space(runner.sample))
    if log:
        config[LOG] = True
    return Entry(candidate, config)


def _suggest(trial: Any, family: str, space: Space) -> dict[str, Any]:
    config: dict[str, Any] = {}
    for name, setting in space.items():
        key = f"{family}.{name}"
        if not isinstance(setting, Between):
            config[name] = trial.suggest_categorical(key, tuple(dict.fromkeys(setting.values)))
        elif setting.whole:
            low, high = math.ceil(setting.low), math.floor(setting.high)
            config[name] = trial.suggest_int(key, low, high, log=setting.log)
        else:
            config[name] = trial.suggest_float(key, setting.low, setting.high, log=setting.log)
    return config


def _open(runner: Runner, optuna: Any) -> Any:
    path = runner.setup.options.train.study
    storage = path if path is None or "://" in path else f"sqlite:///{path}"
    sampler = optuna.samplers.TPESampler(
        seed=runner.seed, multivariate=True, group=True, warn_independent_sampling=False
    )
    name = f"{_NAME}-{runner.table.name}-{runner.setup.metric.name}"
    try:
        study = optuna.create_study(
            storage=storage, sampler=sampler, study_name=name, load_if_exists=True
        )
        digest = data_digest(runner.table)
        known = study.user_attrs.get("digest")
        study.set_user_attr("digest", known or digest)
    except Exception as error:  # whatever SQLAlchemy and the database's driver raise
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise OutsideError(
            f"Optuna's storage cannot be used: {first_line[:200]}", where="[train] study"
        ) from None
    if known not in (None, digest):
        raise InputError(
            "the study cannot be taken up: it is of other training rows",
            where="[train] study",
            fix="name another one",
        )
    return study
