"""An ONNX model of others as an estimator of typed rows, asked by plain ONNX Runtime.

It takes one matrix, or an input for each column or group of columns; it answers probabilities (a
tensor, or ZipMap's mappings) with or without a label, or one number. Its way shares no code with
the core that is made of it: what it answers is what parity is proven against.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import polars as pl
from numpy.typing import NDArray
from onnx import TensorProto
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from roadworthy.bundle.foreign.onnx_file import OnnxFile
from roadworthy.contract import ClassValue

Floats = NDArray[np.float64]
WHOLE: dict[int, tuple[Any, float, float]] = {
    TensorProto.INT64: (np.int64, -(2.0**62), 2.0**62),
    TensorProto.INT32: (np.int32, -(2.0**31), 2.0**31 - 1),
}
"""Kinds of whole numbers -> type, and the range that a number is brought into first."""
NUMBERS: dict[int, Any] = {
    TensorProto.FLOAT: np.float32, TensorProto.DOUBLE: np.float64, TensorProto.FLOAT16: np.float16,
    TensorProto.BOOL: np.bool_,
}  # fmt: skip
FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)
_BATCH = 2000


class Input(NamedTuple):
    """One input of the graph.

    Attributes:
        name: Its name.
        kind: The type of its elements.
        columns: The positions of the columns that it takes.
        flat: Whether it is `[N]` and not `[N, columns]`.
    """

    name: str
    kind: int
    columns: tuple[int, ...]
    flat: bool


class Outputs(NamedTuple):
    """What of the graph's outputs is asked.

    Attributes:
        label: The output of classes; None where there is none.
        scores: The tensor of probabilities or predictions.
        mapped: The output that holds them as mappings (ZipMap), with its keys.
    """

    label: str | None
    scores: str
    mapped: tuple[str, tuple[ClassValue, ...]] | None = None


class Asked(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """What both kinds have in common.

    Args:
        file: The model.
        names: The columns, in the order of the inputs.
        inputs: The inputs.
        outputs: The outputs.
        classes: The classes, in the order of the probabilities.
    """

    sums_in_float32 = True

    def __init__(
        self,
        file: OnnxFile,
        names: tuple[str, ...],
        inputs: tuple[Input, ...],
        outputs: Outputs,
        classes: tuple[ClassValue, ...] = (),
    ) -> None:
        self.file = file
        self.names = names
        self.inputs = inputs
        self.outputs = outputs
        self.classes = classes
        self._session = open_session(file.content)

    def answers(self, rows: pl.DataFrame) -> tuple[Floats, NDArray[Any] | None]:
        """Scores `[N, K]` and labels `[N]` of rows as `OnnxRows` makes them.

        Raises:
            ValueError: A cell that the input's type cannot hold.
        """
        mapped, scores = self.outputs.mapped, self.outputs.scores
        asked = [mapped[0] if mapped else scores]
        asked += [self.outputs.label] if self.outputs.label else []
        parts = []
        for start in range(0, len(rows), _BATCH):
            part = self._session.run(asked, self._feed(rows[start : start + _BATCH]))
            if mapped:
                part[0] = np.array([[row[key] for key in mapped[1]] for row in part[0]])
            parts.append([np.asarray(each) for each in part])
        found = np.concatenate([part[0].reshape(len(part[0]), -1) for part in parts])
        labels = np.concatenate([part[1].reshape(-1) for part in parts]) if asked[1:] else None
        return found.astype(np.float64), labels

    def _feed(self, rows: pl.DataFrame) -> dict[str, Any]:
        feed: dict[str, Any] = {}
        for each in self.inputs:
            cells = [rows[self.names[column]].to_numpy() for column in each.columns]
            matrix = np.column_stack([as_kind(column, each.kind) for column in cells])
            feed[each.name] = matrix[:, 0] if each.flat else matrix
        return feed


class OnnxClassifier(ClassifierMixin, Asked):  # type: ignore[misc]
    """An ONNX model that gives probabilities."""

    @property
    def classes_(self) -> NDArray[Any]:
        """The classes in the order of the probabilities."""
        return np.array(self.classes)

    def predict_proba(self, rows: pl.DataFrame) -> Floats:
        """Probabilities `[N, K]`."""
        scores, _ = self.answers(rows)
        return np.hstack([1.0 - scores, scores]) if scores.shape[1] == 1 else scores

    def predict(self, rows: pl.DataFrame) -> NDArray[Any]:
        """The graph's own labels `[N]`, or the most probable class where it gives none."""
        _, labels = self.answers(rows)
        if labels is not None:
            return labels
        best: NDArray[Any] = self.classes_[self.predict_proba(rows).argmax(axis=1)]
        return best


class OnnxRegressor(RegressorMixin, Asked):  # type: ignore[misc]
    """An ONNX model that gives one number."""

    def predict(self, rows: pl.DataFrame) -> Floats:
        """The number predicted for each row `[N]`."""
        return self.answers(rows)[0][:, 0]


class OnnxRows(NamedTuple):
    """Makes of typed rows those that the model takes.

    Attributes:
        names: The columns, in the order of the inputs.
        levels: Column of texts -> level as the contract writes it -> the graph's own text.
    """

    names: tuple[str, ...]
    levels: Mapping[str, Mapping[str, str]]

    def transform(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows: float64 with NaN for a blank, texts with an empty one."""
        made = []
        for name in self.names:
            if name in self.levels:
                texts = pl.col(name).cast(pl.String).replace(dict(self.levels[name]))
                made.append(texts.fill_null(""))
            else:
                made.append(pl.col(name).cast(pl.Float64).fill_null(float("nan")))
        return frame.select(made)


def open_session(content: bytes) -> onnxruntime.InferenceSession:
    """The file in plain ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def as_kind(cells: NDArray[Any], kind: int) -> NDArray[Any]:
    """A column's cells as an input's elements; ValueError for a blank that its type has not."""
    if kind == TensorProto.STRING:
        return cells.astype(object)
    if kind not in FLOATS and np.isnan(cells).any():
        raise ValueError("a whole number or a truth cannot be blank")
    with np.errstate(over="ignore"):
        if kind in WHOLE:
            dtype, low, high = WHOLE[kind]
            cells = np.clip(cells, low, high)
        else:
            dtype = NUMBERS[kind]
        made: NDArray[Any] = cells.astype(dtype)
    return made
