"""The candidates: one file a family. To add one, write its file and name it here."""

from __future__ import annotations

import importlib.util

from roadworthy.errors import InputError
from roadworthy.train.candidates._base import (
    Between,
    Candidate,
    Config,
    Fitted,
    OneOf,
    Problem,
    Rows,
    Space,
)
from roadworthy.train.candidates.boosting import Boosting
from roadworthy.train.candidates.catboost import CatBoost
from roadworthy.train.candidates.forest import Forest
from roadworthy.train.candidates.hist import Hist
from roadworthy.train.candidates.linear import Linear
from roadworthy.train.candidates.own import Own
from roadworthy.train.candidates.xgboost import XGBoost

CANDIDATES: dict[str, Candidate] = {
    candidate.family: candidate
    for candidate in (Boosting(), Linear(), CatBoost(), XGBoost(), Forest(), Hist())
}
_EXTRAS = ("catboost", "xgboost")


def installed() -> dict[str, Candidate]:
    """The families whose libraries are installed, in the order that pays."""
    return {
        name: candidate
        for name, candidate in CANDIDATES.items()
        if name not in _EXTRAS or importlib.util.find_spec(name) is not None
    }


def find_candidates(wanted: str | tuple[str, ...]) -> list[Candidate]:
    """The candidates that `[train] candidates` names.

    Args:
        wanted: `auto` for all that are installed; else names, or import paths of the user's own.

    Raises:
        InputError: A name is unknown, its library is not installed, or an estimator of the
            user's cannot be served.
    """
    present = installed()
    names = tuple(present) if wanted in ("auto", ("auto",)) else wanted
    if isinstance(names, str):
        names = (names,)
    if not names:
        raise InputError(
            "no candidate is named",
            where="[train] candidates",
            fix=f"choose from {', '.join(CANDIDATES)}",
        )
    found: dict[str, Candidate] = {}
    for name in names:
        if name == "auto":
            found.update(present)
        elif ":" in name:
            found[name] = Own(name)
        elif name in present:
            found[name] = present[name]
        elif name in CANDIDATES:
            raise InputError(
                f"candidate {name!r} needs a library that is not installed",
                where="[train] candidates",
                fix="pip install 'roadworthy[boost]'",
            )
        else:
            raise InputError(
                f"unknown candidate {name!r}",
                where="[train] candidates",
                fix=f"choose from {', '.join(CANDIDATES)}, or package.module:name",
            )
    return list(found.values())


__all__ = [
    "CANDIDATES", "Between", "Candidate", "Config", "Fitted", "OneOf", "Problem", "Rows", "Space",
    "find_candidates", "installed",
]  # fmt: skip
