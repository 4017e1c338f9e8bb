"""Labels that are wrong themselves are told of: unknown, late, missing, from a wrong clock."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from roadworthy.monitor.feedback import Outcomes, join, label_findings
from roadworthy.monitor.findings import Finding
from roadworthy.monitor.quality import quality
from roadworthy.serve.prediction_log import Logged, read_newest
from tests.conftest import Trained
from tests.monitor.made import BINARY, DAY, outcomes
from tests.monitor.test_report import Page, report, run, serve


def told(found: Outcomes, delay_days: float | None = None) -> list[Finding]:
    return [each for each in label_findings(found, delay_days) if each.severity != "info"]


def test_labels_that_come_as_they_should_are_not_told_of() -> None:
    assert label_findings(outcomes(BINARY, 400, 1)) == []
    assert label_findings(outcomes(BINARY, 400, 1), 1.0) == []
    empty = outcomes(BINARY, 10, 1)
    assert label_findings(empty.take(np.zeros(10, dtype=bool))) == []


def test_labels_of_unknown_requests_are_counted() -> None:
    base = outcomes(BINARY, 400, 1)
    (few,) = label_findings(dataclasses.replace(base, unknown_ids=3))
    assert few.severity == "info"
    (many,) = told(dataclasses.replace(base, unknown_ids=100))
    assert many.evidence == {"labels": 100, "share": 0.2}


def test_labels_later_than_was_said_are_told_of() -> None:
    base = outcomes(BINARY, 400, 1)
    late = dataclasses.replace(base, label_times=base.predictions.times + 9 * DAY)
    (finding,) = told(late, 3.0)
    assert "came later than label_delay_days (3)" in finding.what


def test_labels_that_stop_coming_are_told_of_since_when() -> None:
    base = outcomes(BINARY, 400, 1)
    labels = base.labels.copy()
    labels[220:] = np.nan
    (finding,) = told(dataclasses.replace(base, labels=labels), 0.1)
    assert finding.since is not None
    assert finding.evidence["before"] == pytest.approx(1.0, abs=0.1)


def test_labels_older_than_their_predictions_are_a_wrong_clock() -> None:
    base = outcomes(BINARY, 400, 1)
    times = base.label_times.copy()
    times[:5] -= 40 * DAY
    (finding,) = told(dataclasses.replace(base, label_times=times))
    assert finding.evidence["labels"] == 5
    assert "clock" in finding.fix


def test_labels_of_a_clock_that_is_ahead_are_told_of_and_make_nothing_old_enough(
    tmp_path: Path,
) -> None:
    made = outcomes(BINARY, 400, 1)
    logged = made.predictions
    now = float(logged.times.max())
    classes = logged.contract.target.class_names
    labels = logged.keys.select("request_id", "row").with_columns(
        label=pl.Series([json.dumps(classes[int(code)]) for code in made.labels]),
        label_time=pl.Series(logged.times + 3600.0).scatter(list(range(60)), now + 9e8),
        received=pl.Series(logged.times + 3600.0),
    )
    found = join(logged, labels)
    (finding,) = told(found)
    assert finding.evidence == {"labels": 60}
    assert "clock" in finding.fix
    assert found.delay() == pytest.approx(3600.0)
    assert quality(found).delay_days == pytest.approx(1 / 24)


def test_predictions_of_a_clock_that_is_ahead_are_told_of() -> None:
    found = outcomes(BINARY, 400, 9)
    newest = float(found.predictions.times.max())
    assert label_findings(found, now=newest) == []
    (told,) = label_findings(found, now=newest - 7 * DAY)
    assert (told.kind, told.subject) == ("store", "rows")
    assert told.evidence["latest_seconds"] == pytest.approx(7 * DAY)
    assert told.evidence["rows"] == (found.predictions.times > newest - 7 * DAY + 60).sum()


def test_predictions_of_a_clock_that_is_ahead_make_no_others_old_enough() -> None:
    made = outcomes(BINARY, 400, 1)
    times = made.predictions.times + time.time() - made.predictions.times.max()
    times[:10] += 9e8
    keys = made.predictions.keys.with_columns(time=pl.Series(times))
    predictions = dataclasses.replace(made.predictions, keys=keys)
    moved = dataclasses.replace(made, predictions=predictions, label_times=times)
    counted = moved.take(times <= np.delete(times, range(10)).max() - 5 * DAY).scored()
    right = float((counted.predicted == counted.codes).mean())
    assert len(counted) < 350
    assert quality(moved, delay_days=5.0).metrics["accuracy"].value == pytest.approx(right)


def log_of(trained: Trained, folder: Path, days: int = 20, rows: int = 40) -> float:
    """A log of rows of the table on the last days, with labels for all but the newest."""
    bundle, frame = trained.bundle, trained.table.frame
    names, start = bundle.contract.target.class_names, time.time() - days * DAY
    folder.mkdir()
    labels = []
    for day in range(days):
        part = frame.sample(rows, seed=day).select(bundle.contract.names)
        lines = []
        for place, row in enumerate(part.iter_rows(named=True)):
            shares = {name: float(place % 2 == number) for number, name in enumerate(names)}
            moment, request_id = start + day * DAY + place, f"{day}-{place}"
            lines.append(
                msgspec.json.encode(
                    Logged(
                        moment, request_id, 0, bundle.manifest.name, bundle.version,
                        msgspec.to_builtins(row), names[place % 2], shares,
                    )
                )
            )  # fmt: skip
            labels.append((request_id, names[place % 2], moment + 60))
        (folder / f"adult.{day:03}.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    text = "".join(f"{i},{label},{moment}\n" for i, label, moment in labels)
    (folder.parent / "labels.csv").write_text(f"request_id,label,time\nnobody,{names[0]},1\n{text}")
    return start


def test_the_report_tells_quality_and_labels_beside_the_counts(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    trained = bundles["binary"]
    serve(trained, tmp_path / "counts", 3)
    log_of(trained, tmp_path / "log")
    file = tmp_path / "roadworthy.toml"
    file.write_text(
        f"[serve]\nlog_folder = {json.dumps(str(tmp_path / 'log'))}\n"
        f"[monitor]\nlabels = 'sqlite:///{tmp_path / 'labels.db'}'\n"
        f"alarm_state = {json.dumps(str(tmp_path / 'alarms.json'))}\n"
    )
    labels = tmp_path / "labels.csv"
    words = ("--label", "label", "--project", file)
    assert run("feedback", labels, *words)[0] == 0
    page = tmp_path / "page.html"
    store = tmp_path / "counts"
    code, text = report(trained, store, "--project", file, "--html", page, "--json")
    assert code == 0
    found = json.loads(text)
    assert found["labelled"] > 100
    assert found["quality"]["metrics"]["accuracy"]["value"] == 1.0
    kinds = {(one["kind"], one["subject"]) for one in found["findings"]}
    assert ("labels", "label") in kinds
    assert found["actions"]
    assert "What to do" in page.read_text()
    drawn = page.read_text()
    Page(drawn)  # every tag closes
    for title in (
        "accuracy over time",
        "mean probability less what came true over time",
        "accuracy by version",
        "accuracy by slice",
    ):
        assert f'aria-label="{title}' in drawn
    text = report(trained, store, "--project", file)[1]
    assert "accuracy by labels 1" in text


def test_a_log_or_store_of_labels_that_is_broken_is_a_finding(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    trained = bundles["binary"]
    serve(trained, tmp_path / "counts", 2)
    log = tmp_path / "log"
    log.mkdir()
    (log / "torn.jsonl").write_bytes(b"{torn\n")
    (tmp_path / "alarms.json").write_text("{torn")
    file = tmp_path / "roadworthy.toml"
    file.write_text(f"[monitor]\nalarm_state = {json.dumps(str(tmp_path / 'alarms.json'))}\n")
    store = tmp_path / "counts"
    code, text = report(trained, store, "--log", log, "--json", "--project", file)
    assert code == 0
    whats = [one["what"] for one in json.loads(text)["findings"] if one["kind"] == "store"]
    assert any("prediction log" in what for what in whats)
    assert any("state of alarms" in what for what in whats)


def test_old_segments_are_not_opened_when_newer_ones_are_enough(tmp_path: Path) -> None:
    import os

    for place in range(5):
        entry = Logged(100.0 * place, "r", place, "m", "v", {}, 1.0)
        path = tmp_path / f"m.{place}.jsonl"
        path.write_bytes(msgspec.json.encode(entry) + b"\n")
        os.utime(path, (100.0 * place, 100.0 * place))
    (tmp_path / "m.0.jsonl").write_bytes(b"{torn\n")
    os.utime(tmp_path / "m.0.jsonl", (0.0, 0.0))
    assert [each.row for each in read_newest(tmp_path, 2, lambda _: True)] == [3, 4]
    assert [each.row for each in read_newest(tmp_path, 9, lambda _: True, 150.0)] == [2, 3, 4]
    assert [each.row for each in read_newest(tmp_path, 1, lambda each: each.row < 3, 50.0)] == [2]
