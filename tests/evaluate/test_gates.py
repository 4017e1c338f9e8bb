"""The language of gates, and how they are decided."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.errors import InputError, ProjectError
from roadworthy.evaluate.gates import (
    champion_checks,
    check_gates,
    family_check,
    overall,
    threshold,
)
from roadworthy.evaluate.metrics import Estimate
from roadworthy.evaluate.paired import compare, mcnemar
from roadworthy.evaluate.scored import Scored
from roadworthy.project import GatesSection, load_project
from roadworthy.project.gates import Comparison, parse_rule
from tests.conftest import Trained
from tests.evaluate.rows import binary

AT_LEAST = Comparison(">=", 0.85)


@given(st.sampled_from([">=", "<=", ">", "<"]), st.floats(-1e6, 1e6), st.text(" \t", max_size=3))
def test_every_comparison_is_read_as_it_is_written(operator: str, limit: float, space: str) -> None:
    found = parse_rule(f"{space}{operator}{space}{limit!r}{space}")
    assert found == Comparison(operator, limit)


@given(st.text(max_size=12))
def test_anything_else_is_no_comparison_or_one_that_a_number_follows(text: str) -> None:
    found = parse_rule(text)
    assert found is None or text.strip()[0] in "<>"


def test_a_share_may_be_written_in_percent() -> None:
    assert parse_rule(">= 85%") == Comparison(">=", 0.85)
    assert parse_rule(0.85) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("acuracy = '>= 0.8'", "did you mean 'accuracy'"),
        ("accuracy = '=> 0.8'", "gates.accuracy"),
        ("accuracy = '== 0.8'", "a comparison such as '>= 0.85'"),
        ("accuracy = 0.8", "a comparison such as '>= 0.85', not 0.8"),
        ("accuracy = '<= 0.8'", "more of it is better"),
        ("log_loss = '>= 0.8'", "less of it is better"),
        ("accuracy = '>= 85'", "did you mean 0.85?"),
        ("recall.yes = 'high'", "gates.recall.yes"),
        ("slice_gap.acuracy = '<= 0.1'", "did you mean 'accuracy'"),
        ("slice.sex.acuracy = '>= 0.1'", "did you mean 'accuracy'"),
        ("latency_p99_ms = '>= 5'", "less of it is better"),
        ("no_worse_on = ['roc']", "gates.no_worse_on.roc"),
        ("slice_rows = 1", "10 or more"),
        ("undecided = 'maybe'", "undecided"),
    ],
)
def test_a_gate_that_makes_no_sense_is_refused_with_the_remedy(
    tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "roadworthy.toml"
    file.write_text(f"[gates]\n{text}\n")
    with pytest.raises(ProjectError) as caught:
        load_project(file, environment={})
    assert said in str(caught.value)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("gates", "said"),
    [
        (GatesSection(recall={">50k": ">= 0.5"}), "did you mean '>50K'?"),
        (GatesSection(slice={"sexx": {"accuracy": ">= 0.5"}}), "did you mean 'sex'?"),
        (GatesSection(slices=("rase",)), "did you mean 'race'?"),
        (GatesSection(rmse="<= 3"), "no binary metric 'rmse'"),
        (GatesSection(slice_gap={"mae": "<= 3"}), "no binary slice metric 'mae'"),
        (GatesSection(equalized_odds_difference={"sec": "<= 0.1"}), "did you mean 'sex'?"),
    ],
)
def test_a_gate_on_what_the_model_has_not_names_the_nearest(
    bundles: dict[str, Trained], gates: GatesSection, said: str
) -> None:
    contract = bundles["binary"].bundle.contract
    with pytest.raises(InputError) as caught:
        check_gates(gates, contract, contract.names)
    assert said in str(caught.value)


def test_gates_of_classes_do_not_fit_a_regression(bundles: dict[str, Trained]) -> None:
    contract = bundles["regression"].bundle.contract
    for gates in (
        GatesSection(recall={"yes": ">= 0.5"}),
        GatesSection(demographic_parity_ratio={contract.names[0]: ">= 0.8"}),
    ):
        with pytest.raises(InputError, match="regression"):
            check_gates(gates, contract, contract.names)


def test_a_threshold_is_decided_on_the_whole_interval() -> None:
    def outcome(low: float, value: float, high: float) -> str:
        return threshold("accuracy", ">= 0.85", AT_LEAST, Estimate(value, low, high)).outcome

    assert outcome(0.86, 0.88, 0.9) == "pass"
    assert outcome(0.85, 0.88, 0.9) == "pass"
    assert outcome(0.8, 0.82, 0.84) == "fail"
    assert outcome(0.83, 0.87, 0.91) == "undecided"
    assert threshold("accuracy", ">= 0.85", AT_LEAST, None).outcome == "undecided"
    assert threshold("bundle_mb", "<= 5", Comparison("<=", 5), Estimate(4.9)).outcome == "pass"


def test_not_enough_evidence_says_how_many_rows_would_decide() -> None:
    found = threshold("accuracy", ">= 0.85", AT_LEAST, Estimate(0.87, 0.83, 0.91), 1000)
    assert "about 4,400 rows would decide" in found.reason


def test_many_slices_fail_on_proof_only() -> None:
    rule, asked = "<= 0.05", Comparison("<=", 0.05)
    quiet = {f"s{k}": Estimate(0.0, -0.1, 0.1) for k in range(50)}
    proven = {**quiet, "bad": Estimate(0.4, 0.3, 0.5)}
    suspected = {**quiet, "odd": Estimate(0.2, 0.06, 0.34)}
    assert family_check("slice_gap", rule, asked, quiet).outcome == "pass"
    assert family_check("slice_gap", rule, asked, proven).outcome == "fail"
    assert "bad: 0.4" in family_check("slice_gap", rule, asked, proven).reason
    assert family_check("slice_gap", rule, asked, suspected).outcome == "undecided"
    assert family_check("slice_gap", rule, asked, {}).outcome == "undecided"


def test_the_project_says_what_not_enough_evidence_means() -> None:
    check = threshold("accuracy", ">= 0.85", AT_LEAST, Estimate(0.87, 0.83, 0.91))
    assert overall([check], "pass") == "pass"
    assert overall([check], "fail") == "fail"
    assert overall([], "fail") == "pass"


def pair(seed: int, worse: float, rows: int = 700) -> tuple[Scored, Scored]:
    """Two models that see the same signal through noise of their own."""
    random = np.random.default_rng(seed)
    truth = random.random(rows) < 0.4
    signal = truth + random.normal(size=rows)
    models = []
    for noise in (0.5 + worse, 0.5):
        seen = signal + noise * random.normal(size=rows)
        models.append(1 / (1 + np.exp(-(1.3 * seen - 1.2))))
    x = random.normal(size=rows)
    first = binary({"x": x}, truth, models[0])
    return first, Scored(first.table, np.column_stack([1 - models[1], models[1]]))


def test_an_equal_model_is_passed_at_least_95_times_of_100() -> None:
    passed = 0
    for seed in range(100):
        challenger, champion = pair(seed, worse=0.0)
        checks = champion_checks(GatesSection(), compare(challenger, champion, "old"), "roc_auc")
        passed += overall(checks, "fail") == "pass"
    assert passed >= 95


def test_a_worse_model_is_stopped_every_time() -> None:
    for seed in range(20):
        challenger, champion = pair(seed, worse=1.5)
        checks = champion_checks(GatesSection(), compare(challenger, champion, "old"), "roc_auc")
        assert checks[0].outcome == "fail"
        assert "worse beyond chance" in checks[0].reason


def test_a_margin_asks_for_proof_that_the_loss_is_small() -> None:
    paired = compare(*pair(0, worse=1.0), "old")
    gain = paired.metrics["roc_auc"]
    assert gain.low is not None
    assert gain.value is not None
    assert gain.high is not None
    assert gain.high < -0.005
    margins = [-gain.low + 0.001, -gain.value, -gain.high - 0.001]
    gates = [GatesSection(margin=margin) for margin in margins]
    outcomes = [champion_checks(g, paired, "roc_auc")[0].outcome for g in gates]
    assert outcomes == ["pass", "undecided", "fail"]


def test_the_same_answers_are_not_worse() -> None:
    challenger, _ = pair(0, worse=0.0)
    paired = compare(challenger, challenger, "itself")
    assert paired.mcnemar == 1.0
    assert all(gain.value == 0 for gain in paired.metrics.values())
    assert champion_checks(GatesSection(), paired, "log_loss")[0].outcome == "pass"


def test_mcnemars_p_value_is_exact() -> None:
    assert mcnemar(1, 9) == pytest.approx(2 * 11 / 1024)
    assert mcnemar(0, 0) == 1.0
