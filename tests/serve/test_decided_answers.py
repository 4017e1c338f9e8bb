"""A threshold and an interval are the same in every way of asking for an answer."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import polars as pl
import pytest
from openapi_spec_validator import validate

from roadworthy.bundle import Bundle
from roadworthy.bundle.frames import json_rows
from roadworthy.bundle.write import package
from roadworthy.cli.models.look import show
from roadworthy.contract import Interval
from roadworthy.errors import CheckFailed
from roadworthy.evaluate import test as evaluate
from roadworthy.project import ServeSection
from roadworthy.serve.openapi import openapi
from roadworthy.serve.predictions import Predictor
from tests.conftest import Trained, serving


def decided(trained: Trained, folder: Path, **target: Any) -> Bundle:
    """The trained model packaged with another decision."""
    contract = trained.model.contract
    changed = msgspec.structs.replace(contract.target, **target)
    model = dataclasses.replace(
        trained.model, contract=msgspec.structs.replace(contract, target=changed)
    )
    return package(model, evaluate(trained.model, trained.table.holdout), directory=folder)


def rows_of(bundle: Bundle, trained: Trained) -> list[dict[str, Any]]:
    held = trained.table.holdout.frame.select(bundle.contract.names)
    return json_rows(held, bundle.contract)


def asking(bundle: Bundle, max_rows: int) -> Callable[[bytes], bytes]:
    """What answers a JSON body as a server does: one plain row by the shortest way."""
    predictor = Predictor(bundle, max_rows)
    return lambda body: predictor.one(body, "test") or asyncio.run(predictor.json(body, "test"))


def answered(bundle: Bundle, trained: Trained, folder: Path) -> list[list[dict[str, Any]]]:
    """Every way of asking in one process, each row's answer."""
    held = trained.table.holdout.frame.select(bundle.contract.names)
    held.write_parquet(folder / "rows.parquet")
    rows = rows_of(bundle, trained)
    ask = asking(bundle, len(rows))
    one = [json.loads(ask(msgspec.json.encode(row))) for row in rows]
    slow = [json.loads(ask(msgspec.json.encode({**row, "more": 1}))) for row in rows]
    many = json.loads(ask(msgspec.json.encode(rows)))["predictions"]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    turned = json.loads(ask(msgspec.json.encode(columns)))["predictions"]
    return [
        [bundle.predict(row) for row in rows[:100]],
        bundle.predict(rows),
        frame_answers(bundle.predict(held)),
        frame_answers(bundle.predict(str(folder / "rows.parquet"))),
        one,
        slow,
        many,
        turned,
    ]


def frame_answers(frame: pl.DataFrame) -> list[dict[str, Any]]:
    answers = []
    for row in frame.rows(named=True):
        shares = {k.removeprefix("probability_"): v for k, v in row.items() if "_" in k}
        answer: dict[str, Any] = {"prediction": row["prediction"]}
        if shares:
            answer["probabilities"] = shares
        if "low" in row:
            answer["interval"] = [row["low"], row["high"]]
        answers.append(answer)
    return answers


@pytest.mark.parametrize(
    ("threshold", "positive"), [(0.15, None), (0.15, ">50K"), (0.8, ">50K"), (0.9, "<=50K")]
)
def test_a_threshold_decides_the_same_everywhere(
    bundles: dict[str, Trained], tmp_path: Path, threshold: float, positive: str | None
) -> None:
    trained = bundles["binary"]
    bundle = decided(trained, tmp_path, threshold=threshold, positive=positive)
    name = positive or ">50K"
    other = {">50K": "<=50K", "<=50K": ">50K"}[name]
    flipped = 0
    for answers in answered(bundle, trained, tmp_path):
        for given in answers:
            shares = given["probabilities"]
            assert given["prediction"] == (name if shares[name] >= threshold else other)
            flipped += given["prediction"] != max(shares, key=shares.__getitem__)
    assert flipped > 100  # the threshold does decide
    bundle.check_golden()
    assert all(
        golden.expected["prediction"]
        == (name if golden.expected["probabilities"][name] >= threshold else other)
        for golden in bundle.golden
    )


@pytest.mark.parametrize(
    "interval",
    [Interval(level=0.9, low=-20.0, high=35.5), Interval(level=0.8, low=-0.3, high=0.5, floor=9.0)],
)
def test_an_interval_is_the_same_everywhere(
    bundles: dict[str, Trained], tmp_path: Path, interval: Interval
) -> None:
    trained = bundles["regression"]
    bundle = decided(trained, tmp_path, interval=interval)
    for answers in answered(bundle, trained, tmp_path):
        for given in answers:
            assert given["interval"] == pytest.approx(interval.around(given["prediction"]))
    bundle.check_golden()
    assert all(len(golden.expected["interval"]) == 2 for golden in bundle.golden)


def test_a_server_answers_with_threshold_and_interval(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    strict = decided(bundles["binary"], tmp_path, threshold=0.05)
    wide = decided(
        bundles["regression"], tmp_path, interval=Interval(level=0.9, low=-10.0, high=10.0)
    )
    with serving(strict.path) as server:
        rows = rows_of(strict, bundles["binary"])[:50]
        many = server.predict(rows)[1]["predictions"]
        assert [a["prediction"] for a in many] == [a["prediction"] for a in strict.predict(rows)]
        assert json.loads(server.get("/contract")[2])["target"]["threshold"] == 0.05
    with serving(wide.path) as server:
        row = wide.golden[0].row
        status, answer = server.predict(row)
        assert status == 200
        assert answer["interval"] == pytest.approx(wide.golden[0].expected["interval"])
        assert list(answer)[:2] == ["prediction", "interval"]
        asked = {"instances": [row], "parameters": {"predict_method": "predict_interval"}}
        path = f"/v1/models/{wide.manifest.name}:predict"
        _, _, content = server.request(
            "POST", path, json.dumps(asked).encode(), Content_Type="application/json"
        )
        assert json.loads(content)["predictions"] == [pytest.approx(answer["interval"])]


def test_without_a_decision_nothing_is_added_to_an_answer(bundles: dict[str, Trained]) -> None:
    for name in ("binary", "multiclass", "regression"):
        bundle = bundles[name].bundle
        body = msgspec.json.encode(bundle.golden[0].row)
        answer = json.loads(asking(bundle, 1)(body))
        assert "interval" not in answer
        assert "interval" not in bundle.predict(bundle.golden[0].row)


@pytest.mark.parametrize("name", ["binary", "regression"])
def test_the_description_of_the_service_tells_of_both(
    bundles: dict[str, Trained], tmp_path: Path, name: str
) -> None:
    options: dict[str, Any] = {"threshold": 0.25, "positive": ">50K"}
    if name == "regression":
        options = {"interval": Interval(level=0.9, low=-1.0, high=1.0)}
    bundle = decided(bundles[name], tmp_path, **options)
    description = openapi(bundle, ServeSection(max_rows=10))
    validate(description)
    schema = description["components"]["schemas"]["Answer"]
    answer = json.loads(asking(bundle, 1)(msgspec.json.encode(bundle.golden[0].row)))
    jsonschema.validate(answer, schema)
    if name == "regression":
        assert "interval" in schema["required"]
        assert "0.9 of cases" in schema["properties"]["interval"]["description"]
    else:
        assert "'>50K' where its probability is 0.25" in str(schema["properties"]["prediction"])


def test_a_golden_row_whose_interval_changed_is_noticed(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    bundle = decided(
        bundles["regression"], tmp_path, interval=Interval(level=0.9, low=-1.0, high=1.0)
    )
    answers = bundle.predict([golden.row for golden in bundle.golden])
    bundle.check_answers(answers)
    answers[3]["interval"][1] += 0.5
    with pytest.raises(CheckFailed, match="golden row 3"):
        bundle.check_answers(answers)
    del answers[3]["interval"]
    with pytest.raises(CheckFailed, match="golden row 3"):
        bundle.check_answers(answers)


def test_a_bundle_shows_how_it_decides(
    bundles: dict[str, Trained], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show(str(decided(bundles["binary"], tmp_path, threshold=0.25).path))
    assert "answers >50K where its probability is 0.25 or more" in capsys.readouterr().out
    interval = Interval(level=0.9, low=-1.0, high=1.0)
    show(str(decided(bundles["regression"], tmp_path, interval=interval).path))
    assert "answers intervals that hold 0.9 of true values" in capsys.readouterr().out
