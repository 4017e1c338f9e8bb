"""Labels that are broken on their way are told; a world that changes is not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from roadworthy.contract import Target
from roadworthy.monitor.advice import Situation, decide
from roadworthy.monitor.broken_labels import broken_labels, missing_class, missing_numbers
from roadworthy.monitor.feedback import Outcomes
from roadworthy.monitor.quality import findings, quality
from tests.monitor.made import BINARY, NUMBER, THREE, outcomes

Labels = np.ndarray


def told(made: Outcomes, change: Callable[[Labels], Labels]) -> Outcomes:
    return dataclasses.replace(made, labels=change(made.labels))


def filled(labels: Labels) -> Labels:
    return np.where(np.arange(len(labels)) % 5 == 0, 0.0, labels)


@pytest.mark.parametrize(
    ("target", "change", "kind", "word"),
    [
        (BINARY, lambda y: 1 - y, "renamed_category", "'no' for 'yes'"),
        (THREE, lambda y: (2 * y) % 3, "renamed_category", "'green' for 'blue'"),
        (THREE, lambda y: (y + 1) % 3, "renamed_category", "'blue' for 'green'"),
        (NUMBER, lambda y: y * 100, "unit_change", "times as large"),
        (NUMBER, lambda y: y / 1000, "unit_change", "times as large"),
        (NUMBER, filled, "stuck", "20% of the labels are 0"),
    ],
)
def test_labels_that_are_broken_are_told_by_their_kind(
    target: Target, change: Callable[[Labels], Labels], kind: str, word: str
) -> None:
    older, recent = (outcomes(target, 1500, seed) for seed in (1, 2))
    (found,) = broken_labels(told(recent, change), older)
    assert (found.kind, found.subject, found.severity) == (kind, "label", "serious")
    assert word in found.what
    assert broken_labels(told(recent, change).take(np.arange(1500) < 150), older) == []


@pytest.mark.parametrize("target", [BINARY, THREE, NUMBER], ids=lambda each: each.task)
def test_a_world_that_turns_moves_or_grows_has_no_broken_labels(target: Target) -> None:
    older = outcomes(target, 1500, 1)
    changes = ({}, {"turned": 1.0}, {"turned": 2.5}, {"shift": 0.7}, {"overconfident": 3.0})
    for seed, how in enumerate(changes):
        recent = outcomes(target, 1500, 10 + seed, **how)
        grown = told(recent, lambda y: 1.5 * y) if target is NUMBER else recent
        for part in (recent, grown):
            assert broken_labels(part, older) == [], how
            assert missing_numbers(part, older) is None
            assert missing_class(part, older) is None


def test_numbers_whose_labels_stay_away_are_named_and_a_world_without_them_is_not() -> None:
    older, recent = (outcomes(NUMBER, 1500, seed) for seed in (1, 2))
    small = told(recent, lambda y: np.where(y < 0.5, y, np.nan))
    large = told(recent, lambda y: np.where(y > -0.5, y, np.nan))
    assert (missing_numbers(small, older) or "").startswith("above 0.")
    assert (missing_numbers(large, older) or "").startswith("below -0.")
    assert missing_numbers(told(recent, lambda y: np.minimum(y, 0.5)), older) is None
    at_random = np.random.default_rng(0).random(1500) < 0.4
    assert missing_numbers(told(recent, lambda y: np.where(at_random, y, np.nan)), older) is None


def test_a_class_that_the_model_does_not_know_is_looked_at_and_a_typing_error_stops_nothing() -> (
    None
):
    made = outcomes(THREE, 1000, 1)
    for rows, advised in ((100, "fix_source"), (5, "nothing")):
        strange = dict.fromkeys(range(rows), "violet")
        labels = np.where(np.arange(1000) < rows, np.nan, made.labels)
        part = dataclasses.replace(made, labels=labels, strange=strange)
        kept = part.take(np.arange(1000) >= rows // 2)  # the labels of rows that are looked at
        assert kept.unknown_values == {"violet": rows - rows // 2}
        measured = findings(quality(part, delay_days=0.0))
        (found,) = [each for each in measured if each.kind == "unseen"]
        assert (found.subject, "violet" in found.what) == ("label", True)
        (first, *_) = decide(Situation("m", THREE, 1000, 1000 - rows, (found,)))
        assert first.kind == advised
