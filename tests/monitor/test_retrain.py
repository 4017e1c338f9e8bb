"""From production back to a new version: advice, metrics, a challenger that earns its way."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from benchmarks.incident_worlds import make_bundle
from benchmarks.incidents import incidents, play
from typer.testing import CliRunner

from roadworthy.bundle import Bundle
from roadworthy.cli import app
from roadworthy.errors import InputError
from roadworthy.monitor.feedback import Outcomes
from roadworthy.monitor.retrain import move_threshold, retrain, split_rows
from roadworthy.project import Project
from roadworthy.registry.opening import open_registry
from tests.monitor.production import leave


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("champion"))


@pytest.fixture(scope="module")
def turned(champion: Bundle) -> Outcomes:
    (incident,) = [each for each in incidents() if each.name == "debt helps now"]
    return play(incident, champion, champion)[0]


def project(folder: Path, **monitor: object) -> Project:
    return (
        Project()
        .override("train", candidates=("boosting",), budget="15s", folds=2)
        .override("package", directory=str(folder / "bundles"))
        .override("registry", url=f"sqlite:///{folder / 'r.db'}", store=str(folder / "blobs"))
        .override("monitor", labels=f"sqlite:///{folder / 'labels.db'}", **monitor)
    )


def test_a_challenger_learns_the_new_relation_and_takes_the_place_only_when_that_is_asked_for(
    champion: Bundle, turned: Outcomes, tmp_path: Path
) -> None:
    since = turned.predictions.times >= np.quantile(turned.predictions.times, 0.65)
    recent = turned.take(since)
    wanted = project(tmp_path, retrain_promote="yes")
    made = retrain(champion, recent, wanted, old=False)
    assert made.verdict.outcome == "pass"
    assert made.promoted
    assert made.verdict.report is not None
    gain = made.verdict.report.comparison.metrics["log_loss"]
    assert gain.low > 0
    assert made.learned + made.tested == int(recent.known.sum())
    with open_registry(wanted) as registry:
        (version,) = registry.versions("loans")
        assert "champion" in version.aliases
        assert version.tags["champion"] == champion.version[:12]
    waiting = project(tmp_path / "second", retrain_promote="canary")
    again = retrain(champion, recent, waiting, old=False)
    assert not again.promoted
    assert again.proposal[0].startswith("[serve] canary = ")
    with open_registry(waiting) as registry:
        assert [version.aliases for version in registry.versions("loans")] == [()]


def test_a_challenger_that_is_no_better_goes_nowhere(champion: Bundle, tmp_path: Path) -> None:
    (incident,) = [each for each in incidents() if each.name == "nothing, 0"]
    quiet = play(dataclasses.replace(incident, rows=1200), champion, champion)[0]
    made = retrain(champion, quiet, project(tmp_path, retrain_promote="yes"), old=False)
    assert made.verdict.outcome == "fail"
    assert not made.promoted
    assert made.proposal[0].startswith("keep the champion")


def test_old_rows_are_added_and_the_newest_are_kept_apart(
    champion: Bundle, turned: Outcomes, tmp_path: Path
) -> None:
    parts = split_rows(turned, None, None, 0.3)
    old = tmp_path / "old.csv"
    parts.learn.head(400).with_columns(pl.lit("x").alias("note")).write_csv(old)
    wanted = project(tmp_path).override("data", path=str(old))
    made = retrain(champion, turned, wanted)
    assert made.learned == 400 + parts.learn.height
    assert made.new == parts.learn.height
    assert made.tested == parts.test.height


def test_a_moved_threshold_is_a_version_of_its_own_with_papers_that_say_so(
    champion: Bundle, tmp_path: Path
) -> None:
    (incident,) = [
        each for each in incidents() if each.name == "log-odds of paying late +1.6 for all"
    ]
    moved = play(incident, champion, champion)[0]
    recent = moved.take(moved.predictions.times >= np.quantile(moved.predictions.times, 0.65))
    made = move_threshold(champion, recent, 0.2, project(tmp_path, retrain_promote="yes"))
    assert made.verdict.outcome == "pass"
    assert made.promoted
    assert made.challenger.version != champion.version
    assert made.challenger.contract.target.threshold == 0.2
    made.challenger.check_golden()
    rows = recent.predictions.inputs.head(200)
    before, after = champion.predict(rows), made.challenger.predict(rows)
    assert (before["probability_yes"] == after["probability_yes"]).all()
    assert ((after["prediction"] == "yes") == (after["probability_yes"] >= 0.2)).all()
    assert made.challenger.report["policy"] == "new data"
    with pytest.raises(InputError, match="threshold"):
        move_threshold(champion, recent, 1.5, project(tmp_path))


def test_too_few_labels_and_redacted_columns_say_so(
    champion: Bundle, turned: Outcomes, tmp_path: Path
) -> None:
    few = turned.take(np.arange(len(turned)) < 120)
    with pytest.raises(InputError, match="too few"):
        retrain(champion, few, project(tmp_path))
    inputs = turned.predictions.inputs.with_columns(pl.lit(None, pl.Float64).alias("income"))
    hidden = dataclasses.replace(
        turned, predictions=dataclasses.replace(turned.predictions, inputs=inputs)
    )
    with pytest.raises(InputError, match="'income'"):
        retrain(champion, hidden, project(tmp_path))


@pytest.fixture
def production(champion: Bundle, turned: Outcomes, tmp_path: Path) -> Path:
    """A folder as a server leaves it: a log, labels, a project file."""
    leave(tmp_path, champion, turned)
    (tmp_path / "roadworthy.toml").write_text(
        "[project]\nname = 'loans'\n[serve]\nlog_folder = 'log'\n[monitor]\nlabel_delay_days = 0\n"
        "[monitor.alarms.cpu]\non = false\n"
    )
    return tmp_path


def test_the_verbs_say_what_to_do_export_it_and_tell_it_once(
    champion: Bundle, production: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(production)
    run, model = CliRunner(), ["--model", str(champion.path), "--since", "2026-02-10"]
    ran = run.invoke(app, ["advise", *model, "--json"])
    assert ran.exit_code == 0, ran.output
    (first, *_) = json.loads(ran.output)["actions"]
    assert first["kind"] == "retrain"
    assert first["gain"]["low"] > 0
    assert "roadworthy retrain" in run.invoke(app, ["advise", *model]).output
    ran = run.invoke(app, ["monitor", "export", *model])
    assert 'roadworthy_findings{kind="concept_drift",model="loans"' in ran.output
    assert 'roadworthy_quality{metric="accuracy",model="loans",part="low"}' in ran.output
    ran = run.invoke(app, ["monitor", "export", *model, "--format", "embedded"])
    assert all("_aws" in json.loads(line) for line in ran.output.splitlines())
    first_look, second_look = (
        json.loads(run.invoke(app, ["monitor", "alarms", *model, "--json"]).output)["notices"]
        for _ in range(2)
    )
    assert "concept_drift: prediction" in [notice["key"] for notice in first_look]
    assert {n["key"] for n in first_look}.isdisjoint(n["key"] for n in second_look)
    for place in ("prometheus", "cloudwatch", "azure", "google"):
        ran = run.invoke(app, ["monitor", "alarms", "--to", place, "--out", place])
        assert ran.exit_code == 0, ran.output
        assert list((production / place).iterdir())
    with pytest.raises(InputError, match="no place for alarms"):
        app(["monitor", "alarms", "--to", "pager"], standalone_mode=False)
