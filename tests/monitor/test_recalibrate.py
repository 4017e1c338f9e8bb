"""Recalibrating: the same core with one calibration more, which every way of asking it has."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import polars as pl
import pytest
from benchmarks.incidents import incidents, make_bundle, play
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from roadworthy.bundle import Bundle
from roadworthy.bundle.core.calibration import recalibrated_core
from roadworthy.bundle.write import package
from roadworthy.cli import app
from roadworthy.cli.advise import Looked, look_at
from roadworthy.errors import InputError
from roadworthy.evaluate import test as evaluate
from roadworthy.monitor.feedback import Outcomes
from roadworthy.monitor.inspection import inspect
from roadworthy.monitor.measures import PREDICTION
from roadworthy.monitor.predictions import Predictions
from roadworthy.monitor.recalibrate import recalibrate
from roadworthy.monitor.recalibration import fit_recalibration
from roadworthy.prepare.columns import encode_columns
from roadworthy.project import Project, load_project
from roadworthy.registry.opening import open_registry
from roadworthy.table import read_table
from roadworthy.train import train
from tests.conftest import Trained, serving, train_example
from tests.monitor.production import leave

_START = 1_770_000_000.0


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("champion"))


@pytest.fixture(scope="module")
def late(champion: Bundle) -> Outcomes:
    """Everybody pays late more often: probabilities in the right order, and too small."""
    (incident,) = [
        each for each in incidents() if each.name == "log-odds of paying late +1.6 for all"
    ]
    moved = play(incident, champion, champion)[0]
    return moved.take(moved.predictions.times >= np.quantile(moved.predictions.times, 0.65))


def project(folder: Path, **monitor: object) -> Project:
    return (
        Project()
        .override("package", directory=str(folder / "bundles"))
        .override("registry", url=f"sqlite:///{folder / 'r.db'}", store=str(folder / "blobs"))
        .override("monitor", labels=f"sqlite:///{folder / 'labels.db'}", **monitor)
    )


def answers(bundle: Bundle, frame: pl.DataFrame) -> np.ndarray:
    return bundle.engine.run_many(encode_columns(frame, bundle.plan))


def produced(trained: Trained, labels: Any) -> Outcomes:
    """A bundle's answers to its table's rows over forty days, and what came true of them."""
    bundle, frame = (
        trained.bundle,
        trained.table.frame.select(trained.bundle.contract.names).tail(900),
    )
    rows = frame.height
    times = _START + np.linspace(0, 40 * 86400, rows)
    keys = pl.DataFrame(
        {
            "request_id": [f"r{row}" for row in range(rows)], "row": np.zeros(rows, np.int64),
            "version": [bundle.version] * rows, "time": times,
        }
    )  # fmt: skip
    scores = answers(bundle, frame)
    made = Predictions(bundle.contract, keys, frame, scores)
    return Outcomes(made, labels(scores), times + 3600)


def test_two_classes_recalibrated_and_recalibrated_again(
    champion: Bundle, late: Outcomes, tmp_path: Path
) -> None:
    made = recalibrate(champion, late, project(tmp_path, retrain_promote="yes"))
    assert made.verdict.outcome == "pass"
    assert made.promoted
    assert made.verdict.report is not None
    assert made.verdict.report.comparison.metrics["log_loss"].low > 0
    bundle = Bundle(made.challenger.path)
    bundle.check_golden()
    frame = late.predictions.inputs
    labelled = np.flatnonzero(late.known)[: made.learned]
    old = answers(champion, frame)
    fitted = fit_recalibration(old[labelled], late.labels[labelled])
    wanted = fitted.apply(old)
    assert np.allclose(answers(bundle, frame), wanted, rtol=0, atol=1e-12)
    order = np.argsort(old[:, 1])
    assert (np.diff(answers(bundle, frame)[order, 1]) >= 0).all()
    rows = json.loads(frame.head(5).write_json())
    given = [answer["probabilities"]["yes"] for answer in bundle.predict(rows)]
    assert np.allclose(given, wanted[:5, 1])
    assert "portable.onnx" in bundle.manifest.files
    trees = [
        [node.SerializeToString() for node in onnx.load_from_string(core).graph.node
         if node.op_type == "TreeEnsemble"] for core in (champion.core, bundle.core)
    ]  # fmt: skip
    assert len(trees[0]) == len(trees[1])
    assert bundle.manifest.lineage["kind"] == "recalibrated"
    assert bundle.manifest.lineage["parent"] == champion.version
    assert "Recalibrated (beta calibration)" in (bundle.path / "card.md").read_text()
    with open_registry(project(tmp_path)) as registry:
        (version,) = registry.versions("loans")
        assert version.tags["kind"] == "recalibrated"
    again = recalibrate(bundle, late, project(tmp_path))
    twice = answers(Bundle(again.challenger.path), frame)
    assert again.challenger.version != bundle.version
    assert np.abs(twice - wanted).max() < 0.02  # there is little left to put right


def test_several_classes_and_numbers_with_their_interval_and_skops(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    random = np.random.default_rng(0)

    def drawn(scores: np.ndarray) -> np.ndarray:
        true = np.sqrt(scores) * np.array([3.0] + [1.0] * (scores.shape[1] - 1))
        true /= true.sum(axis=1, keepdims=True)
        return (random.random(len(true))[:, None] > true.cumsum(axis=1)[:, :-1]).sum(axis=1) * 1.0

    several = next(each for each in bundles.values() if each.table.task == "multiclass")
    outcomes = produced(several, drawn)
    made = recalibrate(several.bundle, outcomes, project(tmp_path))
    assert made.verdict.report.comparison.metrics["log_loss"].low > 0
    old = outcomes.predictions.scores
    fitted = fit_recalibration(old[: made.learned], outcomes.labels[: made.learned])
    got = answers(made.challenger, outcomes.predictions.inputs)
    assert np.allclose(got, fitted.apply(old), rtol=0, atol=1e-12)

    made_of = train_example(
        tmp_path, "hotel_rates.csv.gz", "avg_price_per_room", "linear", 1200,
        train={"interval": 0.8, "budget": "2s"},
    )  # fmt: skip
    report = evaluate(made_of.model, made_of.table.holdout)
    numbers = made_of._replace(
        bundle=package(made_of.model, report, formats=("onnx", "skops"), directory=tmp_path / "s")
    )
    outcomes = produced(
        numbers, lambda scores: 40 + 0.5 * scores + random.normal(0, 5, len(scores))
    )
    made = recalibrate(numbers.bundle, outcomes, project(tmp_path))
    assert made.verdict.outcome == "pass"
    got = answers(made.challenger, outcomes.predictions.inputs)
    old = outcomes.predictions.scores
    assert np.abs(got - (40 + 0.5 * old)).max() < 0.02 * np.ptp(old)
    low, high = made.challenger.contract.target.interval.around_many(got)
    held = (low <= outcomes.labels) & (outcomes.labels <= high)
    assert 0.76 < held.mean() < 0.84
    assert np.median(high - low) < 20
    opened = made.challenger.estimator("skops")
    rows = outcomes.predictions.inputs.head(50)
    assert np.allclose(opened.predict(rows), got[:50])


def test_days_of_the_reference_keep_their_columns_and_get_the_answers_of_now(
    tmp_path: Path,
) -> None:
    random = np.random.default_rng(1)
    rows, days = 2000, 40
    start = datetime.datetime(2025, 12, 1, tzinfo=datetime.UTC)
    x = random.normal(size=rows)
    frame = pl.DataFrame(
        {
            "at": [start + datetime.timedelta(days=days * row / rows) for row in range(rows)],
            "x": x,
            "y": np.where(x + random.normal(size=rows) > 0, "yes", "no"),
        }
    )
    options = Project().override("data", time="at").override("train", candidates=("linear",))
    table = read_table(frame, "y", project=options, name="days")
    model = train(table, project=options)
    champion = package(model, evaluate(model, table.holdout), directory=tmp_path / "first")
    known = champion.reference.day_cells
    assert len(known) > 14

    served = pl.DataFrame(
        {"at": [start + datetime.timedelta(days=80 + row / 25) for row in range(1000)],
         "x": random.normal(size=1000)}
    )  # fmt: skip
    served = served.select(champion.contract.names)
    times = np.array([(start.timestamp() + (80 + row / 25) * 86400) for row in range(1000)])
    keys = pl.DataFrame(
        {
            "request_id": [f"r{row}" for row in range(1000)], "row": np.zeros(1000, np.int64),
            "version": [champion.version] * 1000, "time": times,
        }
    )  # fmt: skip
    old = answers(champion, served)
    odds = np.log(old[:, 1] / old[:, 0]) + 1.5
    labels = (random.random(1000) < 1 / (1 + np.exp(-odds))) * 1.0
    outcomes = Outcomes(Predictions(champion.contract, keys, served, old), labels, times + 3600)
    made = recalibrate(champion, outcomes, project(tmp_path)).challenger

    layout, cells = made.reference.layout, made.reference.day_cells
    scores = answers(made, served)
    for day, before in known.items():
        columns = slice(layout.latencies.stop, layout.class_start)
        assert (cells[day][columns] == before[columns]).all()
        assert layout.service(cells[day], "rows") == layout.service(before, "rows")
        assert layout.service(cells[day], "scored") == 0  # nothing is known of its answers
        assert not cells[day][layout.class_start :].any()
    lately = {day: one for day, one in cells.items() if day not in known}
    assert len(lately) == 40
    said = sum(layout.class_counts(one) for one in lately.values())
    assert said.tolist() == np.bincount(scores.argmax(axis=1), minlength=2).tolist()
    assert layout.class_counts(made.reference.cells).tolist() == said.tolist()


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(0, 1), min_size=20, max_size=60),
    st.integers(0, 2**32 - 1),
    st.floats(-4, 4),
)
def test_a_calibration_of_two_classes_keeps_their_order(
    claimed: list[float], seed: int, turn: float
) -> None:
    scores = np.array(claimed)
    odds = turn * (scores - 0.5)
    labels = (np.random.default_rng(seed).random(len(scores)) < 1 / (1 + np.exp(-odds))) * 1.0
    fitted = fit_recalibration(np.column_stack([1 - scores, scores]), labels)
    line = np.linspace(0, 1, 201)
    after = fitted.apply(np.column_stack([1 - line, line]))[:, 1]
    assert (np.diff(after) >= 0).all()
    assert (np.diff(answers_of_core(fitted, line)) >= 0).all()
    assert np.allclose(answers_of_core(fitted, line), after, rtol=0, atol=1e-12)


def answers_of_core(calibration: Any, second: np.ndarray) -> np.ndarray:
    """What the exported nodes make of the second class's probabilities."""
    import onnxruntime

    from roadworthy.bundle.core.graph import INPUT, Graph

    graph = Graph()
    plain = graph.finish(graph.add("Identity", INPUT), 1, 1)
    core = recalibrated_core(plain, 1, calibration)
    session = onnxruntime.InferenceSession(core, providers=["CPUExecutionProvider"])
    return session.run(None, {INPUT: second[:, None]})[0][:, 0]


def test_labels_that_cannot_say_are_refused(
    champion: Bundle, late: Outcomes, tmp_path: Path
) -> None:
    few = late.take(np.arange(len(late)) < 120)
    with pytest.raises(InputError, match="too few"):
        recalibrate(champion, few, project(tmp_path))
    one = Outcomes(late.predictions, np.zeros(len(late)), late.label_times)
    with pytest.raises(InputError, match=r"0 of .* labels say 'yes'"):
        recalibrate(champion, one, project(tmp_path))
    turned = Outcomes(
        late.predictions, (late.predictions.scores[:, 1] < 0.1) * 1.0, late.label_times
    )
    with pytest.raises(InputError, match="order"):
        recalibrate(champion, turned, project(tmp_path))


def test_the_verb_does_what_is_advised_and_a_server_answers_as_the_new_core(
    champion: Bundle, late: Outcomes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(tmp_path, champion, late)
    (tmp_path / "roadworthy.toml").write_text(
        "[project]\nname = 'loans'\n[serve]\nlog_folder = 'log'\n"
        "[monitor]\nlabel_delay_days = 0\ncounts = 'counts'\n"
    )
    monkeypatch.chdir(tmp_path)
    run, model = CliRunner(), ["--model", str(champion.path)]
    ran = run.invoke(app, ["retrain", *model, "--recalibrate", "--threshold", "0.3"])
    assert isinstance(ran.exception, InputError)
    assert "--recalibrate, --threshold" in str(ran.exception)
    actions = json.loads(run.invoke(app, ["advise", *model, "--json"]).output)["actions"]
    (advised,) = [each for each in actions if each["kind"] == "recalibrate"]
    assert "--recalibrate" in advised["command"]

    def since_yesterday(*given: Any) -> Looked:
        looked = look_at(*given)
        late = [msgspec.structs.replace(each, since="2099-01-01") for each in looked.actions]
        return looked._replace(actions=tuple(late))

    with monkeypatch.context() as patch:  # labels of what changed a moment ago come later
        patch.setattr("roadworthy.cli.retrain.look_at", since_yesterday)
        ran = run.invoke(app, ["retrain", *model, "--if-advised", "--json"])
    assert ran.exit_code == 0, ran.output
    said = json.loads(ran.output)
    assert said["challenger"] is None
    assert said["advice"].startswith("wait for labels since 2099-01-01: 0 labelled rows")
    ran = run.invoke(app, ["retrain", *model, "--if-advised", "--json"])
    assert ran.exit_code == 0, ran.output
    name = json.loads(ran.output)["challenger"]
    (path,) = (tmp_path / "bundles" / "loans").iterdir()
    made = Bundle(path)
    assert name == f"loans:{made.manifest.short_version}"
    rows = json.loads(late.predictions.inputs.tail(300).write_json())
    with serving(path, cwd=tmp_path) as server:
        status, said = server.predict(rows)
    assert status == 200
    shares = [answer["probabilities"]["yes"] for answer in said["predictions"]]
    assert np.allclose(shares, made.scores(rows)[:, 1], rtol=0, atol=1e-12)
    told = inspect(made, load_project(None, None).monitor)
    assert told.history.rows >= 300
    assert PREDICTION not in [each.subject for each in told.findings]
