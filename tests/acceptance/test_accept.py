"""A model made worse on purpose is stopped by the right gate, with the right reason."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl
import pytest

import roadworthy as rw
from roadworthy.acceptance import accept, gate_bundle, rival
from roadworthy.acceptance.costs import age_days, cost_checks, measure_costs, quantile_estimate
from roadworthy.acceptance.subject import InProcess, OverHttp
from roadworthy.bundle import Bundle
from roadworthy.bundle.write import package
from roadworthy.errors import CheckFailed, InputError, OutsideError
from roadworthy.evaluate import test as evaluate
from roadworthy.evaluate.metrics import Estimate
from roadworthy.evaluate.verdict import Verdict
from roadworthy.project import BehaviourSection, GatesSection, Project
from roadworthy.table import read_table
from roadworthy.train import TrainedModel, train
from tests.conftest import Trained, serving

QUICK = Project().override("train", candidates=("linear",), folds=2, budget="10s")


def loans(seed: int, rows: int = 3000) -> pl.DataFrame:
    """Whether a loan is paid back: by income and plan, the same in each region."""
    random = np.random.default_rng(seed)
    income, plan = random.normal(size=rows), random.choice(["a", "b", "c"], rows)
    score = 2.5 * income + 2.0 * (plan == "a") - 2.0 * (plan == "b") + random.logistic(size=rows)
    return pl.DataFrame(
        {
            "income": np.round(income, 4),
            "plan": plan,
            "region": random.choice(["north", "south", "east"], rows),
            "noise": random.normal(size=rows),
            "paid": np.where(score > 0, "yes", "no"),
        }
    )


def fitted(frame: pl.DataFrame, folder: Path, **change: Any) -> tuple[TrainedModel, Bundle]:
    table = read_table(frame, "paid", project=QUICK, name="loans")
    model = dataclasses.replace(train(table, project=QUICK), **change)
    return model, package(model, evaluate(model, table.holdout), directory=folder)


class Good(NamedTuple):
    model: TrainedModel
    bundle: Bundle
    new: pl.DataFrame
    folder: Path


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Good:
    folder = tmp_path_factory.mktemp("loans")
    return Good(*fitted(loans(0), folder), loans(1), folder)


def gates(**rules: Any) -> Project:
    return Project(gates=GatesSection(**rules))


def outcomes(verdict: Verdict) -> dict[str, str]:
    return {check.name: check.outcome for check in verdict.checks}


EVERY = {
    "accuracy": ">= 0.8",
    "recall": {"yes": ">= 0.7"},
    "slice_gap": {"accuracy": "<= 0.1"},
    "slice": {"region": {"accuracy": ">= 0.75"}},
    "slices": ("region", "plan"),
    "slice_drop": {"accuracy": "<= 0.05"},
    "no_worse_than": "champion",
    "latency_p99_ms": "<= 1000",
    "bundle_mb": "<= 10",
    "age_days": "<= 30",
    "drift": "<= 0.1",
    "generalisation_gap": {"accuracy": "<= 0.05"},
    "behaviour": "all",
}


def test_a_good_model_passes_every_gate(good: Good) -> None:
    project = Project(
        gates=GatesSection(**EVERY),
        behaviour=BehaviourSection(monotone={"income": "up"}, invariant=("region",),
                                   invariant_tolerance=0.2),
    )  # fmt: skip
    verdict = accept(good.bundle, good.new, project, champion=good.bundle.path)
    assert {name: o for name, o in outcomes(verdict).items() if o != "pass"} == {}
    assert verdict.passed
    assert len(verdict.checks) == 14
    assert verdict.report is not None
    assert verdict.report.rows == 3000
    assert [test.name for test in verdict.tests if not test.passed] == []


def test_labels_flipped_in_a_subgroup_are_stopped_by_their_slice(
    good: Good, tmp_path: Path
) -> None:
    flip = (pl.col("region") == "north") & (pl.col("income") > 0)
    turned = pl.when(pl.col("paid") == "yes").then(pl.lit("no")).otherwise(pl.lit("yes"))
    bad = loans(0).with_columns(pl.when(flip).then(turned).otherwise(pl.col("paid")).alias("paid"))
    project = Project().override("train", candidates=("boosting",), folds=2, budget="10s")
    table = read_table(bad, "paid", project=project, name="loans")
    model = train(table, project=project)
    bundle = package(model, evaluate(model, table.holdout), directory=tmp_path)
    rules = {k: EVERY[k] for k in ("slice", "slice_gap", "slices", "slice_drop", "no_worse_than")}
    project = gates(**{**rules, "slices": ("region",)})
    verdict = accept(bundle, good.new, project, champion=good.bundle.path)
    found = {check.name: check for check in verdict.checks}
    for name in ("slice.region.accuracy", "slice_gap.accuracy", "slice_drop.accuracy"):
        assert found[name].outcome == "fail", name
        assert "region = north" in found[name].reason
    assert found["no_worse_than.roc_auc"].outcome == "fail"
    assert verdict.report is not None
    assert any("region = north" in entry.conditions for entry in verdict.report.found)


def test_a_model_without_its_best_column_is_stopped_by_the_champion(
    good: Good, tmp_path: Path
) -> None:
    _, poorer = fitted(loans(0).drop("income"), tmp_path)
    project = gates(no_worse_than="champion")
    verdict = accept(poorer, good.new, project, champion=good.bundle.path)
    check = next(c for c in verdict.checks if c.name == "no_worse_than.roc_auc")
    assert check.outcome == "fail"
    assert "worse beyond chance" in check.reason
    better = accept(good.bundle, good.new, project, champion=poorer.path)
    assert outcomes(better)["no_worse_than.roc_auc"] == "pass"


def test_a_swapped_encoding_is_stopped(good: Good, tmp_path: Path) -> None:
    def swap(feature: Any) -> Any:
        if feature.column != "plan":
            return feature
        levels = tuple({"a": "b", "b": "a"}.get(level, level) for level in feature.levels)
        return msgspec.structs.replace(feature, levels=levels)

    plan = good.model.plan
    swapped = msgspec.structs.replace(plan, features=tuple(map(swap, plan.features)))
    model = dataclasses.replace(good.model, plan=swapped)
    bundle = package(model, evaluate(model, model.table.holdout), directory=tmp_path)
    project = gates(accuracy=">= 0.8", no_worse_than="champion")
    verdict = accept(bundle, good.new, project, champion=good.bundle.path)
    assert outcomes(verdict)["accuracy"] == "fail"
    assert outcomes(verdict)["no_worse_than.roc_auc"] == "fail"


def test_other_answers_than_when_it_was_made_are_stopped_by_the_golden_rows(good: Good) -> None:
    class Other(InProcess):
        def answers(self, rows: Sequence[Any]) -> list[dict[str, Any]]:
            found = super().answers(rows)
            found[0]["prediction"] = "yes" if found[0]["prediction"] == "no" else "no"
            return found

    from roadworthy.acceptance.answers import check_golden

    assert check_golden(InProcess(good.bundle), good.bundle).passed
    wrong = check_golden(Other(good.bundle), good.bundle)
    assert wrong.failures == wrong.rows == 50  # each is the first when it is asked alone
    assert wrong.examples[0].before["prediction"] != wrong.examples[0].after["prediction"]


def test_a_slower_a_bigger_and_a_stale_model_are_stopped(good: Good, tmp_path: Path) -> None:
    class Slow(InProcess):
        def milliseconds(self, rows: Sequence[Any]) -> list[float]:
            taken = []
            for _ in rows[:60]:
                start = time.perf_counter()
                time.sleep(0.003)
                taken.append((time.perf_counter() - start) * 1e3)
            return taken

    limits = GatesSection(latency_p99_ms="<= 2", latency_p50_ms="<= 2")
    slow = cost_checks(limits, measure_costs(Slow(good.bundle), good.bundle))
    assert [check.outcome for check in slow] == ["fail", "fail"]
    size = accept(good.bundle).costs["bundle_mb"].value or 0
    assert size > 0.01
    big = accept(good.bundle, None, gates(bundle_mb=f"<= {size / 2}"))
    assert outcomes(big)["bundle_mb"] == "fail"
    old = Path(shutil.copytree(good.bundle.path, tmp_path / "old"))
    manifest = json.loads((old / "manifest.json").read_text())
    manifest["created"] = "2020-01-01T00:00:00+00:00"
    (old / "manifest.json").write_text(json.dumps(manifest))
    stale = accept(Bundle(old), None, gates(age_days="<= 90"))
    assert outcomes(stale)["age_days"] == "fail"
    assert not stale.passed


def test_without_data_the_kept_report_is_what_gates_are_decided_on(good: Good) -> None:
    project = gates(accuracy=">= 0.8", roc_auc=">= 0.99", drift="<= 0.1", no_worse_than="champion")
    verdict = accept(good.bundle, None, project)
    assert outcomes(verdict) == {
        "golden": "pass", "accuracy": "pass", "roc_auc": "fail", "no_worse_than": "pass",
    }  # fmt: skip
    assert verdict.report is not None
    assert verdict.report.rows == 600


def test_data_without_labels_leaves_the_gates_on_quality_undecided(good: Good) -> None:
    verdict = accept(good.bundle, good.new.drop("paid"), gates(accuracy=">= 0.8", drift="<= 0.1"))
    assert outcomes(verdict) == {
        "golden": "pass", "contract": "pass", "drift": "pass", "accuracy": "undecided",
    }  # fmt: skip
    assert verdict.report is None
    assert not verdict.passed


def test_an_absent_column_is_told_and_the_rest_measured(good: Good) -> None:
    verdict = accept(good.bundle, good.new.drop("noise"))
    assert outcomes(verdict)["contract"] == "fail"
    assert verdict.report is not None
    assert (verdict.report.metrics["accuracy"].value or 0) > 0.8


def test_drifted_data_is_stopped_by_the_drift_gate(good: Good) -> None:
    moved = good.new.with_columns(pl.col("income") + 1)
    project = gates(drift="<= 0.1", generalisation_gap={"accuracy": "<= 0.02"})
    verdict = accept(good.bundle, moved.head(800), project, reference=loans(2, 800))
    assert outcomes(verdict)["drift"] == "fail"
    assert outcomes(verdict)["generalisation_gap.accuracy"] == "fail"
    assert verdict.report is not None
    assert verdict.report.shift is not None
    assert next(iter(verdict.report.shift.tellers)) == "income"


def test_guessing_is_a_champion_too(good: Good) -> None:
    verdict = accept(good.bundle, good.new, gates(no_worse_than="baseline"))
    assert outcomes(verdict)["no_worse_than.roc_auc"] == "pass"
    assert verdict.report is not None
    assert verdict.report.comparison is not None
    assert (verdict.report.comparison.metrics["accuracy"].low or 0) > 0.2


def test_expected_predictions_are_met_or_shown(good: Good, tmp_path: Path) -> None:
    rows = [golden.row for golden in good.bundle.golden[:6]]
    answers = good.bundle.predict(rows)
    frame = pl.DataFrame(rows).with_columns(
        prediction=pl.Series([answer["prediction"] for answer in answers]),
        probability_yes=pl.Series([round(a["probabilities"]["yes"], 4) for a in answers]),
    )
    frame.write_csv(tmp_path / "expected.csv")
    met = accept(
        good.bundle, None, gates(expected_tolerance=1e-4), expected=tmp_path / "expected.csv"
    )
    assert outcomes(met)["expected"] == "pass"
    exact = accept(good.bundle, expected=tmp_path / "expected.csv")
    assert outcomes(exact)["expected"] == "fail"
    turned = frame.with_columns(prediction=pl.Series(["yes" if a["prediction"] == "no" else "no"
                                                      for a in answers]))  # fmt: skip
    turned.drop("probability_yes").write_csv(tmp_path / "wrong.csv")
    wrong = accept(good.bundle, expected=tmp_path / "wrong.csv")
    test = next(entry for entry in wrong.tests if entry.name == "expected")
    assert (test.failures, test.rows) == (6, 6)
    assert test.examples[0].before == {"prediction": turned["prediction"][0]}
    frame.drop("prediction", "probability_yes").write_csv(tmp_path / "nothing.csv")
    with pytest.raises(InputError, match="expects nothing"):
        accept(good.bundle, expected=tmp_path / "nothing.csv")


def test_packaging_stops_at_a_gate_and_keeps_the_evidence(good: Good, tmp_path: Path) -> None:
    project = msgspec.structs.replace(gates(accuracy=">= 0.99", bundle_mb="<= 0.001")).override(
        "package", directory=str(tmp_path)
    )
    report = evaluate(good.model, good.model.table.holdout, project)
    with pytest.raises(CheckFailed) as caught:
        package(
            good.model, report, directory=tmp_path, gate=lambda bundle: gate_bundle(bundle, project)
        )
    assert "2 of 3 gates stop the release: accuracy >= 0.99" in caught.value.what
    assert caught.value.exit_code == 1
    evidence = Path(caught.value.where or "")
    assert "Stopped by 2 of 3 gates" in (evidence / "report.html").read_text()
    assert json.loads((evidence / "verdict.json").read_text())["outcome"] == "fail"
    assert not list((tmp_path / "loans").glob("*"))  # no bundle, and no draft of one


def test_a_report_compares_with_a_champion_while_packaging(good: Good) -> None:
    project = gates(no_worse_than="champion")
    held = good.model.table.holdout
    report = evaluate(good.model, held, project, rival=rival(good.bundle.path))
    assert [(check.name, check.outcome) for check in report.checks] == [
        ("no_worse_than.roc_auc", "pass")
    ]


def test_the_python_interface_takes_models_bundles_and_folders(good: Good, tmp_path: Path) -> None:
    good.new.write_csv(tmp_path / "new.csv")
    verdict = rw.test(good.bundle.path, tmp_path / "new.csv")
    assert verdict.passed
    kept, again = rw.test(good.bundle).report, rw.test(good.model, good.model.table.holdout)
    assert kept is not None
    assert (kept.metrics, kept.slices, kept.shift) == (again.metrics, again.slices, again.shift)


def test_a_server_is_asked_the_same_and_a_wrong_one_is_told(
    good: Good, bundles: dict[str, Trained]
) -> None:
    with serving(good.bundle.path) as server:
        address = f"http://127.0.0.1:{server.port}"
        project = gates(behaviour="all", latency_p99_ms="<= 10000")
        verdict = accept(good.bundle, good.new.head(300), project, url=address)
        assert {n: o for n, o in outcomes(verdict).items() if o != "pass"} == {}
        assert outcomes(verdict)["version"] == "pass"
        assert verdict.asked == address
        inside = accept(good.bundle, good.new.head(300), project)
        assert verdict.report is not None
        assert inside.report is not None
        assert verdict.report.metrics == inside.report.metrics
        other = fitted_elsewhere(good)
        wrong = accept(other, url=address)
        assert outcomes(wrong)["version"] == "fail"
        assert outcomes(wrong)["golden"] == "fail"
    with pytest.raises(OutsideError, match="cannot be reached"):
        accept(good.bundle, url=address)
    with pytest.raises(InputError, match="no address"):
        OverHttp("localhost:8080")


def test_beside_a_canary_each_version_is_asked_at_its_own_address(
    good: Good, tmp_path: Path
) -> None:
    other = fitted_elsewhere(good)
    write_up = f"[serve]\ncanary = '{other.path}'\ncanary_percent = 50\n"
    (tmp_path / "both.toml").write_text(write_up)
    with serving(good.bundle.path, "--project", str(tmp_path / "both.toml")) as server:
        address = f"http://127.0.0.1:{server.port}"
        for bundle in (good.bundle, other):
            for url in (address, f"{address}/predict", f"{address}/models/{bundle.manifest.name}"):
                found = outcomes(accept(bundle, url=url))
                assert (found["version"], found["golden"]) == ("pass", "pass")


def test_a_server_that_takes_few_rows_is_asked_for_few(good: Good, tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text("[serve]\nmax_rows = 7\n")
    with serving(good.bundle.path, "--project", str(tmp_path / "small.toml")) as server:
        subject = OverHttp(f"http://127.0.0.1:{server.port}")
        rows = [golden.row for golden in good.bundle.golden]
        answers = subject.answers(rows)
        assert [a["prediction"] for a in answers] == [
            g.expected["prediction"] for g in good.bundle.golden
        ]


def test_texts_dates_and_flags_are_tested_too(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    words = [
        " ".join(random.choice(["good", "bad", "slow", "kind", "late"], 4)) for _ in range(600)
    ]
    frame = pl.DataFrame(
        {
            "review": [f"{line} {number}" for number, line in enumerate(words)],
            "day": pl.datetime_range(pl.datetime(2024, 1, 1), pl.datetime(2024, 1, 25, 23), "1h",
                                     eager=True)[:600],
            "member": random.random(600) < 0.5,
            "y": ["up" if line.count("good") > line.count("bad") else "down" for line in words],
        }
    )  # fmt: skip
    data = {"split": "random", "columns": {"review": {"kind": "text"}}}
    project = QUICK.override("data", **data).override("behaviour", invariant=["review", "day"])
    table = read_table(frame, "y", project=project, name="reviews")
    assert "text" in {column.kind for column in table.contract.columns}
    model = train(table, project=project)
    bundle = package(model, evaluate(model, table.holdout, project), directory=tmp_path)
    verdict = accept(bundle, frame, project, reference=frame.head(300))
    assert verdict.report is not None
    assert verdict.report.shift is not None
    assert verdict.report.shift.adversarial is not None
    failed = {entry.name for entry in verdict.tests if not entry.passed}
    assert failed <= {"review swapped", "day swapped"}
    assert "review swapped" in failed


def test_a_threshold_counts_in_every_number(tmp_path: Path) -> None:
    project = QUICK.override("train", decision={"threshold": 0.15})
    table = read_table(loans(3, 1200), "paid", project=project, name="loans")
    model = train(table, project=project)
    report = evaluate(model, table.holdout)
    bundle = package(model, report, directory=tmp_path)
    verdict = accept(bundle, loans(4, 500))
    given = [a["prediction"] for a in bundle.predict(loans(4, 500).to_dicts())]
    truth = loans(4, 500)["paid"].to_list()
    right = sum(a == b for a, b in zip(given, truth, strict=True)) / 500
    assert verdict.report is not None
    assert verdict.report.metrics["accuracy"].value == pytest.approx(right)
    yes = next(entry for entry in report.classes if entry.name == "yes")
    assert (yes.recall.value or 0) > 0.95


def fitted_elsewhere(good: Good) -> Bundle:
    return fitted(loans(7), good.folder)[1]


def test_a_regression_and_many_classes_are_accepted_too(bundles: dict[str, Trained]) -> None:
    for name in ("regression", "multiclass"):
        trained = bundles[name]
        verdict = accept(trained.bundle, None, gates(behaviour="all"))
        assert outcomes(verdict)["golden"] == "pass"
        held = trained.table.holdout.frame
        target = trained.table.target
        labels = pl.Series(target, trained.table.holdout.labels)
        if trained.table.classes:
            classes = pl.Series(list(trained.table.classes))
            labels = classes.gather(labels.cast(pl.Int64)).alias(target)
        again = accept(trained.bundle, held.with_columns(labels))
        assert again.report is not None
        assert verdict.report is not None
        for metric, estimate in verdict.report.metrics.items():
            if estimate.value is not None:
                found = again.report.metrics[metric].value
                assert found == pytest.approx(estimate.value, rel=1e-6), metric


def test_quantiles_have_the_intervals_of_their_order_statistics() -> None:
    held = 0
    for seed in range(200):
        values = np.sort(np.random.default_rng(seed).exponential(size=400))
        found = quantile_estimate(values, 0.5)
        held += (found.low or 0) <= np.log(2) <= (found.high or 0)
    assert 182 <= held <= 199
    assert quantile_estimate(np.arange(10.0), 0.99).high == 9.0


def test_age_is_told_in_days() -> None:
    import datetime

    now = datetime.datetime(2024, 3, 1, tzinfo=datetime.UTC)
    assert age_days("2024-02-28T00:00:00+00:00", now) == 2.0
    assert age_days("2024-03-02T00:00:00+00:00", now) == 0.0
    assert Estimate(2.0).error is None
