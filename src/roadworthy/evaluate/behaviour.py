"""Behavioural tests: what must hold of a model's answers whatever its metrics are.

The rows are real ones, changed in ways that the contract or the project file gives a meaning to
(Ribeiro et al. 2020, CheckList: invariance and directional expectation tests). Each failure
carries the rows that show it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.contract import Column, Contract
from roadworthy.errors import InputError, RoadworthyError, RowsError
from roadworthy.evaluate.changes import constant, grid, others, small_step
from roadworthy.evaluate.resample import Floats
from roadworthy.evaluate.scored import Predict, sample_rows
from roadworthy.project import BehaviourSection

_SHOWN = 3
_SAME = 1e-9
"""How far two answers to the same row may lie apart: rounding of batches of another size."""
_SLACK = 1e-6

_MOST_COLUMNS = 100


class Example(msgspec.Struct, frozen=True):
    """Rows that show a failure: the row, what was changed in it, and what was answered."""

    row: dict[str, Any]
    change: dict[str, Any]
    before: Any
    after: Any


class Behaviour(msgspec.Struct, frozen=True, kw_only=True):
    """One behavioural test.

    Attributes:
        name: What was tested, in a word or two.
        expectation: What must hold.
        rows: Rows, or changes of rows, that it was tested on.
        failures: How many did not hold.
        examples: Some of them.
        note: Why nothing could be tested, or what was found beyond pass and fail.
    """

    name: str
    expectation: str
    rows: int
    failures: int
    examples: tuple[Example, ...] = ()
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether it held everywhere."""
        return self.failures == 0


def check_behaviour(
    frame: pl.DataFrame, contract: Contract, predict: Predict, rules: BehaviourSection, seed: int
) -> tuple[Behaviour, ...]:
    """Run every behavioural test that the contract and the project file give.

    Args:
        frame: Typed real rows, columns as the contract's.
        contract: The columns and the target.
        predict: The model.
        rules: `[behaviour]`.
        seed: Seed of the choice of rows and changes.

    Raises:
        InputError: A rule names a column or a class that is not there.
    """
    check_rules(contract, rules)
    numbers = [column.name for column in contract.columns if column.kind == "number"]
    frame = frame.select(contract.names).with_columns(pl.col(n).cast(pl.Float64) for n in numbers)
    frame = frame[sample_rows(frame.height, rules.rows, seed)]
    if not frame.height:
        return ()
    trial = _Trial(frame, contract, predict, rules, np.random.default_rng(seed))
    checks: dict[str, Callable[[], Behaviour]] = {
        "row order": trial.row_order,
        "one row or many": trial.single,
        "blanks": trial.blanks,
        "extremes": trial.extremes,
        "unseen levels": trial.unseen,
        "small changes": trial.small,
    }
    for name, direction in rules.monotone.items():
        checks[f"{name} {direction}"] = functools.partial(trial.monotone, name, direction)
    for name in rules.invariant:
        checks[f"{name} swapped"] = functools.partial(trial.invariant, name)
    return tuple(_run(name, check) for name, check in checks.items() if name not in rules.skip)


def check_rules(contract: Contract, rules: BehaviourSection) -> None:
    """Refuse rules about columns, levels or classes that the model does not have.

    Raises:
        InputError: With the nearest name.
    """
    from roadworthy.evaluate.names import check_name

    kinds = {column.name: column.kind for column in contract.columns}
    for name in (*rules.monotone, *rules.invariant):
        check_name(name, kinds, "column", "[behaviour]")
    for name in rules.monotone:
        if kinds[name] not in ("number", "date"):
            raise InputError(
                f"column {name!r} is a {kinds[name]}: only numbers and dates have a direction",
                where="[behaviour] monotone",
                fix="name it in invariant, or take it out",
            )
    if rules.monotone_class is not None:
        check_name(
            rules.monotone_class, contract.target.class_names, "class", "[behaviour] monotone_class"
        )
    elif rules.monotone and contract.target.task == "multiclass":
        raise InputError(
            "with more than two classes a direction needs to be of one class",
            where="[behaviour] monotone",
            fix=f"monotone_class = {contract.target.class_names[0]!r}, or another class",
        )


def _run(name: str, check: Callable[[], Behaviour]) -> Behaviour:
    try:
        return check()
    except RowsError as error:
        first = str(error.problems[0]) if error.problems else error.what
        reason = f"the rows were refused: {first}"
    except RoadworthyError as error:
        reason = error.what
    return Behaviour(
        name=name,
        expectation="every row that the contract takes is answered",
        rows=1,
        failures=1,
        note=reason,
    )


@dataclasses.dataclass
class _Trial:
    frame: pl.DataFrame
    contract: Contract
    predict: Predict
    rules: BehaviourSection
    random: np.random.Generator

    def __post_init__(self) -> None:
        self.base = self._ask(self.frame)

    def _ask(self, frame: pl.DataFrame) -> Floats:
        scores = self.predict(frame)
        return scores.reshape(len(scores), -1)

    @property
    def unit(self) -> float:
        """What differences are measured in: 1 for probabilities, else the target's spread."""
        return self.contract.target.scale if self.contract.target.task == "regression" else 1.0

    def row_order(self) -> Behaviour:
        order = self.random.permutation(self.frame.height)
        again = np.empty_like(self.base)
        again[order] = self._ask(self.frame[order])
        return self._same(
            "row order", "the order of the rows changes no answer", self.base, again, self.frame
        )

    def single(self) -> Behaviour:
        some = self.frame.head(min(12, self.frame.height))
        alone = np.vstack([self._ask(some[row]) for row in range(some.height)])
        name, expectation = "one row or many", "a row alone is answered as in a batch"
        return self._same(name, expectation, self.base[: some.height], alone, some)

    def blanks(self) -> Behaviour:
        """Every column blank in turn, then all at once."""
        free = [column for column in self._some_columns() if column.on_blank == "impute"]
        some = self.frame.head(5)
        frames = [some.with_columns(constant(some, column, None)) for column in free]
        if free:
            frames.append(some.with_columns([constant(some, column, None) for column in free]))
        return self._defined("blanks", "a blank cell gets a finite answer", frames)

    def _some_columns(self) -> list[Column]:
        """All columns, or as many as are asked for one by one in a wide table, evenly spread."""
        columns = self.contract.columns
        places = np.linspace(0, len(columns) - 1, min(len(columns), _MOST_COLUMNS)).astype(int)
        return [columns[place] for place in places]

    def extremes(self) -> Behaviour:
        """Numbers far outside the training range."""
        some, frames = self.frame.head(3), []
        for column in self._some_columns():
            if column.kind == "number":
                low, high = column.minimum or 0.0, column.maximum or 0.0
                span = max(high - low, 1.0)
                values = (low, high, low - 10 * span, high + 10 * span, 0.0, -1e15, 1e15)
                frames += [
                    some.with_columns(constant(some, column, value))
                    for value in values
                    if np.isfinite(value)
                ]
        return self._defined("extremes", "a number out of range gets a finite answer", frames)

    def unseen(self) -> Behaviour:
        some, frames = self.frame.head(5), []
        for column in self._some_columns():
            if column.kind == "category" and column.on_unseen == "warn":
                level = "never seen before" if column.dtype == "string" else "987654321"
                frames.append(some.with_columns(constant(some, column, level)))
        return self._defined("unseen levels", "an unknown level gets a finite answer", frames)

    def small(self) -> Behaviour:
        """All numbers moved by a thousandth of their spread, whole numbers by whole ones."""
        columns = []
        for column in self.contract.columns:
            step = small_step(column)
            if step > 0:
                moved = pl.Series(self.random.choice([-step, step], self.frame.height))
                columns.append((self.frame[column.name] + moved).alias(column.name))
        name = "small changes"
        limit = self.rules.max_jump
        expectation = (
            f"numbers moved by 0.1 % of their spread move at least 95 % of the answers by at "
            f"most {limit:g}" + (" standard deviations" if self.unit != 1.0 else "")
        )
        if not columns:
            return Behaviour(name=name, expectation=expectation, rows=0, failures=0)
        changed = self.frame.with_columns(columns)
        after = self._ask(changed)
        jump = np.abs(after - self.base).max(axis=1) / self.unit
        found = self._failures(name, expectation, jump > limit, changed, after)
        # trees answer in steps: a row that lies on one jumps, and a few rows always do
        allowed = 0.05 * self.frame.height
        if found.failures <= allowed:
            note = f"{found.failures} of {found.rows} rows moved by more" if found.failures else ""
            return msgspec.structs.replace(found, failures=0, examples=(), note=note)
        return found

    def monotone(self, name: str, direction: str) -> Behaviour:
        """A grid over the column's range, all else equal: the answer never goes the other way."""
        column = next(entry for entry in self.contract.columns if entry.name == name)
        some = self.frame.head(min(100, self.frame.height))
        values = grid(column, some[name])
        stacked = [some.with_columns(constant(some, column, value)) for value in values]
        scores = np.split(self._ask(pl.concat(stacked)), len(values))
        place = self._place()
        curves = np.stack([part[:, place] for part in scores])
        sign = 1.0 if direction == "up" else -1.0
        steps = sign * np.diff(curves, axis=0) / self.unit
        wrong = steps < -_SLACK
        examples = []
        for row in np.flatnonzero(wrong.any(axis=0))[:_SHOWN]:
            step = int(steps[:, row].argmin())
            examples.append(
                Example(
                    _row(some, int(row)),
                    {name: [_plain(values[step]), _plain(values[step + 1])]},
                    float(curves[step, row]),
                    float(curves[step + 1, row]),
                )
            )
        what = "the prediction" if self.unit != 1.0 or not self.contract.target.classes else (
            f"the probability of {self.contract.target.class_names[place]!r}"
        )  # fmt: skip
        return Behaviour(
            name=f"{name} {direction}",
            expectation=f"more {name} never moves {what} {'down' if direction == 'up' else 'up'}",
            rows=some.height,
            failures=int(wrong.any(axis=0).sum()),
            examples=tuple(examples),
        )

    def invariant(self, name: str) -> Behaviour:
        """The column's cells swapped for others that it may hold; the answer stays."""
        column = next(entry for entry in self.contract.columns if entry.name == name)
        swaps = others(column, self.frame[name])
        limit = self.rules.invariant_tolerance
        worst = np.zeros(self.frame.height)
        after, changed = self.base, self.frame
        for value in swaps:
            swapped = self.frame.with_columns(constant(self.frame, column, value))
            scores = self._ask(swapped)
            moved = np.abs(scores - self.base).max(axis=1) / self.unit
            further = moved > worst
            worst = np.where(further, moved, worst)
            after = np.where(further[:, None], scores, after)
            rows = pl.Series(further)
            changed = changed.with_columns(
                pl.when(rows).then(swapped[name]).otherwise(changed[name]).alias(name)
            )
        expectation = f"another {name} moves an answer by at most {limit:g}"
        return self._failures(
            f"{name} swapped", expectation, worst > limit + _SAME, changed, after,
            note=f"largest move {worst.max():.3g}",
        )  # fmt: skip

    def _place(self) -> int:
        target = self.contract.target
        if target.task == "regression":
            return 0
        if self.rules.monotone_class is not None:
            return target.class_names.index(self.rules.monotone_class)
        return target.positive_code

    def _same(
        self, name: str, expectation: str, before: Floats, after: Floats, frame: pl.DataFrame
    ) -> Behaviour:
        apart = np.abs(after - before).max(axis=1) > _SAME * np.maximum(
            self.unit, np.abs(before).max(axis=1)
        )
        return self._failures(name, expectation, apart, frame, after)

    def _defined(self, name: str, expectation: str, frames: Sequence[pl.DataFrame]) -> Behaviour:
        if not frames:
            return Behaviour(name=name, expectation=expectation, rows=0, failures=0)
        stacked = pl.concat(list(frames))
        scores = self._ask(stacked)
        good = np.isfinite(scores).all(axis=1)
        if self.contract.target.classes:
            good &= (scores >= -_SAME).all(axis=1) & (np.abs(scores.sum(axis=1) - 1) < 1e-6)
        bad = np.flatnonzero(~good)
        examples = tuple(
            Example(_row(stacked, int(row)), {}, None, [str(s) for s in scores[row]])
            for row in bad[:_SHOWN]
        )
        return Behaviour(
            name=name,
            expectation=expectation,
            rows=stacked.height,
            failures=len(bad),
            examples=examples,
        )

    def _failures(
        self,
        name: str,
        expectation: str,
        failed: NDArray[np.bool_],
        frame: pl.DataFrame,
        after: Floats,
        note: str = "",
    ) -> Behaviour:
        examples = []
        for row in np.flatnonzero(failed)[:_SHOWN]:
            number = int(row)
            old, new = _row(self.frame, number), _row(frame, number)
            change = {key: value for key, value in new.items() if value != old[key]}
            examples.append(
                Example(old, change, self._answer(self.base[row]), self._answer(after[row]))
            )
        return Behaviour(
            name=name,
            expectation=expectation,
            rows=len(failed),
            failures=int(failed.sum()),
            examples=tuple(examples),
            note=note,
        )

    def _answer(self, scores: Floats) -> Any:
        target = self.contract.target
        if target.task == "regression":
            return float(scores[0])
        code = int(target.predicted_codes(scores[None, :])[0])
        return {target.class_names[code]: float(scores[code])}


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value


def _row(frame: pl.DataFrame, number: int) -> dict[str, Any]:
    return {name: _plain(cell) for name, cell in frame.row(number, named=True).items()}
