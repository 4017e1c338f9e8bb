"""Behavioural tests: good models hold, models that were broken on purpose show their rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from roadworthy.errors import InputError
from roadworthy.evaluate.behaviour import Behaviour, check_behaviour
from roadworthy.project import BehaviourSection, ColumnOptions, DataSection, Project
from roadworthy.table import Table
from tests.evaluate.rows import table_of


def people(**options: object) -> Table:
    random = np.random.default_rng(0)
    age = random.integers(18, 80, 400)
    columns = {
        "age": age,
        "debt": random.normal(size=400) * 1e4,
        "sex": random.choice(["f", "m"], 400),
        "region": random.choice(["n", "s", "e"], 400),
    }
    project = Project(data=DataSection(columns=options)) if options else None  # type: ignore[arg-type]
    return table_of(
        columns, np.where(age + random.normal(size=400) * 20 > 50, "yes", "no"), project
    )


def logistic(frame: pl.DataFrame) -> np.ndarray:
    """More age, more yes; nothing else counts."""
    score = 0.05 * (frame["age"].cast(pl.Float64).fill_null(50.0).to_numpy() - 50.0)
    yes = 1 / (1 + np.exp(-np.clip(score, -30, 30)))
    return np.column_stack([1 - yes, yes])


def run(
    predict: Callable[[pl.DataFrame], np.ndarray], table: Table | None = None, **rules: object
) -> dict[str, Behaviour]:
    held = table or people()
    section = BehaviourSection(**rules)  # type: ignore[arg-type]
    found = check_behaviour(held.frame, held.contract, predict, section, 0)
    return {entry.name: entry for entry in found}


def test_a_good_model_holds_everywhere() -> None:
    found = run(logistic, monotone={"age": "up"}, invariant=("sex", "debt"))
    assert set(found) == {
        "row order", "one row or many", "blanks", "extremes", "unseen levels", "small changes",
        "age up", "sex swapped", "debt swapped",
    }  # fmt: skip
    assert [name for name, entry in found.items() if not entry.passed] == []
    assert all(entry.rows for entry in found.values())


def test_a_model_that_looks_at_its_neighbours_shows_it() -> None:
    def ranks(frame: pl.DataFrame) -> np.ndarray:
        yes = np.linspace(0, 1, frame.height) if frame.height > 1 else np.array([0.5])
        return np.column_stack([1 - yes, yes])

    found = run(ranks)
    assert not found["row order"].passed
    assert not found["one row or many"].passed
    assert found["row order"].examples[0].row.keys() == {"age", "debt", "sex", "region"}


def test_a_wrong_direction_shows_the_row_and_the_step() -> None:
    found = run(logistic, monotone={"age": "down"})["age down"]
    assert found.failures == found.rows
    example = found.examples[0]
    low, high = example.change["age"]
    assert low < high
    assert example.before < example.after


def test_a_protected_attribute_that_counts_shows_both_answers() -> None:
    def biased(frame: pl.DataFrame) -> np.ndarray:
        scores = logistic(frame)
        yes = scores[:, 1] * np.where((frame["sex"] == "f").to_numpy(), 0.7, 1.0)
        return np.column_stack([1 - yes, yes])

    found = run(biased, invariant=("sex", "region"))
    assert found["region swapped"].passed
    swapped = found["sex swapped"]
    assert swapped.failures > 0
    example = swapped.examples[0]
    assert set(example.change) == {"sex"}
    assert example.change["sex"] != example.row["sex"]


def test_an_undefined_answer_to_a_blank_an_extreme_or_an_unseen_level_fails() -> None:
    def fragile(frame: pl.DataFrame) -> np.ndarray:
        scores = logistic(frame)
        scores[frame["debt"].is_null().to_numpy()] = np.nan
        scores[~frame["region"].is_in(["n", "s", "e"]).fill_null(value=True).to_numpy()] = 0.9
        return scores

    found = run(fragile)
    assert not found["blanks"].passed
    assert not found["unseen levels"].passed  # probabilities that do not add up
    assert found["extremes"].passed


def test_a_cliff_is_no_small_change_but_one_step_of_a_tree_is_forgiven() -> None:
    def chaotic(frame: pl.DataFrame) -> np.ndarray:
        yes = (np.floor(frame["debt"].fill_null(0.0).to_numpy() * 7) % 2) * 0.9
        return np.column_stack([1 - yes, yes])

    def step(frame: pl.DataFrame) -> np.ndarray:
        yes = (frame["debt"].fill_null(0.0).to_numpy() > 5.0) * 0.9
        return np.column_stack([1 - yes, yes])

    assert not run(chaotic)["small changes"].passed
    assert run(step)["small changes"].passed
    assert run(chaotic, skip=("small changes",)).keys() == run(step).keys() - {"small changes"}


def test_cells_that_the_contract_refuses_are_not_asked_for() -> None:
    table = people(region=ColumnOptions(blank="error", unseen="error"))
    asked: list[pl.DataFrame] = []

    def watching(frame: pl.DataFrame) -> np.ndarray:
        asked.append(frame)
        return logistic(frame)

    run(watching, table)
    cells = pl.concat([frame["region"] for frame in asked])
    assert set(cells.unique()) == {"n", "s", "e"}


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"monotone": {"aeg": "up"}}, "did you mean 'age'?"),
        ({"monotone": {"sex": "up"}}, "only numbers and dates have a direction"),
        ({"invariant": ("sx",)}, "did you mean 'sex'?"),
        ({"monotone": {"age": "up"}, "monotone_class": "yess"}, "did you mean 'yes'?"),
    ],
)
def test_a_rule_on_what_is_not_there_is_refused(rules: dict, said: str) -> None:
    with pytest.raises(InputError) as caught:
        run(logistic, **rules)
    assert said in str(caught.value)
