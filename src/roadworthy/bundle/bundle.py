"""A Bundle: a verified model on disk that predicts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from roadworthy.bundle.answers import answer
from roadworthy.bundle.manifest import CORE, Manifest, verify
from roadworthy.contract import Contract
from roadworthy.errors import CheckFailed, InputError, OutsideError, Problem, RowsError
from roadworthy.observe.reference import FILE_NAME, Reference, read_reference
from roadworthy.prepare.plan import FeaturePlan

if TYPE_CHECKING:
    from roadworthy.bundle.engine import Engine

_MAX_PROBLEMS = 100
_GOLDEN = 1e-6


class Golden(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row with the answer that the model must give."""

    row: dict[str, Any]
    expected: dict[str, Any]


class Bundle:
    """A bundle, opened and verified.

    Args:
        path: Its folder, its `.rwb` file, or a sealed `.rwb` (see `sealing` for the keys).
        absent: Whether a column absent from a row is an error or a blank.
        trusted_keys: Public keys, one of which must have signed it: PEM files, `env:NAME` or PEM
            texts. None at all: signatures are not looked at.
        allow_pickle: Whether a bundle without a core may be asked through its pickle or joblib
            file, whose code then runs; see `estimator`.
        trusted_types: Types that its skops file may hold besides those known to be harmless.

    Attributes:
        path: Where it is.
        manifest: What it is.
        contract: The columns it takes.
        plan: How a row becomes a vector.

    Raises:
        InputError: There is no bundle, or no key at hand opens a sealed one.
        CheckFailed: A file is missing or changed, or no trusted key signed it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        absent: Literal["error", "blank"] = "error",
        trusted_keys: Sequence[str] = (),
        allow_pickle: bool = False,
        trusted_types: Sequence[str] = (),
    ) -> None:
        self.path = Path(path)
        self.absent = absent
        self.allow_pickle = allow_pickle
        self.trusted_types = tuple(trusted_types)
        self.trusted_keys = tuple(trusted_keys)
        self.manifest: Manifest
        self.manifest, self._contents = verify(self.path, trusted_keys=trusted_keys)
        self.contract = self._decode("contract.json", Contract)
        self.plan = self._decode("plan.json", FeaturePlan)

    def __repr__(self) -> str:
        return f"Bundle({self.manifest.name}:{self.manifest.short_version})"

    @property
    def version(self) -> str:
        """The content digest."""
        return self.manifest.version

    @cached_property
    def engine(self) -> Engine:
        """Plan and core, loaded; only now comes the model runtime.

        Raises:
            InputError: There is no core, and opening the estimator in its place was not allowed.
            CheckFailed: As `estimator`.
        """
        if not self.has_core:
            return self._runtime()
        from roadworthy.bundle.engine import Engine

        return Engine(self.contract, self.plan, self.core, self.absent)

    @property
    def has_core(self) -> bool:
        """Whether there is a core; scikit-learn serves the bundle where there is none."""
        return CORE in self.manifest.files

    @property
    def core(self) -> bytes:
        """The core's ONNX graph, verified; InputError where there is none."""
        if not self.has_core:
            raise InputError(
                "the bundle has no core: only scikit-learn itself can run its model",
                where=str(self.path),
                fix="serve it with roadworthy serve, or train an estimator of docs/formats.md",
            )
        return self._contents[CORE]

    def _runtime(self) -> Engine:
        try:
            from roadworthy.bundle.formats import EXTRA  # what trained it, which a server has not
            from roadworthy.bundle.runtime import RuntimeEngine, asker
        except ModuleNotFoundError as error:
            raise OutsideError(
                f"the bundle has no core, and scikit-learn's runtime needs {error.name!r}",
                where=str(self.path),
                fix="install the bundle's requirements-train.txt beside the server",
            ) from None
        there = [form for form in EXTRA.values() if form.file in self.manifest.files]
        if not there:
            raise CheckFailed("the bundle has no core and no estimator", where=str(self.path))
        form = min(there, key=lambda each: each.runs_code)
        estimator = self.estimator(
            form.name, allow_pickle=self.allow_pickle, trusted_types=self.trusted_types
        )
        return RuntimeEngine(self.contract, self.plan, asker(estimator), self.absent)

    @cached_property
    def golden(self) -> tuple[Golden, ...]:
        """Rows with expected answers."""
        lines = self._contents["golden.jsonl"].splitlines()
        return tuple(msgspec.json.decode(line, type=Golden) for line in lines)

    @cached_property
    def reference(self) -> Reference | None:
        """What the training table looked like, in counts; None in bundles that have none yet."""
        if FILE_NAME not in self._contents:
            return None
        try:
            return read_reference(self._contents[FILE_NAME])
        except (msgspec.DecodeError, ValueError) as error:
            raise CheckFailed(f"{FILE_NAME} is damaged: {error}", where=str(self.path)) from None

    @property
    def report(self) -> dict[str, Any]:
        """The report of the tests, as plain data."""
        report: dict[str, Any] = msgspec.json.decode(self._contents["report.json"])
        return report

    @property
    def parity(self) -> dict[str, Any]:
        """The evidence of parity, as plain data."""
        parity: dict[str, Any] = msgspec.json.decode(self._contents["parity.json"])
        return parity

    def contents(self) -> dict[str, bytes]:
        """The verified content of each file, without those that are never opened (`model.*`)."""
        return dict(self._contents)

    def predict(self, rows: Any) -> Any:
        """Predict rows.

        Args:
            rows: One mapping, a list of mappings, a CSV or Parquet file's path, or a data frame
                (pandas, Polars, Arrow).

        Returns:
            For a mapping one answer (`prediction`, `probabilities` by class name, and the
            `interval` of a regression that has one); for a list a list of answers; for a file or
            frame a Polars frame with `prediction`, one `probability_NAME` a class, and `low` and
            `high` of an interval.

        Raises:
            RowsError: Rows break the contract; the message names row and column.
        """
        if isinstance(rows, Mapping):
            return self._predict_rows([rows])[0]
        if isinstance(rows, Sequence) and not isinstance(rows, (str, bytes)):
            return self._predict_rows(rows)
        from roadworthy.bundle.frames import predict_frame  # Polars, which a server has not

        return predict_frame(self, rows)

    def scores(self, rows: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
        """Probabilities `[N, K]` or predictions `[N]` of rows; raises as `predict`."""
        problems: list[Problem] = []
        encoder = self.engine.rows
        matrix = np.zeros((len(rows), self.plan.width))
        for number, row in enumerate(rows):
            if not isinstance(row, Mapping):
                problems.append(Problem("a row must be a mapping of column: value", None, number))
                continue
            row = {str(name): cell for name, cell in row.items()}  # pandas may number its columns
            values = self.contract.read_row(row, problems, number=number, absent=self.absent)
            if len(problems) >= _MAX_PROBLEMS:
                break
            if not problems:
                matrix[number] = encoder.encode(encoder.record(*values))[0]
        if problems:
            raise RowsError(problems)
        return self.engine.run_many(matrix)

    def _predict_rows(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        if not rows:
            return []
        scores = self.scores(rows).reshape(len(rows), -1)
        return [answer(self.contract.target, row) for row in scores.tolist()]

    def estimator(
        self,
        name: str = "joblib",
        *,
        allow_pickle: bool = False,
        trusted_types: Sequence[str] = (),
    ) -> Any:
        """Open one of the further formats: the whole model as a scikit-learn estimator of raw rows.

        A pickle or joblib file runs whatever is in it. It is opened only when the caller says so
        and a trusted key has signed the bundle, which then is verified once more.

        Args:
            name: `joblib`, `pickle` or `skops`.
            allow_pickle: Whether code in the file may run.
            trusted_types: Types that a skops file may hold besides those known to be harmless, from
                `[package] trusted_types`; never from the bundle.

        Returns:
            An estimator with `predict`, and for classes `predict_proba` and `classes_`.

        Raises:
            InputError: The bundle has no such format, or opening it was not allowed.
            CheckFailed: Nobody's signature was asked for, or the file is damaged.
        """
        from roadworthy.bundle.formats import EXTRA  # what trained it, which a server has not

        form = EXTRA.get(name)
        if form is None or form.file not in self.manifest.files:
            there = [each.name for each in EXTRA.values() if each.file in self.manifest.files]
            raise InputError(
                f"the bundle has no format {name!r}",
                where=str(self.path),
                fix=f"it has {', '.join(there) or 'onnx only'}; [package] formats adds others",
            )
        if form.runs_code and not allow_pickle:
            raise InputError(
                f"opening {form.file} runs the code that is in it",
                where=str(self.path),
                fix="predict with the bundle itself, or say allow_pickle=True"
                if self.has_core
                else "[serve] allow_pickle = true, when you trust who made it",
            )
        if form.runs_code and not self.trusted_keys:
            raise CheckFailed(
                f"{form.file} is opened only from a bundle that a trusted key has signed",
                where=str(self.path),
                fix="sign it and open it with trusted_keys=[…]",
            )
        manifest, contents = verify(self.path, trusted_keys=self.trusted_keys, keep={form.file})
        if manifest.version != self.version:
            raise CheckFailed("the bundle was changed since it was opened", where=str(self.path))
        return form.read(contents[form.file], trusted_types)

    def check_golden(self) -> None:
        """Predict the golden rows and compare; raises as `check_answers`."""
        self.check_answers(self.predict([golden.row for golden in self.golden]))

    def check_answers(self, answers: Sequence[dict[str, Any]]) -> None:
        """Compare answers to the golden rows with the expected ones.

        Raises:
            CheckFailed: An answer is another than it was when the bundle was made.
        """
        for number, (golden, given) in enumerate(zip(self.golden, answers, strict=True)):
            if not same_answer(given, golden.expected, self.contract.target.scale):
                raise CheckFailed(
                    f"golden row {number} is answered differently than when the bundle was made",
                    where=str(self.path),
                    fix="the bundle or its runtime is not what was tested: do not serve it",
                )

    def _decode(self, name: str, kind: type[Any]) -> Any:
        try:
            return msgspec.json.decode(self._contents[name], type=kind)
        except KeyError:
            raise CheckFailed(f"the bundle has no {name}", where=str(self.path)) from None
        except msgspec.DecodeError as error:
            raise CheckFailed(f"{name} is damaged: {error}", where=str(self.path)) from None


def same_answer(given: dict[str, Any], expected: dict[str, Any], scale: float) -> bool:
    """Whether two answers are the same: the class exactly, numbers within a millionth.

    Args:
        given: An answer.
        expected: What it should be.
        scale: What differences of a regression are measured by, where predictions are smaller.
    """
    wanted, found = expected["prediction"], given["prediction"]
    if "probabilities" not in expected:
        pairs = [(wanted, found)]
        if ("interval" in expected) != ("interval" in given):
            return False
        pairs += zip(expected.get("interval", ()), given.get("interval", ()), strict=True)
        return all(abs(a - b) <= _GOLDEN * max(scale, abs(a)) for a, b in pairs)
    shares = expected["probabilities"].items()
    close = all(abs(given["probabilities"][name] - value) <= _GOLDEN for name, value in shares)
    return bool(found == wanted and close)


def load(
    path: str | os.PathLike[str],
    *,
    trusted_keys: Sequence[str] = (),
    allow_pickle: bool = False,
    trusted_types: Sequence[str] = (),
) -> Bundle:
    """Open and verify a bundle; see `Bundle`."""
    return Bundle(
        path, trusted_keys=trusted_keys, allow_pickle=allow_pickle, trusted_types=trusted_types
    )
