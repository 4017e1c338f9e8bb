"""Texts, and blanks that the model decides on: the same answer in every way of asking."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roadworthy.bundle import Bundle
from roadworthy.bundle.graph_reader import read_graph
from roadworthy.bundle.scalar import compile_core
from roadworthy.serve.predictions import Predictor
from tests.conftest import serving, train_example

FAMILIES = ("linear", "blend")
NAMES = (
    "Mr. Owen",
    "Miss Straße",
    'a "nick" name',
    "",
    "Montreal, PQ / Chesterville, ON",
    "x" * 300,
)


@pytest.fixture(scope="module")
def passengers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """The Titanic's passengers: names and homes are texts, ages often blank."""
    folder = tmp_path_factory.mktemp("passengers")
    data = {"drop": ("boat", "body")}
    found = {
        "linear": train_example(folder, "titanic.csv", "survived", "linear", data=data),
        "blend": train_example(
            folder, "titanic.csv", "survived", "linear", data=data,
            train={"candidates": ("linear", "boosting"), "budget": "20s", "folds": 3},
        ),
    }  # fmt: skip
    return {name: trained.bundle for name, trained in found.items()}


def cells(bundle: Bundle) -> st.SearchStrategy[dict[str, Any]]:
    kinds: dict[str, st.SearchStrategy[Any]] = {
        "number": st.floats(allow_nan=False, allow_infinity=False) | st.integers(0, 100),
        "category": st.sampled_from(["male", "female", "S", "C", "Q", "never seen"]),
        "text": st.sampled_from(NAMES) | st.text(max_size=30),
    }
    columns = bundle.contract.columns
    return st.fixed_dictionaries({c.name: st.none() | kinds[c.kind] for c in columns})


def same(given: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert given["prediction"] == wanted["prediction"]
    assert given["probabilities"] == pytest.approx(wanted["probabilities"], rel=1e-9, abs=1e-12)


def test_the_bundles_hold_what_is_tested_here(passengers: dict[str, Bundle]) -> None:
    for bundle in passengers.values():
        kinds = {column.name: column.kind for column in bundle.contract.columns}
        assert (kinds["name"], kinds["home.dest"]) == ("text", "text")
        assert any(feature.blank is None for feature in bundle.plan.features)
    core = (passengers["linear"].path / "core.onnx").read_bytes()
    assert "IsNaN" in {node.op for node in read_graph(core).nodes}
    assert compile_core(core, "X", "scores", passengers["linear"].plan.width) is not None


@pytest.mark.parametrize("name", FAMILIES)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_texts_and_blanks_are_answered_alike_alone_and_together(
    passengers: dict[str, Bundle], name: str, data: st.DataObject
) -> None:
    bundle = passengers[name]
    rows = data.draw(st.lists(cells(bundle), min_size=1, max_size=4))
    predictor = Predictor(bundle, 10)
    wanted = bundle.predict(rows)

    def ask(content: Any) -> Any:
        return json.loads(asyncio.run(predictor.json(json.dumps(content).encode(), "test")))

    columns = {column: [row[column] for row in rows] for column in rows[0]}
    for together in (ask(rows), ask(columns)):
        for answer, right in zip(together["predictions"], wanted, strict=True):
            same(answer, right)
    for row, right in zip(rows, wanted, strict=True):
        same(ask(row), right)
        fast = predictor.one(json.dumps(row).encode(), "test")
        if fast is not None:
            same(json.loads(fast), right)


@pytest.mark.parametrize("name", FAMILIES)
def test_texts_and_blanks_are_answered_alike_in_every_format_and_dialect(
    passengers: dict[str, Bundle], name: str
) -> None:
    bundle = passengers[name]
    rows = [dict(golden.row) for golden in bundle.golden]
    for place, row in enumerate(rows):  # each column blank in some row
        row[bundle.contract.names[place % len(row)]] = None
    wanted = bundle.predict(rows)
    classes = [answer["prediction"] for answer in wanted]
    names = list(bundle.contract.names)
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(names)
    writer.writerows([row[column] for column in names] for row in rows)
    lists = [[row[column] for column in names] for row in rows]
    kinds = {c.name: "FP64" if c.kind == "number" else "BYTES" for c in bundle.contract.columns}
    tensors = [
        {"name": c, "shape": [len(rows)], "datatype": kinds[c], "data": [row[c] for row in rows]}
        for c in names
    ]
    with serving(bundle.path) as server:

        def ask(path: str, content: Any, media: str = "application/json") -> Any:
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            status, _, answer = server.request("POST", path, body, Content_Type=media)
            assert status == 200, answer
            return json.loads(answer)

        lines = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
        for content, media in (
            (rows, "application/json"),
            (table.getvalue().encode(), "text/csv"),
            (lines, "application/x-ndjson"),
        ):
            for answer, right in zip(
                ask("/predict", content, media)["predictions"], wanted, strict=True
            ):
                same(answer, right)
        for row, right in zip(rows, wanted, strict=True):
            same(ask("/predict", row), right)
        split = {"dataframe_split": {"columns": names, "data": lists}}
        assert ask("/invocations", split)["predictions"] == classes
        model = bundle.manifest.name
        assert ask(f"/v1/models/{model}:predict", {"instances": lists})["predictions"] == classes
        outputs = ask(f"/v2/models/{model}/infer", {"inputs": tensors})["outputs"]
        assert outputs[0]["data"] == classes


def test_the_pages_and_the_example_take_texts(passengers: dict[str, Bundle]) -> None:
    bundle = passengers["linear"]
    with serving(bundle.path) as server:
        assert server.get("/docs")[0] == 200
        assert server.predict(bundle.contract.example())[0] == 200
