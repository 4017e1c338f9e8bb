"""Predictions with a truth that is known: a model of two numbers, and what the world does to it."""

from __future__ import annotations

import numpy as np
import polars as pl

from roadworthy.contract import Column, Contract, Target
from roadworthy.monitor.feedback import Outcomes
from roadworthy.monitor.predictions import Floats, Predictions
from roadworthy.prepare.plan import Feature, FeaturePlan

START = 1_767_571_200.0  # Monday, 5 January 2026
DAY = 86400.0


def plan() -> FeaturePlan:
    return FeaturePlan(tuple(Feature(column=name, read="number") for name in ("a", "b")))


def contract(target: Target) -> Contract:
    columns = tuple(
        Column(
            name=name, kind="number", dtype="number", minimum=-4.0, maximum=4.0,
            quantiles=(-1.6, -0.7, 0.0, 0.7, 1.6),
        )
        for name in ("a", "b")
    )  # fmt: skip
    return Contract(target=target, columns=columns, rows=1000)


BINARY = Target(name="y", task="binary", classes=("no", "yes"))
THREE = Target(name="y", task="multiclass", classes=("red", "green", "blue"))
NUMBER = Target(name="y", task="regression", scale=2.0)
TASKS = {target.task: target for target in (BINARY, THREE, NUMBER)}
THREE_WEIGHTS = np.array([[1.2, 0.0, -0.8], [0.0, 1.0, -1.0]])


def outcomes(
    target: Target,
    rows: int,
    seed: int,
    *,
    shift: float = 0.0,
    turned: float = 0.0,
    overconfident: float = 1.0,
    days: float = 28.0,
    version: str = "v1",
) -> Outcomes:
    """Rows of a model that knows the truth.

    `shift` moves the inputs, `turned` turns the relation away from what the model knows,
    `overconfident` sharpens its probabilities.
    """
    random = np.random.default_rng(seed)
    inputs = random.normal(shift, 1.0, (rows, 2))
    known, true = inputs @ [1.5, -1.0], inputs @ [1.5 - turned, -1.0 - turned]
    if target.task == "regression":
        scores = known
        labels = true + random.normal(0.0, 1.0, rows) * (0.3 + np.abs(inputs[:, 0]))
    elif target.task == "binary":
        scores = np.column_stack(
            [1 - sigmoid(overconfident * known), sigmoid(overconfident * known)]
        )
        labels = (random.random(rows) < sigmoid(true)).astype(float)
    else:
        scores = softmax(inputs @ THREE_WEIGHTS * overconfident)
        sums = np.cumsum(softmax(inputs @ (THREE_WEIGHTS - turned * np.eye(2, 3))), axis=1)
        labels = (random.random(rows)[:, None] > sums[:, :-1]).sum(axis=1).astype(float)
    times = np.sort(START + random.random(rows) * days * DAY)
    keys = pl.DataFrame(
        {
            "request_id": [f"{seed}-{number}" for number in range(rows)],
            "row": np.zeros(rows, dtype=np.int64),
            "version": [version] * rows,
            "time": times,
        }
    )
    frame = pl.DataFrame({"a": inputs[:, 0], "b": inputs[:, 1]})
    predictions = Predictions(contract(target), keys, frame, scores)
    return Outcomes(predictions, labels, times + 3600.0)


def sigmoid(x: Floats) -> Floats:
    found: Floats = 1.0 / (1.0 + np.exp(-x))
    return found


def softmax(x: Floats) -> Floats:
    shares = np.exp(x - x.max(axis=1, keepdims=True))
    found: Floats = shares / shares.sum(axis=1, keepdims=True)
    return found
