"""Take a fitted scikit-learn pipeline apart: which columns it takes, and how it reads each.

What turns levels into numbers (encoders, imputers of texts) is not copied: it is asked once for
every level, a blank and an unseen level, and its answers become a table. What computes with
numbers is written as nodes by `core.steps`.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion, Pipeline

from roadworthy.bundle.foreign.ensembles import members_of
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
        weight: What its output is multiplied by.
    """

    columns: tuple[int, ...]
    step: Any
    weight: float = 1.0


class Apart(NamedTuple):
    """A pipeline in its parts.

    Attributes:
        model: The whole of it.
        names: The columns that it takes; None for a model that was fitted without names.
        width: How many they are.
        used: The positions of those that anything is done with.
        blocks: What its first step does with which columns, in the order of its output; none
            where the members of an ensemble each do it in their own way.
        steps: The transformers after that.
        estimator: The estimator behind them.
        levels: Position of a column that is read by its levels -> these.
        coded: As `levels`, of columns that are read as numbers too: the graph looks for the level.
        numbers: Positions of the columns that are read as numbers.
    """

    model: Any
    names: tuple[str, ...] | None
    width: int
    used: tuple[int, ...]
    blocks: tuple[Block, ...]
    steps: tuple[Any, ...]
    estimator: Any
    levels: dict[int, Levels]
    coded: dict[int, Levels]
    numbers: frozenset[int]

    def with_numbers(self, columns: Collection[int]) -> Apart:
        """The same where some columns of levels, all of them numbers, are read as numbers."""
        coded = {column: each for column, each in self.levels.items() if column in columns}
        levels = {column: each for column, each in self.levels.items() if column not in columns}
        return self._replace(levels=levels, coded=self.coded | coded)


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
    _check_categories(estimator)
    coder = getattr(estimator, "_preprocessor", None)
    if coder is not None:  # HistGradientBoosting codes its categories by itself
        steps.append(coder)
    first = steps[0] if steps else estimator
    names = _names(model, first)
    count = _count(first, names)
    members = [] if steps else members_of(estimator)
    if any(_prepares(member) for member in members):
        return _together_apart(model, estimator, names, count, members)
    every = tuple(range(count))
    if steps and isinstance(steps[0], ColumnTransformer):
        blocks, rest = tuple(blocks_of(steps[0], every, 1.0)), steps[1:]
    elif steps and reads_levels(steps[0]):
        end = 1 + next((place for place, step in enumerate(steps) if _encodes(step)), 0)
        first = Pipeline([(str(place), step) for place, step in enumerate(steps[:end])])
        blocks, rest = (Block(every, first),), steps[end:]
    else:
        blocks, rest = (Block(every, None),), steps
    levels: dict[int, Levels] = {}
    numbers: set[int] = set()
    for block in blocks:
        if reads_levels(block.step):
            _add_levels(levels, levels_of(block))
        else:
            numbers |= set(block.columns)
    used = {column for block in blocks for column in block.columns}
    return _settled(
        Apart(
            model, names, count, tuple(sorted(used)), blocks, tuple(rest), estimator, levels, {},
            frozenset(numbers),
        )
    )  # fmt: skip


def _prepares(member: Any) -> bool:
    """Whether a member of an ensemble has steps of its own, or has members that have."""
    flat = _flat(member)
    return len(flat) > 1 or any(_prepares(each) for each in members_of(flat[-1]))


def _together_apart(
    model: Any, estimator: Any, names: tuple[str, ...] | None, count: int, members: list[Any]
) -> Apart:
    """An ensemble whose members all take the columns and prepare them each in its own way."""
    parts = [take_apart(member) for member in members]
    levels: dict[int, Levels] = {}
    for part in parts:
        _add_levels(levels, part.levels | part.coded)
    used = tuple(sorted({column for part in parts for column in part.used}))
    numbers = frozenset(column for part in parts for column in part.numbers)
    return _settled(Apart(model, names, count, used, (), (), estimator, levels, {}, numbers))


def _settled(apart: Apart) -> Apart:
    """With the columns that are read as numbers and by levels told apart."""
    both = sorted(apart.numbers & apart.levels.keys())
    if any(not apart.levels[column].numeric for column in both):
        raise InputError(f"column {both[0]} is read as a number and by levels that are texts")
    return apart.with_numbers(both)


def _add_levels(levels: dict[int, Levels], more: dict[int, Levels]) -> None:
    for column, each in more.items():
        levels[column] = _together(levels[column], each, column) if column in levels else each


def _check_categories(estimator: Any) -> None:
    """Refuse what codes categories in a way that only its own library can."""
    own = getattr(estimator, "_Booster", None)
    coded = getattr(own, "pandas_categorical", None) or (
        "c" in (getattr(estimator, "feature_types", None) or ())
        or "c" in (getattr(own, "feature_types", None) or ())
    )
    if coded:
        raise InputError(
            f"{type(estimator).__name__} was fitted on columns of pandas' category type, whose "
            "codes its own library alone knows",
            fix="put an OrdinalEncoder before it in a Pipeline; or take "
            "HistGradientBoosting, whose categories are served",
        )


def _flat(model: Any) -> list[Any]:
    """The steps of a pipeline, those of pipelines in it too, without those that do nothing."""
    if hasattr(model, "best_estimator_") and hasattr(model, "cv_results_"):
        return _flat(model.best_estimator_)  # a search answers what the best it found answers
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


def blocks_of(
    transformer: ColumnTransformer, among: tuple[int, ...], weight: float
) -> Iterator[Block]:
    """What a ColumnTransformer, and those in it, do with which of the model's columns."""
    places = transformer._transformer_to_input_indices
    weights = transformer.transformer_weights or {}
    for name, step, _ in transformer.transformers_:
        columns = tuple(among[int(place)] for place in places[name])
        if (isinstance(step, str) and step == "drop") or not columns:
            continue
        parts = _flat(step)
        own = weight * float(weights.get(name, 1.0))
        if len(parts) == 1 and isinstance(parts[0], ColumnTransformer):
            yield from blocks_of(parts[0], columns, own)
        else:
            yield Block(columns, step if parts else None, own)


def _parts(step: Any) -> Iterator[Any]:
    """Every transformer in a step, those of unions and ColumnTransformers in it too."""
    for part in _flat(step):
        yield part
        for inner in _inner(part):
            yield from _parts(inner)


def _inner(step: Any) -> list[Any]:
    """The transformers that stand side by side in a step."""
    if isinstance(step, FeatureUnion):
        return [each for _, each in step.transformer_list]
    return [each for _, each, _ in getattr(step, "transformers_", ())]


def reads_levels(step: Any) -> bool:
    """Whether a transformer, or one of those in it, takes levels and not numbers."""
    return any(_encodes_itself(part) or _fills_texts(part) for part in _parts(step))


def _encodes(step: Any) -> bool:
    return any(_encodes_itself(part) for part in _parts(step))


def _encodes_itself(part: Any) -> bool:
    return type(part).__name__ in _ENCODERS


def _fills_texts(part: Any) -> bool:
    """Whether an imputer fills in texts; its numbers may stand in an array of objects."""
    found = np.asarray(getattr(part, "statistics_", ()), dtype=object).ravel()
    return any(isinstance(fill, str) for fill in found.tolist())


def levels_of(block: Block) -> dict[int, Levels]:
    """The levels of each column of a block."""
    known: list[list[Any]] = [[] for _ in block.columns]
    nones = _collect(block.step, known)
    return {
        column: _level_table(cells, nones, column)
        for column, cells in zip(block.columns, known, strict=True)
    }


def _collect(step: Any, known: list[list[Any]]) -> bool:
    """Add what a step knows of each column's levels; whether it takes None for a blank."""
    nones = False
    for part in _flat(step):
        nones = nones or getattr(part, "missing_values", np.nan) is None
        if isinstance(part, FeatureUnion):
            found = [_collect(each, known) for each in _inner(part)]
            return nones or any(found)
        if isinstance(part, ColumnTransformer):
            raise InputError(
                "a ColumnTransformer with encoders stands behind or inside another step",
                fix="let the ColumnTransformer come first, with all of that in its transformers",
            )
        for place, categories in enumerate(getattr(part, "categories_", ())[: len(known)]):
            known[place] += list(categories)
        for place, fill in enumerate(getattr(part, "statistics_", ())[: len(known)]):
            known[place].append(fill)
        if hasattr(part, "categories_"):
            break
    return nones


def _together(one: Levels, other: Levels, column: int) -> Levels:
    """The levels of a column that two blocks read."""
    if one.numeric != other.numeric and one.values and other.values:
        raise InputError(f"column {column} has levels that are texts and numbers")
    blank = None if None in (one.blank, other.blank) else np.nan
    return Levels(one.values | other.values, blank, one.numeric or other.numeric)


def _level_table(cells: Sequence[Any], nones: bool, column: int) -> Levels:
    nones = nones or any(cell is None for cell in cells)
    found = [cell for cell in cells if cell is not None and cell == cell]
    numeric = bool(found) and not any(isinstance(cell, str) for cell in found)
    values: dict[str, Any] = {}
    for cell in found:
        if not numeric and not isinstance(cell, str):
            raise InputError(f"column {column} has levels that are texts and numbers")
        if numeric and not isinstance(cell, (bool, int, float, np.bool_, np.number)):
            raise InputError(
                f"column {column} has levels that are {type(cell).__name__}: neither texts nor "
                "numbers",
                fix="make texts or numbers of them before the model is fitted",
            )
        level = canonical_text(float(cell)) if numeric else str(cell).strip(WHITE_SPACE)
        if values.setdefault(level, cell) != cell:
            raise InputError(f"column {column}: two levels differ in white space only")
    return Levels(values, None if nones else np.nan, numeric)


def ask_levels(block: Block, levels: Mapping[int, Levels]) -> list[tuple[np.ndarray, np.ndarray]]:
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
        width = next((len(answer) for answer in answers if answer is not None), None)
        if width is None:
            raise InputError(f"{type(_flat(block.step)[-1]).__name__} refuses its own levels")
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
    step: Any, row: list[Any], levels: Mapping[int, Levels], columns: Sequence[int]
) -> np.ndarray | None:
    """What a transformer makes of one row; None when it refuses it."""
    numeric = all(levels[column].numeric for column in columns)
    made = _tried(step, np.array([row], dtype=np.float64)) if numeric else None
    if made is None:  # numbers too, where the encoder was fitted on objects
        made = _tried(step, np.array([row], dtype=object))
    if made is None:
        return None
    dense = made.toarray() if hasattr(made, "toarray") else made
    try:
        numbers: np.ndarray = np.asarray(dense, dtype=np.float64)[0]
    except (TypeError, ValueError):
        raise InputError(
            f"{type(_flat(step)[-1]).__name__} hands on texts, and no encoder follows it",
            fix="let the encoder stand behind it in one Pipeline, in a ColumnTransformer that "
            "comes first",
        ) from None
    return numbers


def _tried(step: Any, cells: Any) -> Any:
    """What a transformer makes of cells; None when it refuses them."""
    names = getattr(_flat(step)[0], "feature_names_in_", None)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if names is not None:
                import pandas

                cells = pandas.DataFrame(cells, columns=list(names))
            return step.transform(cells)
    except Exception:  # every transformer refuses by an error of its own
        return None
