"""How much of what was counted the prediction log holds, and that the report says so."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.bundle.frames import json_rows
from roadworthy.monitor.coverage import Coverage, coverage_findings, log_coverage
from roadworthy.monitor.history import History, moment
from roadworthy.monitor.predictions import MOST, Predictions
from roadworthy.observe.counts import Counts
from roadworthy.prepare.columns import encode_columns
from roadworthy.serve.prediction_log import Logged
from tests.conftest import Trained
from tests.monitor.test_report import run, serve

NOW = 480_000


def history(bundles: dict[str, Trained], rows: dict[int, int]) -> History:
    reference = bundles["binary"].bundle.reference
    hours = {}
    for hour, count in sorted(rows.items()):
        cells = np.zeros(reference.layout.size, np.int64)
        cells[0] = count
        hours[hour] = Counts(cells, Counts.empty(1).sketch)
    return History(reference, hours, NOW)


def logged(bundles: dict[str, Trained], rows: dict[int, int]) -> Predictions:
    times = [3600.0 * hour + n for hour, count in rows.items() for n in range(count)]
    keys = pl.DataFrame(
        {"request_id": [str(n) for n in range(len(times))], "row": 0, "version": "v", "time": times}
    )
    contract = bundles["binary"].bundle.contract
    return Predictions(contract, keys, pl.DataFrame(), np.zeros((len(times), 2)))


def test_rows_are_compared_in_the_hours_of_which_both_speak(bundles: dict[str, Trained]) -> None:
    counted = history(bundles, {NOW - 9: 70, NOW - 5: 100, NOW - 4: 100, NOW: 100})
    found = log_coverage(logged(bundles, {NOW - 5: 30, NOW - 4: 90, NOW: 10}), counted)
    assert found == Coverage(90, 0, 100, moment(NOW - 4))  # the log began within the hour before
    whole = log_coverage(logged(bundles, {NOW - 9: 70, NOW - 5: 100, NOW - 4: 90}), counted)
    assert whole == Coverage(260, 0, 270, moment(NOW - 9))
    begun = log_coverage(logged(bundles, {NOW: 7}), history(bundles, {NOW: 9}))
    assert begun == Coverage(7, 0, 9, moment(NOW))
    assert log_coverage(logged(bundles, {}), counted) == Coverage(0, 0, 270, moment(NOW - 9))
    assert log_coverage(logged(bundles, {NOW: 3}), history(bundles, {})) is None
    assert log_coverage(logged(bundles, {NOW - 1: 3}), history(bundles, {NOW - 3: 9})) is None


def test_of_a_log_that_is_read_in_part_the_first_hour_is_left_out(
    bundles: dict[str, Trained],
) -> None:
    counted = history(bundles, {NOW - 3: 100, NOW - 2: 50})
    newest = logged(bundles, {NOW - 3: 20, NOW - 2: 50})
    assert log_coverage(newest, counted, read=MOST) == Coverage(50, 0, 50, moment(NOW - 2))


@pytest.mark.parametrize(
    ("held", "unusable", "sample", "severity"),
    [
        (10_000, 0, 1.0, None), (9_990, 0, 1.0, None), (9_800, 0, 1.0, "warning"),
        (9_800, 200, 1.0, "info"), (0, 0, 1.0, "warning"), (1_000, 0, 0.1, "info"),
        (930, 0, 0.1, "info"), (500, 0, 0.1, "warning"), (4_000, 0, 0.5, "warning"),
    ],
)  # fmt: skip
def test_what_a_sample_leaves_out_is_told_and_what_was_lost_is_a_warning(
    held: int, unusable: int, sample: float, severity: str | None
) -> None:
    found = coverage_findings(Coverage(held, unusable, 10_000, moment(NOW)), sample)
    assert [each.severity for each in found] == ([] if severity is None else [severity])
    for each in found:
        assert f"{held:,} of 10,000 counted rows" in each.what
        assert ("log_sample" in each.what) == (sample < 1)
        assert (f"{unusable} more" in each.what) == (unusable > 0)


@given(st.integers(0, 10**7), st.integers(0, 10**6), st.integers(1, 10**7), st.floats(0, 1))
def test_any_numbers_give_a_finding_or_none(
    held: int, unusable: int, counted: int, sample: float
) -> None:
    found = coverage_findings(Coverage(held, unusable, counted, moment(NOW)), sample)
    assert bool(found) == (held / counted <= 0.99)


def test_the_report_says_how_many_rows_its_findings_on_logged_rows_rest_on(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    trained = bundles["binary"]
    serve(trained, tmp_path / "counts", 3)  # 400 rows a day, in one hour
    now, bundle = int(time.time() // 3600), trained.bundle
    names = bundle.contract.target.class_names
    (tmp_path / "log").mkdir()
    with (tmp_path / "log" / "predictions-1.jsonl").open("wb") as log:
        for day in range(3):
            part = trained.table.frame.sample(400, seed=day)[:100]
            scores = bundle.engine.run_many(encode_columns(part, bundle.plan)).tolist()
            for number, (row, its) in enumerate(
                zip(json_rows(part, bundle.contract), scores, strict=True)
            ):
                entry = Logged(
                    3600.0 * (now - 24 * (3 - day)) + number, f"{day}-{number}", 0,
                    bundle.manifest.name, bundle.version, row, names[int(its[1] > its[0])],
                    dict(zip(names, its, strict=True)),
                )  # fmt: skip
                log.write(msgspec.json.encode(entry) + b"\n")
    file, page = tmp_path / "roadworthy.toml", tmp_path / "page.html"
    words = ("monitor", "report", bundle.path, "--log", tmp_path / "log", "--project", file)
    settings = (
        f"[monitor]\ncounts = {json.dumps(str(tmp_path / 'counts'))}\n"
        f"labels = 'sqlite:///{tmp_path / 'labels.db'}'\n[serve]\nlog_sample = "
    )
    file.write_text(f"{settings}0.25\n")
    found = json.loads(run(*words, "--html", page, "--json")[1])
    assert (found["logged"]["logged"], found["logged"]["counted"]) == (300, 1200)
    (told,) = [each for each in found["findings"] if each["subject"] == "log"]
    assert (told["kind"], told["severity"]) == ("store", "info")
    assert re.search("300 of 1,200.*log_sample is 0.25", told["what"])
    assert "300 of 1,200</b><span>rows logged since" in page.read_text()
    assert "the prediction log holds 300 of 1,200 counted rows" in page.read_text()
    file.write_text(f"{settings}1.0\n")
    _, text = run(*words)
    assert "warning the prediction log holds 300 of 1,200 counted rows (25.0%)" in text
