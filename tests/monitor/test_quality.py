"""Realised quality: only of predictions old enough, with intervals, told when it matters."""

from __future__ import annotations

import numpy as np
import pytest

from roadworthy.evaluate import Estimate
from roadworthy.monitor.feedback import Outcomes
from roadworthy.monitor.quality import calibration, findings, quality
from tests.monitor.made import BINARY, DAY, NUMBER, START, THREE, outcomes


def test_quality_is_told_by_week_version_and_slice_with_intervals() -> None:
    found = quality(outcomes(BINARY, 4000, 1))
    assert [entry.start[:10] for entry in found.periods] == [
        "2026-01-05", "2026-01-12", "2026-01-19", "2026-01-26",
    ]  # fmt: skip
    assert found.versions[0].version == "v1"
    for entry in (*found.periods, *found.versions):
        accuracy = entry.metrics["accuracy"]
        assert accuracy.low < accuracy.value < accuracy.high
    assert {entry.column for entry in found.slices} >= {"a", "b"}
    assert sum(entry.rows for entry in found.periods) == 4000


def test_predictions_too_young_for_their_labels_do_not_count() -> None:
    late = outcomes(BINARY, 2000, 2, days=28)
    times = late.predictions.times
    random = np.random.default_rng(0)
    arrived = times + random.uniform(1, 7, len(times)) * DAY
    known = arrived <= START + 28 * DAY
    # of the young rows only the errors are known: quick complaints
    right = late.scored().predicted == late.labels
    known &= ~((times > START + 20 * DAY) & right)
    partial = Outcomes(
        late.predictions, np.where(known, late.labels, np.nan), np.where(known, arrived, np.nan)
    )
    found = quality(partial)
    assert 5 < found.delay_days <= 7
    assert [entry.mature for entry in found.periods] == [True, True, True, False]
    naive = partial.scored()
    assert found.metrics["accuracy"].value > (naive.predicted == naive.codes).mean()


@pytest.mark.parametrize("target", [BINARY, THREE, NUMBER], ids=lambda target: target.task)
def test_a_worse_world_is_told_and_the_same_world_is_not(target) -> None:
    before = quality(outcomes(target, 3000, 3)).metrics
    same = quality(outcomes(target, 3000, 4), reference=before)
    worse = quality(outcomes(target, 3000, 5, turned=1.5), reference=before)
    assert [entry.kind for entry in findings(same)] == []
    assert "quality_drop" in [entry.kind for entry in findings(worse)]
    told = findings(worse)[0]
    assert told.evidence["p_value"] < 0.001
    assert told.since is not None


def test_probabilities_that_claim_too_much_are_found_and_good_ones_are_not() -> None:
    assert not calibration(outcomes(BINARY, 2000, 6).scored()).off
    assert calibration(outcomes(BINARY, 2000, 7, overconfident=2.5).scored()).off
    assert not calibration(outcomes(THREE, 2000, 8).scored()).off
    assert calibration(outcomes(THREE, 2000, 9, overconfident=2.5).scored()).off
    assert calibration(outcomes(NUMBER, 2000, 9).scored()) is None


@pytest.mark.parametrize("target", [BINARY, THREE], ids=lambda target: target.task)
def test_calibration_is_told_over_time_and_too_bold_a_model_lies_above_nought(target) -> None:
    gaps = [
        entry.metrics["calibration_gap"] for entry in quality(outcomes(target, 8000, 8)).periods
    ]
    assert all(gap.low < 0.01 and gap.high > -0.01 for gap in gaps)
    assert len(gaps) == 4
    bold = quality(outcomes(THREE, 8000, 9, overconfident=2.5))
    assert all(entry.metrics["calibration_gap"].low > 0.02 for entry in bold.periods)


def test_no_labels_no_rows_and_one_class_only_are_no_faults() -> None:
    some = outcomes(BINARY, 300, 10)
    none = Outcomes(some.predictions, np.full(300, np.nan), np.full(300, np.nan))
    assert quality(none).metrics == {}
    empty = some.take(np.zeros(300, dtype=bool))
    assert (quality(empty).rows, quality(empty).periods) == (0, ())
    single = some.take(some.labels == 1.0)
    assert quality(single).metrics["roc_auc"] == Estimate(None)
    assert quality(some.take(np.arange(300) == 7)).rows == 1
