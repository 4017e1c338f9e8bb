"""Take a fitted scikit-learn pipeline apart: which columns it takes, and how it reads each.

What turns levels into numbers (encoders, imputers of texts) is not copied: it is asked once for
every level, a blank and an unseen level, and its answers become a table. What computes with
numbers is written as nodes by `core.steps`.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from roadworthy.cells import WHITE_SPACE, canonical_text
from roadworthy.errors import InputError

_ENCODERS = ("OneHotEncoder", "OrdinalEncoder", "TargetEncoder")


class Levels(NamedTuple):
    """A column that is read by its levels.

    Attributes:
        values: Level as the contract writes it -> the model's own value for it.
        blank: The model's own value for a blank, NaN or None.
        numeric: Whether the levels are numbers.
    """

    values: dict[str, Any]
    blank: Any
    numeric: bool


class Block(NamedTuple):
    """Columns that one transformer of a ColumnTransformer takes.

    Attributes:
        columns: Their positions among the model's columns.
        step: The fitted transformer; None hands the numbers on.
    """

    columns: tuple[int, ...]
    step: Any


class Apart(NamedTuple):
    """A pipeline in its parts.

    Attributes:
        model: The whole of it.
        names: The columns that it takes; None for a model that was fitted without names.
        width: How many they are.
        used: The positions of those that anything is done with.
        blocks: What its first step does with which columns, in the order of its output.
        steps: The transformers after that.
        estimator: The estimator behind them.
        levels: Position of a column that is read by its levels -> these.
    """

    model: Any
    names: tuple[str, ...] | None
    width: int
    used: tuple[int, ...]
    blocks: tuple[Block, ...]
    steps: tuple[Any, ...]
    estimator: Any
    levels: dict[int, Levels]


def take_apart(model: Any) -> Apart:
    """Take a fitted estimator, or a pipeline that ends in one, apart.

    Raises:
        InputError: It is no fitted estimator that predicts.
    """
    steps = _flat(model)
    estimator = steps.pop()
    if not hasattr(estimator, "predict"):
        raise InputError(
            f"{type(estimator).__name__} does not predict",
            fix="give a fitted scikit-learn estimator, or a Pipeline that ends in one",
        )
    first = steps[0] if steps else estimator
    names = _names(model, first)
    count = _count(first, names)
    if steps and isinstance(steps[0], ColumnTransformer):
        blocks, rest = _blocks(steps[0]), steps[1:]
    elif steps and _reads_levels(steps[0]):
        blocks, rest = (Block(tuple(range(count)), steps[0]),), steps[1:]
    else:
        blocks, rest = (Block(tuple(range(count)), None),), steps
    levels: dict[int, Levels] = {}
    for block in blocks:
        if _reads_levels(block.step):
            levels |= _levels(block)
    used = tuple(sorted({column for block in blocks for column in block.columns}))
    return Apart(model, names, count, used, blocks, tuple(rest), estimator, levels)


def _flat(model: Any) -> list[Any]:
    """The steps of a pipeline, those of pipelines in it too, without those that do nothing."""
    if not isinstance(model, Pipeline):
        return [model]
    found = [part for _, step in model.steps for part in _flat(step)]
    return [step for step in found if not does_nothing(step)]


def does_nothing(step: Any) -> bool:
    """Whether a step hands its columns on as they are."""
    if type(step).__name__ == "FunctionTransformer":
        return step.func is None
    return step is None or isinstance(step, str)


def _names(model: Any, first: Any) -> tuple[str, ...] | None:
    for each in (first, model):
        found = getattr(each, "feature_names_in_", None)
        if found is None:
            found = getattr(each, "feature_names_", None)  # CatBoost
        if found is not None and len(found):
            return tuple(str(name) for name in found)
    return None


def _count(first: Any, names: tuple[str, ...] | None) -> int:
    if names is not None:
        return len(names)
    try:
        return int(first.n_features_in_)
    except AttributeError:
        raise InputError(
            f"{type(first).__name__} does not say how many columns it takes: it is not fitted",
            fix="fit the model before it is packaged",
        ) from None


def _blocks(transformer: ColumnTransformer) -> tuple[Block, ...]:
    places = transformer._transformer_to_input_indices
    blocks = []
    for name, step, _ in transformer.transformers_:
        columns = tuple(int(place) for place in places[name])
        if not (isinstance(step, str) and step == "drop") and columns:
            blocks.append(Block(columns, None if does_nothing(step) else step))
    return tuple(blocks)


def _reads_levels(step: Any) -> bool:
    """Whether a transformer, or one of a pipeline of them, takes levels and not numbers."""
    for part in _flat(step):
        if type(part).__name__ in _ENCODERS:
            return True
        statistics = getattr(part, "statistics_", None)
        if statistics is not None and np.asarray(statistics).dtype.kind in "OUS":
            return True
    return False


def _levels(block: Block) -> dict[int, Levels]:
    """The levels of each column of a block."""
    known: list[list[Any]] = [[] for _ in block.columns]
    nones = False
    for part in _flat(block.step):
        nones = nones or getattr(part, "missing_values", np.nan) is None
        for place, categories in enumerate(getattr(part, "categories_", ())[: len(known)]):
            known[place] += list(categories)
        for place, fill in enumerate(getattr(part, "statistics_", ())[: len(known)]):
            known[place].append(fill)
        if hasattr(part, "categories_"):
            break
    return {
        column: _level_table(cells, nones, column)
        for column, cells in zip(block.columns, known, strict=True)
    }


def _level_table(cells: Sequence[Any], nones: bool, column: int) -> Levels:
    nones = nones or any(cell is None for cell in cells)
    found = [cell for cell in cells if cell is not None and cell == cell]
    numeric = bool(found) and not any(isinstance(cell, str) for cell in found)
    values: dict[str, Any] = {}
    for cell in found:
        if not numeric and not isinstance(cell, str):
            raise InputError(f"column {column} has levels that are texts and numbers")
        level = canonical_text(float(cell)) if numeric else str(cell).strip(WHITE_SPACE)
        if values.setdefault(level, cell) != cell:
            raise InputError(f"column {column}: two levels differ in white space only")
    return Levels(values, None if nones else np.nan, numeric)


def ask_levels(block: Block, levels: dict[int, Levels]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Ask a transformer of levels for every level of each of its columns.

    Args:
        block: The transformer and its columns.
        levels: The levels of each column.

    Returns:
        For each column the positions of its outputs, and their values for every level, a blank and
        an unseen level `[levels + 2, outputs]`; zeros for what the transformer refuses.

    Raises:
        InputError: An output depends on two columns.
    """
    base = [next(iter(levels[column].values.values()), "") for column in block.columns]
    tables: list[np.ndarray] = []
    for place, column in enumerate(block.columns):
        unseen = unseen_value(levels[column])
        cells = [*levels[column].values.values(), levels[column].blank, unseen]
        rows = [[*base[:place], cell, *base[place + 1 :]] for cell in cells]
        answers = [_transform(block.step, row, levels, block.columns) for row in rows]
        width = next(len(answer) for answer in answers if answer is not None)
        tables.append(np.array([np.zeros(width) if a is None else a for a in answers]))
        tables[-1][[a is None for a in answers]] = tables[-1][0]
    owners: dict[int, int] = {}
    for place, table in enumerate(tables):
        same = (table == table[:1]) | (np.isnan(table) & np.isnan(table[:1]))
        for output in np.flatnonzero(~same.all(axis=0)).tolist():
            if owners.setdefault(output, place) != place:
                raise InputError(f"{type(block.step).__name__}: an output depends on two columns")
    for output in range(tables[0].shape[1]):
        owners.setdefault(output, 0)  # the same for every level
    found = []
    for place, table in enumerate(tables):
        outputs = np.array([o for o in sorted(owners) if owners[o] == place], dtype=np.int64)
        found.append((outputs, table[:, outputs]))
    return found


def unseen_value(levels: Levels) -> Any:
    """A value that is none of a column's levels."""
    if levels.numeric:
        return 1.0 + max(abs(float(value)) for value in levels.values.values())
    unseen = "never seen"
    while unseen in levels.values:
        unseen += "!"
    return unseen


def _transform(
    step: Any, row: list[Any], levels: dict[int, Levels], columns: Sequence[int]
) -> np.ndarray | None:
    """What a transformer makes of one row; None when it refuses it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            numeric = all(levels[column].numeric for column in columns)
            cells: Any = np.array([row], dtype=np.float64 if numeric else object)
            names = getattr(_flat(step)[0], "feature_names_in_", None)
            if names is not None:
                import pandas

                cells = pandas.DataFrame(cells, columns=list(names))
            made = step.transform(cells)
    except (ValueError, TypeError):
        return None
    dense = made.toarray() if hasattr(made, "toarray") else made
    numbers: np.ndarray = np.asarray(dense, dtype=np.float64)[0]
    return numbers
