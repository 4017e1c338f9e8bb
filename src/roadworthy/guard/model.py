"""A quick boosted model on a sample, cross-fitted: what the columns together can tell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_ROUNDS = 60


def cross_fit(matrix: Floats, target: Floats, classes: int, folds: Integers, seed: int) -> Floats:
    """Answers for every row by a model that did not see the row's fold.

    Args:
        matrix: Features `[N, F]`, NaN for blanks.
        target: Class of each row or a number of moderate size `[N]`.
        classes: How many classes; 0 for a regression.
        folds: Fold of each row `[N]`.
        seed: Seed of the models.

    Returns:
        Probabilities `[N, classes]`, or numbers `[N]`.
    """
    import lightgbm

    rows = len(target)
    answers = np.zeros((rows, classes) if classes else rows)
    options = {
        "objective": {0: "regression", 2: "binary"}.get(classes, "multiclass"),
        "num_class": classes if classes > 2 else 1,
        "num_leaves": 15,
        "min_data_in_leaf": int(np.clip(rows // 50, 3, 20)),
        "learning_rate": 0.1,
        "max_bin": 63,
        "seed": seed,
        "num_threads": 1,  # fits this small lose by sharing out work
        "deterministic": True,
        "force_col_wise": True,
        "verbosity": -1,
    }
    rounds = max(10, _ROUNDS // max(1, classes // 3))
    for fold in np.unique(folds):
        seen, held = folds != fold, folds == fold
        if not seen.any() or (classes and len(np.unique(target[seen])) < 2):
            answers[held] = 1 / classes if classes else 0.0
            continue
        data = lightgbm.Dataset(matrix[seen], target[seen], params={"verbosity": -1})
        made = np.asarray(lightgbm.train(options, data, rounds).predict(matrix[held]))
        answers[held] = np.column_stack([1 - made, made]) if classes == 2 else made
    return answers
