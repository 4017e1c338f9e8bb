"""Duplicates, identifiers, label noise."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tests.guard.tables import ROWS, clean, found, names


def test_copies_across_the_split_are_a_warning_and_within_training_a_note() -> None:
    findings = found(pl.concat([clean(), clean().head(200)]), "duplicates")
    assert names(findings) == {"duplicates"}
    across, within = findings
    assert (across.severity, within.severity) == ("warning", "note")
    assert 0 < across.evidence["twins"] < 160
    assert "[data] group" in across.fix
    assert within.evidence["distinct_rows"] < within.evidence["training_rows"]


def test_the_column_that_binds_copies_together_is_named() -> None:
    frame = pl.concat([clean(), clean().head(300)])
    owner = [f"owner-{i % ROWS:04d}" for i in range(len(frame))]
    findings = found(frame.with_columns(pl.Series("owner", owner)), "duplicates")
    assert '[data] group = "owner"' in findings[0].fix


def test_few_levels_repeat_by_chance_and_that_is_no_finding() -> None:
    random = np.random.default_rng(0)
    frame = pl.DataFrame({c: random.choice(list("abc"), 900) for c in "pqrs"} | {
        "y": random.choice(["u", "v"], 900)})  # fmt: skip
    assert found(frame, "duplicates") == ()


def test_minus_zero_is_zero_when_rows_are_compared() -> None:
    zero = clean().head(100).with_columns(pl.lit(0.0).alias("x0"))
    minus = zero.with_columns(pl.lit(-0.0).alias("x0"))
    assert names(found(pl.concat([clean(), zero, minus]), "duplicates")) == {"duplicates"}


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("customer", np.random.default_rng(0).permutation(ROWS) + 5000),
        ("account_id", np.append(np.arange(ROWS - 1) * 37 + 11, 11)),
        ("label", [f"name {i // 2}" for i in range(ROWS)]),
    ],
)
def test_columns_that_name_rows_are_a_warning(column: str, values: object) -> None:
    findings = found(clean().with_columns(pl.Series(column, values)), "identifiers")
    assert names(findings, "warning") == {f"identifiers:{column}"}
    assert f'drop = ["{column}"]' in findings[0].fix


def test_an_identifier_that_goes_with_the_target_says_so() -> None:
    frame = clean().sort("y")
    shuffled = np.random.default_rng(0).permutation(ROWS)
    frame = frame.with_columns(pl.Series("seat", np.arange(ROWS) + 9000))[shuffled]
    findings = found(frame, "identifiers")
    assert "goes with the target's" in findings[0].what
    assert abs(findings[0].evidence["target_order"]) > 0.5


def test_unique_amounts_are_no_identifiers() -> None:
    cents = np.random.default_rng(0).integers(10_000, 90_000_000, ROWS)
    assert found(clean().with_columns(pl.Series("income", cents)), "identifiers") == ()


def test_flipped_labels_are_hinted_with_rows() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(2000, 2)) + 4 * (random.random((2000, 1)) < 0.5)
    truth = x[:, 0] + x[:, 1] > 4
    flipped = np.flatnonzero(random.random(2000) < 0.04)
    labels = truth.copy()
    labels[flipped] = ~labels[flipped]
    frame = pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": np.where(labels, "in", "out")})
    (hint,) = found(frame, "label_noise")
    assert hint.severity == "note"
    assert hint.evidence["share"] == pytest.approx(0.04, abs=0.025)
    examples = set(hint.evidence["examples"])
    assert len(examples & set(flipped.tolist())) >= 0.8 * len(examples)


def test_wild_numbers_in_a_target_are_hinted_with_rows() -> None:
    frame = clean(2000, numbers=True)
    wild = np.random.default_rng(1).choice(2000, 40, replace=False)
    values = frame["x0"].to_numpy() * 3 + 0.1 * frame["y"].to_numpy()
    values[wild] += np.where(np.arange(40) % 2, 15, -15)
    (hint,) = found(frame.with_columns(pl.Series("y", values)), "label_noise")
    assert set(hint.evidence["examples"]) <= set(wild.tolist())


def test_alike_rows_of_two_classes_are_counted() -> None:
    flip = pl.when(pl.col("y") == "yes").then(pl.lit("no")).otherwise(pl.lit("yes")).alias("y")
    frame = pl.concat([clean(), clean().head(60).with_columns(flip)])
    hints = [f for f in found(frame, "label_noise") if "same features" in f.what]
    assert 20 <= hints[0].evidence["rows"] <= 60


def test_honest_noise_is_not_hinted_at() -> None:
    for seed in range(4):
        assert found(clean(1500, seed, numbers=bool(seed % 2)), "label_noise") == ()
