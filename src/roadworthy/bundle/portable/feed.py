"""Rows as the portable graph takes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import polars as pl
from numpy.typing import NDArray

from roadworthy.bundle.portable import output_names
from roadworthy.bundle.portable.cells import has_numbers
from roadworthy.contract import Contract
from roadworthy.prepare.reference import reference_frame

_BATCH = 2000


def portable_feed(raw: pl.DataFrame, typed: pl.DataFrame, contract: Contract) -> dict[str, Any]:
    """The graph's inputs, each `[N, 1]`.

    Args:
        raw: Rows whose texts are as they came.
        typed: The same rows as the contract reads them.
        contract: The columns.
    """
    numbers = reference_frame(typed, contract)
    feed: dict[str, Any] = {}
    for column in contract.columns:
        if has_numbers(column):
            cells = numbers[column.name].cast(pl.Float64).to_numpy()
        else:
            cells = raw[column.name].fill_null("").to_numpy().astype(object)
        feed[column.name] = np.asarray(cells).reshape(-1, 1)
    return feed


def portable_scores(
    content: bytes, raw: pl.DataFrame, typed: pl.DataFrame, contract: Contract
) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """What the graph answers, asked by nothing but ONNX Runtime.

    Args:
        content: The graph.
        raw: As for `portable_feed`.
        typed: As for `portable_feed`.
        contract: As for `portable_feed`.

    Returns:
        Probabilities `[N, K]` or predictions `[N]`, and the predictions `[N]`.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = output_names(contract)
    asked = [names.get("probabilities", names["prediction"]), names["prediction"]]
    feed = portable_feed(raw, typed, contract)
    parts = [
        session.run(asked, {name: cells[start : start + _BATCH] for name, cells in feed.items()})
        for start in range(0, raw.height, _BATCH)
    ]
    scores, predictions = (np.concatenate(each) for each in zip(*parts, strict=True))
    return scores, predictions
