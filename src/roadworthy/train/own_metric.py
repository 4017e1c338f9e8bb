"""A metric of the user's own, named by import path."""

from __future__ import annotations

import importlib
import inspect
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadworthy.errors import InputError
from roadworthy.table import Table
from roadworthy.train.scoring import Floats, Metric

_WHERE = "[train] metric"
_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_TRIAL_ROWS = 1000


def load_metric(path: str, training: Table) -> Metric:
    """Import the user's metric and try it.

    The callable is given the true values and the predicted ones. With `needs = "labels"` these
    are the class that is most probable, or a regression's number; with `needs = "probabilities"`
    they are `[N, K]`, one column a class in the order of the sorted classes. Classes are the
    user's own values. A parameter `sample_weight` gets the row weights, or None. It answers one
    finite number; its attribute `greater_is_better` says which way is up.

    Args:
        path: `package.module:function`; the module is also looked for in the current folder.
        training: The training rows; some are tried with made-up predictions.

    Returns:
        The metric; it raises InputError when the callable fails.

    Raises:
        InputError: It cannot be imported, lacks an attribute, or fails on the trial.
    """
    function = import_object(path, _WHERE)
    if not callable(function):
        raise InputError(f"{path!r} cannot be called", where=_WHERE, fix="name a function")
    better, needs = _attribute(function, path, "greater_is_better", (True, False)), "labels"
    if training.classes:
        needs = _attribute(function, path, "needs", ("labels", "probabilities"))
    weighted = _takes_weights(function)
    if training.weights is not None and not weighted:
        raise InputError(
            f"{path!r} takes no sample_weight, and [data] weight names a column",
            where=_WHERE,
            fix="give the function a parameter sample_weight, or leave weight out",
        )
    classes = np.array(training.classes) if training.classes else None

    def measure(y: Floats, scores: Floats, weights: Floats | None) -> float:
        truth, predicted = _as_user(classes, needs, y, scores)
        options = {"sample_weight": weights} if weighted else {}
        try:
            value = function(truth, predicted, **options)
        except Exception as error:  # whatever the user's code raises
            first_line = (str(error).splitlines() or [""])[0][:200]
            raise InputError(
                f"{path!r} failed: {type(error).__name__}: {first_line}",
                where=_WHERE,
                fix=f"it is called with arrays of the shapes {truth.shape} and {predicted.shape}",
            ) from None
        return _number(value, path)

    metric = Metric(path, bool(better), measure)
    metric(*_trial(training))
    return metric


def import_object(path: str, where: str) -> Any:
    """What an import path `package.module:name` names.

    Args:
        path: The import path; modules are also looked for in the current folder.
        where: The key that holds it, for messages.

    Raises:
        InputError: It is no import path, or importing it fails.
    """
    if not _PATH.fullmatch(path):
        raise InputError(
            f"{path!r} is no import path", where=where, fix="write package.module:function"
        )
    module, _, name = path.partition(":")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except Exception as error:  # whatever importing the user's code raises
        first_line = (str(error).splitlines() or [""])[0][:200]
        raise InputError(
            f"{path!r} cannot be imported: {type(error).__name__}: {first_line}",
            where=where,
            fix="install its package, or run in the folder that holds the module",
        ) from None
    finally:
        sys.path.remove(here)
    return found


def _attribute(function: Any, path: str, name: str, allowed: tuple[Any, ...]) -> Any:
    value = getattr(function, name, None)
    if not any(value is one or (isinstance(one, str) and value == one) for one in allowed):
        shown = " or ".join(repr(one) for one in allowed)
        raise InputError(
            f"{path!r} does not say {name}",
            where=_WHERE,
            fix=f"set the function's attribute {name} to {shown}",
        )
    return value


def _takes_weights(function: Callable[..., Any]) -> bool:
    try:
        return "sample_weight" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # some functions written in C do not tell
        return False


def _as_user(
    classes: NDArray[Any] | None, needs: str, y: Floats, scores: Floats
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Copies in the user's own values: whatever the function does to them stays there."""
    if classes is None:
        return y.copy(), scores.copy()
    truth = classes[y.astype(int)]
    return truth, classes[scores.argmax(axis=1)] if needs == "labels" else scores.copy()


def _number(value: Any, path: str) -> float:
    found = np.asarray(value)
    if found.ndim or found.dtype.kind not in "iuf":
        got = f"an array of shape {found.shape}" if found.ndim else type(value).__name__
        raise InputError(f"{path!r} answered {got}, not a number", where=_WHERE)
    if not math.isfinite(found):
        raise InputError(
            f"{path!r} answered {float(found)}",
            where=_WHERE,
            fix="answer a finite number, also where a part holds one class only",
        )
    return float(found)


def _trial(training: Table) -> tuple[Floats, Floats, Floats | None]:
    """Rows of every class with predictions that are mostly right."""
    random = np.random.default_rng(0)
    labels = training.labels
    rows = random.permutation(len(labels))[:_TRIAL_ROWS]
    rows = np.union1d(rows, np.unique(labels, return_index=True)[1][: len(training.classes)])
    y, count = labels[rows], len(training.classes)
    weights = None if training.weights is None else training.weights[rows]
    if not count:
        return y, y + 0.1 * random.normal(size=len(y)) * training.contract.target.scale, weights
    mostly = 0.8 * np.eye(count)[y.astype(int)] + 0.2 * random.dirichlet(np.ones(count), len(y))
    return y, mostly, weights
