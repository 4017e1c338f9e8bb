"""The engine: plan and core, run on one row or on many, with nothing of training."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec
import numpy as np
import onnxruntime
from numpy.typing import ArrayLike, NDArray

from roadworthy.bundle.matrix_core import MatrixCore, compile_matrix_core
from roadworthy.bundle.scalar import ScalarCore, compile_core
from roadworthy.contract import Contract
from roadworthy.errors import InputError, Problem, RowsError
from roadworthy.prepare.plan import FeaturePlan
from roadworthy.prepare.rows import RowEncoder, compile_rows

INPUT, OUTPUT = "X", "scores"
_BATCH = 20_000
_MAX_PROBLEMS = 100
_PROBES = 64
_SIZES = (-1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 7.0, 40.0, 1e3, 1e6, 1e15)


class Engine:
    """Runs one bundle's core.

    `run_one` uses buffers of its own and is for one thread; `run_many` may be called from any.
    `run_bound` is the runtime's own way of one row, whether `run_one` is generated Python or it.

    Args:
        contract: The columns.
        plan: The vector.
        core: The core's ONNX bytes, already verified.
        absent: Whether an absent column is an error or a blank.

    Attributes:
        whole: Rows up to which a request need not be run in slices: a millisecond's work or a few.

    Raises:
        InputError: The core is not a graph that fits the plan.
    """

    whole = 512

    def __init__(
        self,
        contract: Contract,
        plan: FeaturePlan,
        core: bytes,
        absent: Literal["error", "blank"] = "error",
    ) -> None:
        self.contract = contract
        self.plan = plan
        self.classes = len(contract.target.classes)
        self.rows: RowEncoder = compile_rows(contract, plan, absent)
        self._session = _open(core)
        self._width = _check_shape(self._session, plan.width, self.classes)
        self._decode = msgspec.json.Decoder(self.rows.record).decode
        self.run_one = self._fastest(core)
        self._matrix_core = self._vectorised(core)
        if self._matrix_core is not None:
            self.whole *= 2  # it is several times as fast

    def decode(self, body: bytes) -> Any:
        """The record of one row of JSON; RowsError when it breaks the contract."""
        try:
            return self._decode(body)
        except msgspec.ValidationError:  # a column whose name the fast decoder cannot look for
            problems: list[Problem] = []
            values = self.contract.read_row(msgspec.json.decode(body), problems)
            if problems:
                raise RowsError(problems) from None
            return self.rows.record(*values)

    def _fastest(self, core: bytes) -> Callable[[Sequence[float]], list[float]]:
        """What runs one vector: Python generated from a small core, else the bound runtime."""
        bound = self.run_bound = self._bind()
        scalar = compile_core(core, INPUT, OUTPUT, self.plan.width)
        if scalar is None or not _agree(scalar, self._session, self.plan.width):
            return bound
        complement = self.classes == 2 and self._width == 1

        def run_one(values: Sequence[float]) -> list[float]:
            """Scores of one vector: a probability a class, or the one predicted number."""
            try:
                scores = scalar(values)
            except (ArithmeticError, ValueError, IndexError):
                return bound(values)
            return [1.0 - scores[0], scores[0]] if complement else scores

        return run_one

    def _vectorised(self, core: bytes) -> MatrixCore | None:
        """NumPy for many rows, where it knows the core and says what the runtime says."""
        run = compile_matrix_core(core, INPUT, OUTPUT)
        if run is None:
            return None

        def one(vector: Sequence[float]) -> list[float]:
            scores: list[float] = run(np.array([vector]))[0].tolist()
            return scores

        rows = _probe(self.contract, self.plan)
        try:
            wanted = self._session.run([OUTPUT], {INPUT: rows})[0]
            same = _is_close(run(rows), wanted)
        except Exception:  # ONNX Runtime raises a class of its own for every status
            return None
        return run if same and _agree(one, self._session, self.plan.width) else None

    def _bind(self) -> Callable[[Sequence[float]], list[float]]:
        vector = np.zeros((1, self.plan.width))
        answer = np.zeros((1, self._width))
        binding = self._session.io_binding()
        double = np.float64
        binding.bind_input(INPUT, "cpu", 0, double, vector.shape, vector.ctypes.data)
        binding.bind_output(OUTPUT, "cpu", 0, double, answer.shape, answer.ctypes.data)
        # The wrapper in onnxruntime's Python only adds checks of what cannot change here.
        run, bound = self._session._sess.run_with_iobinding, binding._iobinding
        pack = struct.Struct(f"{self.plan.width}d").pack_into
        row, out = vector.data.cast("B"), answer[0]
        complement = self.classes == 2 and self._width == 1

        def run_one(values: Sequence[float]) -> list[float]:
            """Scores of one vector: a probability a class, or the one predicted number."""
            pack(row, 0, *values)
            run(bound, None)
            scores: list[float] = out.tolist()
            return [1.0 - scores[0], scores[0]] if complement else scores

        return run_one

    def run_many(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores of many vectors.

        Args:
            matrix: `[N, plan.width]`, float64.

        Returns:
            Probabilities `[N, K]`, or predictions `[N]` for regression.
        """
        parts = [
            self._run_part(matrix[start : start + _BATCH])
            for start in range(0, len(matrix), _BATCH)
        ]
        scores = np.concatenate(parts) if parts else np.empty((0, self._width))
        if not self.classes:
            return scores[:, 0]
        if scores.shape[1] == 1:
            return np.hstack([1.0 - scores, scores])
        return scores

    def _run_part(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._matrix_core is not None:  # for few rows too: company must not change an answer
            try:
                return self._matrix_core(matrix)
            except (IndexError, ValueError):
                pass  # a look-up beyond its table: the runtime says what that is
        scores: NDArray[np.float64] = self._session.run([OUTPUT], {INPUT: matrix})[0]
        return scores


def check_finite(scores: NDArray[np.float64]) -> None:
    """Refuse rows to which a model has no finite answer.

    Args:
        scores: Probabilities `[N, K]` or predictions `[N]`.

    Raises:
        RowsError: With the number of each such row, a hundred at most.
    """
    finite = np.isfinite(scores)
    if finite.all():
        return
    rows = np.flatnonzero(~finite.reshape(len(scores), -1).all(axis=1))
    reason = "the model has no answer to this row"
    raise RowsError([Problem(reason, None, int(row)) for row in rows[:_MAX_PROBLEMS]])


def _open(core: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(core, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises a class of its own for every status
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"core.onnx cannot be loaded: {first_line[:300]}") from None


def _agree(scalar: ScalarCore, session: onnxruntime.InferenceSession, width: int) -> bool:
    """Whether generated Python and the runtime say the same of many sizes, and of blanks."""
    vectors = [np.full((1, width), size) for size in (*_SIZES, np.nan)]
    for first in (0, 1):  # every other number blank
        vectors.append(np.ones((1, width)))
        vectors[-1][:, first::2] = np.nan
    for vector in vectors:
        try:
            wanted = session.run([OUTPUT], {INPUT: vector})[0][0]
            found = scalar(vector[0].tolist())
        except Exception:  # a vector that no row can have; a row that fails asks the runtime
            continue
        if not _is_close(found, wanted):
            return False
    return True


def _is_close(found: ArrayLike, wanted: ArrayLike) -> bool:
    return np.allclose(found, wanted, rtol=1e-9, atol=1e-12, equal_nan=True)


def _probe(contract: Contract, plan: FeaturePlan) -> NDArray[np.float64]:
    """Some rows such as the plan makes: levels and codes it has, numbers within their range."""
    random = np.random.default_rng(0)
    ranges = {column.name: (column.minimum, column.maximum) for column in contract.columns}
    rows = np.empty((_PROBES, plan.width))
    for place, feature in enumerate(plan.features):
        low, high = ranges[feature.column]
        if feature.read == "category":
            known = [*feature.table().values(), feature.unseen]
        elif feature.read == "hash":
            known = [float(random.integers(feature.buckets)) for _ in range(_PROBES)]
        elif feature.read == "number" and low is not None and high is not None:
            share = random.random(_PROBES)
            known = [*(low * (1.0 - share) + high * share).tolist(), low, high]
        else:
            known = [0.0, 0.5, 1.0, 7.0, 30.0, 2000.0]
        rows[:, place] = random.choice([*known, feature.fill], _PROBES)
    return rows


def _check_shape(session: onnxruntime.InferenceSession, features: int, classes: int) -> int:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if [i.name for i in inputs] != [INPUT] or [o.name for o in outputs] != [OUTPUT]:
        raise InputError(f"core.onnx must take {INPUT!r} and give {OUTPUT!r}")
    width = outputs[0].shape[1]
    allowed = {classes or 1} | ({1} if classes == 2 else set())
    if inputs[0].shape[1] != features or width not in allowed:
        raise InputError(
            f"core.onnx is {inputs[0].shape[1]} features wide and gives {width} scores, the plan "
            f"has {features} features and the contract {classes} classes"
        )
    return int(width)
